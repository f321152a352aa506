"""The tokenizer of these tests: an id is a code point; the template writes `role:content\n` for each message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.gateway import Trajectory
from conformance.oracles import Violation
from conformance.oracles.token_truth import (
    Generation,
    alignment,
    conservation,
    context_truth,
    judge,
    logprob_truth,
    verbatim,
)

PROMPT = "user:hi\nassistant:"
SEAM = "user:more\nassistant:"
THIRD = "user:now\nassistant:"


def ids(text):
    return [ord(character) for character in text]


def decode(tokens):
    return "".join(map(chr, tokens))


def trajectory(prompt, *parts, logprobs=None):
    """`parts` are (text, mask)."""
    response = [one for text, _ in parts for one in ids(text)]
    mask = [bit for text, bit in parts for _ in text]
    return Trajectory(ids(prompt), response, mask, logprobs)


def call(context, generation, logprobs=None):
    return Generation(ids(context), ids(generation), logprobs)


TWO_TURNS = trajectory(PROMPT, ("A1", 1), (SEAM, 0), ("A2", 1))
TWO_CALLS = [call(PROMPT, "A1"), call(PROMPT + "A1" + SEAM, "A2")]

B1 = ([TWO_TURNS], TWO_CALLS, 0)
B2 = ([trajectory(PROMPT, ("A1", 1)), trajectory(PROMPT, ("A2", 1))], [call(PROMPT, "A1"), call(PROMPT, "A2")], 0)
B3 = ([trajectory(PROMPT, ("A1A2", 1))], [call(PROMPT, "A1"), call(PROMPT + "A1", "A2")], 0)
B5 = (
    [trajectory(PROMPT, ("A1", 1), ("user:m\nuser:err\nassistant:", 0), ("F", 1))],
    [
        call(PROMPT, "A1"),
        call(PROMPT + "A1user:m\nassistant:", "A2"),
        call(PROMPT + "A1user:m\nuser:err\nassistant:", "F"),
    ],
    1,
)
B10 = (
    [trajectory(PROMPT, ("user:x\nassistant:", 0), ("B", 1))],
    [call(PROMPT, ""), call(PROMPT + "user:x\nassistant:", "B")],
    0,
)
EMPTY_LAST = ([trajectory(PROMPT, ("A1", 1), (SEAM, 0))], [TWO_CALLS[0], call(PROMPT + "A1" + SEAM, "")], 0)
SIBLINGS = ([trajectory(PROMPT, ("A", 1))] * 3, [call(PROMPT, "A")] * 3, 0)
BRANCHES = (
    [
        trajectory(PROMPT, ("A1", 1), (SEAM, 0), ("A2", 1)),
        trajectory(PROMPT + "A1" + THIRD, ("A3", 1)),
        trajectory(PROMPT + "A1" + SEAM + "A2" + THIRD, ("A3", 1)),
    ],
    [
        *TWO_CALLS,
        call(PROMPT + "A1" + THIRD, "A3"),
        call(PROMPT + "A1" + SEAM + "A2" + THIRD, "A3"),
    ],
    0,
)
BRANCHES_MASKED = (
    [TWO_TURNS, trajectory(PROMPT, ("A1" + THIRD, 0), ("A3", 1))],
    [*TWO_CALLS, call(PROMPT + "A1" + THIRD, "A3")],
    0,
)
AMBIGUOUS = ([trajectory(PROMPT, ("aab", 1))], [call(PROMPT, "aa"), call(PROMPT, "a"), call(PROMPT + "aa", "b")], [1])


@pytest.mark.parametrize(
    ("trajectories", "calls", "superseded"),
    [
        pytest.param(*B1, id="two-turns"),
        pytest.param(*B2, id="repeated-prompt"),
        pytest.param(*B3, id="no-seam-between-generations"),
        pytest.param(*B5, id="rolled-back"),
        pytest.param(*B10, id="empty-generation-first"),
        pytest.param(*EMPTY_LAST, id="empty-generation-last"),
        pytest.param(*SIBLINGS, id="siblings-with-the-same-text"),
        pytest.param(*BRANCHES, id="branches-carry-in-the-prompt"),
        pytest.param(*BRANCHES_MASKED, id="branches-carry-with-mask-0"),
        pytest.param(*AMBIGUOUS, id="one-generation-begins-another"),
        pytest.param([], [], 0, id="nothing"),
    ],
)
def test_what_the_model_saw_and_sampled_conforms(trajectories, calls, superseded):
    assert judge(trajectories, calls, superseded, decode) == []


def test_calls_that_were_not_answered_do_not_count():
    class Failed:
        context, generation, logprobs, outcome = ids(PROMPT), ids("lost"), None, "aborted"

    class Refused:
        context, generation, logprobs = ids(PROMPT), None, None

    assert judge([TWO_TURNS], [Failed(), *TWO_CALLS, Refused()]) == []


def test_a_call_for_several_choices_has_several_generations():
    class Two:
        context, logprobs = ids(PROMPT), None
        generation, generations = ids("A"), [ids("A"), ids("B")]

    both = [trajectory(PROMPT, ("A", 1)), trajectory(PROMPT, ("B", 1))]
    assert judge(both, [Two()]) == []
    assert conservation(both[:1], [Two()], decode=decode) == [
        Violation('call 0, choice 1 (1 id 66 = "B")', "mask 1 once", "none: it is in no trajectory")
    ]


# alignment ------------------------------------------------------------------------------------------------------------


def aligned(**changes):
    fields = {"prompt_ids": [1, 2], "response_ids": [3, 4, 5], "response_mask": [1, 0, 1], "response_logprobs": None}
    return [Trajectory(**{**fields, **changes})]


SHIFTED = "the logprobs are shifted against the mask"


@pytest.mark.parametrize(
    ("trajectories", "violations"),
    [
        pytest.param(aligned(response_logprobs=[-0.5, -0.0, -1]), [], id="fine"),
        pytest.param(aligned(prompt_ids=None), [("prompt_ids", "a list of token ids", "null", "")], id="null"),
        pytest.param(
            aligned(prompt_ids=["a", 2, "b"]),
            [("prompt_ids[0]", "an integer of at least 0", 'string "a" (and 1 more)', "text where ids are expected")],
            id="text",
        ),
        pytest.param(
            aligned(response_ids=[3, -4, 5]),
            [("response_ids[1]", "an integer of at least 0", "integer -4", "")],
            id="negative",
        ),
        pytest.param(
            aligned(response_ids=[3, True, 5]),
            [("response_ids[1]", "an integer of at least 0", "true", "")],
            id="true-is-no-id",
        ),
        pytest.param(
            aligned(response_mask=[1, 0]),
            [("response_mask", "3 entries, one a response id", "2", "")],
            id="mask-too-short",
        ),
        pytest.param(
            aligned(response_mask=[1, 2, 1.0]),
            [("response_mask[1]", "0 or 1", "integer 2 (and 1 more)", "")],
            id="mask-values",
        ),
        pytest.param(
            aligned(response_mask="101"), [("response_mask", "a list of 0 and 1", 'string "101"', "")], id="mask-text"
        ),
        pytest.param(
            aligned(response_logprobs=[-0.5]),
            [
                (
                    "response_logprobs",
                    "3 entries, one a response id",
                    "1",
                    "a turn without logprobs was appended to turns that have them",
                )
            ],
            id="logprobs-too-short",
        ),
        pytest.param(
            aligned(response_logprobs=[float("nan"), 0.0, None]),
            [("response_logprobs[0]", "a finite number", "number NaN (and 1 more)", "")],
            id="logprobs-not-finite",
        ),
        pytest.param(
            aligned(response_logprobs=[-0.1, -0.2, 0.0]),
            [("response_logprobs[1]", "0.0, as the mask is 0", "-0.2", SHIFTED)],
            id="logprobs-where-the-mask-is-0",
        ),
        pytest.param(
            aligned(response_logprobs=7),
            [("response_logprobs", "a list of floats, or null", "integer 7", "")],
            id="logprobs-number",
        ),
    ],
)
def test_alignment(trajectories, violations):
    assert alignment(trajectories) == [
        Violation(f"trajectory 0, {where}", expected, actual, hint) for where, expected, actual, hint in violations
    ]


def test_alignment_names_all():
    broken = [*aligned(response_mask=[1, 2]), *aligned(prompt_ids=[1.5], response_logprobs=[])]
    assert [one.where for one in alignment(broken)] == [
        "trajectory 0, response_mask",
        "trajectory 0, response_mask[1]",
        "trajectory 1, prompt_ids[0]",
        "trajectory 1, response_logprobs",
    ]


# verbatim -------------------------------------------------------------------------------------------------------------


EOT = "."
ENDED = [call(PROMPT, "Hey" + EOT), call(PROMPT + "Hey" + EOT + SEAM, "Yes" + EOT)]


@pytest.mark.parametrize(
    ("response", "calls", "where", "expected", "actual", "hint"),
    [
        pytest.param(
            [("A", 0), ("1u", 1), (SEAM[1:], 0), ("A2", 1)],
            TWO_CALLS,
            "response_mask[1:3]",
            'the 2 ids that call 0 returned, [65] 49 = "A1"',
            '[49] 117 = "1u"',
            "the mask is shifted by one to the right",
            id="mask-shifted-right",
        ),
        pytest.param(
            [("A1", 1), (SEAM[:-1], 0), (SEAM[-1] + "A", 1), ("2", 0)],
            TWO_CALLS,
            "response_mask[21:23]",
            'the 2 ids that call 1 returned, [65] 50 = "A2"',
            '[58] 65 = ":A"',
            "the mask is shifted by one to the left",
            id="mask-shifted-left",
        ),
        pytest.param(
            [("Hey", 1), (EOT + SEAM, 0), ("Yes" + EOT, 1)],
            ENDED,
            "response_mask[0:3]",
            'the 4 ids that call 0 returned, 72 101 121 [46] = "Hey."',
            '72 101 121 [end] = "Hey"',
            "the last sampled id, usually the end-of-turn token, is there with mask 0",
            id="end-of-turn-masked",
        ),
        pytest.param(
            [("Hey" + EOT + SEAM, 0), ("Yes", 1)],
            ENDED,
            "response_mask[24:27]",
            'the 4 ids that call 1 returned, 89 101 115 [46] = "Yes."',
            '89 101 115 [end] = "Yes"',
            "the last sampled id, usually the end-of-turn token, is missing",
            id="end-of-turn-missing",
        ),
        pytest.param(
            [("He", 1)],
            ENDED,
            "response_mask[0:2]",
            'the 4 ids that call 0 returned, 72 101 [121] 46 = "Hey."',
            '72 101 [end] = "He"',
            "the last 2 sampled ids are missing",
            id="cut",
        ),
        pytest.param(
            [("A", 0), ("1", 1)],
            TWO_CALLS[:1],
            "response_mask[1:2]",
            'the 2 ids that call 0 returned, [65] 49 = "A1"',
            '[49] = "1"',
            "the first sampled id has mask 0",
            id="first-id-masked",
        ),
        pytest.param(
            [("A1", 1), ("user:more\n", 0), ("assistant:A2", 1)],
            TWO_CALLS,
            "response_mask[12:24]",
            'the 2 ids that call 1 returned, [65] 50 = "A2"',
            '[97] 115 115 105 115 ... = "assis"',
            "mask 1 on 10 ids before the generation: is the generation prompt counted as sampled?",
            id="generation-prompt-counted",
        ),
        pytest.param(
            [("A1" + SEAM + "A2", 1)],
            TWO_CALLS,
            "response_mask[2:24]",
            'the 2 ids that call 1 returned, [65] 50 = "A2"',
            '[117] 115 101 114 58 ... = "user:"',
            "mask 1 on 20 ids between two generations, which the gateway put there",
            id="seam-and-all-counted",
        ),
        pytest.param(
            [("A1user:", 1), ("more\nassistant:", 0), ("A2", 1)],
            TWO_CALLS,
            "response_mask[2:7]",
            "mask 1 on ids that the upstream returned, and nowhere else",
            '5 ids 117 115 101 114 58 = "user:"',
            "never sampled: ids behind a generation, which the gateway put there",
            id="seam-counted",
        ),
        pytest.param(
            [("A1", 1), (SEAM, 0), ("zzz", 1)],
            TWO_CALLS[:1],
            "response_mask[22:25]",
            "mask 1 on ids that the upstream returned, and nowhere else",
            '3 ids 122 122 122 = "zzz"',
            "never sampled",
            id="invented",
        ),
        pytest.param(
            [("A1", 1), (SEAM, 0), ("a2", 1)],
            TWO_CALLS,
            "response_mask[22:24]",
            'the 2 ids that call 1 returned, [65] 50 = "A2"',
            '[97] 50 = "a2"',
            "",
            id="changed",
        ),
    ],
)
def test_verbatim(response, calls, where, expected, actual, hint):
    found = verbatim([trajectory(PROMPT, *response)], calls, decode)
    assert found[0] == Violation(f"trajectory 0, {where}", expected, actual, hint)
    assert len(found) == 1


def test_a_mask_of_zeros_is_no_tail_and_loses_every_generation():
    item = trajectory(PROMPT, ("A1" + SEAM + "A2", 0))
    assert judge([item], TWO_CALLS, decode=decode) == [
        Violation('call 0 (2 ids 65 49 = "A1")', "mask 1 once", "mask 0 at trajectory 0, response_ids[0:2]"),
        Violation('call 1 (2 ids 65 50 = "A2")', "mask 1 once", "mask 0 at trajectory 0, response_ids[22:24]"),
    ]


def test_verbatim_recognises_ids_that_were_made_again_from_text():
    def spelled(tokens):
        return "".join({1: "wor", 2: "ld", 3: "world"}.get(one, "?") for one in tokens)

    exported = [Trajectory([9], [3], [1])]
    recorded = [Generation([9], [1, 2])]
    hint = "the ids were made again from text: same text, other ids"
    assert verbatim(exported, recorded, spelled) == [
        Violation(
            "trajectory 0, response_mask[0:1]",
            'the 2 ids that call 0 returned, [1] 2 = "world"',
            '[3] = "world"',
            hint,
        )
    ]
    assert verbatim(exported, recorded)[0].hint == ""
    assert judge([Trajectory([8], [3], [1])], recorded, decode=spelled)[0].hint == hint


def test_verbatim_demands_the_order_of_the_calls():
    swapped = trajectory(PROMPT, ("A2", 1), (SEAM, 0), ("A1", 1))
    assert verbatim([swapped], TWO_CALLS) == [
        Violation(
            "trajectory 0, response_ids[22:24]",
            "a generation that came after that of call 1",
            "that of call 0",
            "the generations stand in another order",
        )
    ]


# context truth --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exported", "context", "where", "expected", "actual", "hint"),
    [
        pytest.param(
            (PROMPT, "A1", SEAM + "assistant:"),
            PROMPT + "A1" + SEAM,
            "response_ids[32:34], context",
            'the 40 ids that call 1 received, at 40: ... 110 116 58 [end] = "nt:"',
            '50 ids, at trajectory 0, response_ids[22]: ... 110 116 58 [97] 115 115 105 115 ... = "nt:assis"',
            "the export has these ids twice: is the generation prompt of a dropped turn still there?",
            id="generation-prompt-doubled-in-the-export",
        ),
        pytest.param(
            (PROMPT, "A1", SEAM),
            PROMPT + "A1" + SEAM + "assistant:",
            "response_ids[22:24], context",
            'the 50 ids that call 1 received, at 40: ... 110 116 58 [97] 115 115 105 115 ... = "nt:assis"',
            '40 ids, at trajectory 0, response_ids[22]: ... 110 116 58 [end] = "nt:"',
            "the upstream received these ids twice: was the generation prompt sent twice?",
            id="generation-prompt-sent-twice",
        ),
        pytest.param(
            (PROMPT, "A1", SEAM),
            PROMPT + "A1\n" + SEAM,
            "response_ids[22:24], context",
            'the 41 ids that call 1 received, at 20: ... 58 65 49 [10] 117 115 101 114 ... = ":A1\\nuser"',
            '40 ids, at trajectory 0, response_ids[2]: ... 58 65 49 [117] 115 101 114 58 ... = ":A1user:"',
            "the end-of-turn token or turn separator behind the generation is missing in the export",
            id="separator-missing",
        ),
        pytest.param(
            (PROMPT, "A1", "\n" + SEAM),
            PROMPT + "A1" + SEAM,
            "response_ids[23:25], context",
            'the 40 ids that call 1 received, at 20: ... 58 65 49 [117] 115 101 114 58 ... = ":A1user:"',
            '41 ids, at trajectory 0, response_ids[2]: ... 58 65 49 [10] 117 115 101 114 ... = ":A1\\nuser"',
            "the export has an end-of-turn token or turn separator that was not sent",
            id="separator-not-sent",
        ),
        pytest.param(
            (PROMPT, "A1", SEAM),
            PROMPT + "a1" + SEAM,
            "response_ids[22:24], context",
            'the 40 ids that call 1 received, at 18: ... 110 116 58 [97] 49 117 115 101 ... = "nt:a1use"',
            '40 ids, at trajectory 0, response_ids[0]: ... 110 116 58 [65] 49 117 115 101 ... = "nt:A1use"',
            "the difference is inside an earlier generation: were its ids made again from text?",
            id="earlier-generation-sent-otherwise",
        ),
        pytest.param(
            (PROMPT, "A1", SEAM),
            PROMPT + "A1" + "user:some more\nassistant:",
            "response_ids[22:24], context",
            'the 45 ids that call 1 received, at 25: ... 101 114 58 [115] 111 109 101 32 ... = "er:some "',
            '40 ids, at trajectory 0, response_ids[7]: ... 101 114 58 [109] 111 114 101 10 ... = "er:more\\n"',
            "the upstream received ids that the export leaves out",
            id="left-out",
        ),
    ],
)
def test_context_truth(exported, context, where, expected, actual, hint):
    prompt, first, seam = exported
    item = trajectory(prompt, (first, 1), (seam, 0), ("A2", 1))
    calls = [call(PROMPT, "A1"), call(context, "A2")]
    assert context_truth([item], calls, decode) == [Violation(f"trajectory 0, {where}", expected, actual, hint)]


def test_one_wrong_id_is_reported_once_with_what_it_spoils():
    item = trajectory("u" + PROMPT, ("A1", 1), (SEAM, 0), ("A2", 1), (THIRD, 0), ("A3", 1))
    calls = [*TWO_CALLS, call(PROMPT + "A1" + SEAM + "A2" + THIRD, "A3")]
    (found,) = context_truth([item], calls)
    assert found.where == "trajectory 0, response_ids[0:2], context"
    assert found.actual.endswith("; so for 2 later generations of this trajectory")
    assert "prompt_ids[1]" in found.actual


def test_nothing_stands_behind_the_last_generation():
    item = trajectory(PROMPT, ("A1", 1), ("user:mo", 0))
    assert context_truth([item], TWO_CALLS[:1], decode) == [
        Violation(
            "trajectory 0, response_ids[2:9]",
            "nothing behind the last generation",
            '7 ids 117 115 101 114 58 109 111 = "user:mo"',
            "a turn that was never generated, or was dropped, left its ids in the trajectory",
        )
    ]


def test_a_trajectory_without_any_recorded_call():
    assert context_truth([trajectory("P", ("A", 1))], [], decode) == [
        Violation(
            "trajectory 0, response_ids[0:1], context",
            "a context that the upstream received",
            '1 id 80 = "P"; it received none',
        )
    ]


# conservation ---------------------------------------------------------------------------------------------------------


SHARED = "a shared generation is trainable once; later branches carry it in prompt_ids or with mask 0"


def test_a_shared_generation_that_is_trained_in_each_branch():
    branch = trajectory(PROMPT, ("A1", 1), (THIRD, 0), ("A3", 1))
    calls = [*TWO_CALLS, call(PROMPT + "A1" + THIRD, "A3")]
    assert judge([TWO_TURNS, branch], calls, decode=decode) == [
        Violation(
            'call 0 (2 ids 65 49 = "A1")',
            "mask 1 once",
            "2 times: trajectory 0, response_ids[0:2]; trajectory 1, response_ids[0:2]",
            SHARED,
        )
    ]


@pytest.mark.parametrize(
    ("trajectories", "where", "hint"),
    [
        ([], "none: it is in no trajectory", ""),
        (
            [trajectory(PROMPT, ("A1" + SEAM, 0), ("A2", 1))],
            "mask 0 at trajectory 0, response_ids[0:2]",
            "",
        ),
        (
            [trajectory(PROMPT + "A1" + SEAM, ("A2", 1))],
            "mask 0 at trajectory 0, prompt_ids[18:20]",
            "carried in a prompt, but the branch that owns it is not exported",
        ),
    ],
    ids=["nowhere", "masked", "only-in-a-prompt"],
)
def test_a_generation_that_is_lost(trajectories, where, hint):
    lost = conservation(trajectories, TWO_CALLS, superseded=0 if trajectories else [1], decode=decode)
    assert lost == [Violation('call 0 (2 ids 65 49 = "A1")', "mask 1 once", where, hint)]


MERGED = "two calls received and returned the same ids, and the export has one of them: were they taken for one?"


@pytest.mark.parametrize(
    ("more", "beside"),
    [([], ""), ([trajectory(PROMPT, ("A1" + SEAM, 0), ("A2", 1))], "; mask 0 at trajectory 1, response_ids[0:2]")],
    ids=["merged", "merged-and-masked"],
)
def test_a_lost_twin_whose_ids_count_for_its_sibling(more, beside):
    calls = [call(PROMPT, "A1"), call(PROMPT, "A1"), *([TWO_CALLS[1]] if more else [])]
    where = f"the mask 1 at trajectory 0, response_ids[0:2] counts for call 0{beside}"
    assert conservation([trajectory(PROMPT, ("A1", 1)), *more], calls, decode=decode) == [
        Violation('call 1 (2 ids 65 49 = "A1")', "mask 1 once", where, MERGED)
    ]


def test_ids_that_nobody_sampled():
    item = trajectory(PROMPT, ("A1", 1), (SEAM, 0), ("A2", 1), (THIRD, 0), ("zz", 1))
    assert conservation([item], TWO_CALLS, decode=decode) == [
        Violation(
            "trajectory 0, response_ids[43:45]",
            "a generation that the upstream returned",
            '2 ids 122 122 = "zz"',
            "never sampled",
        )
    ]


def test_superseded_generations_are_counted():
    only_first = [trajectory(PROMPT, ("A1", 1))]
    assert conservation(only_first, TWO_CALLS, superseded=1) == []
    assert conservation(only_first, TWO_CALLS, superseded=[1]) == []
    assert conservation([], TWO_CALLS, superseded=1, decode=decode)[1] == Violation(
        'call 1 (2 ids 65 50 = "A2")',
        "mask 1 once",
        "none: it is in no trajectory; 1 of the 2 missing reported as superseded",
    )
    assert conservation([TWO_TURNS], TWO_CALLS, superseded=2) == [
        Violation(
            "superseded",
            "2 generations missing, as reported superseded",
            "0 missing",
            "the count of dropped generations is wrong",
        )
    ]
    assert conservation([TWO_TURNS], TWO_CALLS, superseded=[1], decode=decode) == [
        Violation(
            'call 1 (2 ids 65 50 = "A2")',
            "no mask 1, as it was superseded",
            "mask 1 at trajectory 0, response_ids[22:24]",
        )
    ]


def test_a_claim_whose_context_is_wrong_does_not_take_the_place_of_a_right_one():
    wrong = trajectory("X" + PROMPT, ("A", 1))
    right = trajectory(PROMPT, ("A", 1))
    calls = [call(PROMPT, "A"), call("Y" + PROMPT, "A")]
    assert conservation([wrong, right], calls) == []


def test_judge_blames_a_shifted_mask_once_for_each_generation():
    shifted = trajectory(PROMPT, ("A", 0), ("1u", 1), (SEAM[1:], 0), ("A", 0), ("2", 1))
    assert [one.hint for one in judge([shifted], TWO_CALLS)] == [
        "the mask is shifted by one to the right",
        "the first sampled id has mask 0",
    ]


# logprobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exported", "recorded", "violation"),
    [
        pytest.param([-0.25, -0.5], [-0.25, -0.5], None, id="same"),
        pytest.param([-0.1, -0.2], [-0.10000000149011612, -0.20000000298023224], None, id="same-as-32-bit-floats"),
        pytest.param(None, [-0.25, -0.5], None, id="not-exported"),
        pytest.param(
            [-0.25, -0.75], [-0.25, -0.5], ("[1]", "-0.5, as call 0 returned", "-0.75", ""), id="another-value"
        ),
        pytest.param(
            [0.0, 0.0],
            [-0.25, -0.5],
            ("[0]", "-0.25, as call 0 returned", "0.0", "zeros were filled in where the upstream reported logprobs"),
            id="zeros",
        ),
        pytest.param(
            [0.0, -0.25],
            [-0.25, -0.5],
            ("[0]", "-0.25, as call 0 returned", "0.0", "the logprobs are shifted by one"),
            id="shifted",
        ),
        pytest.param(
            [-0.25, -0.5],
            None,
            (
                "[0:2]",
                "no logprobs, as call 0 returned none",
                "[-0.25, -0.5]",
                "logprobs were made up for a turn that has none",
            ),
            id="made-up",
        ),
        pytest.param(
            [-0.25, -0.5],
            [-0.25],
            ("[1]", "nothing, as call 0 returned", "-0.5", "the upstream reported 1 logprob for 2 ids"),
            id="short",
        ),
    ],
)
def test_logprob_truth(exported, recorded, violation):
    found = logprob_truth([trajectory(PROMPT, ("A1", 1), logprobs=exported)], [call(PROMPT, "A1", recorded)])
    if violation is None:
        assert found == []
    else:
        where, *rest = violation
        assert found == [Violation(f"trajectory 0, response_logprobs{where}", *rest)]


# any input ------------------------------------------------------------------------------------------------------------

VALUES = st.none() | st.booleans() | st.floats() | st.integers(-2, 4) | st.integers() | st.text(max_size=2)
LISTS = st.lists(st.integers(0, 2), max_size=6) | st.lists(VALUES, max_size=5) | VALUES
TRAJECTORIES = st.lists(st.builds(Trajectory, LISTS, LISTS, LISTS, st.none() | LISTS) | VALUES, max_size=4)
CALLS = st.lists(st.builds(Generation, LISTS, LISTS, st.none() | LISTS) | VALUES, max_size=4)


@given(TRAJECTORIES | VALUES, CALLS | VALUES, st.integers(-1, 3) | st.lists(st.integers(0, 3), max_size=2))
def test_no_evidence_makes_an_oracle_raise(trajectories, calls, superseded):
    found = judge(trajectories, calls, superseded, decode) + conservation(trajectories, calls, superseded)
    for one in found:
        assert str(one).encode()


@st.composite
def conversations(draw):
    """A session as a prefix tree of turns over a small alphabet: (trajectories, calls) that conserve every token."""
    words = st.lists(st.integers(0, 2), max_size=4)
    calls, paths = [], []
    for number in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from([None, *range(len(paths))]))
        spans = [] if parent is None else list(paths[parent][0])
        spans.append((draw(words), 0, None))
        context = [one for ids, _, _ in spans for one in ids]
        generation = draw(words)
        calls.append(Generation(context, generation))
        paths.append(([*spans, (generation, 1, number)], parent))
    owned, trajectories = set(), []
    for number, (spans, _) in enumerate(paths):
        if any(parent == number for _, parent in paths):
            continue
        head, tail = [], []
        for ids, mask, owner in spans:
            mine = mask and owner not in owned
            owned |= {owner}
            if mine or tail:
                tail.append((ids, 1 if mine else 0))
            else:
                head += ids
        response = [one for ids, _ in tail for one in ids]
        trajectories.append(Trajectory(head, response, [mask for ids, mask in tail for _ in ids]))
    return trajectories, calls


@given(conversations())
def test_every_session_that_conserves_its_tokens_conforms(session):
    trajectories, calls = session
    assert alignment(trajectories) == []
    assert context_truth(trajectories, calls) == []
    assert conservation(trajectories, calls) == []
    assert verbatim(trajectories, calls) == []


@given(conversations(), st.data())
def test_a_lost_trajectory_is_a_lost_generation(session, data):
    trajectories, calls = session
    victim = data.draw(st.sampled_from(range(len(trajectories))))
    sampled = any(trajectories[victim].response_mask)
    rest = trajectories[:victim] + trajectories[victim + 1 :]
    assert bool(conservation(rest, calls)) == sampled
