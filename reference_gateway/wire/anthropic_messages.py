"""Anthropic Messages: `POST /v1/messages`, and `POST /v1/messages/count_tokens`.

Knows that wire: its bodies, its events and its error envelope. Pure; what requests say is read in
`anthropic_request.py`, and what becomes of each field stands in `fields.py` (contract UA-ANR, UA-ANS). Reasoning of the
model is not shown: a thinking block needs a signature that only its provider can give.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from reference_gateway.tools.arguments import parse_arguments
from reference_gateway.types import Answer, Turn
from reference_gateway.wire import sse
from reference_gateway.wire.anthropic_request import (
    read_choice,
    read_messages,
    read_one_call,
    read_schema,
    read_stop,
    read_tools,
)
from reference_gateway.wire.base import Policy, WireRequest, open_end, retry_of, sampling_of, template_kwargs_of
from reference_gateway.wire.constraints import constraint_of
from reference_gateway.wire.fields import MESSAGES, Gate

log = logging.getLogger(__name__)

name = "anthropic-messages"

_ERROR_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def parse(body: dict[str, Any], headers: Mapping[str, str], policy: Policy) -> WireRequest:
    """See `base.Wire`. `max_tokens` may be left out."""
    _GATE.check(body, policy)
    choice = body.get("tool_choice")
    tools = read_tools(body.get("tools"), choice)
    fields = {**body, "stop": read_stop(body.get("stop_sequences"))}
    sampling = sampling_of(fields, policy.sampling, body.get("max_tokens"))
    retry = retry_of(headers)
    messages = read_messages(body.get("system"), body.get("messages"), policy.media)
    continues_last = messages[-1]["role"] == "assistant" and open_end(messages, "messages cannot be gone on with:")
    one_call = read_one_call(choice)
    schema, where = read_schema(body)
    turn = Turn(
        messages=messages,
        tools=tools,
        sampling=sampling.parameters,
        max_tokens=sampling.max_tokens,
        template_kwargs=template_kwargs_of(body, policy),
        continues_last=continues_last,
        one_call=one_call,
        constraint=constraint_of(
            schema, where, read_choice(choice), tools, policy, one_call=one_call, continues_last=continues_last
        ),
        idempotency_key=retry.idempotency_key,
        retry_count=retry.count,
    )
    model = body.get("model")
    return WireRequest(turn, model="unknown" if model is None else str(model), stream=body.get("stream") is True)


_GATE = Gate(MESSAGES)


def plain(answer: Answer, request: WireRequest) -> bytes:
    """See `base.Wire`."""
    body = {
        **_head(request),
        "content": _blocks(answer),
        **_end(answer),
        "usage": _usage(answer.prompt_tokens, answer.completion_tokens),
    }
    return _json(body)


def stream(answer: Answer, request: WireRequest) -> Iterator[bytes]:
    """See `base.Wire`. The answer is whole when its stream begins, so that each block comes in one delta."""
    frames = Events(request)
    yield frames.opening(answer.prompt_tokens)
    yield frames.closing(answer, answer.message["content"])


class Events:
    """See `live.LiveFrames`."""

    def __init__(self, request: WireRequest) -> None:
        self._request = request
        self._in_text = False

    def opening(self, prompt_tokens: int) -> bytes:
        head = {**_head(self._request), "content": [], "stop_reason": None, "stop_sequence": None}
        return _event("message_start", message={**head, "usage": _usage(prompt_tokens, 0)})

    def text(self, text: str) -> bytes:
        start = b"" if self._in_text else _event("content_block_start", index=0, content_block=_EMPTY_TEXT)
        self._in_text = True
        delta = {"type": "text_delta", "text": text}
        return start + _event("content_block_delta", index=0, delta=delta)

    def closing(self, answer: Answer, rest: str) -> bytes:
        frames = [self.text(rest)] if rest else []
        if self._in_text:
            frames.append(_event("content_block_stop", index=0))
        for index, block in enumerate(_blocks(answer)):
            if not (self._in_text and block["type"] == "text"):
                frames += _whole_block(index, block)
        usage = {"output_tokens": answer.completion_tokens}
        frames.append(_event("message_delta", delta=_end(answer), usage=usage))
        return b"".join([*frames, _event("message_stop")])

    def failed(self, status: int, message: str) -> bytes:
        return sse.event("error", orjson.loads(error(status, message)))


live = Events
_EMPTY_TEXT = {"type": "text", "text": ""}


def _whole_block(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    start, delta = _in_pieces(block)
    yield _event("content_block_start", index=index, content_block=start)
    if delta is not None:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def error(status: int, message: str) -> bytes:
    """See `base.Wire` (contract UA-ERR-03, -04)."""
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})


def counted(tokens: int) -> bytes:
    """The answer of `count_tokens`."""
    return orjson.dumps({"input_tokens": tokens})


def _head(request: WireRequest) -> dict[str, Any]:
    return {"id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant", "model": request.model}


def _end(answer: Answer) -> dict[str, Any]:
    """Why it ended. Calls in front of a stop string are still to be run, which agents do at `tool_use` only."""
    if answer.finish_reason == "stop" and answer.stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": answer.stop_sequence}
    return {"stop_reason": _STOP_REASONS[answer.finish_reason], "stop_sequence": None}


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    """Text where there is some, then the calls; for an answer that says nothing, one empty text (UA-ANS-02)."""
    text = answer.message["content"]
    calls = [_tool_use(call) for call in answer.message.get("tool_calls") or ()]
    return [*([{"type": "text", "text": text}] if text or not calls else []), *calls]


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = parse_arguments(arguments)
    if not isinstance(arguments, dict):
        # What the client is shown, it echoes: the session knows this answer under both spellings (UA-ANS-04).
        log.warning("arguments that are no JSON object are shown as {}", extra={"tool": function["name"]})
        arguments = {}
    call_id = call["id"] or f"toolu_{secrets.token_hex(8)}"
    return {"type": "tool_use", "id": call_id, "name": function["name"], "input": arguments}


def _in_pieces(block: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A block as it starts, and the delta that makes it whole."""
    if block["type"] == "text":
        delta = {"type": "text_delta", "text": block["text"]} if block["text"] else None
        return _EMPTY_TEXT, delta
    return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": _json(block["input"]).decode()}


def _usage(input_tokens: int, output_tokens: int) -> dict[str, int]:
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def _json(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:  # an integer over 64 bits in a call's arguments
        return json.dumps(document, ensure_ascii=False).encode()


def _event(kind: str, **fields: Any) -> bytes:
    return sse.event(kind, {"type": kind, **fields})
