"""The shipped tokenizers: what their templates promise, and that the script in the repository makes them."""

from __future__ import annotations

import json
import platform
import runpy
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as RawTokenizer

from conformance import fixtures
from conformance.fixtures import fixture_path, names, tiny_model_path
from conformance.tokenizer import Tokenizer

MAKE = runpy.run_path(str(Path(__file__).parents[2] / "fixtures" / "make.py"))
Message = dict[str, Any]
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": {"q": "é"}}}
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
USER: Message = {"role": "user", "content": "Hi"}
ASSISTANT: Message = {"role": "assistant", "content": "Hello"}
CALLING: Message = {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}
RESULTS: list[Message] = [{"role": "tool", "tool_call_id": "c1", "content": text} for text in ("one", "two")]


@pytest.fixture(scope="module")
def chatml() -> Tokenizer:
    return Tokenizer.load(fixture_path("chatml"))


@pytest.fixture(scope="module")
def chars() -> Tokenizer:
    return Tokenizer.load(fixture_path("chars"))


def test_the_fixtures_have_names_and_are_small() -> None:
    assert names() == sorted(["chars", "chatml", *MAKE["FAMILIES"]])
    for name in names():
        assert sum(file.stat().st_size for file in fixture_path(name).iterdir()) < 300_000


def test_an_unknown_name_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"no tokenizer fixture named 'llama'; there are: chars, chatml, deepseek, "):
        fixture_path("llama")
    with pytest.raises(ValueError, match="no tokenizer fixture named"):
        fixture_path("../upstream")


def test_a_foreign_package_named_fixtures_is_not_taken_for_the_repository_s(tmp_path: Path) -> None:
    foreign, beside = tmp_path / "fixtures", tmp_path / "conformance" / "fixtures"
    foreign.mkdir()
    (foreign / "__init__.py").touch()

    assert fixtures._root(foreign, beside) == beside
    (foreign / "tokenizers" / "chatml").mkdir(parents=True)
    assert fixtures._root(foreign, beside) == foreign


def test_the_tiny_model_is_small_half_precision_and_speaks_chatml() -> None:
    weights = (tiny_model_path() / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])

    assert len(weights) < 1_800_000
    assert {tensor["dtype"] for name, tensor in header.items() if name != "__metadata__"} == {"F16"}
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tiny_model_path() / name).read_bytes() == (fixture_path("chatml") / name).read_bytes()
    config = json.loads((tiny_model_path() / "config.json").read_text())
    assert config["eos_token_id"] == Tokenizer.load(fixture_path("chatml")).end_of_turn


def test_an_installed_kit_says_where_the_tiny_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures, "_ROOT", tmp_path)

    with pytest.raises(FileNotFoundError, match=r"not part of the installed kit: it is in fixtures/tiny-model of"):
        tiny_model_path()


def test_the_script_makes_what_is_shipped(tmp_path: Path) -> None:
    MAKE["main"](tmp_path)

    for name in names():
        made = Tokenizer.load(tmp_path / name)
        assert made.decode(made.encode("Hello wörld")) == "Hello wörld"
    assert (tmp_path / "chars/tokenizer.json").read_bytes() == (fixture_path("chars") / "tokenizer.json").read_bytes()
    recorded = (fixture_path("chatml") / "python_version.txt").read_text().strip()
    if platform.python_version() == recorded:
        for file in ("tokenizer.json", "tokenizer_config.json", "python_version.txt"):
            assert (tmp_path / "chatml" / file).read_bytes() == (fixture_path("chatml") / file).read_bytes()


def test_the_script_makes_the_families_that_are_shipped(tmp_path: Path) -> None:
    MAKE["write_families"](tmp_path, RawTokenizer.from_file(str(fixture_path("chatml") / "tokenizer.json")))

    made = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*.json")}
    assert {file.parent.name for file in made} == set(MAKE["FAMILIES"])
    for file, content in made.items():
        assert (fixture_path(file.parent.name) / file.name).read_bytes() == content


@pytest.mark.parametrize("family", MAKE["FAMILIES"])
def test_a_family_renders_turns_with_its_own_end(family: str) -> None:
    tokenizer = Tokenizer.load(fixture_path(family))

    text = tokenizer.render([USER, ASSISTANT, USER])

    assert text.count("Hi") == 2
    assert text.count("Hello") == 1
    assert tokenizer.end_of_turn_text in text.partition("Hello")[2]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("Hello") != [tokenizer.encode(letter)[0] for letter in "Hello"]  # a second spelling
    file = fixture_path(family) / "generation_config.json"
    if file.exists():
        assert tokenizer.end_of_turn in json.loads(file.read_text())["eos_token_id"]


def test_chatml_renders_turns_with_a_separator(chatml: Tokenizer) -> None:
    system = {"role": "system", "content": "Be brief."}

    assert chatml.render([system, USER, ASSISTANT, USER]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_chatml_adds_no_system_prompt_of_its_own(chatml: Tokenizer) -> None:
    assert "system" not in chatml.render([USER])
    assert chatml.render([], add_generation_prompt=False) == ""


def test_chatml_puts_consecutive_tool_results_into_one_user_turn(chatml: Tokenizer) -> None:
    assert chatml.render([CALLING, *RESULTS, USER], add_generation_prompt=False) == (
        "<|im_start|>assistant\n"
        '<tool_call>\n{"name": "search", "arguments": {"q": "é"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "search", "arguments": {"q": "é"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response><|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
    )


def test_chatml_lists_tools_in_one_system_turn(chatml: Tokenizer) -> None:
    system = {"role": "system", "content": "Be brief."}

    alone, both = chatml.render([USER], TOOLS), chatml.render([system, USER], TOOLS)

    assert alone.count("<|im_start|>system") == both.count("<|im_start|>system") == 1
    assert both.startswith("<|im_start|>system\nBe brief.\n\nThese functions")
    assert '\n{"type": "function", "function": {"name": "search"' in alone
    assert chatml.render([USER], []) == chatml.render([USER])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        (["a", "b"], "ab"),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}], "a<|image|>"),
    ],
)
@pytest.mark.parametrize("role", ["system", "user", "assistant", "developer"])
def test_chatml_takes_content_in_every_form(role: str, content: Any, text: str, chatml: Tokenizer) -> None:
    rendered = chatml.render([{"role": role, "content": content}], add_generation_prompt=False)

    assert rendered == f"<|im_start|>{role}\n{text}<|im_end|>\n"


def test_chatml_takes_a_message_without_content(chatml: Tokenizer) -> None:
    assert chatml.render([{"role": "assistant"}], add_generation_prompt=False) == "<|im_start|>assistant\n<|im_end|>\n"


@pytest.mark.parametrize(
    "suffix",
    [[USER], RESULTS[:1], RESULTS, [USER, ASSISTANT, USER], [ASSISTANT, *RESULTS], [*RESULTS, USER]],
    ids=["user", "tool", "tools", "user-assistant-user", "assistant-tools", "tools-user"],
)
@pytest.mark.parametrize("last", [ASSISTANT, CALLING], ids=["text", "call"])
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["no-tools", "tools"])
def test_chatml_is_continued_by_appending(
    suffix: list[Message], last: Message, tools: list[Message] | None, chatml: Tokenizer
) -> None:
    context = chatml.encode(chatml.render([USER], tools))
    closed = chatml.encode(chatml.render([USER, last], tools, add_generation_prompt=False))
    generation = closed[len(context) : -1]
    full = chatml.encode(chatml.render([USER, last, *suffix], tools))

    assert closed[: len(context)] == context
    assert generation[-1] == chatml.end_of_turn
    assert chatml.decode(closed[-1:]) == "\n"
    assert full[: len(closed)] == closed


def test_chars_is_one_code_point_per_token(chars: Tokenizer) -> None:
    text = "hi\n é ∑ 😀 \u3042\x00"

    assert chars.encode(text) == [ord(character) for character in text]
    assert chars.decode(chars.encode(text)) == text
    assert chars.encode("日") == [0xFFFD]
    assert chars.end_of_turn == 10
    assert chars.end_of_turn_text == "\n"


def test_chars_renders_the_worked_example(chars: Tokenizer) -> None:
    first = chars.render([USER | {"content": "hi"}])

    assert first == "user:hi\nassistant:"
    assert len(chars.encode(first)) == 18
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages: list[Message] = [
        {"role": "system", "content": None},
        {"role": "user", "content": parts},
        {"role": "tool", "content": "x"},
    ]
    assert chars.render(messages, TOOLS, add_generation_prompt=False) == "system:\nuser:ab\ntool:x\n"
