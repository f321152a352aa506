"""The words of checks about tokens: what holds is silent, and all that is wrong is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.fixtures import fixture_path
from conformance.gateway import Trajectory
from conformance.oracles.tokens import listed, pack, window
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import ANSWERED, FAILED, Call
from conformance.vocabulary.expect import calls_made, expect, last_call
from conformance.vocabulary.exported import context, rendered
from conformance.vocabulary.session import Superseded, Trajectories

FIRST = Trajectory([1, 2], [3, 4, 9, 5, 6], [1, 1, 0, 1, 1], [-0.5, -0.25, 0.0, -1.0, -2.0], num_turns=2)
SECOND = Trajectory([1, 2, 3, 4, 8], [7], [1], [-3.0], num_turns=2)
BARE = replace(SECOND, response_logprobs=None)
EMPTY = Trajectory([1], [], [], None)


def call(context: list[int], *generation: int, logprobs: list[float] | None = None, outcome: str = ANSWERED) -> Call:
    made = Call(0, None, "completions", 0.0, context, {}, {}, outcome=outcome, logprobs=logprobs)
    made.generations = [list(generation)] if generation else []
    return made


CALLS = [
    call([1, 2], 3, 4, logprobs=[-0.5, -0.25]),
    call([1, 2, 3, 4, 9], 5, 6, logprobs=[-1.0, -2.0]),
    call([1, 2, 3, 4, 8], 7, logprobs=[-3.0]),
]


class Recorded(Upstream):
    """An upstream that received these calls."""

    def __init__(self, *calls: Call, tokenizer: Tokenizer | None = None) -> None:
        self.recorded = list(calls)
        self.tokenizer = tokenizer or Tokenizer.load(fixture_path("chars"))

    @property
    def calls(self) -> list[Call]:
        return self.recorded


def exported(*trajectories: Trajectory) -> Any:
    return expect(Trajectories(trajectories))


def said(word: Callable[[], object]) -> list[str]:
    """What a word reports, one line for each violation."""
    try:
        word()
    except ConformanceFailure as failure:
        return [str(one) for one in failure.violations]
    return []


def without(trajectory: Trajectory, **changes: Any) -> Trajectory:
    return replace(trajectory, **changes)


NULL = "trajectory 0, response_logprobs: expected a list"
SHORT = "trajectory 0, response_logprobs: expected 5 entries"
NONE = "trajectories: expected at least one, got none"
LAST = "the calls that trajectories end with: expected the order in which they were answered, got"
NOUGHT = without(FIRST, response_logprobs=[-0.5, -0.25, -0.75, -1.0, -2.0])
CUT = without(FIRST, response_logprobs=[-0.5])
FALSE = without(FIRST, response_logprobs=[-0.5, -0.25, 0.0, -1.0, -9.0])
WORDS = [
    (lambda: exported(FIRST, SECOND).count(2), []),
    (lambda: exported(FIRST).count(2), ["trajectories: expected 2, got 1, with [5] response ids"]),
    (lambda: exported(FIRST).same_as([FIRST]), []),
    (lambda: exported(FIRST).same_as([SECOND], [FIRST]), []),
    (lambda: exported(FIRST).same_as([]), ["trajectories: expected 0, as without the fault, got 1"]),
    (
        lambda: exported(FIRST, SECOND).same_as([FIRST, without(SECOND, response_ids=[8], response_logprobs=None)]),
        [
            "trajectory 1, response_ids: expected [8], got [7]",
            "trajectory 1, response_logprobs: expected null, got [-3.0]",
        ],
    ),
    (
        lambda: exported(FIRST).same_as([without(FIRST, prompt_ids=[1], response_mask=[1])], []),
        ["trajectory 0, prompt_ids: expected [1], got [1, 2]", "trajectory 0, response_mask: expected [1], got ["],
    ),
    (
        lambda: exported(FIRST).same_as([], [without(FIRST, prompt_ids=[1])], [FIRST, FIRST]),
        ["trajectory 0, prompt_ids: expected [1], got [1, 2]"],
    ),
    (
        lambda: exported(SECOND, FIRST).same_as([FIRST, SECOND]),
        [
            "trajectory 0, prompt_ids: expected [1, 2], got",
            "trajectory 0, response_ids: expected [",
            "trajectory 0, response_mask: expected [",
            "trajectory 0, response_logprobs: expected [",
            "trajectory 1, prompt_ids: expected [",
            "trajectory 1, response_ids: expected [7], got",
            "trajectory 1, response_mask: expected [1], got",
            "trajectory 1, response_logprobs: expected [",
        ],
    ),
    (lambda: exported(FIRST).have_masks(), []),
    (lambda: exported().have_masks(), [NONE]),
    (lambda: exported(without(FIRST, prompt_ids=[-1])).have_masks(), []),
    (lambda: exported(without(FIRST, prompt_ids=[-1])).have_logprobs(), []),
    (lambda: exported(CUT).have_masks(), []),
    (
        lambda: exported(without(FIRST, response_mask=[1, 2])).have_masks(),
        ["trajectory 0, response_mask: expected 5 entries", "trajectory 0, response_mask[1]: expected 0 or 1"],
    ),
    (lambda: exported(SECOND).have_full_masks(), []),
    (
        lambda: exported(SECOND, FIRST).have_full_masks(),
        ["trajectory 1, response_mask: expected 1 throughout, got 0 at 2, 1 zeros in 5 entries"],
    ),
    (lambda: exported(EMPTY).have_full_masks(), ["trajectory 0, response_mask: expected 1 throughout, got 0 entries"]),
    (lambda: exported(SECOND).have_responses([CALLS[2]]), []),
    (lambda: exported().have_responses([]), []),
    (lambda: exported(without(SECOND, response_mask=[0])).have_responses([CALLS[2]]), []),
    (
        lambda: exported(SECOND).have_responses(CALLS[1:]),
        ["trajectories: expected 2, one for each call, got 1, with [1] ids"],
    ),
    (lambda: exported(SECOND).have_responses([CALLS[0]]), ["trajectory 0, response_ids[0]: expected "]),
    (lambda: exported(FIRST).have_ids_and_masks_of(Trajectories([NOUGHT])), []),
    (lambda: exported().have_ids_and_masks_of(Trajectories()), [NONE]),
    (lambda: exported(FIRST).have_ids_and_masks_of(Trajectories()), ["trajectories: expected 0, got 1"]),
    (
        lambda: exported(FIRST).have_ids_and_masks_of(
            Trajectories([without(FIRST, prompt_ids=[1], response_ids=[3, 4, 9, 5, 7], response_mask=[1])])
        ),
        [
            "trajectory 0, prompt_ids: expected ",
            "trajectory 0, response_ids: expected ",
            "trajectory 0, response_mask: expected ",
        ],
    ),
    (lambda: exported(FIRST).have_turns(2), []),
    (lambda: exported(SECOND, EMPTY).have_turns(2), ["trajectory 1, num_turns: expected 2, got None"]),
    (lambda: exported(FIRST).are_aligned(), []),
    (lambda: exported(CUT).are_aligned(), [SHORT]),
    (lambda: exported(NOUGHT).are_aligned(), ["trajectory 0, response_logprobs[2]: expected "]),
    (lambda: exported().are_aligned(), [NONE]),
    (lambda: exported(FIRST).have_logprobs(), []),
    (lambda: exported(NOUGHT).have_logprobs(), []),
    (lambda: exported(CUT).have_logprobs(), [SHORT]),
    (lambda: exported(BARE).have_logprobs(), [NULL]),
    (lambda: exported(EMPTY).have_logprobs(), []),
    (lambda: exported(FIRST).have_zero_logprobs_in_gaps(), []),
    (lambda: exported(NOUGHT).have_zero_logprobs_in_gaps(), ["trajectory 0, response_logprobs[2]: expected 0.0"]),
    (lambda: exported(BARE).have_zero_logprobs_in_gaps(), [NULL]),
    (lambda: exported(CUT).have_zero_logprobs_in_gaps(), []),
    (lambda: exported(FIRST).have_reported_logprobs(CALLS), []),
    (lambda: exported(BARE).have_reported_logprobs(CALLS), [NULL]),
    (lambda: exported(FALSE).have_reported_logprobs(CALLS), ["trajectory 0, response_logprobs[4]: expected"]),
    (lambda: exported(FIRST, BARE).have_reported_logprobs_or_none(CALLS), []),
    (lambda: exported(FALSE).have_reported_logprobs_or_none(CALLS), ["trajectory 0, response_logprobs[4]: expected"]),
    (lambda: exported(CUT).have_reported_logprobs_or_none(CALLS), [SHORT]),
    (lambda: exported(FIRST, SECOND).end_in_order_of(CALLS), []),
    (lambda: exported(SECOND, FIRST).end_in_order_of(CALLS), [f"{LAST} call 2, call 1"]),
    (lambda: exported(FIRST, EMPTY).end_in_order_of(CALLS), [f"{LAST} call 1, none of them"]),
    (lambda: exported(SECOND).end_in_order_of([call([1]), *CALLS]), []),
    (lambda: exported(SECOND, SECOND).end_in_order_of([CALLS[2], CALLS[2]]), []),
    (lambda: exported(FIRST).are_verbatim(CALLS), []),
    (lambda: exported().are_verbatim(CALLS), [NONE]),
    (
        lambda: exported(without(SECOND, response_ids=[6])).are_verbatim([CALLS[2]]),
        ["trajectory 0, response_mask[0:1]"],
    ),
    (lambda: exported(FIRST, SECOND).have_true_context(CALLS), []),
    (lambda: exported(without(SECOND, prompt_ids=[1])).have_true_context([CALLS[2]]), ["trajectory 0"]),
    (lambda: exported(FIRST, SECOND).conserve(CALLS), []),
    (lambda: exported(FIRST).conserve(CALLS), ["call 2"]),
    (lambda: exported(FIRST).conserve(CALLS, 1), []),
    (lambda: exported(FIRST).conserve(CALLS, [2]), []),
    (lambda: exported(FIRST, SECOND).match(CALLS), []),
    (lambda: exported(FIRST).match(CALLS), ["call 2"]),
    (lambda: exported(FIRST).match(CALLS, 1), []),
    (lambda: exported(FIRST).train_on(CALLS, 0, 1), []),
    (
        lambda: exported(FIRST).train_on(CALLS, 0, 2),
        ["call 2 (1 id 7): expected mask 1 on its generation", "call 1 (2 ids 5 6): expected given up"],
    ),
    (lambda: exported(FIRST).account_for(CALLS, Superseded(1, 1)), []),
    (lambda: exported(FIRST).account_for([*CALLS, call([1], 5, 5, outcome=FAILED)], Superseded(1, 1)), []),
    (
        lambda: exported(FIRST).account_for(CALLS, Superseded(1, 2)),
        ["sampled ids reported as given up: expected 1, got 2"],
    ),
    (lambda: exported(FIRST).account_for(CALLS, Superseded(0, 0)), ["call 2"]),
    (
        lambda: exported(without(SECOND, response_ids=[6])).account_for([CALLS[2]], Superseded(0, 0)),
        ["trajectory 0, response_mask[0:1]", "trajectory 0, response_ids[0:1]", "call 0"],
    ),
    (
        lambda: exported(without(SECOND, prompt_ids=[1])).account_for([CALLS[2]], Superseded(0, 0)),
        ["trajectory 0"],
    ),
]


@pytest.mark.parametrize(("word", "lines"), WORDS)
def test_trajectories(word, lines):
    found = said(word)
    assert len(found) == len(lines), found
    for actual, start in zip(found, lines, strict=True):
        assert actual.startswith(start)


VERSIONS = {"min_global_steps": 3, "max_global_steps": 4}


@pytest.mark.parametrize(
    ("extra", "span"),
    [
        (VERSIONS, (3, 4)),
        ({"extra_fields": VERSIONS, "min_global_steps": 9}, (3, 4)),
        ({"max_global_steps": 4}, (None, 4)),
        ({"min_global_steps": None}, None),
        ({"extra_fields": None}, None),
        ({}, None),
    ],
)
def test_weight_versions(extra, span):
    given = exported(without(FIRST, extra=extra))
    assert said(lambda: given.span_weight_versions(span)) == []
    assert said(lambda: given.span_weight_versions((1, 1))) == [
        f"weight versions of the trajectories: expected [(1, 1)], got {[span]}"
    ]
    assert said(lambda: exported().span_weight_versions()) == [NONE]


def test_calls_are_counted():
    upstream = Recorded(*CALLS)
    assert calls_made(upstream, 3) == CALLS
    assert said(lambda: calls_made(upstream)) == ["upstream: expected calls: 1, got calls: 3"]
    assert last_call(upstream) is CALLS[2]
    assert said(lambda: last_call(Recorded())) == ["upstream: expected a call, got none"]


@pytest.fixture(scope="module")
def chatml() -> Tokenizer:
    return Tokenizer.load(fixture_path("chatml"))


def test_texts_are_found_in_prompts_and_responses(chatml):
    exports = exported(Trajectory(chatml.encode("asked"), chatml.encode("told"), [1]))
    assert said(lambda: exports.say(chatml, "asked", "told")) == []
    assert said(lambda: exports.say(chatml, "asked", "lost")) == [
        "trajectories: expected one with 'lost', got askedtold"
    ]
    assert said(lambda: exports.leave_out(chatml, "lost", "found")) == []
    assert said(lambda: exports.leave_out(chatml, "lost", "ask")) == [
        "trajectories: expected nothing with 'ask', got askedtold"
    ]
    assert said(lambda: exported().say(chatml, "a")) == ["trajectories: expected one with 'a', got none"]


def test_an_upstream_lends_its_tokenizer_to_the_explanations(chatml):
    upstream = Recorded(call(chatml.encode("asked"), *chatml.encode("told")), tokenizer=chatml)
    wrong = exported(Trajectory(chatml.encode("asked"), chatml.encode("tale"), [1] * len(chatml.encode("tale"))))
    assert any("told" in one for one in said(lambda: wrong.match(upstream)))
    assert any("told" in one for one in said(lambda: wrong.have_responses(upstream)))


HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
MORE = {"role": "user", "content": "More"}
END = "<|im_end|>"


@pytest.fixture
def talk(chatml) -> Recorded:
    """Two turns as the template writes them."""
    first = rendered(chatml, [HI])
    told = chatml.encode("Hello" + END)
    second = rendered(chatml, [HI, HELLO, MORE])
    assert second[: len(first) + len(told)] == first + told
    return Recorded(call(first, *told), call(second, *chatml.encode("So")), tokenizer=chatml)


def test_a_context_that_is_there(talk):
    assert said(lambda: context(talk, 1)) == []
    assert said(lambda: context(talk, 2)) == ["upstream calls: expected at least 3, got 2"]


def test_a_context_as_rendered(talk, chatml):
    second = context(talk, 1)
    assert said(lambda: second.is_rendered([HI, HELLO, MORE])) == []
    assert said(lambda: second.reads_as_rendered([HI, HELLO, MORE])) == []
    assert said(lambda: second.continues_as_rendered([HI, HELLO, MORE])) == []
    (whole,) = said(lambda: second.is_rendered([HI, HELLO, HI]))
    assert whole.startswith("context of call 1[")
    (text,) = said(lambda: second.reads_as_rendered([HI, HELLO, HI]))
    assert text.startswith("text of the context of call 1: expected ")
    (behind,) = said(lambda: second.continues_as_rendered([HI, HELLO, HI]))
    assert behind.startswith("context of call 1, behind the generation")


def test_other_ids_of_the_same_text_read_as_rendered(talk, chatml):
    question = {"role": "user", "content": "world"}
    spelled = [one for character in "world" for one in chatml.encode(character)]
    assert spelled != chatml.encode("world")
    before, _, after = chatml.render([question]).partition("world")
    talk.calls[0].context = [*chatml.encode(before), *spelled, *chatml.encode(after)]
    assert said(lambda: context(talk, 0).reads_as_rendered([question])) == []
    assert len(said(lambda: context(talk, 0).is_rendered([question]))) == 1


def test_only_what_stands_behind_the_generation_must_be_as_rendered(talk, chatml):
    first, second = talk.calls
    cut = len(first.context) + len(first.generation)
    said_otherwise = chatml.encode("Hey" + END)
    first.generations = [said_otherwise]
    second.context = first.context + said_otherwise + second.context[cut:]
    assert said(lambda: context(talk, 1).continues_as_rendered([HI, HELLO, MORE])) == []
    first.generations = [said_otherwise[:-1]]
    second.context = (
        first.context
        + first.generation
        + chatml.encode(END)
        + talk.calls[1].context[len(first.context) + len(said_otherwise) :]
    )
    assert said(lambda: context(talk, 1).continues_as_rendered([HI, HELLO, MORE])) == []
    first.context = first.context[1:]
    assert len(said(lambda: context(talk, 1).continues_as_rendered([HI, HELLO, MORE, HI]))) == 1
    assert said(lambda: context(talk, 0).continues_as_rendered([HI])) != []


@pytest.mark.parametrize(
    ("family", "to_end", "behind"),
    [
        pytest.param("llama2", " </s>", "<s>[INST] More [/INST]", id="llama2"),
        pytest.param(
            "deepseek-coder",
            "\n<|EOT|>",
            "\n### Instruction:\nMore\n### Response:",
            id="deepseek-coder",
        ),
        pytest.param("glm", "<|user|>", "\nMore<|assistant|>\n", id="glm"),
    ],
)
def test_an_end_of_turn_is_not_always_right_behind_an_answer(family, to_end, behind):
    tokenizer = Tokenizer.load(fixture_path(family))
    asked, answer = rendered(tokenizer, [HI]), tokenizer.encode("Hello")
    ended, cut = [*answer, tokenizer.end_of_turn], answer

    def wrong(generation, put):
        first, second = call(asked, *generation), call([*asked, *generation, *tokenizer.encode(put)])
        upstream = Recorded(first, second, tokenizer=tokenizer)
        return said(lambda: context(upstream, 1).continues_as_rendered([HI, HELLO, MORE]))

    assert wrong(ended, behind) == []
    assert wrong(cut, to_end + behind) == []
    assert len(wrong(ended, to_end + behind)) == 1
    assert len(wrong(cut, behind)) == 1


def test_a_context_goes_on_directly(talk, chatml):
    first, second = talk.calls
    (wrong,) = said(lambda: context(talk, 1).goes_on_directly())
    assert wrong.startswith(f"context of call 1[{len(first.context) + len(first.generation)}]: expected")
    second.context = first.context + first.generation
    assert said(lambda: context(talk, 1).goes_on_directly()) == []
    assert len(said(lambda: context(talk, 0).goes_on_directly())) == 1


def test_turns_are_ended_as_often(talk, chatml):
    first, second = context(talk, 0), context(talk, 1)
    assert said(lambda: first.ends_as_many_turns_as(first)) == []
    ends = talk.calls[0].context.count(chatml.end_of_turn)
    assert said(lambda: second.ends_as_many_turns_as(first)) == [
        f"context of call 1: expected {ends} times the token {END}, got {ends + 2} times"
    ]


def test_a_generation_stands_in_the_next_context(talk, chatml):
    second = context(talk, 1)
    assert said(second.holds_generation_before) == []
    assert said(lambda: second.holds_generation_of(talk.calls[0])) == []
    size, ids = len(talk.calls[1].context), talk.calls[1].generation
    assert said(lambda: second.holds_generation_of(talk.calls[1])) == [
        f"context of call 1: expected the ids sampled before, {listed(pack(ids), chatml.decode)}, "
        f"got {window(pack(talk.calls[1].context), size, chatml.decode)}"
    ]


def test_no_generation_stands_before_the_first_context(talk, chatml):
    assert said(lambda: context(talk, 0).holds_generation_before()) == [
        f"context of call 0: expected the ids sampled before, {listed(b'', chatml.decode)}, "
        f"got {window(pack(talk.calls[0].context), 0, chatml.decode)}"
    ]


def test_a_prompt_is_no_longer_than_the_context(talk):
    size = len(talk.calls[0].context)
    for length, lines in (
        (size, []),
        (size + 1, [f"trajectory 0, prompt_ids: expected at most the {size} of call 0, got {size + 1}"]),
    ):
        assert said(lambda n=length: exported(Trajectory([1] * n, [], [])).begin_with_context(talk, 0)) == lines
    assert said(lambda: exported().begin_with_context(talk, 0)) == [NONE]
