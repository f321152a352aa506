"""Anthropic Messages on the wire: the grammar of a stream, and the message that a stream amounts to.

Knows events and their JSON; never bytes (that is `sse.framing`). The grammar:

    message_start
    -> (content_block_start -> content_block_delta* -> content_block_stop) for each block
    -> message_delta -> message_stop

with `ping` anywhere before the end, or, anywhere, one `event: error` and nothing after it. Every frame is named, and
its name is the `type` in its JSON. There is no `[DONE]`.

Sources: wire_facts (Anthropic Messages), contract UA-ANS-06, -07, -10, X-04.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from conformance.oracles import Violation, envelope
from conformance.oracles.arguments import arguments
from conformance.oracles.halves import halves
from conformance.oracles.schema import Finding, in_reading_order, mismatches, parts
from conformance.oracles.sse import DONE, Event
from conformance.oracles.wording import brief, described, parse_json, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LEADS_TO: Mapping[str, str] = {
    "message_start": "between blocks",
    "content_block_start": "in a block",
    "content_block_delta": "in a block",
    "content_block_stop": "between blocks",
    "message_delta": "at the end",
    "message_stop": "over",
}
MAY_FOLLOW: Mapping[str, tuple[str, ...]] = {
    "at the start": ("message_start",),
    "between blocks": ("content_block_start", "message_delta"),
    "in a block": ("content_block_delta", "content_block_stop"),
    "at the end": ("message_stop", "message_delta"),
}
"""State -> the events that may come. `ping` and `error` may come in each."""

DELTAS: Mapping[str, tuple[str, ...]] = {
    "text": ("text_delta", "citations_delta"),
    "tool_use": ("input_json_delta",),
    "server_tool_use": ("input_json_delta",),
    "mcp_tool_use": ("input_json_delta",),
    "thinking": ("thinking_delta", "signature_delta"),
}
"""Block type -> the types of its deltas. Blocks of other types come whole."""

PIECES: Mapping[str, tuple[str, str]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
}
"""Delta type -> its field, and the field of the block that its pieces make up."""

EMPTY: Mapping[str, tuple[str, object]] = {
    "text": ("text", ""),
    "tool_use": ("input", {}),
    "thinking": ("thinking", ""),
}
"""Block type -> the field that is empty when the block starts."""


def stream(events: Sequence[Event]) -> list[Violation]:
    """Judge the events of a Messages stream, all of them."""
    return list(_Grammar().judge(events))


def assemble(events: Sequence[Event]) -> dict[str, Any]:
    """The message that a stream amounts to, in the form of a plain body; whatever can be made of a broken stream.

    An in-band error ends it and stands under `error`. What the stream never said is null or absent, so that
    `anthropic.message` names it.
    """
    body: dict[str, Any] = {}
    blocks: dict[Any, dict[str, Any]] = {}
    for event in events:
        data, _ = parse_json(event.data)
        if not isinstance(data, dict):
            continue
        kind = data.get("type")
        if kind == "error":
            body["error"] = data.get("error")
            break
        if kind == "message_stop":
            break
        if kind == "message_start" and isinstance(data.get("message"), dict):
            body.update(data["message"])
        elif kind == "message_delta":
            _close(body, data)
        else:
            _add(blocks, data)
    if blocks:
        body["content"] = [_finished(block) for block in blocks.values()]
    return body


def _close(body: dict[str, Any], data: dict[str, Any]) -> None:
    delta, usage = data.get("delta"), data.get("usage")
    if isinstance(delta, dict):
        body.update(delta)
    if isinstance(usage, dict):
        known = body.get("usage")
        told = {key: value for key, value in usage.items() if value is not None}
        body["usage"] = {**known, **told} if isinstance(known, dict) else told


def _add(blocks: dict[Any, dict[str, Any]], data: dict[str, Any]) -> None:
    index = data.get("index")
    index = index if isinstance(index, int | str | None) else repr(type(index))
    block, delta = data.get("content_block"), data.get("delta")
    if data.get("type") == "content_block_start" and isinstance(block, dict):
        blocks[index] = dict(block)
    elif data.get("type") == "content_block_delta" and isinstance(delta, dict) and index in blocks:
        known = blocks[index]
        kind = delta.get("type")
        if kind == "input_json_delta" and isinstance(delta.get("partial_json"), str):
            known[_JSON] = known.get(_JSON, "") + delta["partial_json"]
        elif kind == "citations_delta" and "citation" in delta:
            before = known.get("citations")
            known["citations"] = [*(before if isinstance(before, list) else []), delta["citation"]]
        elif isinstance(kind, str) and kind in PIECES:
            field, target = PIECES[kind]
            before, piece = known.get(target), delta.get(field)
            if isinstance(piece, str):
                known[target] = before + piece if isinstance(before, str) else piece


_JSON = "\0json"
"""Where a block keeps the JSON text of its input while it is put together: a key that no wire has."""


def _finished(block: dict[str, Any]) -> dict[str, Any]:
    text = block.pop(_JSON, "")
    if text:
        document, wrong = parse_json(text)
        block["input"] = text if wrong else document
    return block


class _Grammar:
    """One pass over the events; every method yields what is wrong at the place where it is."""

    def __init__(self) -> None:
        self.state = "at the start"
        self.ended = ""
        self.blocks: list[str] = []
        self.index = -1
        self.json = ""
        self.tool_ids: set[str] = set()
        self.stop_reason: object = None

    def judge(self, events: Sequence[Event]) -> Iterator[Violation]:
        for number, event in enumerate(events, 1):
            where = f"frame {number} (line {event.line})" if event.line else f"frame {number}"
            if self.ended:
                yield Violation(where, f"nothing after the {self.ended}", quoted(event.data))
            if event.data == DONE:
                hint = "this wire ends with message_stop; [DONE] belongs to OpenAI's"
                if not self.ended:
                    yield Violation(where, "an event of the Messages stream", DONE, hint)
                continue
            data, wrong = parse_json(event.data)
            if wrong or not isinstance(data, dict):
                actual = f"{quoted(event.data)} ({wrong})" if wrong else quoted(event.data)
                yield Violation(where, "an event as a JSON object", actual)
                continue
            yield from _worded(where, data, halves(event.data, data))
            yield from self._event(where, event.event, data)
        if not self.ended:
            hint = "a client cannot tell that the answer is complete"
            yield Violation("end of stream", "message_stop as the last event", "the end of the stream", hint)

    def _event(self, where: str, name: str, data: dict[str, Any]) -> Iterator[Violation]:
        kind = data.get("type")
        if not isinstance(kind, str) or kind not in parts("anthropic.events"):
            known = ", ".join(parts("anthropic.events"))
            actual = described(kind) if "type" in data else "nothing: the field is missing"
            yield Violation(f"{where}, type", f"one of {known}", actual)
            return
        if name != kind:
            actual = "no `event:` line" if name == "message" else quoted(f"event: {name}")
            yield Violation(where, f"`event: {kind}`, as the type says", actual, "clients ignore events by their name")
        if kind == "error":
            yield from (
                Violation(f"{where}, {violation.where}", violation.expected, violation.actual, violation.hint)
                for violation in envelope.anthropic_error(data)
            )
            self.ended = self.ended or f"error of {where}"
            return
        yield from _worded(where, data, mismatches(data, f"anthropic.events#{kind}"))
        if kind == "ping" or self.ended:
            return
        before = self.state
        self.state = LEADS_TO[kind]
        if kind not in MAY_FOLLOW[before]:
            yield Violation(where, f"{' or '.join(MAY_FOLLOW[before])}, {before}", kind)
        match kind:
            case "message_start":
                yield from _worded(
                    where, data, mismatches(data.get("message"), "anthropic#message.start", ("message",))
                )
            case "content_block_start":
                yield from self._start(where, data)
            case "content_block_delta":
                yield from self._index(where, data, before)
                yield from self._delta(where, data)
            case "content_block_stop":
                yield from self._index(where, data, before)
                yield from self._stop(where)
            case "message_delta":
                yield from self._close(where, data)
            case "message_stop":
                if before == "at the end" and self.stop_reason is None:
                    yield Violation(where, "a stop_reason in message_delta before the end", "none")
                self.ended = f"message_stop of {where}"

    def _start(self, where: str, data: dict[str, Any]) -> Iterator[Violation]:
        index, block = data.get("index"), data.get("content_block")
        if _is_index(index) and index != len(self.blocks):
            yield Violation(f"{where}, index", f"{len(self.blocks)}, the next block", brief(index))
        self.index = index if isinstance(index, int) else len(self.blocks)
        self.json = ""
        kind = block.get("type") if isinstance(block, dict) else None
        self.blocks.append(kind if isinstance(kind, str) else "")
        if not isinstance(block, dict):
            return
        findings = []
        known = parts("anthropic.blocks")
        if isinstance(kind, str) and kind in known:
            findings += mismatches(block, f"anthropic.blocks#{kind}", ("content_block",))
        elif not isinstance(kind, str) or not kind.endswith("_tool_result"):
            expected = "one of " + ", ".join(brief(block_type) for block_type in known)
            actual = described(kind) if "type" in block else "nothing: the field is missing"
            findings.append(Finding(("content_block", "type"), expected, actual))
        if isinstance(kind, str) and kind in EMPTY:
            field, empty = EMPTY[kind]
            value = block.get(field)
            if type(value) is type(empty) and value != empty:
                hint = "clients put the deltas behind what the start has, so it counts twice"
                findings.append(Finding(("content_block", field), f"{brief(empty)} at the start", brief(value), hint))
        tool_id = block.get("id")
        if kind == "tool_use" and isinstance(tool_id, str):
            if tool_id in self.tool_ids:
                actual = f"{brief(tool_id)}, as an earlier block"
                findings.append(Finding(("content_block", "id"), "an id of its own", actual))
            self.tool_ids.add(tool_id)
        yield from _worded(where, data, findings)

    def _index(self, where: str, data: dict[str, Any], before: str) -> Iterator[Violation]:
        index = data.get("index")
        if not _is_index(index):
            return
        if before != "in a block":  # said already; what follows belongs to a block that never started
            self.index = index
            if index >= len(self.blocks):
                self.blocks.append("")
        elif index != self.index:
            yield Violation(f"{where}, index", f"{self.index}, the open block", brief(index))

    def _delta(self, where: str, data: dict[str, Any]) -> Iterator[Violation]:
        delta = data.get("delta")
        if not isinstance(delta, dict):
            return
        kind = delta.get("type")
        block = self.blocks[-1] if self.blocks else ""
        allowed = DELTAS.get(block, ()) if block else parts("anthropic.deltas")
        if not isinstance(kind, str) or kind not in allowed:
            expected = f"{' or '.join(allowed) or 'no delta'}, as the block is {block}" if block else "a known delta"
            actual = described(kind) if "type" in delta else "nothing: the field is missing"
            yield Violation(f"{where}, delta.type", expected, actual)
        if isinstance(kind, str) and kind in parts("anthropic.deltas"):
            yield from _worded(where, data, mismatches(delta, f"anthropic.deltas#{kind}", ("delta",)))
            if kind == "input_json_delta" and isinstance(delta.get("partial_json"), str):
                self.json += delta["partial_json"]

    def _stop(self, where: str) -> Iterator[Violation]:
        if self.json and self.blocks and self.blocks[-1].endswith("tool_use"):
            for finding in arguments((), self.json):
                expected = "pieces of partial_json that are one JSON object when joined"
                yield Violation(where, expected, finding.actual, finding.hint)
        self.json = ""

    def _close(self, where: str, data: dict[str, Any]) -> Iterator[Violation]:
        delta = data.get("delta")
        if not isinstance(delta, dict):
            return
        reason, sequence = delta.get("stop_reason"), delta.get("stop_sequence")
        if reason is not None:
            self.stop_reason = reason
        if not self.blocks:
            hint = 'an answer that says nothing has one text block with the text ""'
            yield Violation(where, "at least one content block before the end", "none", hint)
        calls = "tool_use" in self.blocks
        if calls and reason in ("end_turn", "stop_sequence"):
            hint = "an answer with tool_use blocks ends with `tool_use`, whatever the backend's stop reason was"
            expected = '"tool_use", as there is a tool_use block'
            yield Violation(f"{where}, delta.stop_reason", expected, brief(reason), hint)
        elif reason == "tool_use" and not calls:
            expected = "a stop_reason that fits an answer without tool_use blocks"
            yield Violation(f"{where}, delta.stop_reason", expected, brief(reason), "the tool calls were not streamed")
        if reason == "stop_sequence" and sequence is None and "stop_sequence" in delta:
            expected = 'the sequence, as stop_reason is "stop_sequence"'
            yield Violation(f"{where}, delta.stop_sequence", expected, "null")
        elif isinstance(sequence, str) and isinstance(reason, str) and reason != "stop_sequence":
            expected = f"null, as stop_reason is {brief(reason)}"
            yield Violation(f"{where}, delta.stop_sequence", expected, described(sequence))


def _is_index(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _worded(where: str, data: object, findings: Iterable[Finding]) -> Iterator[Violation]:
    for violation in in_reading_order(data, findings, "data"):
        yield Violation(f"{where}, {violation.where}", violation.expected, violation.actual, violation.hint)
