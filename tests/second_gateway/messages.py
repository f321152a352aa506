"""Anthropic Messages: requests as what a chat would ask, answers as blocks and events."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from tests.second_gateway import chat
from tests.second_gateway.chat import demand

BILLING = re.compile(r"^x-anthropic-billing-header:.*$", re.IGNORECASE)
HOSTED = re.compile(r"web_search|web_fetch|code_execution")
STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

Message = dict[str, Any]


def read(body: dict[str, Any]) -> dict[str, Any]:
    """What a message request asks of a session. Raises `Problem` that names the field."""
    given = {name: value for name, value in body.items() if value is not None}
    messages, tools = given.get("messages"), given.get("tools", [])
    demand(isinstance(messages, list) and messages, "messages must be a non-empty list")
    demand(isinstance(tools, list), "tools must be a list")
    choice = given.get("tool_choice", "auto")
    if isinstance(choice, dict):
        demand(not choice.get("disable_parallel_tool_use"), "disable_parallel_tool_use is not supported")
        choice = choice.get("type")
    demand(choice in ("auto", "none"), "tool_choice must be auto or none; no other is supported")
    config = given.get("output_config", {})
    demand(isinstance(config, dict) and not config.get("format"), "output_config.format is not supported")
    demand("output_format" not in given, "output_format is not supported")
    stops = given.get("stop_sequences", [])
    demand(isinstance(stops, list) and all(isinstance(stop, str) for stop in stops), "stop_sequences must be strings")
    asked = {name: given[name] for name in ("temperature", "top_p", "top_k", "max_tokens") if name in given}
    lowered = [*system(given.get("system")), *turns(messages)]
    demand(lowered[-1:] and lowered[-1]["role"] != "assistant", "messages: the last must not be an assistant's")
    functions = [function(tool) for tool in tools if not is_the_providers(tool)]
    return chat.read({**asked, "stop": stops or None, "messages": lowered, "tools": functions, "tool_choice": choice})


def system(given: Any) -> list[Message]:
    demand(given is None or isinstance(given, str | list), "system must be text or a list of text blocks")
    blocks = given if isinstance(given, list) else [{"type": "text", "text": given or ""}]
    lines = "\n".join(text_of("system", block) for block in blocks).split("\n")
    said = "\n".join(line for line in lines if not BILLING.match(line))
    return [{"role": "system", "content": said}] if said.strip() else []


def turns(messages: list[Any]) -> list[Message]:
    """A reminder that comes between a call and its result waits until the result was told."""
    told: list[Message] = []
    waiting: list[Message] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        demand(isinstance(message, dict), f"{where} must be an object")
        role, content = message.get("role"), message.get("content")
        demand(role in ("user", "assistant", "system"), f"{where}.role must be user, assistant or system")
        demand(
            isinstance(content, str) or (isinstance(content, list) and content), f"{where}.content must say something"
        )
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if role == "system":
            said = "\n".join(text_of(where, block) for block in blocks)
            waiting.append({"role": "user", "content": f"<system-reminder>\n{said}\n</system-reminder>"})
            if told and told[-1].get("tool_calls"):
                continue
        elif role == "assistant":
            told.append(assistant(where, blocks))
        else:
            told += user(where, blocks)
        told += waiting
        waiting = []
    return told + waiting


def user(where: str, blocks: list[Any]) -> list[Message]:
    told: list[Message] = []
    texts: list[str] = []
    for block in [*blocks, None]:
        result = isinstance(block, dict) and block.get("type") == "tool_result"
        if texts and (block is None or result):
            told.append({"role": "user", "content": "\n".join(texts)})
            texts = []
        if result:
            told.append(tool_result(where, block))
        elif block is not None:
            texts.append(text_of(where, block))
    return told


def tool_result(where: str, block: dict[str, Any]) -> Message:
    call_id, content = block.get("tool_use_id"), block.get("content")
    demand(isinstance(call_id, str) and call_id, f"{where}: a tool_result has a tool_use_id")
    demand(content is None or isinstance(content, str | list), f"{where}: a tool_result has text or text blocks")
    demand(not block.get("is_error"), f"{where}: is_error is not supported")
    said = content if isinstance(content, str) else "\n".join(text_of(where, each) for each in content or [])
    return {"role": "tool", "tool_call_id": call_id, "content": said}


def assistant(where: str, blocks: list[Any]) -> Message:
    texts, calls = [], []
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_use":
            named = [isinstance(block.get(name), str) and block[name] for name in ("id", "name")]
            demand(all(named) and isinstance(block.get("input"), dict), f"{where}: a tool_use has id, name and input")
            arguments = json.dumps(block["input"], ensure_ascii=False)
            calls.append({"id": block["id"], "function": {"name": block["name"], "arguments": arguments}})
        elif kind not in ("thinking", "redacted_thinking"):
            texts.append(text_of(where, block))
    return {"role": "assistant", "content": "\n".join(texts), "tool_calls": calls or None}


def text_of(where: str, block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else type(block).__name__
    text = block.get("text") if kind == "text" else None
    demand(isinstance(text, str), f"{where}: a block of the type {kind} is not supported")
    return str(text)


def is_the_providers(tool: Any) -> bool:
    return isinstance(tool, dict) and (tool.get("type") or "custom") != "custom"


def function(tool: Any) -> dict[str, Any]:
    demand(isinstance(tool, dict) and isinstance(tool.get("name"), str) and tool["name"], "tools: a tool has a name")
    demand(not HOSTED.match(tool.get("type") or ""), f"tools: {tool.get('type')} is not run here")
    told = {name: tool[name] for name in ("name", "description") if tool.get(name) is not None}
    return {"type": "function", "function": {**told, "parameters": tool.get("input_schema") or {}}}


def message(answer: dict[str, Any], model: Any) -> dict[str, Any]:
    said = answer["message"]
    blocks = [
        {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": json.loads(arguments)}
        for call in said.get("tool_calls", [])
        for arguments in [call["function"]["arguments"]]
    ]
    if said["content"] or not blocks:
        blocks.insert(0, {"type": "text", "text": said["content"]})
    stopped = answer.get("stop") if answer["finish_reason"] == "stop" else None
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": chat.head("", model)["model"],
        "content": blocks,
        "stop_reason": STOPS[answer["finish_reason"]] if stopped is None else "stop_sequence",
        "stop_sequence": stopped,
        "usage": {
            "input_tokens": answer["usage"]["prompt_tokens"],
            "output_tokens": answer["usage"]["completion_tokens"],
        },
    }


def stream(whole: dict[str, Any]) -> bytes:
    usage, end = whole["usage"], {name: whole[name] for name in ("stop_reason", "stop_sequence")}
    begun = {**whole, "content": [], **dict.fromkeys(end), "usage": {**usage, "output_tokens": 0}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        name, kind, empty = ("text", "text_delta", "")
        pieces = block.get("text", "")
        if block["type"] == "tool_use":
            name, kind, empty, pieces = "input", "input_json_delta", {}, json.dumps(block["input"], ensure_ascii=False)
        field = "partial_json" if block["type"] == "tool_use" else "text"
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, name: empty}})
        for piece in pieces:
            events.append({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}})
        events.append({"type": "content_block_stop", "index": index})
    told = {"type": "message_delta", "delta": end, "usage": {"output_tokens": usage["output_tokens"]}}
    events += [told, {"type": "message_stop"}]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def error(status: int, text: str) -> dict[str, Any]:
    kinds = {404: "api_error", 429: "rate_limit_error", 503: "overloaded_error"}
    kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": text}}
