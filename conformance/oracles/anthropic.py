"""Anthropic Messages on the wire: the shape of a message, of a token count and of a model list. (The grammar of its
stream is in `anthropic_stream`.)

Knows the Messages wire; never what the model was asked or what it sampled. `message` judges a plain body and a body
that `assemble` made from a stream alike. (Its error envelope is in `envelope`.)

Sources: wire_facts (Anthropic Messages), contract UA-ANS-01..05, -11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.oracles.anthropic_stream import assemble, stream
from conformance.oracles.schema import Finding, in_reading_order, mismatches, parts
from conformance.oracles.wording import Path, brief, described, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.oracles import Violation

__all__ = ["assemble", "count_tokens", "message", "models", "stream"]

TOOL_HINT = "an answer with tool_use blocks ends with `tool_use`, whatever the backend's stop reason was"


def message(body: object, strict: bool = False) -> list[Violation]:
    """Judge a message. `strict` adds what the published description says and engines omit: ids that start with `msg_`
    and `toolu_`, and the cache counts of the usage."""
    findings = mismatches(body, "anthropic#message")
    if strict:
        findings += mismatches(body, "anthropic#message.strict")
    if isinstance(body, dict):
        message_id, content = body.get("id"), body.get("content")
        if strict and isinstance(message_id, str) and message_id and not message_id.startswith("msg_"):
            findings.append(Finding(("id",), "an id that starts with msg_", brief(message_id)))
        blocks = content if isinstance(content, list) else []
        for number, block in enumerate(blocks):
            findings += _block(("content", number), block, strict)
        findings += _texts(blocks)
        findings += _tool_ids(blocks)
        findings += _stop(body, blocks)
    return in_reading_order(body, findings)


def count_tokens(body: object) -> list[Violation]:
    """Judge the answer of `POST /v1/messages/count_tokens`: `{"input_tokens": n}`."""
    return in_reading_order(body, mismatches(body, "anthropic#count_tokens"))


def models(body: object) -> list[Violation]:
    """Judge the answer of `GET /v1/models`: a page of models, and the ids of its first and last one."""
    findings = mismatches(body, "anthropic#models")
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(body, dict) and isinstance(data, list):
        ids = [model.get("id") if isinstance(model, dict) else None for model in data]
        for key, wanted in (("first_id", ids[0] if ids else None), ("last_id", ids[-1] if ids else None)):
            if key in body and isinstance(body[key], str | None) and body[key] != wanted:
                findings.append(Finding((key,), brief(wanted), brief(body[key])))
    return in_reading_order(body, findings)


def _block(path: Path, block: object, strict: bool) -> Iterator[Finding]:
    if not isinstance(block, dict):
        yield Finding(path, "a content block, an object", described(block))
        return
    kind = block.get("type")
    known = parts("anthropic.blocks")
    if isinstance(kind, str) and kind in known:
        yield from mismatches(block, f"anthropic.blocks#{kind}", path)
    elif not isinstance(kind, str) or not kind.endswith("_tool_result"):
        actual = described(kind) if "type" in block else "nothing: the field is missing"
        yield Finding((*path, "type"), "one of " + ", ".join(brief(block_type) for block_type in known), actual)
    tool_id = block.get("id")
    if strict and kind == "tool_use" and isinstance(tool_id, str) and tool_id and not tool_id.startswith("toolu_"):
        yield Finding((*path, "id"), "an id that starts with toolu_", brief(tool_id))


def _texts(blocks: list[Any]) -> Iterator[Finding]:
    for number, block in enumerate(blocks):
        if isinstance(block, dict) and block.get("type") == "text" and block.get("text") == "" and len(blocks) > 1:
            hint = "a client that echoes an empty text block is refused; leave it out beside other blocks"
            yield Finding(("content", number, "text"), "a non-empty text beside other blocks", 'string ""', hint)


def _tool_ids(blocks: list[Any]) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, block in enumerate(blocks):
        if isinstance(block, dict) and block.get("type") == "tool_use" and isinstance(block.get("id"), str):
            tool_id = block["id"]
            if tool_id and tool_id in seen:
                yield Finding(("content", number, "id"), "an id of its own", f"{brief(tool_id)}, as an earlier block")
            seen.add(tool_id)


def _stop(body: dict[Any, Any], blocks: list[Any]) -> Iterator[Finding]:
    reason, sequence = body.get("stop_reason"), body.get("stop_sequence")
    calls = any(isinstance(block, dict) and block.get("type") == "tool_use" for block in blocks)
    if calls and reason in ("end_turn", "stop_sequence"):
        yield Finding(("stop_reason",), '"tool_use", as there is a tool_use block', brief(reason), TOOL_HINT)
    elif reason == "tool_use" and not calls and isinstance(body.get("content"), list):
        actual = ", ".join(str(block.get("type") if isinstance(block, dict) else type_name(block)) for block in blocks)
        yield Finding(
            ("content",), 'a tool_use block, as stop_reason is "tool_use"', brief(actual) if actual else "none"
        )
    if reason == "stop_sequence" and sequence is None and "stop_sequence" in body:
        yield Finding(("stop_sequence",), 'the sequence, as stop_reason is "stop_sequence"', "null")
    elif isinstance(sequence, str) and isinstance(reason, str) and reason != "stop_sequence":
        yield Finding(("stop_sequence",), f"null, as stop_reason is {brief(reason)}", described(sequence))
