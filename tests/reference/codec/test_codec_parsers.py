"""Tool calls in the formats of the wild: read back as the templates write them, and never an exception."""

from __future__ import annotations

import time
from typing import Any

import pytest
from codec_templates import coder, deepseek, glm, llama, mistral, pythonic, qwen3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.parsers import PARSERS
from reference_gateway.codec.parsers.deepseek import control
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.codec.tools import parse_calls

SCHEMA = {
    "n": {"type": "integer"},
    "x": {"type": "number"},
    "ok": {"type": "boolean"},
    "s": {"type": "string"},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "maybe": {"type": ["integer", "null"]},
    "either": {"anyOf": [{"type": "array"}, {"type": "null"}]},
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": SCHEMA}}}
    for name in ("boil", "pour_out")
]
FAMILIES = {
    "chatml": (byte_files, "hermes"),
    "qwen3": (qwen3, "qwen"),
    "coder": (coder, "qwen3_coder"),
    "llama": (llama, "llama3_json"),
    "pythonic": (pythonic, "pythonic"),
    "mistral": (mistral, "mistral"),
    "glm": (glm, "glm45"),
    "deepseek": (deepseek, "deepseek_v3"),
}
CODECS = {
    name: TemplateCodec(files(), tool_parser=parser, reasoning_parser="think")
    for name, (files, parser) in FAMILIES.items()
}
BEGIN, END, SEP = control("tool call begin"), control("tool call end"), control("tool sep")


def calling(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    written = [
        {"id": f"id{place:07d}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for place, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": "", "tool_calls": written}


def sampled(codec: TemplateCodec, message: dict[str, Any]) -> list[int]:
    """What a model that follows its template samples to say `message`."""
    user = {"role": "user", "content": "x"}
    asked = codec._template.render([user], TOOLS, {}, add_generation_prompt=True)
    whole = codec._template.render([user, message], TOOLS, {}, add_generation_prompt=False)
    assert whole.startswith(asked)
    said = whole.removeprefix(asked)
    end = codec.seams.turn_end
    return codec.vocabulary.encode(said.removesuffix(end) + end.rstrip("\n"))


def calls_in(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", ())]


def read(parser: str, text: str) -> tuple[str, list[tuple[str, Any]]]:
    rest, calls = parse_calls(PARSERS[parser], text, TOOLS)
    return rest, calls_in({"tool_calls": calls})


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-(2**70), 2**70),
        "x": st.floats(allow_nan=False, allow_infinity=False),
        "ok": st.booleans(),
        "s": words,
        "list": st.lists(values, max_size=3),
        "object": st.dictionaries(words, values, max_size=3),
        "maybe": st.none() | st.integers(),
        "either": st.none() | st.lists(values, max_size=2),
    },
)
calls = st.lists(st.tuples(st.sampled_from(["boil", "pour_out"]), arguments), min_size=1, max_size=3)


@settings(max_examples=60)
@given(calls)
@example([("boil", {"s": '</parameter> </tool_call> [TOOL_CALLS] ; {"name": 1}'}), ("boil", {})])
@example([("boil", {"s": "\n two lines \n"}), ("boil", {"s": "5", "n": 5, "x": 5.0, "maybe": None})])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_template_writes_is_read_back(family, calls):
    message = CODECS[family].decode(sampled(CODECS[family], calling(*calls)), TOOLS)
    assert (message["content"], calls_in(message)) == ("", calls)


def test_what_was_read_can_be_rendered_as_history():
    """The ids that a parser gives are ids that its template takes."""
    for family, codec in CODECS.items():
        message = codec.decode(sampled(codec, calling(("boil", {"n": 1}), ("boil", {"n": 2}))), TOOLS)
        results = [{"role": "tool", "tool_call_id": c["id"], "content": "hot"} for c in message["tool_calls"]]
        ids = codec.encode([{"role": "user", "content": "x"}, message, *results], TOOLS, {})
        assert "hot" in codec.vocabulary.decode(ids, keep_control=False), family


@pytest.mark.parametrize(
    ("parser", "text", "rest", "expected"),
    [
        ("qwen3_coder", "<function=boil>\n<parameter=n>\n2\n</parameter>\n</function>", "", [("boil", {"n": 2})]),
        ("qwen3_coder", "So. <tool_call><function=boil></function></tool_call>", "So. ", [("boil", {})]),
        ("qwen3_coder", "<function=boil><parameter=s>a</parameter>", "", [("boil", {"s": "a"})]),
        (
            "qwen3_coder",
            "<function=boil>\n<parameter=ok>\nTrue</parameter></function>",
            "",
            [("boil", {"ok": True})],
        ),
        ("llama3_json", '<|python_tag|>{"name": "boil", "parameters": {}}', "", [("boil", {})]),
        ("llama3_json", 'Now: <|python_tag|>{"name": "boil", "arguments": {}}', "Now: ", [("boil", {})]),
        ("llama3_json", ' {"name": "boil", "parameters": {"n": "2"}} ', "", [("boil", {"n": 2})]),
        ("mistral", '[TOOL_CALLS]boil[ARGS]{"n": 1}[TOOL_CALLS]boil{}', "", [("boil", {"n": 1}), ("boil", {})]),
        ("mistral", 'So.[TOOL_CALLS]boil[CALL_ID]abcdefgh1[ARGS]{"n": 1}', "So.", [("boil", {"n": 1})]),
        ("mistral", '[TOOL_CALLS] [{"name": "boil", "arguments": {}}]', "", [("boil", {})]),
        (
            "pythonic",
            "[boil(n=1, s='a'), tea.pour(x=-1.5)]",
            "",
            [("boil", {"n": 1, "s": "a"}), ("tea.pour", {"x": -1.5})],
        ),
        ("pythonic", "<|python_start|>[boil(list=(1, 2))]<|python_end|>", "", [("boil", {"list": [1, 2]})]),
        ("pythonic", "[boil(s='\\d')]", "", [("boil", {"s": "\\d"})]),
        ("glm45", "<tool_call>boil\n<arg_key>n</arg_key>\n<arg_value>2</arg_value>", "", [("boil", {"n": 2})]),
        ("glm45", "<tool_call>boil</tool_call>", "", [("boil", {})]),
        ("deepseek_v3", f'{BEGIN}boil{SEP}{{"n": 1}}{END}', "", [("boil", {"n": 1})]),
        (
            "hermes",
            '<tool_call>{"name": "boil", "arguments": {"s": "</tool_call>"}}',
            "",
            [("boil", {"s": "</tool_call>"})],
        ),
    ],
)
def test_spellings_of_a_call(parser, text, rest, expected):
    assert read(parser, text) == (rest, expected)


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        ("qwen3_coder", "<tool_call><function=boil><parameter=n>1</function></tool_call>"),
        ("qwen3_coder", "<function=><parameter=n>1</parameter></function>"),
        ("qwen3_coder", "<function=boil> and more"),
        ("llama3_json", '{"name": "boil"}'),
        ("llama3_json", '{"name": "boil", "parameters": {}} and more'),
        ("llama3_json", '{"answer": 42}'),
        ("llama3_json", "<|python_tag|>print(1)"),
        ("mistral", "[TOOL_CALLS]"),
        ("mistral", "[TOOL_CALLS][]"),
        ("mistral", '[TOOL_CALLS][{"name": "boil", "arguments": {}}, 5]'),
        ("mistral", '[TOOL_CALLS]boil[ARGS]{"n": '),
        ("pythonic", "[boil(1)]"),
        ("pythonic", "[boil(**{'n': 1})]"),
        ("pythonic", "[boil(n=__import__('os').getcwd())]"),
        ("pythonic", "[boil(n=1) for x in range(9)]"),
        ("pythonic", "[boil(n=1 + 1)]"),
        ("pythonic", "[boil(n=1e999)]"),
        ("pythonic", "[boil(s='\\ud800')]"),
        ("pythonic", "[boil(s=b'bytes')]"),
        ("pythonic", "[boil(n=1j)]"),
        ("pythonic", "[boil(n=" + "[" * 500 + "]" * 500 + ")]"),
        ("pythonic", "[boil(n=" + "-" * 50_000 + "1)]"),
        ("pythonic", "[boil(n=0x" + "f" * 5_000 + ")]"),
        ("pythonic", "[1, 2]"),
        ("glm45", "<tool_call></tool_call>"),
        ("glm45", "<tool_call>boil and more</tool_call>"),
        ("glm45", '<tool_call>{"name": "boil", "arguments": {}}</tool_call>'),
        ("deepseek_v3", f"{BEGIN}function{SEP}boil\n```json\n[1]\n```{END}"),
        ("hermes", '<tool_call>{"name": "boil", "arguments": {"n": 1e999}}</tool_call>'),
    ],
)
def test_what_is_no_call_stays_text(parser, text):
    assert read(parser, text) == (text, [])


@pytest.mark.parametrize(
    ("parser", "good", "bad"),
    [
        ("hermes", '<tool_call>{"name": "boil", "arguments": {}}</tool_call>', "<tool_call>{]</tool_call>"),
        ("qwen3_coder", "<function=boil></function>", "<function=boil>?</function>"),
        ("mistral", "[TOOL_CALLS]boil{}", "[TOOL_CALLS]?"),
        ("glm45", "<tool_call>boil</tool_call>", "<tool_call>?!<</tool_call>"),
        ("deepseek_v3", f"{BEGIN}boil{SEP}{{}}{END}", f"{BEGIN}boil{END}"),
    ],
)
def test_a_malformed_call_does_not_hide_a_good_one(parser, good, bad):
    assert read(parser, bad + good + bad) == (bad + bad, [("boil", {})])


@pytest.mark.parametrize(
    ("schema", "written", "expected"),
    [
        ({"type": "integer"}, " 5 ", 5),
        ({"type": "integer"}, "5.5", "5.5"),
        ({"type": "integer"}, "true", "true"),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "1e999", "1e999"),
        ({"type": "boolean"}, "False", False),
        ({"type": "boolean"}, "1", "1"),
        ({"type": "null"}, "None", None),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": ["integer", "string"]}, "5", "5"),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, '{"a": 1}', {"a": 1}),
        ({"type": "array"}, '{"a": 1}', '{"a": 1}'),
        ({"type": 5, "anyOf": "odd"}, "5", "5"),
        ({}, "5", "5"),
        (True, "5", "5"),
    ],
)
def test_arguments_have_the_types_of_the_schema(schema, written, expected):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": schema}}}}]
    text = f"<function=f><parameter=a>\n{written}\n</parameter></function>"
    _, (call,) = parse_calls(PARSERS["qwen3_coder"], text, tools)
    found = call["function"]["arguments"]["a"]
    assert (found, type(found)) == (expected, type(expected))


def test_mistral_s_calls_keep_the_ids_that_the_model_gave_once_each():
    written = '[TOOL_CALLS][{"name": "f", "arguments": {}, "id": "%s"}, {"name": "f", "arguments": {}, "id": "%s"}]'
    _, calls = parse_calls(PARSERS["mistral"], written % ("abcdefgh1", "abcdefgh1"), TOOLS)
    assert calls[0]["id"] == "abcdefgh1"
    assert calls[1]["id"] not in ("", "abcdefgh1")
    assert len(calls[1]["id"]) == 9
    _, (odd,) = parse_calls(PARSERS["mistral"], "[TOOL_CALLS]f[CALL_ID]odd-id[ARGS]{}", TOOLS)
    assert len(odd["id"]) == 9


SCRAPS = [
    *["<tool_call>", "</tool_call>", '{"name": "boil",', '"arguments": {}}', "{", "}", "[", "]", '"', "\\", "x", "\n"],
    *["<function=boil>", "</function>", "<parameter=n>", "</parameter>", "<arg_key>n</arg_key>", "<arg_value>", " "],
    *["</arg_value>", "<|python_tag|>", ";", '"parameters": {}}', "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "boil"],
    *["(", ")", "n=1", ",", "<|python_start|>", BEGIN, END, SEP, "function", "```json\n", "\0"],
    control("tool calls begin"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(SCRAPS) | st.text(max_size=4), max_size=14).map("".join))
@pytest.mark.parametrize("parser", PARSERS)
def test_no_text_makes_a_parser_raise_or_lose_text(parser, text):
    rest, calls = PARSERS[parser](text, TOOLS)
    assert calls or rest == text
    assert len(rest) <= len(text)
    for call in calls:
        assert call["function"]["name"] in text
        assert isinstance(call["function"]["arguments"], dict)


REPEATED = [
    *["<tool_call>", "<tool_call> ", '<tool_call>{"a', "<tool_call>x<arg_key>k</arg_key><arg_value>", " ", "("],
    *["<function=a><parameter=b>", "</parameter>", "[TOOL_CALLS][", "[TOOL_CALLS]a", '{"a":', "[f(", "<function=a>  "],
    f"{BEGIN}a{SEP}{{",
]


@pytest.mark.parametrize("scrap", REPEATED)
@pytest.mark.parametrize("parser", sorted(set(PARSERS) - {"qwen"}))
def test_an_answer_that_repeats_itself_is_read_in_time(parser, scrap):
    def cost(copies: int) -> float:
        text = "[f(a=1)" + scrap * copies
        started = time.process_time()
        PARSERS[parser](text, TOOLS)
        return time.process_time() - started

    assert cost(10_000) < 3
