"""A continuation appended token by token is the full render, for every template that can be continued."""

from __future__ import annotations

import re

import pytest
from codec_templates import coder, deepseek, glm, llama, mistral, no_suffix, pythonic, qwen3

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.parsers.deepseek import control
from reference_gateway.codec.reasoning import without_thoughts
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Message

U: Message = {"role": "user", "content": "Tea, please."}
U2: Message = {"role": "user", "content": "And milk?"}
A: Message = {"role": "assistant", "content": "Here it is."}
ID = "call00001"
CALL = {"id": ID, "type": "function", "function": {"name": "boil", "arguments": {"cups": 2, "hot": True}}}
C: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
CC: Message = {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}
T: Message = {"role": "tool", "tool_call_id": ID, "content": "boiled"}
TOOLS = [{"type": "function", "function": {"name": "boil", "parameters": {"type": "object", "properties": {}}}}]

SEPARATORS = {
    "chatml": ("<|im_end|>\n", "<|im_start|>assistant\n"),
    "qwen3": ("<|im_end|>\n", "<|im_start|>assistant\n"),
    "coder": ("<|im_end|>\n", "<|im_start|>assistant\n"),
    "llama": ("<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    "pythonic": ("<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    "mistral": ("</s>", ""),
    "glm": ("", "<|assistant|>\n"),
    "deepseek": (control("end of sentence"), control("Assistant")),
}
FILES = {"chatml": byte_files, "qwen3": qwen3, "coder": coder, "llama": llama, "pythonic": pythonic}
FILES |= {"mistral": mistral, "glm": glm, "deepseek": deepseek}
SUFFIXES = {
    "user": (A, [U2]),
    "tool": (C, [T]),
    "tools": (CC, [T, T]),
    "tool, user": (C, [T, U2]),
    "user, assistant, user": (A, [U2, A, U]),
    "user, call, tool": (A, [U2, C, T]),
}
MOVES_TOOLS = {("mistral", suffix) for suffix in SUFFIXES if "user" in suffix}
"""Where Mistral's tools move with the last question, nothing can be appended."""


@pytest.fixture(scope="module")
def codecs() -> dict[str, TemplateCodec]:
    return {name: TemplateCodec(files(), reasoning_parser="think") for name, files in FILES.items()}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["no tools", "tools"])
@pytest.mark.parametrize("earlier", [[], [U, A], [{"role": "system", "content": "Be kind."}]], ids=["0", "2", "system"])
@pytest.mark.parametrize("template", FILES)
def test_appended_is_the_full_render(codecs, template, earlier, tools, suffix):
    codec = codecs[template]
    answer, new = SUFFIXES[suffix]
    history = [*earlier, U, answer]
    delta = codec.encode_suffix(history, new, tools, {}, None)
    if tools and (template, suffix) in MOVES_TOOLS:
        assert delta is None
        return
    full = codec.encode([*history, *new], tools, {})
    assert full[-len(delta) :] == delta
    # What is left of the full render is the context that asked for the answer, and the answer.
    asked, read = (
        codec.encode([*earlier, U], tools, {}),
        codec.vocabulary.decode(full[: -len(delta)], keep_control=True),
    )
    assert without_thoughts(read).startswith(codec.vocabulary.decode(asked, keep_control=True))
    assert answer["content"] in read
    assert read.count("boil") == len(answer.get("tool_calls", ())) + (1 if tools else 0)


@pytest.mark.parametrize("template", FILES)
def test_seams_and_mode_are_found(codecs, template):
    codec = codecs[template]
    assert (codec.seams.turn_end, codec.seams.generation_prompt) == SEPARATORS[template]
    assert codec.mode == "incremental"
    everything = {"user", "tool", "tools", "tool+user", "assistant"}
    assert codec.seams.proved == everything
    assert codec.seams.proved_with_tools == ({"tool", "tools"} if template == "mistral" else everything)
    assert (codec.seams.reason is None) == (template != "mistral")


def test_end_token_is_not_added_twice(codecs):
    codec = codecs["chatml"]
    end = codec.vocabulary.token_id("<|im_end|>")
    closed = codec.encode_suffix([U, A], [U2], None, {}, end)
    opened = codec.encode_suffix([U, A], [U2], None, {}, ord("x"))
    assert opened == [end, *closed]
    assert end not in closed[:1]


def test_role_token_that_ended_the_turn_is_not_added_twice(codecs):
    codec = codecs["glm"]
    user, observation = (codec.vocabulary.token_id(text) for text in ("<|user|>", "<|observation|>"))
    assert codec.encode_suffix([U, A], [U2], None, {}, user)[0] != user
    assert codec.encode_suffix([U, C], [T], TOOLS, {}, observation)[0] != observation


def test_empty_suffix_adds_nothing(codecs):
    assert codecs["chatml"].encode_suffix([U, A], [], None, {}, None) == []


def test_thoughts_that_the_template_drops_are_kept_by_a_reasoning_parser_only(codecs):
    rewriting = TemplateCodec(qwen3())
    assert rewriting.mode == "full"
    assert "drops what was thought" in str(rewriting.seams.reason)
    assert rewriting.encode_suffix([U, A], [U2], None, {}, None) is None
    keeping = codecs["qwen3"]
    thought = {**A, "reasoning_content": "Two cups."}
    delta = keeping.encode_suffix([U, thought], [U2], None, {}, None)
    assert delta == keeping.encode_suffix([U, A], [U2], None, {}, None)
    assert keeping.vocabulary.decode(delta, keep_control=True).startswith("<|im_end|>\n<|im_start|>user\nAnd milk?")


def test_system_message_that_the_template_moves_starts_a_new_chain(codecs):
    late = [{"role": "system", "content": "Be quick."}, U2]
    assert codecs["deepseek"].encode_suffix([U, A], late, None, {}, None) is None
    assert codecs["glm"].encode_suffix([U, A], late, None, {}, None) is not None


def test_tools_beside_the_last_question_are_not_continued(codecs):
    codec = codecs["mistral"]
    assert codec.encode_suffix([U, A], [U2], TOOLS, {}, None) is None
    assert "for requests with tools: user, tool+user, assistant" in str(codec.seams.reason)


def test_calls_with_ids_that_the_template_refuses_get_others(codecs):
    """Nine letters and digits, the same ones wherever the id stands."""
    codec, history = codecs["mistral"], [{**C, "tool_calls": [{**CALL, "id": "call_1a2b3c4d"}]}]
    new = [{**T, "tool_call_id": "call_1a2b3c4d"}]
    delta = codec.encode_suffix([U, *history], new, TOOLS, {}, None)
    full = codec.encode([U, *history, *new], TOOLS, {})
    assert full[-len(delta) :] == delta
    text = codec.vocabulary.decode(full, keep_control=True)
    [named] = re.findall(r'"call_id": "(\w{9})"', text)
    assert f'"id": "{named}"' in text


def test_generation_prompt_that_is_not_appended_means_full():
    codec = TemplateCodec(no_suffix())
    assert codec.mode == "full"
    assert codec.seams.reason == "Generation prompt is not a stable token suffix"
    assert codec.encode_suffix([U, A], [U2], None, {}, None) is None


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ messages[0].content }}", "does not write an assistant's content exactly once"),
        ("{% if %}", "not valid Jinja"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ messages.append(1) }}", "unusable"),
    ],
)
def test_unusable_template_is_refused_in_a_sentence(template, complaint):
    with pytest.raises(ValueError, match=complaint):
        TemplateCodec(byte_files(template))


def test_configured_kwargs_reach_every_render_and_are_copied():
    template = "{{ mood.word }}{% for m in messages %}{{ m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}"
    mood = {"word": "calm "}
    codec = TemplateCodec(byte_files(template), template_kwargs={"mood": mood})
    mood["word"] = "angry "
    assert codec.vocabulary.decode(codec.encode([U], None, {}), keep_control=False).startswith("calm ")
    other = codec.encode([U], None, {"mood": {"word": "odd "}})
    assert codec.vocabulary.decode(other, keep_control=False).startswith("odd ")


def test_cost_of_a_continuation_does_not_grow_with_the_history(codecs):
    rendered = []
    codec = TemplateCodec(byte_files())
    render = codec._template.render
    codec._template.render = lambda messages, *rest, **more: (
        rendered.append(len(messages)) or render(messages, *rest, **more)
    )
    codec.encode_suffix([U, A] * 500, [U2], None, {}, None)
    assert max(rendered) == 3
