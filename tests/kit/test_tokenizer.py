"""The tokenizer loader: exact in both directions, and the template as models were trained on it."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance.fixtures import fixture_path
from conformance.tokenizer import Tokenizer, TokenizerError

USER = {"role": "user", "content": "Hi"}
TEXTS = [
    "",
    "Hello world",
    "wörld 😀 日本語\n\n\t x\r\n",
    "a\u2028b\u0085c",
    "0123456789",
    "<|im_start|>user\nx<|im_end|>\n",
]


@pytest.fixture(scope="module")
def chatml() -> Tokenizer:
    return Tokenizer.load(fixture_path("chatml"))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(fixture_path("chatml"), tmp_path / "copy"))


def with_template(directory: Path, template: str) -> Tokenizer:
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    return Tokenizer.load(directory)


@pytest.mark.parametrize("text", TEXTS)
def test_encoding_and_decoding_give_the_text_back(text: str, chatml: Tokenizer) -> None:
    assert chatml.decode(chatml.encode(text)) == text
    assert chatml.decode(chatml.encode(text, special=False)) == text


def test_control_tokens_in_text_are_tokens_unless_told_otherwise(chatml: Tokenizer) -> None:
    text = "<|im_end|>"

    assert chatml.encode(text) == [chatml.end_of_turn]
    assert chatml.end_of_turn not in chatml.encode(text, special=False)
    assert chatml.end_of_turn_text == text
    assert chatml.is_special(chatml.end_of_turn)
    assert not chatml.is_special(chatml.encode("a")[0])
    assert chatml.decode([*chatml.encode("a"), chatml.end_of_turn], skip_special=True) == "a"


def test_nothing_is_added_to_the_text(chatml: Tokenizer) -> None:
    assert chatml.encode("") == []
    assert chatml.encode("a") + chatml.encode("\nb") == chatml.encode("a\nb")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("skip", [True, False])
def test_pieces_are_the_text_one_per_id(text: str, skip: bool, chatml: Tokenizer) -> None:
    ids = chatml.encode(text)
    pieces = chatml.pieces(ids, skip)

    assert len(pieces) == len(ids)
    assert "".join(pieces) == chatml.decode(ids, skip)


def test_an_unfinished_character_is_held_back(chatml: Tokenizer) -> None:
    ids = chatml.encode("😀!")

    assert chatml.pieces(ids) == [""] * (len(ids) - 2) + ["😀", "!"]
    assert chatml.pieces(ids[:1]) == ["\ufffd"]
    assert chatml.pieces([*ids[:1], *chatml.encode("a")]) == ["", "\ufffda"]


def test_the_digest_tells_tokenizers_and_templates_apart(chatml: Tokenizer, copied: Path) -> None:
    same = Tokenizer.load(copied)
    other = with_template(copied, "{{ messages }}")

    assert same.digest == chatml.digest
    assert other.digest != chatml.digest
    assert Tokenizer.load(fixture_path("chars")).digest != chatml.digest


def test_templates_in_the_wild_find_what_they_use(copied: Path) -> None:
    template = """
{%- for m in messages %}
    {%- if m.role == 'stop' %}
        {%- break %}
    {%- endif %}
    {%- generation %}
        {{- m.content | tojson }}
    {%- endgeneration %}
{%- endfor %}
{{- eos_token }}|{{ enable_thinking }}|{{ tools is none }}|{{ documents is none }}|{{ strftime_now('%Y') | length }}
{%- if add_generation_prompt %}
GO
{% endif %}
"""
    tokenizer = with_template(copied, template)

    text = tokenizer.render([{"role": "user", "content": "<é>"}, {"role": "stop"}, USER], enable_thinking=False)

    assert text == '"<é>"<|im_end|>|False|True|True|4GO\n'


def test_arguments_as_json_text_are_given_to_the_template_as_an_object(copied: Path) -> None:
    tokenizer = with_template(
        copied, "{% for c in messages[0].tool_calls %}{{ c.function.arguments | tojson }};{% endfor %}"
    )
    spellings = ['{"a": 1}', {"a": 1}, "not json", "[1]"]
    calls = [{"type": "function", "function": {"name": "f", "arguments": spelling}} for spelling in spellings]
    message: dict[str, Any] = {"role": "assistant", "tool_calls": calls}
    before = json.dumps(message)

    assert tokenizer.render([message]) == '{"a": 1};{"a": 1};"not json";"[1]";'
    assert json.dumps(message) == before


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refused the conversation: roles must alternate"),
        ("{{ messages[0].nothing.more }}", "fails at the conversation"),
        ("{% for %}", "the chat template does not compile"),
        ("{{ ''.__class__.__mro__ }}", "fails at the conversation"),
        ("{{ messages.append(1) }}", "fails at the conversation"),
    ],
)
def test_a_template_that_refuses_is_one_sentence(template: str, message: str, copied: Path) -> None:
    with pytest.raises(TokenizerError, match=message):
        with_template(copied, template).render([USER])


@pytest.mark.parametrize("form", ["text", "list", "file"])
def test_the_template_is_found_where_it_may_stand(form: str, copied: Path) -> None:
    (copied / "chat_template.jinja").unlink()
    config = json.loads((copied / "tokenizer_config.json").read_text())
    if form == "text":
        config["chat_template"] = "T"
    elif form == "list":
        config["chat_template"] = [{"name": "rag", "template": "R"}, {"name": "default", "template": "T"}]
    else:
        (copied / "chat_template.json").write_text('{"chat_template": "T"}')
    config["eos_token"] = {"content": "<|im_end|>", "lstrip": False}
    (copied / "tokenizer_config.json").write_text(json.dumps(config))

    tokenizer = Tokenizer.load(copied)

    assert tokenizer.has_template
    assert tokenizer.render([USER]) == "T"
    assert tokenizer.end_of_turn_text == "<|im_end|>"


def test_what_cannot_be_loaded_is_one_sentence(copied: Path, tmp_path: Path) -> None:
    def refused(directory: Path) -> str:
        with pytest.raises(TokenizerError) as error:
            Tokenizer.load(directory)
        return str(error.value)

    assert refused(tmp_path / "nowhere") == (
        f"{tmp_path / 'nowhere'} is not a directory; a tokenizer is a directory with a tokenizer.json"
    )
    assert refused(tmp_path) == f"{tmp_path} has no tokenizer.json; only tokenizers in that form can be loaded"
    (copied / "chat_template.jinja").unlink()
    with pytest.raises(TokenizerError, match="has no chat template"):
        Tokenizer.load(copied).render([USER])
    (copied / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    assert refused(copied).endswith("tokenizer_config.json names no eos_token that the vocabulary has ('</s>')")
    (copied / "tokenizer_config.json").write_text("[]")
    assert refused(copied).endswith("tokenizer_config.json must hold a JSON object, not list")
    (copied / "tokenizer_config.json").write_text("{")
    assert "tokenizer_config.json is not JSON" in refused(copied)
    (copied / "tokenizer_config.json").unlink()
    assert "has no tokenizer_config.json" in refused(copied)
    (copied / "tokenizer.json").write_text("{}")
    assert "tokenizer.json cannot be loaded" in refused(copied)


def test_one_tokenizer_serves_several_threads(chatml: Tokenizer) -> None:
    def work(number: int) -> bool:
        text = f"thread {number} " * 50
        message = {"role": "user", "content": text}
        return chatml.decode(chatml.encode(text)) == text and text in chatml.render([message])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(64)))
