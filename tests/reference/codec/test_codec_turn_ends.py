"""The end of a turn stands behind an answer once, whichever token ended it and whatever the template writes there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from codec_templates import HEADERS, deepseek, glm, qwen3

from reference_gateway.codec.bytes import CONTROL, byte_files
from reference_gateway.codec.directory import read_directory
from reference_gateway.codec.ends import place_ends
from reference_gateway.codec.template import TemplateCodec

LLAMA2 = """\
{%- for m in messages -%}
{%- if m.role == 'user' -%}{{ bos_token + '[INST] ' + m.content | trim + ' [/INST]' }}
{%- elif m.role == 'tool' -%}{{ bos_token + '[TOOL] ' + m.content | trim + ' [/TOOL]' }}
{%- elif m.role == 'assistant' -%}
{{- ' ' + m.content | trim }}
{%- for call in m.tool_calls or [] %}{{ 'CALL ' + call.function.name + (call.function.arguments | tojson) }}{% endfor %}
{{- ' ' + eos_token }}
{%- endif -%}
{%- endfor -%}
"""
CODER = """\
{%- for m in messages -%}
{{- '### ' + m.role + ':\\n' + m.content }}
{%- for call in m.tool_calls or [] %}{{ 'CALL ' + call.function.name + (call.function.arguments | tojson) }}{% endfor %}
{{- '\\n<|EOT|>\\n' if m.role == 'assistant' else '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '### assistant:\\n' }}{% endif -%}
"""
ENDED_BY_THE_NEXT = """\
{%- for m in messages -%}
{{- eos_token + '\\n' if loop.previtem and loop.previtem.role == 'assistant' }}
{{- m.role + ': ' + m.content }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif -%}
"""
LLAMA = """\
{{- bos_token }}
{%- if tools %}
    {{- '<|start_header_id|>system<|end_header_id|>\\n\\nEnvironment: ipython\\n' + (tools | tojson) + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- set role = 'ipython' if message.role == 'tool' else message.role %}
    {{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}
    {%- for call in message.tool_calls or [] %}
        {{- '; ' if not loop.first }}
        {{- '{"name": "' + call.function.name + '", "parameters": ' + (call.function.arguments | tojson) + '}' }}
    {%- endfor %}
    {{- message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
# Calls end with another token than answers, as with the built-in tools of Llama 3.1.
EOM = LLAMA.replace(
    "{{- message.content | trim + '<|eot_id|>' }}",
    "{{- message.content | trim + ('<|eom_id|>' if message.tool_calls else '<|eot_id|>') }}",
)
EOM_HEADERS = (*HEADERS, "<|eom_id|>", "<|end_of_text|>")

U, U2 = {"role": "user", "content": "Tea?"}, {"role": "user", "content": "And milk?"}
A = {"role": "assistant", "content": "Here."}
CALL = {"id": "call00001", "type": "function", "function": {"name": "boil", "arguments": {}}}
C, CC = {**A, "content": "", "tool_calls": [CALL]}, {**A, "content": "", "tool_calls": [CALL, CALL]}
T = {"role": "tool", "tool_call_id": "call00001", "name": "boil", "content": "boiled"}


def named(files, **special):
    return replace(files, special_tokens={**files.special_tokens, **special})


def llama2():
    return named(byte_files(LLAMA2, ("<s>", "</s>"), end_of_turn="</s>"), bos_token="<s>")


FILES = {
    "llama2": llama2,
    "coder": lambda: byte_files(CODER, ("<|EOT|>",), end_of_turn="<|EOT|>"),
    "next": lambda: byte_files(ENDED_BY_THE_NEXT, ("</s>",), end_of_turn="</s>"),
    "chatml": byte_files,
    "qwen3": qwen3,
    "llama3": lambda: named(byte_files(LLAMA, EOM_HEADERS, end_of_turn="<|eot_id|>"), bos_token="<|begin|>"),
    "eom": lambda: named(byte_files(EOM, EOM_HEADERS, end_of_turn="<|eot_id|>"), bos_token="<|begin|>"),
    "unlisted": lambda: byte_files(CODER.replace("EOT", "stop"), ("<|stop|>",), end_of_turn="nothing"),
    "glm": glm,
    "deepseek": deepseek,
}


@pytest.fixture(scope="module")
def codecs():
    return {name: TemplateCodec(files(), reasoning_parser="think") for name, files in FILES.items()}


def behind(codec, end, new=(U2,), answer=A, tools=None):
    """What is put behind an answer that ended with the token `end`, or was cut."""
    last = codec.vocabulary.token_id(end) if end else ord("x")
    ids = codec.encode_suffix([U, answer], list(new), tools, {}, last)
    return None if ids is None else codec.vocabulary.decode(ids, keep_control=True)


@pytest.mark.parametrize(
    ("template", "end", "expected"),
    [
        ("llama2", "</s>", "<s>[INST] And milk? [/INST]"),
        ("llama2", None, " </s><s>[INST] And milk? [/INST]"),
        ("coder", "<|EOT|>", "\n### user:\nAnd milk?\n### assistant:\n"),
        ("coder", None, "\n<|EOT|>\n### user:\nAnd milk?\n### assistant:\n"),
        ("next", "</s>", "\nuser: And milk?assistant: "),
        ("next", None, "</s>\nuser: And milk?assistant: "),
        ("chatml", "<|endoftext|>", "\n<|im_start|>user\nAnd milk?<|im_end|>\n<|im_start|>assistant\n"),
        ("qwen3", "<|endoftext|>", "\n<|im_start|>user\nAnd milk?<|im_end|>\n<|im_start|>assistant\n"),
        ("chatml", "<|im_start|>", "<|im_end|>\n<|im_start|>user\nAnd milk?<|im_end|>\n<|im_start|>assistant\n"),
        ("unlisted", "<|stop|>", "\n### user:\nAnd milk?\n### assistant:\n"),
        ("glm", "<|user|>", "\nAnd milk?<|assistant|>\n"),
        ("glm", None, "<|user|>\nAnd milk?<|assistant|>\n"),
    ],
)
def test_end_of_a_turn_stands_once(codecs, template, end, expected):
    assert codecs[template].mode == "incremental"
    assert behind(codecs[template], end) == expected


@pytest.mark.parametrize("template", ["llama3", "eom"])
@pytest.mark.parametrize("end", ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", None])
@pytest.mark.parametrize(("answer", "new"), [(A, [U2]), (C, [T]), (CC, [T, T]), (C, [T, U2])])
def test_any_of_several_end_tokens_ends_a_turn(codecs, template, end, answer, new):
    ended = behind(codecs[template], end, new, answer, [{"type": "function", "function": {"name": "boil"}}])
    own = "<|eom_id|>" if template == "eom" and answer is not A else "<|eot_id|>"
    role = "user" if answer is A else "ipython"
    assert ended.startswith(("" if end else own) + f"<|start_header_id|>{role}<|end_header_id|>")


@pytest.mark.parametrize(("answer", "new"), [(C, [T]), (CC, [T, T]), (C, [T, U2]), (A, [U2, A, U2])])
@pytest.mark.parametrize("template", ["llama2", "coder"])
def test_end_stands_once_behind_calls_and_before_several_messages(codecs, template, answer, new):
    end = "</s>" if template == "llama2" else "<|EOT|>"
    cut, ended = behind(codecs[template], None, new, answer), behind(codecs[template], end, new, answer)
    own = " </s>" if template == "llama2" else "\n<|EOT|>"
    assert cut == own + ended


@pytest.mark.parametrize("place", ["generation_config.json", "config.json", "tokenizer_config.json", "text_config"])
def test_end_tokens_are_read_from_each_file_that_lists_them(tmp_path, place):
    """An odd token that only a list of ids names as an end."""
    files = byte_files(control=(*CONTROL, "<|over|>"))
    over = len(CONTROL) + 256
    listed = {"eos_token_id": [256, over, None, "x", True]}
    (tmp_path / "tokenizer.json").write_bytes(files.tokenizer)
    (tmp_path / "chat_template.jinja").write_text(files.templates["default"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(files.special_tokens))
    name, written = (place, listed) if place != "text_config" else ("config.json", {"text_config": listed})
    before = json.loads((tmp_path / name).read_text()) if (tmp_path / name).exists() else {}
    (tmp_path / name).write_text(json.dumps({**before, **written}))
    codec = TemplateCodec(read_directory(tmp_path))
    assert behind(codec, "<|over|>").startswith("\n<|im_start|>user")
    assert codec.decode([*b"Hi", over], None)["content"] == "Hi"


def test_end_that_the_template_does_not_write_as_a_token_is_not_continued():
    """Its text is there, its id is not: nobody can say what of it was sampled."""
    ends = place_ends([9], [], "abc", {}, lambda text: [ord(each) for each in text], lambda token: "b")
    assert ends.rest([97, 98, 99], "user", 9) is None
    assert ends.rest([97, 98, 99], "user", 98) == [97, 98, 99]
