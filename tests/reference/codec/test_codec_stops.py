"""Where a text reaches a stop string, and what of it may be shown before that is known."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.stops import HeldBack, first_stop
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Stopped

TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
CODEC = TemplateCodec(byte_files(), tool_parser="hermes")
THINKING = TemplateCodec(byte_files(), tool_parser="hermes", reasoning_parser="think")


FEW = st.text(alphabet="ab<", max_size=12)
STOPS = st.lists(st.text(alphabet="ab<", min_size=1, max_size=4), min_size=1, max_size=3)


def ids_of(text: str, *, end: bool = False) -> list[int]:
    return [*CODEC.vocabulary.encode(text), *([CODEC.vocabulary.token_id("<|im_end|>")] if end else [])]


@pytest.mark.parametrize(
    ("text", "stops", "reached"),
    [
        ("foo END", ["END"], (4, "END")),
        ("foo", ["END"], None),
        ("END", ["END"], (0, "END")),
        ("a b a", ["b", "a"], (0, "a")),
        ("abcd", ["cd", "bc"], (1, "bc")),  # the one that is whole first
        ("abcd", ["d", "cd"], (2, "cd")),  # of two that are whole together, the longer
        ("gene 🧬!", ["🧬"], (5, "🧬")),
        ("\n\n\n", ["\n\n"], (0, "\n\n")),
    ],
)
def test_the_first_stop_string_of_a_text(text, stops, reached):
    assert first_stop(text, stops) == reached


@given(FEW, STOPS, st.integers(1, 5))
def test_what_is_let_through_stands_before_the_stop_string(text, stops, size):
    held = HeldBack(stops)
    shown = [held.feed(text[place : place + size]) for place in range(0, len(text), size)]
    reached = first_stop(text, stops)
    assert held.reached == (reached is not None)
    if reached is not None:
        assert text[: reached[0]] == "".join(shown)
        return
    # Nothing is held back but the longest end that may be the beginning of a stop string.
    begun = (count for stop in stops for count in range(len(stop)) if text.endswith(stop[:count]))
    assert "".join(shown) == text[: len(text) - max(begun)]


def test_long_stop_strings_take_linear_time():
    began = time.process_time()
    held = HeldBack(["a" * 50_000 + "b", "\n" * 50_000 + "x"])
    for _ in range(5000):
        held.feed("a" * 20 + "\n" * 20)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("matched", [None, "END"])
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "tools"])
@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("foo END", "foo ", 0),
        ("END", "", 0),
        (f"So: {CALL} END", "So:  ", 1),
        (f"{CALL}END", "", 1),
        (f"{CALL[:20]}END", CALL[:20], 0),
        ("<think>\nhm END", "<think>\nhm ", 0),
    ],
)
def test_the_text_ends_before_the_stop_string(text, content, calls, tools, matched):
    if calls and tools is None:
        content, calls = text.removesuffix("END"), 0
    ids = ids_of(text)
    stopped = CODEC.find_stop(ids, ["END"], matched)
    assert stopped == Stopped("END", len(text) - 3)
    message = CODEC.decode(ids, tools, until=stopped.place)
    assert (message["content"], len(message.get("tool_calls", ()))) == (content, calls)


def test_of_several_places_the_engine_means_the_last_it_made_whole():
    ids = ids_of("END a END")
    assert CODEC.find_stop(ids, ["END"], None) == Stopped("END", 0)
    assert CODEC.find_stop(ids, ["END"], "END") == Stopped("END", 6)
    assert CODEC.find_stop(ids_of("a🧬🧬"), ["🧬"], "🧬") == Stopped("🧬", 2)
    assert CODEC.find_stop(ids, [], "never said") == Stopped("never said", 9)
    assert CODEC.find_stop(ids, ["never said"], None) is None


def test_control_tokens_are_no_part_of_the_text_that_is_searched():
    control = CODEC.vocabulary.token_id("<|im_start|>")
    ids = [control, *ids_of("a EN"), control, *ids_of("D b"), *ids_of("", end=True)]
    assert CODEC.find_stop(ids, ["END", "<|im_end|>"], None) == Stopped("END", 2)
    assert CODEC.decode(ids, None, until=2)["content"] == CODEC.decode(ids, TOOLS, until=2)["content"] == "a "


def test_thoughts_that_a_stop_string_cut_off_are_thoughts():
    message = THINKING.decode(ids_of("<think>\nhm END"), None, until=11)
    assert message == {"role": "assistant", "content": "", "reasoning_content": "hm"}


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "tools"])
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("foo END", "foo"),
        ("foo ENOUGH", "foo ENOUGH"),
        ("foo EN", "foo"),
        ("gene 🧬 x", "gene"),
        ("END", ""),
        ("a\nHuman: b", "a"),
        ("a\nHumans", "a\nHumans"),
    ],
)
def test_a_stream_holds_back_what_may_be_a_stop_string(text, seen, tools, size):
    live = CODEC.live(tools, ["END", "🧬", "\nHuman:"])
    ids = ids_of(text)
    shown = "".join(live.feed(ids[place : place + size]) for place in range(0, len(ids), size))
    assert shown == seen


@given(FEW, STOPS)
def test_watched_ids_reach_the_stop_string_that_is_found_in_the_whole(text: str, stops: list[str]) -> None:
    ids, watch = ids_of(text, end=True), CODEC.watch(stops)
    places = [(place, stop) for place, token in enumerate(ids) if (stop := watch([token])) is not None]
    reached = first_stop(text, stops)
    if reached is None:
        assert places == []
        return
    place, stop = places[0]
    assert (reached[1], CODEC.find_stop(ids[: place + 1], stops, stop)) == (stop, Stopped(stop, reached[0]))
    assert CODEC.find_stop(ids[:place], stops, None) is None
