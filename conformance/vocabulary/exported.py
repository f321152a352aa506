"""Words about tokens: what was exported, and the contexts that the upstream received, held against the record.

Knows trajectories, the ledger and the chat template; never HTTP. The oracles judge, these words name the question. A
record is the upstream (its explanations then show text beside ids) or a list of its calls. No word holds for a session
that exported nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from conformance.client.failure import ConformanceFailure, describe
from conformance.gateway import Trajectory
from conformance.oracles import Violation, token_truth
from conformance.oracles.evidence import Evidence
from conformance.oracles.tokens import Decode, first_difference, listed, pack, places, window
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import ANSWERED, Call
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import Message, Superseded, Trajectories

Record = Upstream | Sequence[Call]
_SAID = "4815162342"
"""An answer that no template writes of its own accord."""


class TokenExpectation:
    """The part of an expectation about trajectories that is about their tokens."""

    def __init__(self, trajectories: Trajectories) -> None:
        self.trajectories = trajectories

    def have_masks(self) -> Self:
        """Each mask has one entry for each response id, 0 or 1."""
        __tracebackhide__ = True
        masks = [replace(trajectory, response_logprobs=None) for trajectory in self._any()]
        _hold([violation for violation in token_truth.alignment(masks) if "response_mask" in violation.where])
        return self

    def have_full_masks(self) -> Self:
        """Each mask is 1 throughout."""
        __tracebackhide__ = True
        _hold(
            [
                Violation(f"trajectory {number}, response_mask", "1 throughout", _zeros(trajectory))
                for number, trajectory in enumerate(self._any())
                if 0 in trajectory.response_mask or not trajectory.response_mask
            ]
        )
        return self

    def have_responses(self, record: Record) -> Self:
        """There is one trajectory for each call, in order, and its response ids are what the call returned, whatever
        its mask says."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        if len(self.trajectories) != len(calls):
            sizes = [len(trajectory.response_ids) for trajectory in self.trajectories]
            _hold([Violation("trajectories", f"{len(calls)}, one for each call", f"{len(sizes)}, with {sizes} ids")])
        for number, (trajectory, call) in enumerate(zip(self.trajectories, calls, strict=True)):
            _hold(_false_response(number, trajectory, call, decode))
        return self

    def have_ids_and_masks_of(self, twin: Trajectories) -> Self:
        """The same ids and masks as `twin`, in the same order."""
        __tracebackhide__ = True
        if len(self._any()) != len(twin):
            _hold([Violation("trajectories", str(len(twin)), str(len(self.trajectories)))])
        _hold(
            [
                Violation(f"trajectory {number}, {field}", window(pack(wanted), at), window(pack(actual), at))
                for number, (ours, theirs) in enumerate(zip(self.trajectories, twin, strict=True))
                for field in ("prompt_ids", "response_ids", "response_mask")
                if (actual := getattr(ours, field)) != (wanted := getattr(theirs, field))
                for at in [first_difference(pack(wanted), pack(actual))]
            ]
        )
        return self

    def begin_with_context(self, upstream: Upstream, number: int) -> Self:
        """The prompt of each is no longer than what the upstream received with call `number` of the check."""
        __tracebackhide__ = True
        size = len(context(upstream, number).context)
        _hold(
            [
                Violation(
                    f"trajectory {place}, prompt_ids",
                    f"at most the {size} of call {number}",
                    f"{len(trajectory.prompt_ids)}",
                )
                for place, trajectory in enumerate(self._any())
                if len(trajectory.prompt_ids) > size
            ]
        )
        return self

    def have_turns(self, expected: int) -> Self:
        """`num_turns` of each is `expected`."""
        __tracebackhide__ = True
        _hold(
            [
                Violation(f"trajectory {number}, num_turns", str(expected), str(trajectory.num_turns))
                for number, trajectory in enumerate(self._any())
                if trajectory.num_turns != expected
            ]
        )
        return self

    def end_in_order_of(self, record: Record) -> Self:
        """The last generations of the trajectories stand in the order of the calls that returned them."""
        __tracebackhide__ = True
        calls, _ = _read(record)
        last = [_last_call(trajectory, calls) for trajectory in self._any()]
        if None in last or last != sorted(last, key=lambda number: number or 0):
            shown = ", ".join("none of them" if number is None else f"call {number}" for number in last)
            _hold([Violation("the calls that trajectories end with", "the order in which they were answered", shown)])
        return self

    def are_aligned(self) -> Self:
        """Mask and logprobs have one entry for each id, and logprobs are finite and 0.0 where the mask is 0."""
        __tracebackhide__ = True
        _hold(token_truth.alignment(self._any()))
        return self

    def have_logprobs(self) -> Self:
        """Each has logprobs, one finite value for each of its ids."""
        __tracebackhide__ = True
        _hold([*self._null_logprobs(), *_misaligned_logprobs(self._any())])
        return self

    def have_zero_logprobs_in_gaps(self) -> Self:
        """Each has logprobs, and they are 0.0 where the mask is 0."""
        __tracebackhide__ = True
        wrong = _about_logprobs(token_truth.alignment(self._any()))
        _hold([*self._null_logprobs(), *(violation for violation in wrong if "mask" in violation.expected)])
        return self

    def have_reported_logprobs(self, record: Record) -> Self:
        """Each has logprobs, and those of its generations are what the upstream reported for them."""
        __tracebackhide__ = True
        calls, _ = _read(record)
        _hold([*self._null_logprobs(), *token_truth.logprob_truth(self.trajectories, calls)])
        return self

    def have_reported_logprobs_or_none(self, record: Record) -> Self:
        """Those that have logprobs have one for each id, and those of their generations are as reported."""
        __tracebackhide__ = True
        calls, _ = _read(record)
        _hold(_misaligned_logprobs(self.trajectories) or token_truth.logprob_truth(self.trajectories, calls))
        return self

    def span_weight_versions(self, *expected: tuple[int, int] | None) -> Self:
        """The lowest and the highest weight version of each, in order; None: it names none."""
        __tracebackhide__ = True
        spans = [_weight_versions(trajectory) for trajectory in self._any()]
        if spans != list(expected):
            _hold([Violation("weight versions of the trajectories", str(list(expected)), str(spans))])
        return self

    def are_verbatim(self, record: Record) -> Self:
        """What is marked as sampled is what the upstream returned, id by id."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        _hold(token_truth.verbatim(self._any(), calls, decode))
        return self

    def have_true_context(self, record: Record) -> Self:
        """What stands before each generation is what the upstream received for it."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        _hold(token_truth.context_truth(self._any(), calls, decode))
        return self

    def conserve(self, record: Record, superseded: int | Collection[int] = 0) -> Self:
        """Each committed generation is trainable exactly once, but for those that were superseded (how many, or which
        calls), which are not trainable."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        _hold(token_truth.conservation(self.trajectories, calls, superseded, decode))
        return self

    def match(self, record: Record, superseded: int = 0) -> Self:
        """All that the record can tell: alignment, sampled ids, contexts, conservation, logprobs."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        _hold(token_truth.judge(self.trajectories, calls, superseded, decode))
        return self

    def train_on(self, record: Record, *numbers: int) -> Self:
        """The generations of these calls are trainable, and of no others, wherever and however often."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        evidence = Evidence(self.trajectories, calls)
        trained = {call.number for _, segments in evidence.segments for segment in segments for call in segment.calls}
        asked = {
            number: f"call {number} ({listed(pack(call.generation), decode)})" for number, call in enumerate(calls)
        }
        _hold(
            [
                Violation(asked[number], "mask 1 on its generation", "none")
                for number in numbers
                if number not in trained
            ]
            + [Violation(asked[number], "given up, so no mask 1", "mask 1") for number in sorted(trained - {*numbers})]
        )
        return self

    def account_for(self, record: Record, superseded: Superseded) -> Self:
        """Each generation is trainable exactly once where the upstream sampled it, but for those that the gateway
        reports as superseded: as many, with as many ids."""
        __tracebackhide__ = True
        calls, decode = _read(record)
        given_up = superseded.generations
        violations = [
            *token_truth.verbatim(self.trajectories, calls, decode),
            *token_truth.context_truth(self.trajectories, calls, decode),
            *token_truth.conservation(self.trajectories, calls, given_up, decode),
        ]
        missing = sum(len(call.generation) for call in calls if call.outcome == ANSWERED)
        missing -= sum(sum(trajectory.response_mask) for trajectory in self.trajectories)
        if not violations and missing != superseded.tokens:
            _hold([Violation("sampled ids reported as given up", str(missing), str(superseded.tokens))])
        _hold(violations)
        return self

    def _null_logprobs(self) -> list[Violation]:
        return [
            Violation(f"trajectory {number}, response_logprobs", "a list of floats", "null")
            for number, trajectory in enumerate(self._any())
            if trajectory.response_logprobs is None and 1 in trajectory.response_mask
        ]

    def _any(self) -> Trajectories:
        __tracebackhide__ = True
        if not self.trajectories:
            _hold([Violation("trajectories", "at least one", "none")])
        return self.trajectories


class ContextExpectation:
    """About the ids that the upstream received with one call."""

    def __init__(self, upstream: Upstream, number: int) -> None:
        __tracebackhide__ = True
        self.calls = upstream.calls
        if len(self.calls) <= number:
            _hold([Violation("upstream calls", f"at least {number + 1}", str(len(self.calls)))])
        self.where = f"context of call {number}"
        self.context = self.calls[number].context
        self.before = self.calls[number - 1] if number else None
        self.tokenizer = upstream.tokenizer

    def is_rendered(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Self:
        """It is the chat template's render of these messages, generation prompt included, id for id."""
        __tracebackhide__ = True
        wanted = pack(rendered(self.tokenizer, messages, tools=tools))
        actual = pack(self.context)
        if actual != wanted:
            at, decode = first_difference(actual, wanted), self.tokenizer.decode
            _hold([Violation(f"{self.where}[{at}]", window(wanted, at, decode), window(actual, at, decode))])
        return self

    def continues_as_rendered(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Self:
        """What stands behind the generation of the call before is what the template renders there.

        `messages` are those of this call; the last ones that were new with it are the user's or the tools'. Neither
        the first context nor the ids of the generation are judged.
        """
        __tracebackhide__ = True
        wanted = rendered(self.tokenizer, messages, tools=tools)
        if self.context != wanted:
            violations = token_truth.fidelity([self._seen(messages, tools)], self.tokenizer.decode, [wanted])
            behind = f"{self.where}, behind the generation"
            _hold(
                [
                    replace(violation, where=violation.where.replace("trajectory 0, response_ids", behind))
                    for violation in violations
                ]
            )
        return self

    def reads_as_rendered(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Self:
        """Its text is the chat template's render of these messages, whichever ids it is written with. `NotApplicable`
        where the template writes an answer otherwise than a model samples it: what was sampled stays as it is."""
        __tracebackhide__ = True
        if not writes_as_sampled(self.tokenizer, messages):
            raise NotApplicable("the chat template puts something between a sampled answer and its end, or no end")
        decode = self.tokenizer.decode
        wanted = decode(rendered(self.tokenizer, messages, tools=tools))
        actual = decode(self.context)
        if actual != wanted:
            _hold([Violation(f"text of the {self.where}", describe(wanted, 2000), describe(actual, 2000))])
        return self

    def goes_on_directly(self) -> Self:
        """It is the context of the call before, followed by what that sampled, and nothing else."""
        __tracebackhide__ = True
        wanted = pack([*self.before.context, *self.before.generation] if self.before else [])
        actual = pack(self.context)
        if actual != wanted:
            at, decode = first_difference(actual, wanted), self.tokenizer.decode
            _hold([Violation(f"{self.where}[{at}]", window(wanted, at, decode), window(actual, at, decode))])
        return self

    def ends_as_many_turns_as(self, other: ContextExpectation) -> Self:
        """The end-of-turn id occurs in it as often as in the other context."""
        __tracebackhide__ = True
        end = self.tokenizer.end_of_turn
        wanted, actual = other.context.count(end), self.context.count(end)
        if actual != wanted:
            token = f"the token {self.tokenizer.end_of_turn_text}"
            _hold([Violation(self.where, f"{wanted} times {token}", f"{actual} times")])
        return self

    def holds_generation_before(self) -> Self:
        """The ids that the call before sampled stand in it, as they were sampled."""
        __tracebackhide__ = True
        return self.holds_generation_of(self.before)

    def holds_generation_of(self, call: Call | None) -> Self:
        """The ids that `call` sampled stand in it, as they were sampled."""
        __tracebackhide__ = True
        generation = call.generation if call else []
        if not places(pack(self.context), pack(generation)):
            decode = self.tokenizer.decode
            at = len(call.context) if call else 0
            expected = f"the ids sampled before, {listed(pack(generation), decode)}"
            _hold([Violation(self.where, expected, window(pack(self.context), at, decode))])
        return self

    def _seen(self, messages: Sequence[Message], tools: Sequence[Any] | None) -> Trajectory:
        """This context as a trajectory that is about to sample, all up to the end of the generation as rendered."""
        head = self.before.context + self.before.generation if self.before else []
        if not self.before or self.context[: len(head)] != head:
            return Trajectory(self.context, [0], [1])
        answers = (
            place for place, message in enumerate(messages) if message.get("role") not in ("system", "user", "tool")
        )
        answered = 1 + max(answers, default=0)
        text = self.tokenizer.render(messages[:answered], tools=tools, add_generation_prompt=False)
        ends = (self.tokenizer.end_of_call, self.tokenizer.end_of_turn)
        end = next((token for token in ends if self.before.generation[-1:] == [token]), None)
        before, closing = self._parted(text, tools, end or self.tokenizer.end_of_turn)
        gap = self.context[len(head) :]
        prompt = self.tokenizer.encode(before if end is None else before + closing)
        return Trajectory(prompt, [*gap, 0], [*(0 for _ in gap), 1])

    def _parted(self, text: str, tools: Sequence[Any] | None, end_token: int) -> tuple[str, str]:
        """A render that ends with an answer, up to the end of what was said in it; and what the template needs to
        end the turn with `end_token`, which is included. Some put text of their own before that token, and some have
        none: there the role that comes next ends the turn."""
        end = self.tokenizer.token(end_token)
        question, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": _SAID}
        shortest = self.tokenizer.render([question, answer], tools=tools, add_generation_prompt=False)
        behind = shortest.rpartition(_SAID)[2]
        if not text.endswith(behind):  # it ends calls in another way than answers
            before, end, _ = text.rpartition(end)
            return before, end
        return text.removesuffix(behind), behind.partition(end)[0] + end


def context(upstream: Upstream, number: int) -> ContextExpectation:
    """Start an expectation about what the upstream received with call `number` of this check, counted from 0."""
    return ContextExpectation(upstream, number)


def writes_as_sampled(tokenizer: Tokenizer, messages: Sequence[Message]) -> bool:
    """Whether the template's render of these messages has each answer behind the generation prompt, and an end token
    right behind it, as a model samples it. Answers with calls are not looked at."""
    whole = tokenizer.render(list(messages))
    ends = tuple(map(tokenizer.token, tokenizer.end_tokens))
    for place, message in enumerate(messages):
        content = message.get("content")
        if message["role"] != "assistant" or not isinstance(content, str) or message.get("tool_calls"):
            continue
        sampled = tokenizer.render(list(messages[:place])) + content
        if not whole.startswith(sampled) or not whole[len(sampled) :].startswith(ends):
            return False
    return True


def rendered(tokenizer: Tokenizer, messages: Sequence[Message], **kwargs: Any) -> list[int]:
    """The token ids of the template's own render of these messages, with the generation prompt."""
    return tokenizer.encode(tokenizer.render(list(messages), **kwargs))


def _hold(violations: Sequence[Violation]) -> None:
    __tracebackhide__ = True
    if violations:
        raise ConformanceFailure(violations)


def _read(record: Record) -> tuple[Sequence[Call], Decode | None]:
    return (record.calls, record.tokenizer.decode) if isinstance(record, Upstream) else (record, None)


def _zeros(trajectory: Trajectory) -> str:
    mask = trajectory.response_mask
    zeros = [place for place, entry in enumerate(mask) if entry == 0]
    return f"0 at {zeros[0]}, {len(zeros)} zeros in {len(mask)} entries" if zeros else f"{len(mask)} entries"


def _false_response(number: int, trajectory: Trajectory, call: Call, decode: Decode | None) -> list[Violation]:
    actual, wanted = pack(trajectory.response_ids), pack(call.generation)
    if actual == wanted:
        return []
    sampled = replace(trajectory, response_mask=[1] * len(trajectory.response_ids))
    at = first_difference(actual, wanted)
    causes = [violation.hint for violation in token_truth.verbatim([sampled], [call], decode)]
    where = f"trajectory {number}, response_ids[{at}]"
    return [Violation(where, window(wanted, at, decode), window(actual, at, decode), *causes[:1])]


def _misaligned_logprobs(trajectories: Sequence[Trajectory]) -> list[Violation]:
    """What is wrong with lengths and values, whatever the mask."""
    unmasked = [replace(trajectory, response_mask=[1] * len(trajectory.response_ids)) for trajectory in trajectories]
    return _about_logprobs(token_truth.alignment(unmasked))


def _about_logprobs(violations: Sequence[Violation]) -> list[Violation]:
    return [violation for violation in violations if "response_logprobs" in violation.where]


def _weight_versions(trajectory: Trajectory) -> tuple[Any, Any] | None:
    extra = trajectory.extra.get("extra_fields", trajectory.extra)
    names = ("min_global_steps", "max_global_steps")
    if not isinstance(extra, Mapping) or all(extra.get(name) is None for name in names):
        return None
    return extra.get(names[0]), extra.get(names[1])


def _last_call(trajectory: Trajectory, calls: Sequence[Call]) -> int | None:
    """The number of the call whose generation stands at the end of the trajectory."""
    response = pack(trajectory.response_ids)
    ends = [number for number, call in enumerate(calls) if call.generation and response.endswith(pack(call.generation))]
    return ends[-1] if ends else None
