"""A continuation appended token by token is the full render, for every template that can be continued."""

from __future__ import annotations

import pytest
from codec_templates import brackets, llama, no_suffix, observer, thinking

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Message

U: Message = {"role": "user", "content": "Tea, please."}
U2: Message = {"role": "user", "content": "And milk?"}
A: Message = {"role": "assistant", "content": "Here it is."}
CALL = {"id": "call_1", "type": "function", "function": {"name": "boil", "arguments": {"cups": 2, "hot": True}}}
C: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
CC: Message = {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}
T: Message = {"role": "tool", "tool_call_id": "call_1", "content": "boiled"}
TOOLS = [{"type": "function", "function": {"name": "boil", "parameters": {"type": "object", "properties": {}}}}]

TEMPLATES = {"chatml": byte_files, "llama": llama, "observer": observer, "brackets": brackets, "thinking": thinking}
SUFFIXES = {
    "user": (A, [U2]),
    "tool": (C, [T]),
    "tools": (CC, [T, T]),
    "tool, user": (C, [T, U2]),
    "user, assistant, user": (A, [U2, A, U]),
    "user, call, tool": (A, [U2, C, T]),
}


@pytest.fixture(scope="module")
def codecs() -> dict[str, TemplateCodec]:
    return {name: TemplateCodec(files()) for name, files in TEMPLATES.items()}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["no tools", "tools"])
@pytest.mark.parametrize("earlier", [[], [U, A], [{"role": "system", "content": "Be kind."}]], ids=["0", "2", "system"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_appended_is_the_full_render(codecs, template, earlier, tools, suffix):
    codec = codecs[template]
    answer, new = SUFFIXES[suffix]
    history = [*earlier, U, answer]
    delta = codec.encode_suffix(history, new, tools, {}, None)
    if delta is None:
        assert template == "brackets"  # its tools move with the last question
        assert tools is not None
        return
    full = codec.encode([*history, *new], tools, {})
    # The rest of the full render is the history with the answer's own tokens, which the engine sampled.
    assert full[-len(delta) :] == delta
    assert codec.vocabulary.decode(full[: -len(delta)], keep_control=True).endswith(
        answer["content"] or ("}" if template in ("llama", "observer", "brackets") else "</tool_call>")
    )


@pytest.mark.parametrize(
    ("template", "turn_end", "prompt"),
    [
        ("chatml", "<|im_end|>\n", "<|im_start|>assistant\n"),
        ("llama", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
        ("observer", "", "<|assistant|>\n"),
        ("brackets", "</s>", ""),
        ("thinking", "<|im_end|>\n", "<|im_start|>assistant\n"),
    ],
)
def test_seams_are_found(codecs, template, turn_end, prompt):
    seams = codecs[template].seams
    assert (seams.turn_end, seams.generation_prompt) == (turn_end, prompt)
    assert codecs[template].mode == "incremental"
    assert "user" in seams.proved


def test_end_token_is_not_added_twice(codecs):
    codec = codecs["chatml"]
    end = codec.vocabulary.token_id("<|im_end|>")
    closed = codec.encode_suffix([U, A], [U2], None, {}, end)
    opened = codec.encode_suffix([U, A], [U2], None, {}, ord("x"))
    assert opened == [end, *closed]
    assert end not in closed[:1]


def test_role_token_that_ended_the_turn_is_not_added_twice(codecs):
    codec = codecs["observer"]
    user, observation = (codec.vocabulary.token_id(text) for text in ("<|user|>", "<|observation|>"))
    assert codec.encode_suffix([U, A], [U2], None, {}, user)[0] != user
    assert codec.encode_suffix([U, C], [T], TOOLS, {}, observation)[0] != observation


def test_empty_suffix_adds_nothing(codecs):
    assert codecs["chatml"].encode_suffix([U, A], [], None, {}, None) == []


def test_template_that_drops_reasoning_is_continued_only_where_it_keeps_it(codecs):
    codec = codecs["thinking"]
    thought = {**C, "reasoning_content": "Two cups."}
    assert codec.encode_suffix([U, thought], [T], TOOLS, {}, None) is not None
    assert codec.encode_suffix([U, thought], [U2], TOOLS, {}, None) is None
    assert codec.encode_suffix([U, C], [U2], TOOLS, {}, None) is not None


def test_tools_beside_the_last_question_are_not_continued(codecs):
    codec = codecs["brackets"]
    assert codec.encode_suffix([U, A], [U2], TOOLS, {}, None) is None
    assert "for requests with tools" in str(codec.seams.reason)


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
