"""OpenAI chat on the wire: the grammar of a stream, and the completion that a stream amounts to.

Knows events and chunks; never bytes (that is `sse.framing`). The grammar, for each choice:

    chunk with delta.role -> chunks with delta.content, reasoning_content, tool_calls -> one chunk with finish_reason

then optionally one chunk with `choices: []` and `usage`, then `[DONE]`; or, anywhere, one `{"error": ...}` and nothing
after it. One `id`, `created` and `model` for all chunks. The arguments of each call, put together, are JSON, unless the
choice was cut short; no text ends, or begins, with half a character.

Sources: wire_facts (OpenAI chat), contract UA-SSE-02..05, -08.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.oracles import Violation, envelope
from conformance.oracles.arguments import arguments
from conformance.oracles.halves import halves
from conformance.oracles.schema import in_reading_order, mismatches
from conformance.oracles.sse import DONE, Event
from conformance.oracles.wording import brief, described, parse_json, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
"""The fields of a delta whose pieces are put one behind the other."""


def stream(events: Sequence[Event], include_usage: bool | None = None, choices: int = 1) -> list[Violation]:
    """Judge the events of a chat stream, all of them. `include_usage` is what the request said in `stream_options`:
    True demands the usage, False forbids a chunk of its own for it, None allows either. `choices` is the request's `n`.

    A usage in the chunk that has the `finish_reason` is accepted as well (UA-SSE-05).
    """
    return list(_Grammar(include_usage, choices).judge(events))


def assemble(events: Sequence[Event]) -> dict[str, Any]:
    """The completion that a stream amounts to, in the form of a plain body; whatever can be made of a broken stream.

    An in-band error ends it and stands under `error`. What the stream never said is absent, so that `chat.completion`
    names it: a stream without `finish_reason` gives a choice without one.
    """
    body: dict[str, Any] = {}
    choices: dict[Any, dict[str, Any]] = {}
    for event in events:
        if event.data == DONE:
            break
        chunk, _ = parse_json(event.data)
        if not isinstance(chunk, dict):
            continue
        if "error" in chunk:
            body["error"] = chunk["error"]
            break
        for key, value in chunk.items():
            if key == "usage":
                if value is not None:
                    body["usage"] = value
            elif key != "choices":
                body.setdefault(key, "chat.completion" if key == "object" and value == _CHUNK else value)
        pieces = chunk.get("choices")
        if not isinstance(pieces, list):
            continue
        body.setdefault("choices", [])
        for piece in pieces:
            if isinstance(piece, dict):
                index = piece.get("index", 0)
                _add_choice(choices.setdefault(_key(index), {"index": index, "message": {}}), piece)
    if choices:
        body["choices"] = [_finished(choice) for choice in choices.values()]
        body["choices"].sort(key=lambda choice: choice["index"] if isinstance(choice["index"], int) else 1 << 30)
    usage = body.pop("usage", None)
    if usage is not None:
        body["usage"] = usage
    return body


CUT = ("length", "content_filter")
"""Reasons of a choice that was cut short: a call in it may be cut as well."""

_CHUNK = "chat.completion.chunk"


def _key(index: object) -> object:
    """`index` as something that can be looked up, whatever it is."""
    return index if isinstance(index, int | str | None) else repr(type(index))


def _add_choice(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]
    if "logprobs" in piece:
        choice["logprobs"] = _joined(choice.get("logprobs"), piece["logprobs"])
    delta = piece.get("delta")
    if not isinstance(delta, dict):
        return
    message = choice["message"]
    for key, value in delta.items():
        if key == "tool_calls":
            _add_calls(message.setdefault("tool_calls", {}), value)
        elif key in TEXTS:
            known = message.get(key)
            message[key] = known + value if isinstance(known, str) and isinstance(value, str) else value or known
            if message[key] is None and isinstance(value, str):
                message[key] = value
        elif message.get(key) is None:
            message[key] = value


def _joined(known: object, piece: object) -> object:
    """Two pieces of a choice's logprobs as one."""
    if not isinstance(known, dict) or not isinstance(piece, dict):
        return piece if known is None or piece is not None else known
    joined = dict(known)
    for key, value in piece.items():
        before = joined.get(key)
        joined[key] = before + value if isinstance(before, list) and isinstance(value, list) else value or before
    return joined


def _add_calls(calls: dict[Any, dict[str, Any]], deltas: object) -> None:
    for position, delta in enumerate(deltas if isinstance(deltas, list) else []):
        if not isinstance(delta, dict):
            continue
        call = calls.setdefault(_key(delta.get("index", position)), {})
        for key, value in delta.items():
            if key == "function" and isinstance(value, dict):
                function = call.setdefault("function", {})
                for name, text in value.items():
                    known = function.get(name) if isinstance(function, dict) else None
                    if name == "arguments" and isinstance(known, str) and isinstance(text, str):
                        function[name] = known + text
                    elif isinstance(function, dict) and text is not None:
                        function.setdefault(name, text)
            elif key != "index" and value is not None:
                call.setdefault(key, value)


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """The choice with its keys in the order of a plain body."""
    message = dict(choice["message"])
    calls = message.pop("tool_calls", None)
    ordered: dict[str, Any] = {key: message.pop(key) for key in ("role",) if key in message}
    # A stream that says nothing leaves the content out; a plain body of the same answer spells it.
    ordered["content"] = message.pop("content", None if calls else "")
    ordered.update(message)
    if calls is not None:
        ordered["tool_calls"] = list(calls.values())
    rest = {key: value for key, value in choice.items() if key not in ("index", "message")}
    return {"index": choice["index"], "message": ordered, **rest}


@dataclass(slots=True)
class _Choice:
    """What the stream has said of one choice so far."""

    finished: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)


class _Grammar:
    """One pass over the events; every method yields what is wrong at the place where it is."""

    def __init__(self, include_usage: bool | None, choices: int) -> None:
        self.include_usage = include_usage
        self.wanted = choices
        self.choices: dict[int, _Choice] = {}
        self.shared: dict[str, tuple[object, str]] = {}
        self.usage = ""
        self.ended = ""

    def judge(self, events: Sequence[Event]) -> Iterator[Violation]:
        for number, event in enumerate(events, 1):
            where = f"frame {number} (line {event.line})" if event.line else f"frame {number}"
            if event.event != "message":
                yield Violation(where, "no `event:` field", quoted(f"event: {event.event}"), "chat frames are unnamed")
            if self.ended:
                yield Violation(where, f"nothing after the {self.ended}", quoted(event.data))
                if event.data == DONE:
                    continue
            if event.data == DONE:
                self.ended = f"{DONE} of {where}"
                yield from self._at_end(where)
                continue
            chunk, wrong = parse_json(event.data)
            if wrong:
                yield Violation(where, f"a chunk as JSON, or {DONE}", f"{quoted(event.data)} ({wrong})")
            elif isinstance(chunk, dict) and "error" in chunk:
                yield from (
                    Violation(f"{where}, {violation.where}", violation.expected, violation.actual, violation.hint)
                    for violation in envelope.openai_error(chunk)
                )
                self.ended = self.ended or f"error of {where}"
            else:
                yield from self._chunk(where, event.data, chunk)
        if not self.ended:
            hint = "a client takes a stream that just ends for a complete answer"
            yield Violation("end of stream", f"data: {DONE} as the last frame", "the end of the stream", hint)
            yield from self._at_end("end of stream")

    def _chunk(self, where: str, text: str, chunk: object) -> Iterator[Violation]:
        findings = [*mismatches(chunk, "chat.completion.chunk"), *halves(text, chunk)]
        for violation in in_reading_order(chunk, findings, "chunk"):
            yield Violation(f"{where}, {violation.where}", violation.expected, violation.actual, violation.hint)
        if not isinstance(chunk, dict):
            return
        for key in ("id", "created", "model"):
            if key in chunk:
                first, origin = self.shared.setdefault(key, (chunk[key], where))
                if chunk[key] != first:
                    yield Violation(
                        f"{where}, {key}",
                        f"{brief(first)}, as in {origin}",
                        brief(chunk[key]),
                        "made anew for each chunk",
                    )
        pieces = chunk.get("choices")
        if not isinstance(pieces, list):
            return
        yield from self._usage(where, chunk, pieces)
        for position, piece in enumerate(pieces):
            if isinstance(piece, dict) and isinstance(piece.get("index"), int):
                yield from self._piece(where, position, piece)

    def _usage(self, where: str, chunk: dict[str, Any], pieces: list[Any]) -> Iterator[Violation]:
        usage = chunk.get("usage")
        open_choices = not self.choices or any(not choice.finished for choice in self.choices.values())
        if not pieces:
            if usage is None:
                yield Violation(f"{where}, choices", "at least one choice, or a usage", "an empty array")
            elif self.include_usage is False:
                hint = "only `stream_options: {include_usage: true}` asks for it"
                yield Violation(f"{where}, choices", "no chunk for the usage alone", "an empty array and a usage", hint)
            elif open_choices:
                yield Violation(where, "the usage chunk after the last finish_reason", "it comes before")
        if isinstance(usage, dict):
            yield from self._sum(where, usage)
            ends = any(isinstance(piece, dict) and piece.get("finish_reason") is not None for piece in pieces)
            if pieces and not ends:
                hint = "all other chunks leave `usage` out or have null"
                yield Violation(f"{where}, usage", "a usage only at the end of the stream", brief(usage), hint)
            elif self.usage:
                yield Violation(f"{where}, usage", f"one usage, that of {self.usage}", "another one")
            self.usage = self.usage or where

    def _sum(self, where: str, usage: dict[str, Any]) -> Iterator[Violation]:
        prompt, sampled, total = (usage.get(f"{part}_tokens") for part in ("prompt", "completion", "total"))
        if (
            isinstance(prompt, int)
            and isinstance(sampled, int)
            and isinstance(total, int)
            and total != prompt + sampled
        ):
            expected = f"{brief(prompt + sampled)}, prompt_tokens + completion_tokens"
            yield Violation(f"{where}, usage.total_tokens", expected, brief(total))

    def _piece(self, where: str, position: int, piece: dict[str, Any]) -> Iterator[Violation]:
        place = f"{where}, choices[{position}]"
        index, delta = piece["index"], piece.get("delta")
        if index >= self.wanted and index not in self.choices:
            yield Violation(f"{place}.index", f"less than {self.wanted}", brief(index))
        first = index not in self.choices
        choice = self.choices.setdefault(index, _Choice())
        delta = delta if isinstance(delta, dict) else {}
        if choice.finished:
            yield Violation(place, f"nothing after the finish_reason of {choice.finished}", brief(piece))
        role = delta.get("role")
        if first and role != "assistant":
            yield Violation(f"{place}.delta.role", '"assistant" in the first chunk', described(role))
        yield from self._calls(f"{place}.delta.tool_calls", choice, delta.get("tool_calls"))
        reason = piece.get("finish_reason")
        if reason is not None and not choice.finished:
            choice.finished = where
            if reason not in CUT:
                yield from self._arguments(where, choice)
            if choice.calls and reason == "stop":  # a cut behind a call is told as a cut
                hint = "an answer with tool calls ends with `tool_calls`, whatever the backend's stop reason was"
                yield Violation(f"{place}.finish_reason", '"tool_calls", as there are tool calls', brief(reason), hint)
            elif not choice.calls and reason == "tool_calls":
                expected = "a finish_reason that fits an answer without tool calls"
                yield Violation(f"{place}.finish_reason", expected, brief(reason), "the tool calls were not streamed")

    def _calls(self, place: str, choice: _Choice, deltas: object) -> Iterator[Violation]:
        for position, delta in enumerate(deltas if isinstance(deltas, list) else []):
            if not isinstance(delta, dict) or not isinstance(delta.get("index"), int):
                continue
            where, index, call_id = f"{place}[{position}]", delta["index"], delta.get("id")
            function = delta.get("function")
            name = function.get("name") if isinstance(function, dict) else None
            if index not in choice.calls:
                if index != len(choice.calls):
                    yield Violation(f"{where}.index", f"{len(choice.calls)}, the next call", brief(index))
                for key, value in (("id", call_id), ("function.name", name)):
                    if not isinstance(value, str) or not value:
                        expected = "a non-empty string in the first delta of a call"
                        yield Violation(f"{where}.{key}", expected, described(value))
                if isinstance(call_id, str) and call_id in [known["id"] for known in choice.calls.values()]:
                    yield Violation(f"{where}.id", "an id of its own", f"{brief(call_id)}, as an earlier call")
                choice.calls[index] = {"id": call_id if isinstance(call_id, str) else "", "arguments": ""}
            elif isinstance(call_id, str) and call_id and call_id != choice.calls[index]["id"]:
                expected = f"{brief(choice.calls[index]['id'])}, or no id"
                yield Violation(f"{where}.id", expected, brief(call_id), "two calls share an index")
            piece = function.get("arguments") if isinstance(function, dict) else None
            choice.calls[index]["arguments"] += piece if isinstance(piece, str) else ""

    def _arguments(self, where: str, choice: _Choice) -> Iterator[Violation]:
        for index, call in sorted(choice.calls.items()):
            for finding in arguments((), call["arguments"]):
                place = f"{where}, arguments of call {index}"
                yield Violation(place, "fragments that are one JSON object when joined", finding.actual, finding.hint)

    def _at_end(self, where: str) -> Iterator[Violation]:
        if not self.choices:
            yield Violation(where, "at least one chunk with a choice before the end", "none")
        for index, choice in sorted(self.choices.items()):
            if not choice.finished:
                yield Violation(
                    where,
                    f"a finish_reason for choice {index} before the end",
                    "none",
                    "a client cannot tell that it is complete",
                )
        if 0 < len(self.choices) < self.wanted:
            yield Violation(where, f"{self.wanted} choices", str(len(self.choices)))
        if self.include_usage and not self.usage:
            yield Violation(
                where, "a chunk with usage before the end", "none", "`stream_options.include_usage` asks for it"
            )
