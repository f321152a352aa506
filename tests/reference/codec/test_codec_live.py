"""The text of a generation on its way: whatever is shown, and whenever, the whole answer begins with it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.template import TemplateCodec

TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


def ids_of(codec, text):
    return [*codec.vocabulary.encode(text), codec.vocabulary.token_id("<|im_end|>")]


def shown(codec, ids, tools, size):
    live = codec.live(tools)
    return [live.feed(ids[place : place + size]) for place in range(0, len(ids), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "tools"])
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Two words", "Two words"),
        ("größer 日本語 🙂", "größer 日本語 🙂"),
        ("a <tool or b < c", "a <tool or b < c"),
        ("", ""),
    ],
)
def test_an_answer_in_words_is_shown(text, seen, tools, size):
    codec = TemplateCodec(byte_files(), tool_parser="hermes")
    assert "".join(shown(codec, ids_of(codec, text), tools, size)) == seen


@pytest.mark.parametrize("size", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize(
    ("text", "seen"), [(CALL, ""), (f"So: {CALL}", "So:"), (f"So: {CALL} and {CALL}", "So:"), ("x <tool_cal", "x")]
)
def test_a_call_is_withheld_from_where_it_may_begin(text, seen, size):
    codec = TemplateCodec(byte_files(), tool_parser="hermes")
    pieces = codec.live(TOOLS)
    ids = codec.vocabulary.encode(text)
    assert "".join(pieces.feed(ids[place : place + size]) for place in range(0, len(ids), size)) == seen


@pytest.mark.parametrize("size", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "tools"])
@pytest.mark.parametrize("call", ["", CALL], ids=["words", "call"])
def test_the_name_of_a_control_token_is_text_as_in_the_whole_answer(tools, call, size):
    codec = TemplateCodec(byte_files(), tool_parser="hermes")
    ids = [*f"say <|im_end|> now {call}".encode(), codec.vocabulary.token_id("<|im_end|>")]
    said = "".join(shown(codec, ids, tools, size))
    assert codec.decode(ids, tools)["content"].startswith(said)
    assert said.startswith("say")


def test_space_at_the_end_is_held_back():
    codec = TemplateCodec(byte_files())
    live = codec.live(None)
    assert [live.feed(codec.vocabulary.encode(text)) for text in ("a \n", " ", "b ")] == ["a", "", " \n b"]


def test_half_a_character_is_held_back():
    codec = TemplateCodec(byte_files())
    live = codec.live(None)
    first, *rest = codec.vocabulary.encode("🙂")
    assert [live.feed([first]), live.feed(rest[:2]), live.feed(rest[2:])] == ["", "", "🙂"]


def test_what_is_shown_begins_the_answer_whatever_was_sampled():
    dice = random.Random(0)
    codec = TemplateCodec(byte_files(), tool_parser="hermes")
    alphabet = [*codec.vocabulary.encode("<tool_call> é🙂\n"), codec.vocabulary.token_id("<|im_end|>"), 0xFF]
    for _ in range(300):
        ids = dice.choices(alphabet, k=dice.randrange(40))
        for tools in (None, TOOLS):
            said = "".join(shown(codec, ids, tools, dice.randint(1, 5)))
            assert codec.decode(ids, tools)["content"].startswith(said)


def steps(codec, live, ids):
    """How often the decoder looked at how many ids."""
    looked = []

    class Counting:
        def step(self, tokenizer, token):
            looked.append(token)
            return inner.step(tokenizer, token)

    inner, live._stream = live._stream, Counting()
    said = "".join(live.feed([token]) for token in ids)
    return said, len(looked)


def test_what_never_becomes_a_character_is_not_decoded_again_and_again():
    codec = TemplateCodec(byte_files())
    assert steps(codec, codec.live(None), [*b"so", *[0xFF] * 1000])[1] < 40
    start = codec.vocabulary.token_id("<|im_start|>")
    assert steps(codec, codec.live(None), [*[start] * 1000, *b"so"]) == ("so", 2)


@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "tools"])
def test_space_that_is_held_back_is_looked_at_once(tools):
    codec = TemplateCodec(byte_files(), tool_parser="hermes")
    live = codec.live(tools)
    assert [live.feed([32]) for _ in range(500)] == [""] * 500
    assert live._begun == ""
    assert live.feed([*b"x"]) == " " * 500 + "x"


def test_a_decoder_that_fails_ends_what_is_shown_and_not_the_turn():
    class Failing:
        def step(self, tokenizer, token):
            raise Exception("Invalid prefix encountered")

    live = TemplateCodec(byte_files()).live(None)
    assert live.feed([*b"so"]) == "so"
    live._stream = Failing()
    assert [live.feed([*b"x"]) for _ in range(3)] == [""] * 3


CALLS = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"a": "x"}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>",
    "mistral": '[TOOL_CALLS]f{"a": "x"}',
    "glm45": "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
}
CODECS = {parser: TemplateCodec(byte_files(), tool_parser=parser) for parser in CALLS}
TEXTS = st.sampled_from(
    ["So.", " ", "\n", "\n\n", "a <tool", "[TOOL_", "<", "<|im_start|>", "\u00e9\U0001f600", "\ufffd"]
)


@settings(max_examples=150)
@given(st.data())
@pytest.mark.parametrize("parser", CALLS)
def test_what_was_shown_is_how_the_whole_answer_begins(parser, data):
    """Text before, between and behind calls, white space before one, calls that are cut off anywhere."""
    call = CALLS[parser]
    cut = st.builds(lambda start, end: call[start:end], st.integers(0, len(call)), st.integers(0, len(call)))
    text = "".join(data.draw(st.lists(TEXTS | st.just(call) | cut, max_size=8)))
    codec = CODECS[parser]
    ids = data.draw(st.sampled_from([codec.vocabulary.encode(text), list(text.encode())]))
    ids += data.draw(st.sampled_from([[], [0xC3], [codec.vocabulary.token_id("<|im_end|>")]]))
    for tools in (TOOLS, None):
        said = "".join(shown(codec, ids, tools, data.draw(st.integers(1, 9))))
        content = codec.decode(ids, tools)["content"]
        assert content.startswith(said)
        assert said == said.rstrip()
