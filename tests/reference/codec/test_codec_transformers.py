"""The shipped tokenizers as `transformers` reads them: their templates give the same text, and the same ids."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from conformance.fixtures import fixture_path, names
from conformance.tokenizer import Tokenizer
from reference_gateway.codec.directory import read_directory
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Message

WITHOUT_TOOLS = {"chars", "llama2", "deepseek-coder"}
"""Families whose templates have no place for tools and their results."""
WITHOUT_TEXT_BESIDE_CALLS = {"mistral"}
"""Families whose templates leave out the text beside calls: the codec has it in a message of its own in front."""
SYSTEM: Message = {"role": "system", "content": "Be kind."}
USER: Message = {"role": "user", "content": "Tea, été, 数?"}
ANSWER: Message = {"role": "assistant", "content": " Here it is, 🙂. "}
CALL = {"id": "call00001", "type": "function", "function": {"name": "boil", "arguments": {"cups": 2, "for": "数 <b>"}}}
CALLING: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT: Message = {"role": "tool", "tool_call_id": "call00001", "content": "boiled"}
THINKING: Message = {"role": "assistant", "content": "Tea it is.", "reasoning_content": " Coffee, or\ntea? <b>\n"}
THOUGHT_CALL: Message = {**CALLING, "content": "A moment.", "reasoning_content": "It needs water."}
ODD_CALL = {
    "id": "call00002",
    "type": "function",
    "function": {
        "name": "stir",
        "arguments": {
            "how": {"slowly": True, "by": None},
            "times": [1, 2.5, -3],
            "with": "a 'spoon' & <fork>\n🙂",
            "": "",
        },
    },
}
NO_ARGUMENTS = {"id": "call00003", "type": "function", "function": {"name": "wait", "arguments": {}}}
TOOLS = [{"type": "function", "function": {"name": "boil", "parameters": {"type": "object", "properties": {}}}}]
ODD_TOOLS = [
    *TOOLS,
    {
        "type": "function",
        "function": {
            "name": "stir",
            "description": "Stirs <gently> & 'well': été, 数, 🙂",
            "parameters": {
                "type": "object",
                "properties": {
                    "how": {"type": "object", "properties": {"slowly": {"type": "boolean", "default": False}}},
                    "times": {"type": "array", "items": {"type": "number", "maximum": 1e3}},
                    "with": {"type": ["string", "null"], "enum": ["spoon", None]},
                },
                "required": ["how"],
            },
        },
    },
]
CONVERSATIONS: dict[str, list[Message]] = {
    "question": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, ANSWER, USER],
    "result": [SYSTEM, USER, CALLING, RESULT],
    "results": [USER, {**CALLING, "tool_calls": [CALL, CALL]}, RESULT, RESULT, ANSWER, USER],
    "result of odd calls": [
        USER,
        {**CALLING, "tool_calls": [ODD_CALL, NO_ARGUMENTS]},
        {**RESULT, "tool_call_id": "call00002", "content": '{"stirred": "été <b>"}\n'},
        {**RESULT, "tool_call_id": "call00003", "content": ""},
    ],
    "result between texts": [SYSTEM, USER, {**CALLING, "content": "A moment."}, RESULT, ANSWER, USER, ANSWER, USER],
    "thoughts": [USER, THINKING, USER, THINKING, USER],
    "thoughts at the end": [SYSTEM, USER, THINKING],
    "result with thoughts": [USER, THINKING, USER, THOUGHT_CALL, RESULT],
    "result with earlier thoughts": [USER, THOUGHT_CALL, RESULT, THINKING, USER],
}


CASES = [
    pytest.param(name, messages, tools, id=f"{name}-{kind}-{len(tools or ())} tools")
    for name in names()
    for kind, messages in CONVERSATIONS.items()
    for tools in (None, TOOLS, ODD_TOOLS)
    if name not in WITHOUT_TOOLS or not (tools or kind.startswith("result"))
]


def apart(messages: list[Message]) -> list[Message]:
    parts: list[Message] = []
    for message in messages:
        if message.get("tool_calls") and message["content"]:
            parts.append({"role": "assistant", "content": message["content"]})
            message = {**message, "content": ""}
        parts.append(message)
    return parts


@cache
def published(name: str) -> Any:
    """The tokenizer as a trainer would load it."""
    why = "needs transformers, without torch: run tox -e vocab"
    transformers = pytest.importorskip("transformers", reason=why)
    return transformers.AutoTokenizer.from_pretrained(fixture_path(name))


@cache
def codec(name: str) -> TemplateCodec:
    return TemplateCodec(read_directory(fixture_path(name)))


@cache
def kit(name: str) -> Tokenizer:
    return Tokenizer.load(fixture_path(name))


@pytest.mark.parametrize(("name", "messages", "tools"), CASES)
def test_a_conversation_has_the_text_and_the_ids_of_transformers(
    name: str, messages: list[Message], tools: list[dict[str, Any]] | None
) -> None:
    apply = published(name).apply_chat_template
    for prompt in (True, False):
        text = apply(messages, tools=tools, add_generation_prompt=prompt, tokenize=False)
        assert kit(name).render(messages, tools, add_generation_prompt=prompt) == text
        assert codec(name)._render(messages, tools, {}, prompt) == text
    ids = apply(messages, tools=tools, add_generation_prompt=True, return_dict=False)
    assert kit(name).encode(kit(name).render(messages, tools)) == ids
    if name in WITHOUT_TEXT_BESIDE_CALLS:
        ids = apply(apart(messages), tools=tools, add_generation_prompt=True, return_dict=False)
    assert codec(name).encode(messages, tools, {}) == ids


@pytest.mark.parametrize("thinks", [True, False])
@pytest.mark.parametrize("name", names())
def test_what_reaches_the_template_has_the_text_of_transformers(name: str, thinks: bool) -> None:
    kwargs = {"enable_thinking": thinks, "date_string": "1 May", "custom": [1, {"a": None}]}
    for messages in ([USER], [USER, THINKING, USER], [USER, ANSWER]):
        for prompt in (True, False):
            apply = published(name).apply_chat_template
            text = apply(messages, add_generation_prompt=prompt, tokenize=False, **kwargs)
            assert kit(name).render(messages, add_generation_prompt=prompt, **kwargs) == text
            assert codec(name)._render(messages, None, kwargs, prompt) == text


@pytest.mark.parametrize("name", names())
def test_an_answer_that_goes_on_has_the_ids_of_transformers(name: str) -> None:
    messages = [USER, {"role": "assistant", "content": "Here it"}]
    text = published(name).apply_chat_template(messages, continue_final_message=True, tokenize=False)
    ids = published(name).encode(text, add_special_tokens=False)
    assert codec(name).encode(messages, None, {}, continues_last=True) == ids


@pytest.mark.parametrize("text", ["Hello, world! It's 12345.", "été 数 🙂\r\n\n  x", ""])
@pytest.mark.parametrize("name", names())
def test_a_text_has_the_ids_of_transformers(name: str, text: str) -> None:
    ids = published(name).encode(text, add_special_tokens=False)
    assert kit(name).encode(text) == codec(name).vocabulary.encode(text) == ids
    assert kit(name).decode(ids) == published(name).decode(ids)


@pytest.mark.parametrize("name", names())
def test_the_end_of_a_turn_is_the_one_of_transformers(name: str) -> None:
    end = published(name).eos_token_id
    assert kit(name).end_of_turn == end
    file = fixture_path(name) / "generation_config.json"
    if file.is_file():
        ends = json.loads(file.read_text())["eos_token_id"]
        assert end in ends
        assert None not in published(name).convert_ids_to_tokens(ends)
