"""Messages as text and as ids. Knows one tokenizer and its chat template, renders everything anew each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2.sandbox
from tokenizers import Tokenizer

Message = dict[str, Any]

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class Text:
    def __init__(self, directory: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        config = json.loads((directory / "tokenizer_config.json").read_text())
        self.end: str = config["eos_token"]
        self.end_id: int = self.tokenizer.token_to_id(self.end)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self.template = environment.from_string((directory / "chat_template.jinja").read_text())

    def render(self, messages: list[Message], tools: list[Any], ask: bool, settings: dict[str, Any]) -> str:
        shown = [shown_to_the_model(message) for message in messages]
        return self.template.render(**settings, messages=shown, tools=tools or None, add_generation_prompt=ask)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def first(self, messages: list[Message], tools: list[Any], settings: dict[str, Any]) -> list[int]:
        """The context of a request that continues nothing."""
        return self.encode(self.render(messages, tools, True, settings))

    def next(
        self, seen: list[int], old: list[Message], new: list[Message], tools: list[Any], settings: dict[str, Any]
    ) -> list[int] | None:
        """The context of a request with `new` behind `old`, which ends with the answer that ends `seen`. None when the
        template writes the old messages otherwise as soon as there are new ones."""
        if not new:
            return seen
        before = self.render(old, tools, False, settings)
        whole = self.render(old + new, tools, True, settings)
        turn_end = before.rfind(self.end)
        if not whole.startswith(before) or turn_end < 0:
            return None
        between = whole[turn_end:]
        if seen[-1:] == [self.end_id]:
            between = between.removeprefix(self.end)
        return seen + self.encode(between)

    def decode(self, ids: list[int], tools: list[Any], stop: str | None) -> Message:
        """The assistant message that was sampled, up to the stop text that ended it."""
        spoken = ids[:-1] if ids[-1:] == [self.end_id] else ids
        text = self.tokenizer.decode(spoken, skip_special_tokens=not tools)
        text = text.partition(stop)[0] if stop else text
        found = calls_in(text) if tools else None
        if found is None:
            return {"role": "assistant", "content": text}
        content, calls = found
        return {"role": "assistant", "content": content, "tool_calls": calls}


def shown_to_the_model(message: Message) -> Message:
    calls = [
        {**call, "function": {**call["function"], "arguments": as_object(call["function"].get("arguments"))}}
        for call in message.get("tool_calls") or []
    ]
    return {**message, "tool_calls": calls} if calls else {k: v for k, v in message.items() if k != "tool_calls"}


def as_object(arguments: Any) -> Any:
    """Arguments as the object that their text says, if it says one; none are an empty one."""
    if arguments in ("", None):
        return {}
    try:
        found = json.loads(arguments)
    except (TypeError, ValueError):
        return arguments
    return found if isinstance(found, dict) else arguments


def calls_in(text: str) -> tuple[str, list[dict[str, Any]]] | None:
    """The text, of which what is no whole call is part, and the calls without ids; None when there is no call."""
    content, calls = "", []
    while OPEN in text:
        before, _, rest = text.partition(OPEN)
        content += before
        function, behind = whole_call(rest)
        if function is None:
            content, text = content + OPEN, rest
        else:
            calls.append({"id": "", "type": "function", "function": function})
            text = behind
    return ((content + text).strip(), calls) if calls else None


def whole_call(text: str) -> tuple[dict[str, Any] | None, str]:
    """The function of the call that `text` begins with, and the text behind its end."""
    beginning = text.lstrip()
    try:
        call, length = json.JSONDecoder().raw_decode(beginning)
        name, arguments = call["name"], call["arguments"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, text
    behind = beginning[length:].lstrip()
    if not behind.startswith(CLOSE) or not isinstance(name, str) or not isinstance(arguments, dict):
        return None, text
    return {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}, behind.removeprefix(CLOSE)


def identity(message: Message, options: dict[str, str]) -> tuple[str, str]:
    """By what two messages are the same: the role, and the rest as one text."""
    content = message.get("content") or ""
    if isinstance(content, list):
        texts = [part["text"] for part in content]
        content = texts[0] if len(texts) == 1 else texts
    if isinstance(content, str) and options["whitespace_identity"] == "ignored" and message["role"] == "assistant":
        content = content.strip()
    compared = options["tool_id_identity"] == "compared"
    calls = [
        [call["function"].get("name"), as_object(call["function"].get("arguments")), compared and call.get("id")]
        for call in message.get("tool_calls") or []
    ]
    named = message["role"] != "assistant" or options["name_identity"] == "compared"
    parts = {"content": content, "name": message.get("name") if named else None, "calls": calls}
    if compared:
        parts["answers"] = message.get("tool_call_id")
    if options["reasoning_identity"] == "compared":
        parts["reasoning"] = message.get("reasoning_content")
    return message["role"], json.dumps(parts, sort_keys=True)
