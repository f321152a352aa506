"""OpenAI chat on the wire: the shape of a completion. (The grammar of its stream is in `chat_stream`.)

Knows the Chat Completions wire; never what the model was asked or what it sampled. `completion` judges a plain body and
a body that `assemble` made from a stream alike, so each rule holds for both.

Sources: wire_facts (OpenAI chat), contract UA-OAI-01..09, UA-TC-02.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.oracles.arguments import arguments
from conformance.oracles.chat_stream import assemble, stream
from conformance.oracles.schema import Finding, in_reading_order, mismatches
from conformance.oracles.wording import Path, brief, described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.oracles import Violation

__all__ = ["assemble", "completion", "stream"]

MILLISECONDS = 100_000_000_000
"""A `created` beyond this (the year 5138 in seconds) counts milliseconds."""


EMPTY_HINT = 'an empty answer has the content ""'


def completion(body: object, strict: bool = False, choices: int = 1) -> list[Violation]:
    """Judge a `chat.completion`. `choices` is how many the request asked for (`n`).

    `strict` adds what the published OpenAPI description marks required and engines omit: `refusal` and `logprobs`.
    """
    findings = mismatches(body, "chat.completion")
    if strict:
        findings += mismatches(body, "chat.completion.strict")
    if isinstance(body, dict):
        findings += _created(body)
        findings += _choices(body.get("choices"), choices)
        findings += _usage(body.get("usage"))
    return in_reading_order(body, findings)


def _created(body: dict[Any, Any]) -> Iterator[Finding]:
    created = body.get("created")
    if isinstance(created, int) and created >= MILLISECONDS:
        yield Finding(("created",), "seconds since the epoch", brief(created), "this looks like milliseconds")


def _choices(choices: object, wanted: int) -> Iterator[Finding]:
    if not isinstance(choices, list):
        return
    if choices and len(choices) != wanted:
        yield Finding(("choices",), f"{wanted} choice{'s' * (wanted != 1)}", str(len(choices)))
    for number, choice in enumerate(choices):
        if isinstance(choice, dict):
            index = choice.get("index")
            if isinstance(index, int) and not isinstance(index, bool) and index >= 0 and index != number:
                yield Finding(("choices", number, "index"), str(number), brief(index))
            yield from _choice(("choices", number), choice)


def _choice(path: Path, choice: dict[Any, Any]) -> Iterator[Finding]:
    message = choice.get("message")
    if not isinstance(message, dict):
        return
    calls = message.get("tool_calls")
    reason = choice.get("finish_reason")
    if isinstance(calls, list) and calls:
        if reason == "stop":  # a cut behind a call is told as a cut
            hint = "an answer with tool calls ends with `tool_calls`, whatever the backend's stop reason was"
            yield Finding((*path, "finish_reason"), '"tool_calls", as the message has tool calls', brief(reason), hint)
        yield from _tool_calls((*path, "message", "tool_calls"), calls)
    else:
        if reason == "tool_calls":
            actual = "nothing: the message has no tool calls" if calls is None else described(calls)
            expected = 'at least one tool call, as finish_reason is "tool_calls"'
            yield Finding((*path, "message", "tool_calls"), expected, actual)
        other_fields = ("refusal", "reasoning_content", "reasoning", "function_call", "audio")
        if "content" in message and message["content"] is None and not any(message.get(key) for key in other_fields):
            hint = EMPTY_HINT
            yield Finding((*path, "message", "content"), "a string, as the message has no tool calls", "null", hint)


def _tool_calls(path: Path, calls: list[Any]) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, call in enumerate(calls):
        if not isinstance(call, dict):
            continue
        call_id = call.get("id")
        if isinstance(call_id, str) and call_id:
            if call_id in seen:
                yield Finding((*path, number, "id"), "an id of its own", f"{brief(call_id)}, as an earlier call")
            seen.add(call_id)
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            yield from arguments((*path, number, "function", "arguments"), function["arguments"])


def _usage(usage: object) -> Iterator[Finding]:
    if not isinstance(usage, dict):
        return
    prompt, sampled, total = (usage.get(f"{part}_tokens") for part in ("prompt", "completion", "total"))
    if isinstance(prompt, int) and isinstance(sampled, int) and isinstance(total, int) and total != prompt + sampled:
        expected = brief(prompt + sampled)
        yield Finding(("usage", "total_tokens"), f"{expected}, prompt_tokens + completion_tokens", brief(total))
