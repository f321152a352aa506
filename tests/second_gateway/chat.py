"""OpenAI chat: bodies to what a session is asked, and answers to bodies and streams."""

from __future__ import annotations

import json
import math
import time
import uuid
from typing import Any

from tests.second_gateway.sessions import Problem

SAMPLED = ("temperature", "top_p", "top_k", "stop", "max_tokens", "seed", "presence_penalty", "frequency_penalty")
"""What of a request goes to the engine."""
REFUSED = {
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "functions": [],
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "continue_final_message": False,
    "response_format": {"type": "text"},
}
"""What is refused, but for this value."""
ROLES = ("developer", "system", "user", "assistant", "tool")


def read_json(body: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        document = json.loads(body.decode("utf-8"), parse_constant=refuse)
        json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError) as error:
        raise Problem(400, "Invalid JSON body") from error
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a JSON object")
    return document


def read(body: dict[str, Any]) -> dict[str, Any]:
    """What a chat request asks of a session. Raises `Problem` that names the field."""
    given = {name: value for name, value in body.items() if value is not None}
    demand(given.get("n", 1) == 1 and type(given.get("n", 1)) is int, "n: this gateway gives one choice")
    for name, default in REFUSED.items():
        demand(given.get(name, default) == default, f"{name} is not supported: {default!r} is")
    choice = given.get("tool_choice", "auto")
    demand(choice in ("auto", "none"), 'tool_choice must be "auto" or "none"; no other is supported')
    messages, tools = given.get("messages"), given.get("tools", [])
    demand(isinstance(messages, list) and messages, "messages must be a non-empty list")
    demand(isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools), "tools must be a list of objects")
    settings = given.get("chat_template_kwargs", {})
    demand(isinstance(settings, dict), "chat_template_kwargs must be an object")
    sampling = {name: given[name] for name in SAMPLED if name in given}
    if "max_completion_tokens" in given:
        sampling["max_tokens"] = given["max_completion_tokens"]
    for name in ("temperature", "top_p", "top_k"):
        value = sampling.get(name, 0)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        demand(number, f"{name} must be a finite number")
    return {
        "messages": [read_message(place, message) for place, message in enumerate(messages)],
        "tools": [] if choice == "none" else [without_nulls(tool) for tool in tools],
        "settings": settings,
        "sampling": sampling,
    }


def read_message(place: int, message: Any) -> dict[str, Any]:
    where = f"messages[{place}]"
    demand(isinstance(message, dict), f"{where} must be an object")
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    demand(role in ROLES, f"{where}.role must be one of {', '.join(ROLES)}")
    for name in ("function_call", "refusal", "audio"):
        demand(message.get(name) is None, f"{where}.{name} is not supported")
    demand(content is None or isinstance(content, str | list), f"{where}.content must be text or a list of parts")
    for part in content if isinstance(content, list) else []:
        text = isinstance(part, dict) and part.get("type") in (None, "text") and isinstance(part.get("text"), str)
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        demand(text, f"{where}.content: a part of the type {kind} is not supported; text is")
    demand(calls is None or isinstance(calls, list), f"{where}.tool_calls must be a list")
    for call in calls or []:
        function = isinstance(call, dict) and isinstance(call.get("function"), dict)
        demand(function and isinstance(call["function"].get("name"), str), f"{where}.tool_calls: a call has a function")
    for name in ("name", "reasoning_content"):
        demand(isinstance(message.get(name), str | None), f"{where}.{name} must be a string")
    return message


def without_nulls(value: Any) -> Any:
    return (
        {name: without_nulls(each) for name, each in value.items() if each is not None}
        if isinstance(value, dict)
        else value
    )


def demand(holds: object, message: str) -> None:
    if not holds:
        raise Problem(422, message)


def head(kind: str, model: Any) -> dict[str, Any]:
    name = model if isinstance(model, str) and model else "unknown"
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": name}


def completion(answer: dict[str, Any], model: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {
            "refusal": None,
            "tool_calls": [],
            **answer["message"],
            "content": answer["message"]["content"] or None,
        },
        "logprobs": None,
        "finish_reason": answer["finish_reason"],
    }
    return {**head("chat.completion", model), "choices": [choice], "usage": answer["usage"]}


def stream(answer: dict[str, Any], model: Any, usage: bool) -> bytes:
    message = answer["message"]
    deltas: list[tuple[dict[str, Any], Any]] = [({"role": "assistant"}, None)]
    deltas += [({"content": character}, None) for character in message["content"]]
    for index, call in enumerate(message.get("tool_calls", [])):
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append(({"tool_calls": [{"index": index, **call, "function": function}]}, None))
        for character in call["function"]["arguments"]:
            deltas.append(({"tool_calls": [{"index": index, "function": {"arguments": character}}]}, None))
    deltas.append(({}, answer["finish_reason"]))
    first = head("chat.completion.chunk", model)
    chunks = [{**first, "choices": [{"index": 0, "delta": d, "finish_reason": end}]} for d, end in deltas]
    if usage:
        chunks.append({**first, "choices": [], "usage": answer["usage"]})
    frames = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
    return "".join(f"data: {frame}\n\n" for frame in frames).encode()


def error(status: int, message: str) -> dict[str, Any]:
    kinds = {409: "conflict_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": str(status)}}
