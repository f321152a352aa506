"""The tokenizer of these tests: an id is a code point, and `WORD` is one id for the text `Hey` that it never makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.gateway import Trajectory
from conformance.oracles import Violation
from conformance.oracles.token_truth import TurnEnd, fidelity, seams

WORD = 5000
PROMPT = "user:hi\nassistant:"
ANSWER = "Hey."
SEAM = "\nuser:more\nassistant:"
GENERATION_PROMPT = [ord(character) for character in "assistant:"]


def ids(text):
    return [ord(character) for character in text]


def decode(tokens):
    return "".join("Hey" if one == WORD else chr(one) for one in tokens)


def trajectory(prompt, *parts):
    """`parts` are (text or ids, mask)."""
    spans = [(ids(one) if isinstance(one, str) else one, mask) for one, mask in parts]
    return Trajectory(
        ids(prompt) if isinstance(prompt, str) else prompt,
        [one for tokens, _ in spans for one in tokens],
        [mask for tokens, mask in spans for _ in tokens],
    )


RENDER = ids(PROMPT + ANSWER + SEAM)


@pytest.mark.parametrize(
    ("item", "render"),
    [
        pytest.param(trajectory(PROMPT, (ANSWER, 1)), ids(PROMPT), id="one-turn"),
        pytest.param(trajectory(PROMPT, (ANSWER, 1), (SEAM, 0), ("Yes.", 1)), RENDER, id="two-turns"),
        pytest.param(
            trajectory(PROMPT, ([WORD, 46], 1), (SEAM, 0), ("Yes.", 1)), RENDER, id="generation-is-not-canonical"
        ),
        pytest.param(
            trajectory(PROMPT, ([*[WORD] * 20, 46], 1), (SEAM, 0), ("Yes.", 1)),
            ids(PROMPT + "Hey" * 20 + "." + SEAM),
            id="generation-is-much-shorter-than-its-canonical-ids",
        ),
        pytest.param(
            trajectory(PROMPT, ([WORD, 46], 1)), ids(PROMPT + "Hey"), id="assistant-message-continued-in-place"
        ),
        pytest.param(trajectory(PROMPT, (ANSWER, 1), (SEAM, 0), ("Yes.", 1)), None, id="not-rendered"),
    ],
)
def test_what_the_template_renders_conforms(item, render):
    assert fidelity([item], decode, [render]) == []


@pytest.mark.parametrize(
    ("item", "where", "expected", "actual", "hint"),
    [
        pytest.param(
            trajectory(PROMPT, (ANSWER, 1), (SEAM[1:], 0), ("Yes.", 1)),
            "response_ids[4]",
            'what the template renders, ... 101 121 46 [10] 117 115 101 114 ... = "ey.\\nuser"',
            '... 101 121 46 [117] 115 101 114 58 ... = "ey.user:"',
            "the end-of-turn token or the turn separator behind the generation is missing",
            id="separator-missing",
        ),
        pytest.param(
            trajectory(PROMPT, ([WORD, 46], 1), (SEAM[1:], 0), ("Yes.", 1)),
            "response_ids[2]",
            'what the template renders, ... 101 121 46 [10] 117 115 101 114 ... = "ey.\\nuser"',
            '... 101 121 46 [117] 115 101 114 58 ... = "ey.user:"',
            "the end-of-turn token or the turn separator behind the generation is missing",
            id="separator-missing-behind-ids-that-are-not-canonical",
        ),
        pytest.param(
            trajectory(PROMPT, (ANSWER, 1), (SEAM + "assistant:", 0), ("Yes.", 1)),
            "response_ids[25]",
            'what the template renders, ... 110 116 58 [end] = "nt:"',
            '... 110 116 58 [97] 115 115 105 115 ... = "nt:assis"',
            "the export has these ids twice: is the generation prompt doubled?",
            id="generation-prompt-doubled",
        ),
        pytest.param(
            trajectory(PROMPT, (ANSWER, 1), ("\nuser:" + SEAM[1:], 0), ("Yes.", 1)),
            "response_ids[10]",
            'what the template renders, ... 101 114 58 [109] 111 114 101 10 ... = "er:more\\n"',
            '... 101 114 58 [117] 115 101 114 58 ... = "er:user:"',
            "the export has these ids twice: is the generation prompt doubled?",
            id="header-doubled",
        ),
        pytest.param(
            trajectory(PROMPT, (ANSWER, 1), ([*ids("\nuser:mor"), WORD, *ids("e\nassistant:")], 0), ("Yes.", 1)),
            "response_ids[13]",
            'what the template renders, ... 109 111 114 [101] 10 97 115 115 ... = "more\\nass"',
            '... 109 111 114 [5000] 101 10 97 115 ... = "morHeye\\nas"',
            "the export has ids that the template does not put there",
            id="ids-added",
        ),
        pytest.param(
            trajectory("U" + PROMPT[1:], ([WORD, 46], 1), (SEAM, 0), ("Yes.", 1)),
            "prompt_ids[0]",
            'what the template renders, [117] 115 101 114 58 ... = "user:"',
            '[85] 115 101 114 58 ... = "User:"',
            "",
            id="prompt-differs-before-ids-that-are-not-canonical",
        ),
        pytest.param(
            trajectory(PROMPT[1:], (ANSWER, 1)),
            "prompt_ids[0]",
            'what the template renders, [117] 115 101 114 58 ... = "user:"',
            '[115] 101 114 58 104 ... = "ser:h"',
            "the export leaves out ids that the template puts there",
            id="prompt-cut",
        ),
    ],
)
def test_fidelity(item, where, expected, actual, hint):
    render = ids(PROMPT) if not any(bit == 0 for bit in item.response_mask) else RENDER
    assert fidelity([item], decode, [render]) == [Violation(f"trajectory 0, {where}", expected, actual, hint)]


def test_fidelity_tells_other_ids_of_the_same_text():
    item = trajectory([*ids("user:"), WORD, *ids("\nassistant:")], ("Yes.", 1))
    (found,) = fidelity([item], decode, [ids("user:Hey\nassistant:")])
    assert found.hint == "same text, other ids: was the text cut in another place before it was encoded?"
    assert found.where == "trajectory 0, prompt_ids[5]"


def test_an_id_without_a_text_counts_too():
    silent = 6000
    item = trajectory(PROMPT, (ANSWER, 1), ([silent, *ids(SEAM)], 0), ("Yes.", 1))
    render = [*ids(PROMPT + ANSWER), silent, silent, *ids(SEAM)]
    (found,) = fidelity([item], lambda tokens: decode(one for one in tokens if one != silent), [render])
    assert found.where == "trajectory 0, response_ids[5]"


def test_fidelity_wants_one_render_for_each_trajectory():
    assert fidelity([], decode, [[1]]) == [Violation("trajectories", "1 trajectory, one a render", "0")]


ONCE = 'the generation prompt once before the generation, 10 ids 97 115 115 105 115 116 97 110 116 58 = "assistant:"'


# seams ----------------------------------------------------------------------------------------------------------------

RULES = {
    "encode": ids,
    "generation_prompt": GENERATION_PROMPT,
    "turn_end": TurnEnd(tokens=[ord(".")], separator=ids("\n")),
}


def test_seams_that_are_right():
    items = [
        trajectory(PROMPT, (ANSWER, 1), (SEAM, 0), ("Yes.", 1)),
        trajectory(PROMPT, ("Hey", 1), ("." + SEAM, 0), ("Yes.", 1)),
        trajectory(PROMPT, ([WORD, 46], 1)),
    ]
    assert seams(items, decode, **RULES) == []


@pytest.mark.parametrize(
    ("parts", "where", "expected", "actual", "hint"),
    [
        pytest.param(
            [("Hey", 1), (SEAM, 0), ("Yes.", 1)],
            "response_ids[3:24]",
            "an end-of-turn token behind the generation",
            '[10] 117 115 101 114 ... = "\\nuser"',
            "end-of-turn token missing: the generation did not end itself, so the gateway has to",
            id="end-of-turn-missing",
        ),
        pytest.param(
            [(ANSWER, 1), ("." + SEAM, 0), ("Yes.", 1)],
            "response_ids[4:26]",
            "one end-of-turn token behind the generation",
            'another, [46] 10 117 115 101 ... = ".\\nuse"',
            "the generation ended itself already",
            id="end-of-turn-doubled",
        ),
        pytest.param(
            [(ANSWER, 1), (SEAM[1:], 0), ("Yes.", 1)],
            "response_ids[4:24]",
            'the turn separator, 1 id 10 = "\\n"',
            '[117] 115 101 114 58 ... = "user:"',
            "the turn separator is missing",
            id="separator-missing",
        ),
        pytest.param(
            [(ANSWER, 1), ("\nuser:more\n", 0), ("Yes.", 1)],
            "response_ids[4:15]",
            ONCE,
            '10 ids 117 115 101 114 58 109 111 114 101 10 = "user:more\\n" at the end',
            "",
            id="generation-prompt-missing",
        ),
        pytest.param(
            [(ANSWER, 1), (SEAM + "assistant:", 0), ("Yes.", 1)],
            "response_ids[4:35]",
            ONCE,
            "it stands there twice",
            "the generation prompt of a dropped turn is still there",
            id="generation-prompt-doubled",
        ),
        pytest.param(
            [(ANSWER, 1), ([*ids("\nuser:"), WORD, *ids("\nassistant:")], 0), ("Yes.", 1)],
            "response_ids[4:22]",
            'the canonical ids of its text, ... 101 114 58 [72] 101 121 10 97 ... = "er:Hey\\na"',
            '... 101 114 58 [5000] 10 97 115 115 ... = "er:Hey\\nass"',
            "same text, other ids: was the text cut in another place before it was encoded?",
            id="not-canonical",
        ),
    ],
)
def test_seams(parts, where, expected, actual, hint):
    assert seams([trajectory(PROMPT, *parts)], decode, **RULES) == [
        Violation(f"trajectory 0, {where}", expected, actual, hint)
    ]


VALUES = st.none() | st.floats() | st.integers() | st.text(max_size=2)
LISTS = st.lists(st.integers(0, 2), max_size=6) | st.lists(VALUES, max_size=5) | VALUES
TRAJECTORIES = st.lists(st.builds(Trajectory, LISTS, LISTS, LISTS, st.none() | LISTS) | VALUES, max_size=4)


@given(TRAJECTORIES | VALUES, st.lists(LISTS, max_size=4) | VALUES, st.lists(st.integers(0, 2), max_size=2))
def test_no_trajectory_makes_a_fidelity_oracle_raise(trajectories, renders, few):
    found = fidelity(trajectories, decode, renders)
    found += seams(trajectories, decode, ids, few, TurnEnd(few, few, "a", ["a"]))
    for one in found:
        assert str(one).encode()
