"""The vocabulary in which a check states what must hold. Each word judges one thing and reports all that is wrong.

expect(reply).status(200).is_completion()
expect(stream).ends_with_done()
expect(session.trajectories()).match(upstream.calls)
expect(reply.text).equals("Hello", "the content")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply, at
from conformance.oracles import Violation, chat, envelope, invocations, responses, shapes, sse, token_truth
from conformance.oracles.engine_data import engine_data
from conformance.oracles.wording import described
from conformance.recorded.score import Scores
from conformance.recorded.trajectory import template_parts
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import Call
from conformance.vocabulary.asking import answer_of
from conformance.vocabulary.exported import TokenExpectation
from conformance.vocabulary.pinned import Pinned
from conformance.vocabulary.session import ControlRefused, Trajectories

if TYPE_CHECKING:
    from conformance.vocabulary.target import Target

REFUSED = range(400, 500)
"""Any status that says: the request is wrong. `expect(reply).status(*REFUSED)`."""
FAILED = range(500, 600)
"""Any status that says: the server, or what stands behind it, failed."""


def expect(actual: Any) -> Any:
    """Start an expectation about a reply, a list of trajectories, or any value."""
    if isinstance(actual, Reply):
        return ReplyExpectation(actual)
    if isinstance(actual, Trajectories):
        return TrajectoryExpectation(actual)
    if callable(actual):
        return CallExpectation(actual)
    return ValueExpectation(actual)


def fail(where: str, expected: str, actual: Any, hint: str = "") -> None:
    """Report one violation that no word of the vocabulary fits."""
    raise ConformanceFailure(
        [Violation(where, expected, actual if isinstance(actual, str) else describe(actual), hint)]
    )


def together(*expectations: Callable[[], object]) -> None:
    """Hold all of these, and report at once what is wrong with any of them."""
    __tracebackhide__ = True
    violations = []
    for expectation in expectations:
        try:
            expectation()
        except ConformanceFailure as failure:
            violations += failure.violations
    _hold(violations)


def _hold(violations: Sequence[Violation]) -> None:
    if violations:
        raise ConformanceFailure(violations)


def _hold_shape(actual: Any, pinned: Pinned, what: str) -> None:
    __tracebackhide__ = True
    difference = pinned.difference(actual)
    if difference is not None:
        _hold([Violation(f"shape of {what}", *difference)])


def calls_made(upstream: Upstream, count: int = 1) -> list[Call]:
    """The calls that the upstream received; a failure when they are not that many."""
    calls = upstream.calls
    if len(calls) != count:
        _hold([Violation("upstream", f"calls: {count}", f"calls: {len(calls)}")])
    return calls


def expect_seen(upstream: Upstream, reply: Reply, name: str, *texts: str) -> None:
    """The texts are in the context; or the request was refused, in words in which `name` stands."""
    __tracebackhide__ = True
    if reply.status in REFUSED:
        message = str((reply.error or {}).get("message"))
        expect(message).contains(name, "the message of the refusal")
        return
    seen = last_call(upstream).text
    for text in texts:
        expect(seen).contains(text, "the context")


def last_call(upstream: Upstream) -> Call:
    """The last call that the upstream received; a failure when it received none."""
    calls = upstream.calls
    if not calls:
        _hold([Violation("upstream", "a call", "none")])
    return calls[-1]


class ValueExpectation:
    def __init__(self, actual: Any) -> None:
        self.actual = actual

    def equals(self, expected: Any, what: str, hint: str = "") -> Self:
        __tracebackhide__ = True
        if self.actual != expected or (
            type(self.actual) is not type(expected) and bool in (type(self.actual), type(expected))
        ):
            _hold([Violation(what, describe(expected), describe(self.actual), hint)])
        return self

    def differs_from(self, other: Any, what: str, hint: str = "") -> Self:
        __tracebackhide__ = True
        if self.actual == other:
            _hold([Violation(what, f"anything but {describe(other)}", describe(self.actual), hint)])
        return self

    def contains(self, part: Any, what: str, hint: str = "") -> Self:
        __tracebackhide__ = True
        if part not in self.actual:
            _hold([Violation(what, f"something with {describe(part)}", describe(self.actual), hint)])
        return self

    def lacks(self, part: Any, what: str, hint: str = "") -> Self:
        __tracebackhide__ = True
        if part in self.actual:
            _hold([Violation(what, f"nothing with {describe(part)}", describe(self.actual), hint)])
        return self

    def is_one_of(self, allowed: Sequence[Any], what: str, hint: str = "") -> Self:
        __tracebackhide__ = True
        if self.actual not in allowed:
            _hold([Violation(what, " or ".join(map(describe, allowed)), describe(self.actual), hint)])
        return self

    def satisfies(self, test: Callable[[Any], bool], expected: str, what: str, hint: str = "") -> Self:
        """`expected` says in words what `test` tests."""
        __tracebackhide__ = True
        if not test(self.actual):
            _hold([Violation(what, expected, describe(self.actual), hint)])
        return self

    def has_shape(self, pinned: Pinned, what: str) -> Self:
        """Its JSON type tree is the pinned one."""
        __tracebackhide__ = True
        _hold_shape(shapes.shape(self.actual), pinned, what)
        return self


class ReplyExpectation:
    """About an answer to an HTTP request."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def status(self, *allowed: int) -> Self:
        __tracebackhide__ = True
        if self.reply.status not in allowed:
            body = describe(self.reply.body)
            _hold([Violation("status", _statuses(allowed), f"{self.reply.status} with the body {body}")])
        return self

    def header(self, name: str, value: str, *, starts: bool = False) -> Self:
        """The header is there and, without its case, is `value` (or starts with it)."""
        __tracebackhide__ = True
        actual = self.reply.headers.get(name)
        low = (actual or "").lower()
        if actual is None or not (low.startswith(value.lower()) if starts else low == value.lower()):
            _hold([Violation(f"header {name}", value, describe(actual) if actual is not None else "no such header")])
        return self

    def is_json(self) -> Self:
        __tracebackhide__ = True
        self.header("content-type", "application/json", starts=True)
        self.reply.json()
        return self

    def says(self, text: str, target: Target) -> Self:
        """Its text is what the upstream was told to say; where that is unseen, it says anything at all."""
        __tracebackhide__ = True
        if target.unseen is not None:
            _hold([] if answer_of(self.reply) else [Violation("text", "what a model says", describe(self.reply.body))])
        elif self.reply.text != text:
            _hold([Violation("text", describe(text), describe(self.reply.text))])
        return self

    def is_answered(self) -> Self:
        """Served: status 200 with a message, whatever it says."""
        __tracebackhide__ = True
        self.status(200)
        self.reply.require_message()
        return self

    def is_refused(self) -> Self:
        """Refused as a bad request."""
        return self.status(400, 422)

    def has_error_envelope(self) -> Self:
        """A JSON object with non-empty strings `error.message` and `error.type`; whatever the status is."""
        __tracebackhide__ = True
        self.is_json()
        error = at(self.reply.json(), "error", kind=dict)
        _hold(
            [
                Violation(f"error.{name}", "a non-empty string", described(error.get(name)))
                for name in ("message", "type")
                if not isinstance(error.get(name), str) or not error[name]
            ]
        )
        return self

    def leaks_nothing(self) -> Self:
        """No stack trace and no path of a source file stand in the body."""
        __tracebackhide__ = True
        _hold(envelope.leaks(self.reply.body.decode("utf-8", "replace")))
        return self

    def is_openai_error(self, *statuses: int, naming: str = "") -> Self:
        """An error with one of these statuses, in OpenAI's envelope; `naming` occurs in its message, in any case."""
        __tracebackhide__ = True
        self.status(*statuses)
        self.is_json()
        body = self.reply.json()
        violations = envelope.openai_error(body, self.reply.status)
        if not violations and naming.lower() not in body["error"]["message"].lower():
            violations = [Violation("error.message", f"a message that names {naming!r}", body["error"]["message"])]
        _hold(violations)
        return self

    def has_anthropic_envelope(self) -> Self:
        """An error envelope whose own `type` is `error`; whatever the status is."""
        __tracebackhide__ = True
        self.has_error_envelope()
        kind = at(self.reply.json(), "type")
        _hold([Violation("type", '"error"', describe(kind))] if kind != "error" else [])
        return self

    def has_flat_error(self, refusal: tuple[int, str] | None = None) -> Self:
        """A JSON object `{"error": text}` and no more; with the status and the text of `refusal`, if one is due."""
        __tracebackhide__ = True
        self.is_json()
        _hold(invocations.error(self.reply.json(), refusal, self.reply.status))
        return self

    def has_none_of(self, wrong: Sequence[Violation]) -> Self:
        """An oracle found nothing wrong with it."""
        __tracebackhide__ = True
        _hold(wrong)
        return self

    def is_completion(self, *, strict: bool = False) -> Self:
        """A whole `chat.completion`: plain, or what the chunks of a stream amount to."""
        __tracebackhide__ = True
        _hold(chat.completion(self.reply.completion, strict=strict))
        return self

    def has_no_engine_data(self) -> Self:
        """No token ids and no routing data stand in the body, or in any chunk of the stream."""
        __tracebackhide__ = True
        self.is_answered()
        documents = self.reply.chunks if self.reply.is_stream else [self.reply.json()]
        _hold([violation for document in documents for violation in engine_data(document)])
        return self

    def is_event_stream(self) -> Self:
        __tracebackhide__ = True
        self.status(200).header("content-type", "text/event-stream", starts=True)
        return self

    def is_not_streamed(self) -> Self:
        """One JSON body, and not labelled as an event stream."""
        __tracebackhide__ = True
        if self.reply.is_stream:
            kind = self.reply.headers.get("content-type", "no content type")
            _hold([Violation("body", "one plain JSON body", f"{kind}: {describe(self.reply.body)}")])
        self.reply.json()
        return self

    def has_clean_frames(self) -> Self:
        """Every frame is `data: JSON` and a blank line; nothing is left over."""
        __tracebackhide__ = True
        self.status(200)
        _hold(sse.framing(self.reply.body))
        return self

    def is_chunk_stream(self) -> Self:
        """The stream follows the whole grammar of chat completion chunks."""
        __tracebackhide__ = True
        self.status(200)
        _hold(chat.stream(self.reply.events))
        return self

    def ends_with_done(self) -> Self:
        """Exactly one `data: [DONE]`, and nothing after it."""
        __tracebackhide__ = True
        self.status(200)
        events = self.reply.events
        done = [place for place, event in enumerate(events) if event.data == "[DONE]"]
        if not done:
            last = describe(events[-1].data, 80) if events else "an empty body"
            _hold([Violation("end of the stream", "`data: [DONE]`", f"the stream ends after {last}")])
        violations = [
            Violation(f"event {place + 1}", "one `data: [DONE]` only", "another `data: [DONE]`") for place in done[1:]
        ]
        if done[0] != len(events) - 1 and not violations:
            after = describe(events[done[0] + 1].data, 80)
            violations.append(Violation(f"event {done[0] + 2}", "nothing after `data: [DONE]`", after))
        _hold(violations)
        return self

    def ends_with_error_frame(self) -> Self:
        """A stream under status 200 whose last event is an error in OpenAI's envelope, and says so once."""
        __tracebackhide__ = True
        errors = [place for place, chunk in enumerate(self.reply.chunks) if "error" in chunk]
        last = len(self.reply.events) - 1
        if errors != [last]:
            end = describe(self.reply.events[-1].data, 120)
            _hold([Violation("end of the stream", "one `error` frame, the last event", f"the stream ends with {end}")])
        _hold(envelope.openai_error(self.reply.chunks[last]))
        return self

    def is_response(self, conversation: str | None = None, *, strict: bool = False) -> Self:
        """A whole response: plain, or what the events of a stream amount to. `conversation` must be echoed."""
        __tracebackhide__ = True
        _hold(responses.response(self.reply.completion, conversation, strict))
        return self

    def has_output(self) -> Self:
        """Served: status 200 with an item in the output, whatever it says."""
        __tracebackhide__ = True
        output = at(self.reply.completion, "output", kind=list)
        _hold([] if output else [Violation("output", "at least one item", "none")])
        return self

    def is_compaction(self) -> Self:
        """What `POST /responses/compact` answers with."""
        __tracebackhide__ = True
        self.status(200)
        _hold(responses.compaction(self.reply.json()))
        return self

    def is_conversation(self) -> Self:
        """What `POST /conversations` answers with."""
        __tracebackhide__ = True
        _hold(responses.conversation(self.reply.json()))
        return self

    def is_item_list(self) -> Self:
        """The list of a conversation's items, the oldest first."""
        __tracebackhide__ = True
        self.status(200)
        _hold(responses.conversation_items(self.reply.json()))
        return self

    def is_response_stream(self) -> Self:
        """The stream follows the whole grammar of response events."""
        __tracebackhide__ = True
        self.status(200)
        _hold(responses.stream(self.reply.events))
        return self

    def has_shape(self, pinned: Pinned) -> Self:
        """Status and JSON type tree (of a stream: of its events) are the pinned ones."""
        __tracebackhide__ = True
        reply = self.reply
        actual = shapes.stream_shape(reply.events) if reply.is_stream else shapes.shape(reply.json())
        _hold_shape({"status": reply.status, "body": actual}, pinned, "the answer")
        return self


class CallExpectation:
    """About what the gateway's control plane does with a call of the session: `expect(session.finalize)`."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def is_refused(self, what: str, *statuses: int, hint: str = "") -> Self:
        """The gateway answers the call with an error; with one of these statuses, if any are given."""
        __tracebackhide__ = True
        expected = "refused" + (f" with status {_statuses(statuses)}" if statuses else "")
        try:
            answer = self.call()
        except ControlRefused as refusal:
            if statuses and refusal.status not in statuses:
                _hold([Violation(what, expected, f"refused with {refusal.violations[0].actual}", hint)])
            return self
        done = "done" if answer is None else f"done, with the answer {describe(answer)}"
        _hold([Violation(what, expected, done, hint)])
        return self


class TrajectoryExpectation(TokenExpectation):
    """About what was exported. The words about tokens stand in `exported.py`."""

    def count(self, expected: int, hint: str = "") -> Self:
        __tracebackhide__ = True
        if len(self.trajectories) != expected:
            lengths = [len(trajectory.response_ids) for trajectory in self.trajectories]
            _hold([Violation("trajectories", str(expected), f"{len(lengths)}, with {lengths} response ids", hint)])
        return self

    def same_as(self, *twins: Trajectories, hint: str = "") -> Self:
        """Token for token what a twin exported, logprobs included: the same conversation without the fault, or one of
        several such."""
        __tracebackhide__ = True
        # What differs from one of as many says most.
        nearest = sorted(twins, key=lambda twin: len(twin) != len(self.trajectories))
        violations = [_differences(self.trajectories, twin, hint) for twin in nearest]
        if all(violations):
            _hold(violations[0])
        return self

    def have_scored_logprobs(self, scores: Scores) -> Self:
        """The model, asked again, gives each sampled token the log-probability that was exported."""
        __tracebackhide__ = True
        _hold(scores.violations)
        return self

    def have_seams_of(self, tokenizer: Tokenizer) -> Self:
        """Between two generations stands what the chat template writes there."""
        __tracebackhide__ = True
        prompt, turn_end = template_parts(tokenizer)
        _hold(token_truth.seams(self._any(), tokenizer.decode, tokenizer.encode, prompt, turn_end))
        return self

    def say(self, tokenizer: Tokenizer, *texts: str) -> Self:
        """Each of these texts stands in one of them."""
        __tracebackhide__ = True
        exported = _exported_text(self.trajectories, tokenizer)
        _hold(
            [
                Violation("trajectories", f"one with {describe(text)}", exported)
                for text in texts
                if text not in exported
            ]
        )
        return self

    def leave_out(self, tokenizer: Tokenizer, *texts: str) -> Self:
        """None of these texts stands in any of them."""
        __tracebackhide__ = True
        exported = _exported_text(self.trajectories, tokenizer)
        _hold(
            [
                Violation("trajectories", f"nothing with {describe(text)}", exported)
                for text in texts
                if text in exported
            ]
        )
        return self


def _statuses(allowed: Sequence[int]) -> str:
    for known, name in ((REFUSED, "4xx"), (FAILED, "5xx")):
        if list(allowed) == list(known):
            return name
    return " or ".join(map(str, allowed))


COMPARED = ("prompt_ids", "response_ids", "response_mask", "response_logprobs")


def _differences(actual: Trajectories, twin: Trajectories, hint: str) -> list[Violation]:
    if len(actual) != len(twin):
        expected = f"{len(twin)}, as without the fault"
        return [Violation("trajectories", expected, f"{len(actual)}", hint)]
    return [
        Violation(f"trajectory {number}, {name}", describe(getattr(theirs, name)), describe(getattr(ours, name)), hint)
        for number, (ours, theirs) in enumerate(zip(actual, twin, strict=True))
        for name in COMPARED
        if getattr(ours, name) != getattr(theirs, name)
    ]


def _exported_text(trajectories: Trajectories, tokenizer: Tokenizer) -> str:
    return (
        "\n".join(tokenizer.decode([*trajectory.prompt_ids, *trajectory.response_ids]) for trajectory in trajectories)
        or "none"
    )
