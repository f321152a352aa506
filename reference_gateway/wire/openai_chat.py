"""OpenAI chat completions: `POST /v1/chat/completions`.

Knows that wire: its gates, its validation, its bodies and its stream. Pure; a request that is refused here has touched
nothing. What becomes of each field stands in `fields.py` (contract UA-GATE-10).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from reference_gateway.tools.arguments import dump_arguments
from reference_gateway.types import Answer, Message, Token, Tool, Turn
from reference_gateway.wire import sse
from reference_gateway.wire.base import (
    Policy,
    RequestRefused,
    WireRequest,
    flag_of,
    open_end,
    retry_of,
    sampling_of,
    template_kwargs_of,
)
from reference_gateway.wire.constraints import FORCED, FREE, HIDDEN, Choice, allowed, constraint_of, named, schema_of
from reference_gateway.wire.fields import CHAT, Gate
from reference_gateway.wire.openai_messages import read_messages

name = "openai-chat"

_ERROR_TYPES = {409: "conflict_error", 429: "rate_limit_error"}


def parse(body: dict[str, Any], headers: Mapping[str, str], policy: Policy) -> WireRequest:
    """See `base.Wire`."""
    _GATE.check(body, policy)
    choice = _choice(body.get("tool_choice"))
    offered = _tools(body)
    tools = None if choice.hidden else offered
    limit = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    sampling = sampling_of(body, policy.sampling, body.get(limit), limit)
    retry = retry_of(headers)
    messages = read_messages(body.get("messages"), policy.media)
    continues_last = _continues_last(body, messages)
    one_call = not flag_of(body, "parallel_tool_calls", True)
    schema = schema_of(body.get("response_format"), "response_format", "json_schema")
    turn = Turn(
        messages=messages,
        tools=tools,
        sampling=sampling.parameters,
        max_tokens=sampling.max_tokens,
        template_kwargs=template_kwargs_of(body, policy),
        continues_last=continues_last,
        one_call=one_call,
        constraint=constraint_of(
            schema, "response_format", choice, tools, policy, one_call=one_call, continues_last=continues_last
        ),
        logprobs=flag_of(body, "logprobs", False),
        idempotency_key=retry.idempotency_key,
        retry_count=retry.count,
    )
    model = body.get("model")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise RequestRefused("stream_options must be an object")
    return WireRequest(
        turn,
        model="unknown" if model is None else str(model),
        stream=body.get("stream") is True,
        include_usage=options is not None and options.get("include_usage") is True,
    )


def plain(answer: Answer, request: WireRequest) -> bytes:
    """See `base.Wire`."""
    choice = {
        "index": 0,
        "message": {**_head(answer), **_content(answer), "refusal": None, **_calls(answer)},
        "logprobs": _logprobs(answer, request),
        "finish_reason": answer.finish_reason,
    }
    body = {
        "id": _new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
        "usage": _usage(answer),
    }
    return orjson.dumps(body)


def stream(answer: Answer, request: WireRequest) -> Iterator[bytes]:
    """See `base.Wire`. Usage comes in a chunk of its own, and only where it was asked for."""
    frames = Chunks(request)
    yield frames.opening(answer.prompt_tokens)
    yield frames.closing(answer, answer.message["content"])


class Chunks:
    """See `live.LiveFrames`."""

    def __init__(self, request: WireRequest) -> None:
        self._envelope = {
            "id": _new_id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": request.model,
        }
        self._request = request
        self._usage = {"usage": None} if request.include_usage else {}

    def opening(self, prompt_tokens: int) -> bytes:
        return self._chunk({"role": "assistant"})

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def closing(self, answer: Answer, rest: str) -> bytes:
        deltas: list[dict[str, Any]] = []
        reasoning = answer.message.get("reasoning_content")
        if reasoning:
            deltas.append({"reasoning_content": reasoning})
        if rest:
            deltas.append({"content": rest})
        calls = _calls(answer).get("tool_calls")
        if calls:
            deltas.append({"tool_calls": [{"index": place, **call} for place, call in enumerate(calls)]})
        last = self._chunk({}, answer.finish_reason, _logprobs(answer, self._request))
        frames = [*map(self._chunk, deltas), last]
        if self._request.include_usage:
            frames.append(sse.data({**self._envelope, "choices": [], "usage": _usage(answer)}))
        return b"".join([*frames, sse.DONE])

    def failed(self, status: int, message: str) -> bytes:
        return sse.data(orjson.loads(error(status, message)))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return sse.data({**self._envelope, "choices": [choice], **self._usage})


live = Chunks


def error(status: int, message: str) -> bytes:
    """See `base.Wire` (contract UA-ERR-01, -02)."""
    kind = "internal_server_error" if status >= 500 else _ERROR_TYPES.get(status, "invalid_request_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}})


_GATE = Gate(CHAT)


def _continues_last(body: Mapping[str, Any], messages: Sequence[Message]) -> bool:
    """Whether the model goes on with the last message: engines take two fields for it that have to agree."""
    if "continue_final_message" not in body and "add_generation_prompt" not in body:
        return False
    goes_on, new_turn = flag_of(body, "continue_final_message", False), flag_of(body, "add_generation_prompt", True)
    if goes_on == new_turn:
        raise RequestRefused(
            f"continue_final_message={_shown(goes_on)} is not supported with add_generation_prompt="
            f"{_shown(new_turn)}: expected one of the two to be true"
        )
    return goes_on and open_end(messages, "continue_final_message must be false:")


def _tools(body: Mapping[str, Any]) -> list[Tool] | None:
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise RequestRefused("tools must be a list")
    for place, tool in enumerate(tools or ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise RequestRefused(f"tools[{place}] must be an object with a function that has a name")
        if function.get("parameters") is not None and not isinstance(function["parameters"], dict):
            raise RequestRefused(f"tools[{place}].function.parameters must be an object")
    return [_without_nulls(tool) for tool in tools or ()] or None


def _choice(choice: Any) -> Choice:
    if choice is None:
        return FREE
    if isinstance(choice, str) and choice.lower() in _CHOICES:
        return _CHOICES[choice.lower()]
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        return named(_name_in(choice), "tool_choice.function.name")
    if kind == "allowed_tools" and isinstance(choice.get(kind), dict):
        tools = choice[kind].get("tools")
        names = [_name_in(tool) for tool in tools] if isinstance(tools, list) else []
        return allowed(choice[kind].get("mode"), names, "tool_choice.allowed_tools")
    raise RequestRefused(
        "tool_choice must be one of auto, none and required, or an object with the type function or allowed_tools"
    )


_CHOICES: Mapping[str, Choice] = {"auto": FREE, "none": HIDDEN, "required": FORCED}


def _name_in(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _without_nulls(tool: Tool) -> Tool:
    """The tool as a template prints it: null is absent."""
    function = tool["function"]
    if None not in function.values() and None not in tool.values():  # nearly every tool
        return tool
    kept = {name: value for name, value in function.items() if value is not None}
    return {**{name: value for name, value in tool.items() if value is not None}, "function": kept}


def _head(answer: Answer) -> dict[str, Any]:
    return {"role": "assistant"}


def _content(answer: Answer) -> dict[str, Any]:
    reasoning = answer.message.get("reasoning_content")
    content = {"content": answer.message["content"]}
    return {"reasoning_content": reasoning, **content} if reasoning else content


def _calls(answer: Answer) -> dict[str, Any]:
    calls = answer.message.get("tool_calls")
    if not calls:
        return {}
    return {"tool_calls": [_call(call) for call in calls]}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = dump_arguments(function["arguments"])
    return {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _logprobs(answer: Answer, request: WireRequest) -> dict[str, Any] | None:
    """One entry for each sampled token, that which ended the turn included."""
    if not request.turn.logprobs:
        return None
    return {"content": [_entry(token) for token in answer.tokens or ()], "refusal": None}


def _entry(token: Token) -> dict[str, Any]:
    text = token.bytes.decode("utf-8", "replace")
    return {"token": text, "logprob": token.logprob, "bytes": list(token.bytes), "top_logprobs": []}


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(16)}"


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]
