"""Tool calls in the formats of the wild: read back as the templates write them, and never an exception."""

from __future__ import annotations

import json
import time
from itertools import product
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
from reference_gateway.tools.arguments import Source, scan_json

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


AMBIGUOUS = {
    "coder": ("<function=", "<parameter=", "</parameter>", "</function>"),
    "glm": ("<arg_", "</arg_", "<tool_"),
}
"""What no template escapes: a value that says these can't be told from a call that is not closed, and stays text."""
TEXTS = ["", "So.", "Two\n\nlines, ", "\u00e4\u6570 \u2028", "x \n"]
BESIDE_TEXT = set(FAMILIES) - {"llama", "pythonic", "mistral"}
"""Families whose templates write text before the calls of a message."""


@settings(max_examples=60)
@given(calls, st.sampled_from(TEXTS))
@example([("boil", {"s": '</tool_call> [TOOL_CALLS] ; {"name": 1}'}), ("boil", {})], "So.")
@example([("boil", {"s": "see </parameter> and </arg_value>"})], "")
@example([("boil", {"s": "\n two lines \n"}), ("boil", {"s": "5", "n": 5, "x": 5.0, "maybe": None})], "")
@example([("boil", {"n": 2**63, "x": 1e300, "s": "1e400"}), ("boil", {"s": "null"}), ("pour_out", {"ok": False})], "")
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_template_writes_is_read_back(family, calls, text):
    text = text if family in BESIDE_TEXT else ""
    ids = sampled(CODECS[family], {**calling(*calls), "content": text})
    message = CODECS[family].decode(ids, TOOLS)
    if (message["content"], calls_in(message)) != (text if text.strip() else "", calls):
        written = json.dumps(calls, ensure_ascii=False)
        assert any(mark in written for mark in AMBIGUOUS.get(family, ()))
        assert all(call in calls for call in calls_in(message))


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
        ("pythonic", "[boil(s='C:\\Users \\x41')]", "", [("boil", {"s": "C:\\Users A"})]),
        ("pythonic", "[boil(s='\\ud83d\\ude00\\u00e9\\\\u00e9')]", "", [("boil", {"s": "\U0001f600\u00e9\\u00e9"})]),
        (
            "pythonic",
            '[boil(s="""it\'s "so" """, n=0x10, x=.5)]',
            "",
            [("boil", {"s": 'it\'s "so" ', "n": 16, "x": 0.5})],
        ),
        (
            "pythonic",
            "[boil(list=(1), object={'a': [None, true]})]",
            "",
            [("boil", {"list": 1, "object": {"a": [None, True]}})],
        ),
        (
            "pythonic",
            "[boil(x=1_0.5e-1, n=-1234567890123456789,),]",
            "",
            [("boil", {"x": 1.05, "n": -1234567890123456789})],
        ),
        ("pythonic", "[boil(from='a', list=[(1,), ()])]", "", [("boil", {"from": "a", "list": [[1], []]})]),
        ("pythonic", "[boil(s=r'\\n', ok=False)]", "", [("boil", {"s": "\\n", "ok": False})]),
        ("pythonic", "So: <|python_start|>[boil()]<|python_end|> then", "So:  then", [("boil", {})]),
        ("hermes", '<tool_call>{"name": "boil", "parameters": {"n": 1}}</tool_call>', "", [("boil", {"n": 1})]),
        ("hermes", '<tool_call>{"name": "boil", "arguments": {}, "parameters": {"n": 1}}', "", [("boil", {"n": 1})]),
        ("hermes", '<tool_call>{"name": "boil", "arguments": null}</tool_call>', "", [("boil", {})]),
        ("hermes", '<tool_call>{"name": "boil", "arguments": ""}</tool_call>', "", [("boil", {})]),
        (
            "hermes",
            '<tool_call>{"name": "gr\u00f6\u00dfe", "arguments": {"\u6570": "\\u00e9"}}</tool_call>',
            "",
            [("gr\u00f6\u00dfe", {"\u6570": "\u00e9"})],
        ),
        ("mistral", '[TOOL_CALLS][{"name": "boil", "parameters": {"n": 1}}]', "", [("boil", {"n": 1})]),
        ("mistral", '[TOOL_CALLS][{"name": "boil", "arguments": "{\\"n\\": 1}"}]', "", [("boil", {"n": 1})]),
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
        ("qwen3_coder", "<function=boil><parameter=s>a</parameter><parameter=s>b</parameter></function>"),
        ("qwen3_coder", "<function=boil><parameter=s>a<parameter=n>1</parameter></function>"),
        ("qwen3_coder", "<function=boil><parameter=s>a</function></tool_call> and </parameter></function>"),
        ("llama3_json", '{"name": "Alice", "parameters": {"age": 5}}'),
        ("llama3_json", '<|python_tag|>{"name": "boil", "parameters": {}}.get(1)'),
        ("pythonic", "[alice(age=5)]"),
        ("pythonic", "[boil(n=1, n=2)]"),
        ("pythonic", "[boil(object={'a': 1, 'a': 2})]"),
        ("pythonic", "[boil(object={1: 2})]"),
        ("pythonic", "[boil(n=007)]"),
        ("pythonic", "[boil(s='a' 'b')]"),
        ("pythonic", "[boil(s=f'{1}')]"),
        ("pythonic", "[boil(s='a)]"),
        ("pythonic", "[boil(s='a')] and more"),
        (
            "glm45",
            "<tool_call>boil\n<arg_key>s</arg_key><arg_value>a<arg_key>n</arg_key><arg_value>1</arg_value></tool_call>",
        ),
        ("hermes", '<tool_call>{"name": "boil"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "boil", "arguments": {"n": 1}, "parameters": {"n": 2}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "boil", "arguments": {"n": 1}, "name": "pour_out"}</tool_call>'),
        ("mistral", '[TOOL_CALLS][{"name": "boil"}]'),
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


GOOD = {
    "hermes": '<tool_call>\n{"name": "boil", "arguments": {"s": "xyz"}}\n</tool_call>',
    "qwen3_coder": ("<tool_call>\n<function=boil>\n<parameter=s>\nxyz\n</parameter>\n</function>\n</tool_call>"),
    "llama3_json": '<|python_tag|>{"name": "boil", "parameters": {"s": "xyz"}}',
    "mistral": '[TOOL_CALLS]boil{"s": "xyz"}',
    "pythonic": "<|python_start|>[boil(s='xyz')]<|python_end|>",
    "glm45": "<tool_call>boil\n<arg_key>s</arg_key>\n<arg_value>xyz</arg_value>\n</tool_call>",
    "deepseek_v3": f'{BEGIN}boil{SEP}{{"s": "xyz"}}{END}',
}
"""Parser -> a call that it reads, marked as such."""


def cuts(call: str) -> list[str]:
    """The call with a piece of it missing, at each place and of several lengths."""
    return [call[:start] + call[start + length :] for length in (1, 2, 12) for start in range(len(call) - length)]


@pytest.mark.parametrize("parser", GOOD)
def test_a_malformed_call_hides_no_good_one_and_nothing_is_lost(parser):
    """Whatever a call lacks: it stays text or is a call of its own, and the one behind it is read."""
    good = GOOD[parser]
    for bad in cuts(good):
        rest, found = read(parser, f"{bad}\n{good}")
        assert found[-1:] == [("boil", {"s": "xyz"})], bad
        assert len(found) <= 2, bad
        if len(found) == 1:
            assert rest in (bad, f"{bad}\n")
        for name, arguments in found[:-1]:
            assert name in bad
            assert all(part in bad for argument in arguments.items() for part in argument), bad


@pytest.mark.parametrize("parser", GOOD)
@pytest.mark.parametrize("count", [1, 3])
def test_text_stays_where_it_is(parser, count):
    """But for the line end that the templates of some write before a call."""
    good, end = GOOD[parser], "" if parser in ("hermes", "qwen3_coder", "glm45") else "\n"
    calls = [("boil", {"s": "xyz"})] * count
    assert read(parser, "So.\n" + "\n".join([good] * count)) == (f"So.{end}", calls)
    if parser != "llama3_json":  # where all that follows the tag is calls
        text = "So. " + f" and\n{good}" * count + " then"
        assert read(parser, text) == ("So. " + f" and{end}" * count + " then", calls)


@pytest.mark.parametrize(
    "written", ["1234567890123456789", "-9223372036854775809", "123456789012345678901234567890", "1e22", "-0.5", "1E-7"]
)
@pytest.mark.parametrize("parser", GOOD)
def test_numbers_stay_what_they_are(parser, written):
    text = GOOD[parser].replace('"xyz"', written).replace("'xyz'", written).replace("xyz", written)
    for key in ('"s"', "=s>", ">s<", "(s="):
        text = text.replace(key, key.replace("s", "x"))
    [(_, arguments)] = read(parser, text)[1]
    assert (arguments, type(arguments["x"])) == ({"x": json.loads(written)}, type(json.loads(written)))


DEFS = {
    "count": {"type": "integer"},
    "a/b": {"oneOf": [{"type": "array"}, {"type": "null"}]},
    "self": {"anyOf": [{"$ref": "#/$defs/self"}, {"$ref": "#/$defs/missing"}]},
    **{f"wide{place}": {"anyOf": [{"$ref": f"#/$defs/wide{place + 1}"}] * 2} for place in range(60)},
    "wide60": {"type": "integer"},
}


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
        ({"type": "integer", "nullable": True}, "null", None),
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "None", "None"),
        ({"type": "string"}, "null", "null"),
        ({"type": "string"}, "true", "true"),
        ({"enum": [1, 2]}, "2", 2),
        ({"enum": ["1", "2"]}, "2", "2"),
        ({"const": True}, "true", True),
        ({"allOf": [{"$ref": "#/$defs/count"}]}, "5", 5),
        ({"$ref": "#/$defs/a~1b"}, "[1]", [1]),
        ({"$ref": "#/$defs/self"}, "5", "5"),
        ({"$ref": "elsewhere.json"}, "5", "5"),
        ({"$ref": "#/$defs/wide0"}, "5", 5),
        ({}, "5", "5"),
        (True, "5", "5"),
    ],
)
def test_arguments_have_the_types_of_the_schema(schema, written, expected):
    parameters = {"properties": {"a": schema}, "$defs": DEFS}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    text = f"<function=f><parameter=a>\n{written}\n</parameter></function>"
    _, (call,) = parse_calls(PARSERS["qwen3_coder"], text, tools)
    found = call["function"]["arguments"]["a"]
    assert (found, type(found)) == (expected, type(expected))


def test_a_string_of_json_is_a_string_where_the_schema_allows_one():
    properties = {"a": {"type": ["string", "null"]}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}]
    text = '<tool_call>{"name": "f", "arguments": {"a": "null"}}</tool_call>'
    _, (call,) = parse_calls(PARSERS["hermes"], text, tools)
    assert call["function"]["arguments"] == {"a": "null"}


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


OPENINGS = [
    *["", "<tool_call>", "<tool_call>a<arg_key>k</arg_key><arg_value>", "<function=a><parameter=b>", "<|python_tag|>"],
    *["[TOOL_CALLS]", "[TOOL_CALLS][", "[TOOL_CALLS]a[CALL_ID]", "[boil(a=", "[boil(a='", "<|python_start|>[boil(a=("],
    *['<tool_call>{"name": "a", "arguments": {"b": "', '{"name": "boil", "parameters": {"b": ['],
    *[BEGIN, f"{BEGIN}function{SEP}", f"{BEGIN}a{SEP}{{}}"],
]
REPEATED = [
    *[" ", "\n", "\t", "\u2028", "\\", '"', "'", "(", "[", "{", "9", "-", "a", "\u00e9", ",", "[1,", "a=1,", "1_"],
    *["<tool_call>", "</tool_call>", "<tool_call> ", '<tool_call>{"a', '<tool_call>{"name": "a", "arguments": {}\n'],
    *["<function=a><parameter=b>", "<function=", "<function=a>  ", "</parameter>", "</parameter> ", "<parameter=b>"],
    *["\\u00", "</function> ", "<arg_key>k</arg_key>"],
    *["<tool_call>x<arg_key>k</arg_key><arg_value>", "</arg_value> ", "<arg_key>"],
    *["[TOOL_CALLS][", "[TOOL_CALLS]a", "[TOOL_CALLS]\n", "[CALL_ID]", '{"a":', "<|python_tag|>", "<|python_tag|>{"],
    *["[f(", "<|python_start|>[f(a='", "<|python_start|>", "'a',", '"""', "'''a", "<|python_end|>", "``", "<|im_end|>"],
    *[BEGIN, f"{BEGIN} ", control("tool calls begin") + " ", f"{BEGIN}a{SEP}{{", f"{BEGIN}function{SEP}a\n```json"],
]
CHARACTERS = 8_000


@pytest.mark.parametrize("parser", sorted(set(PARSERS) - {"qwen"}))
def test_time_is_linear_in_the_text(parser):
    """Four times the text takes about four times as long, where it would take sixteen times if text were read again."""

    def cost(text: str) -> float:
        best = 60.0
        for _ in range(3):
            started = time.thread_time()
            PARSERS[parser](text, TOOLS)
            best = min(best, time.thread_time() - started)
            if best < 0.02:
                break
        return best

    for opening, scrap in product(OPENINGS, REPEATED):
        copies = CHARACTERS // len(scrap)
        longer = cost(opening + scrap * (4 * copies) + ")]")
        assert longer < 0.02 or longer < 9 * cost(opening + scrap * copies + ")]"), (opening, scrap)


def test_an_error_does_not_count_the_lines_before_it():
    """Which the decoder does each time, and only that makes many malformed calls cost more than linear time."""
    with pytest.raises(json.JSONDecodeError) as failed:
        scan_json(Source('\n\n{"a"'), 2)
    assert (failed.value.lineno, failed.value.pos) == (1, 6)
