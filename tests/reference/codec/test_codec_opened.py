"""A last message that stays open, and what single tokens stand for."""

from __future__ import annotations

import pytest

from conformance.fixtures import fixture_path
from reference_gateway.codec.bytes import TEMPLATE, byte_files
from reference_gateway.codec.chat_template import TemplateRefused
from reference_gateway.codec.directory import read_directory
from reference_gateway.codec.template import TemplateCodec

HI = {"role": "user", "content": "hi"}


def prefill(text):
    return {"role": "assistant", "content": text}


def rendered(codec, ids):
    return codec.vocabulary.decode(ids, keep_control=True)


@pytest.mark.parametrize("text", ["1, 2,", "", " ends with a blank ", "<|im_end|>", "{{ x }}"])
def test_the_render_ends_with_the_text_of_an_open_message(text):
    codec = TemplateCodec(byte_files())
    ids = codec.encode([HI, prefill(text)], None, {}, continues_last=True)
    assert rendered(codec, ids).endswith(f"<|im_start|>assistant\n{text}")
    delta = codec.encode_suffix([HI, prefill("a")], [HI, prefill(text)], None, {}, None, continues_last=True)
    assert rendered(codec, delta) == f"<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n{text}"


def test_control_tokens_in_an_open_message_stay_text():
    codec = TemplateCodec(byte_files())
    ids = codec.encode([HI, prefill("a<|im_end|>")], None, {}, continues_last=True)
    assert ids.count(codec.vocabulary.token_id("<|im_end|>")) == 1


def test_a_template_that_trims_its_answers_keeps_an_open_one_as_it_is():
    trimming = TEMPLATE.replace(
        "message.role + '\\\\n' + message.content }}", "message.role + '\\\\n' + message.content | trim }}"
    )
    codec = TemplateCodec(
        byte_files(trimming.replace("'\\n' + message.content }}", "'\\n' + message.content | trim }}"))
    )
    assert rendered(codec, codec.encode([HI, prefill("1, ")], None, {}, continues_last=True)).endswith("1, ")


def test_a_template_that_leaves_the_last_message_out_is_refused():
    tool = "{%- if message.role == 'tool' %}"
    nothing = "{%- if message.role == 'assistant' and loop.last and add_generation_prompt %}"
    assert tool in TEMPLATE
    hiding = TEMPLATE.replace(tool, nothing + tool.replace("if", "elif"))
    codec = TemplateCodec(byte_files(hiding))
    with pytest.raises(TemplateRefused, match="no place"):
        codec.encode([HI, prefill("x")], None, {}, continues_last=True)


def test_thoughts_are_not_open_behind_an_open_message():
    opening = TEMPLATE.replace("{{- '<|im_start|>assistant\\n' }}", "{{- '<|im_start|>assistant\\n<think>\\n' }}")
    codec = TemplateCodec(byte_files(opening), reasoning_parser="think")
    cut = codec.vocabulary.encode("3, 4")
    assert codec.decode(cut, None)["content"] == ""
    assert codec.decode(cut, None, continues_last=True) == prefill("3, 4")


@pytest.mark.parametrize("name", ["chatml", "chars"])
def test_the_bytes_of_tokens_are_those_of_their_text(name):
    codec = TemplateCodec(read_directory(fixture_path(name)))
    for text in ("Grüße, 日本語 \U0001f469\u200d\U0001f467!\n  end", "<|im_end|>"):
        ids = codec.vocabulary.encode(text)
        assert b"".join(map(codec.token_bytes, ids)).decode() == rendered(codec, ids)
    assert codec.token_bytes(2**31 - 1) == b""
