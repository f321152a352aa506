"""What the model will do: a `Step` is one generation, said in advance by a test.

Knows nothing of HTTP, nonces or tokens in flight. A step crosses a process boundary as JSON, so everything in it is
plain data; `Step.from_json(step.to_json()) == step`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from conformance.upstream.tool_format import FORMATS, HERMES

WHEN_ASKED = "asked"
VOLUNTEER = "volunteer"
MISSING = "missing"
SHORT = "short"

UNENDED = frozenset({"length", "abort"})
"""Finish reasons of generations that have not come to the end of their turn."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


class ScriptError(ValueError):
    """A step that cannot be played. The text names the field and what it may hold."""


@dataclass(frozen=True, slots=True)
class Step:
    """One scripted generation.

    What is sampled: `ids` verbatim (they need not be what the tokenizer gives for their text), or `text` and then
    `tool_calls` (each `{"name", "arguments"}`, written in `tool_format`) and the end-of-turn token, which is left out
    when `finish` is `length` or `abort`. `finish` is the engine's finish reason as it goes over the wire,
    known or not. A stop string of the request that occurs in it ends it earlier, as engines do it.

    `logprobs`: `asked` (values -(i+1)/16, only when the request asks), `volunteer` (also unasked), `missing`, `short`
    (one too few, as from an engine that gives none for the token it stopped at), or the values. `token_ids`: `asked`,
    `volunteer` or `missing`. `prompt_ids`: what the answer claims that the prompt was, instead of the truth, or
    `missing`, from an engine that does not say. `weight_version`: a number or text, or a pair (first, last) of one
    that changes within the answer. `odd_id` stands in the answer in the place of the last token id: true, a fraction,
    text, a number that no token has.

    `ids_per_event`: how many token ids come with an event of a stream. `headers` stand in the answer beside its own.

    `rather` are answers that the model would sooner give, each `{"text", "tool_calls"}` with one of the two: the first
    that the request's constraints leave it free to give is sampled in the place of `text` and `tool_calls`. A
    constraint in a grammar of its own, which is not read here, leaves it none of them.

    When it answers: `hold` waits for a release, and with `pause` = n only when n token ids of a stream have left;
    `barrier` = n waits until n calls of this test are in flight.

    Instead of an answer: `status` with `message`; or `body` (with `content_type`, and `status`, 200 by default); or
    `reset`, the connection is reset before any byte. `truncated` cuts the answer in half and closes the connection.

    `when` is text that must occur in the decoded context for this step to be taken. `obeys_limits` cuts the generation
    where the engine would, with finish reason `length`: at the request's limit, or at the engine's own default where
    the request has none. Without it a script is said to its end, whatever the limit.
    """

    text: str | None = None
    ids: tuple[int, ...] | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_format: str = HERMES.name
    rather: tuple[Mapping[str, Any], ...] = ()
    finish: str = "stop"
    logprobs: str | tuple[float, ...] = WHEN_ASKED
    token_ids: str = WHEN_ASKED
    prompt_ids: str | tuple[int, ...] | None = None
    weight_version: int | str | tuple[int, int] | None = None
    when: str | None = None
    obeys_limits: bool = False
    odd_id: bool | float | str | None = None
    ids_per_event: int = 1
    headers: Mapping[str, str] | None = None
    hold: bool = False
    pause: int | None = None
    barrier: int | None = None
    status: int | None = None
    message: str = "boom"
    body: bytes | None = None
    content_type: str = "application/json"
    reset: bool = False
    truncated: bool = False

    def __post_init__(self) -> None:
        _check(isinstance(self.tool_format, str), "tool_format", "a string", self.tool_format)
        _check(self.text is None or isinstance(self.text, str), "text", "a string or null", self.text)
        _check(self.ids is None or _all(self.ids, int), "ids", "a list of token ids", self.ids)
        _check(
            self.ids is None or not (self.text or self.tool_calls), "ids", "absent beside text or tool_calls", "both"
        )
        _check_calls(self.tool_calls, "tool_calls")
        _check(isinstance(self.rather, tuple), "rather", "a list of answers", self.rather)
        _check(not self.rather or self.ids is None, "rather", "absent beside ids", self.rather)
        for answer in self.rather:
            known = isinstance(answer, Mapping) and answer and set(answer) <= {"text", "tool_calls"}
            _check(known, "rather", 'objects {"text", "tool_calls"}', answer)
            _check(isinstance(answer.get("text", ""), str), "rather.text", "a string", answer)
            calls = answer.get("tool_calls", ())
            _check_calls(tuple(calls) if isinstance(calls, list) else calls, "rather.tool_calls")
        _check(self.tool_format in FORMATS, "tool_format", f"one of {', '.join(FORMATS)}", self.tool_format)
        _check(isinstance(self.finish, str) and self.finish != "", "finish", "a non-empty string", self.finish)
        known = self.logprobs in (WHEN_ASKED, VOLUNTEER, MISSING, SHORT)
        numbers = isinstance(self.logprobs, tuple) and _all(self.logprobs, (int, float))
        _check(known or numbers, "logprobs", "asked, volunteer, missing, short or a list of numbers", self.logprobs)
        known = self.token_ids in (WHEN_ASKED, VOLUNTEER, MISSING)
        _check(known, "token_ids", "asked, volunteer or missing", self.token_ids)
        known = self.prompt_ids is None or self.prompt_ids == MISSING or _all(self.prompt_ids, int)
        _check(known, "prompt_ids", "missing or a list of ids", self.prompt_ids)
        pair = isinstance(self.weight_version, tuple) and len(self.weight_version) == 2
        plain = self.weight_version is None or isinstance(self.weight_version, (int, str))
        _check(plain or pair, "weight_version", "a number, text or a pair", self.weight_version)
        _check(
            self.odd_id is None or isinstance(self.odd_id, bool | int | float | str),
            "odd_id",
            "true, false, a number or text",
            self.odd_id,
        )
        _check(self.when is None or isinstance(self.when, str), "when", "a string or null", self.when)
        for name in ("obeys_limits", "hold", "reset", "truncated"):
            _check(isinstance(getattr(self, name), bool), name, "true or false", getattr(self, name))
        _check(_int(self.ids_per_event, 1, 10**6), "ids_per_event", "a count of token ids from 1", self.ids_per_event)
        named = self.headers is None or (
            isinstance(self.headers, Mapping) and all(_header(*header) for header in self.headers.items())
        )
        _check(named, "headers", "an object of header names and values", self.headers)
        _check(self.barrier is None or _int(self.barrier, 1, 1000), "barrier", "a count from 1 to 1000", self.barrier)
        _check(self.pause is None or _int(self.pause, 1, 10**6), "pause", "a count of token ids from 1", self.pause)
        _check(self.pause is None or self.hold, "pause", "absent without hold", self.pause)
        _check(self.status is None or _int(self.status, 200, 599), "status", "200 to 599", self.status)
        _check(isinstance(self.message, str), "message", "a string", self.message)
        _check(self.body is None or isinstance(self.body, bytes), "body", "bytes", self.body)
        _check(isinstance(self.content_type, str), "content_type", "a string", self.content_type)

    @property
    def fails(self) -> bool:
        """Whether the caller gets no whole answer of the engine."""
        return self.reset or self.truncated or self.body is not None or (self.status or 200) >= 400

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the defaults. `body` is base64."""
        document: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                document[field.name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        return document

    @classmethod
    def from_json(cls, document: Any) -> Step:
        """Raises `ScriptError` that names the field."""
        if not isinstance(document, Mapping):
            raise ScriptError(f"step must be a JSON object, not {document!r}")
        unknown = sorted(set(document) - {field.name for field in fields(cls)})
        if unknown:
            raise ScriptError(f"step has no field {unknown[0]!r}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
        }
        if "body" in values:
            try:
                values["body"] = base64.b64decode(values["body"], validate=True)
            except (TypeError, ValueError) as error:
                raise ScriptError("step.body must be base64") from error
        return cls(**values)


def _check_calls(calls: Any, field: str) -> None:
    _check(isinstance(calls, tuple), field, 'a list of objects {"name", "arguments"}', calls)
    for call in calls:
        named = isinstance(call, Mapping) and isinstance(call.get("name"), str)
        _check(named and "arguments" in call, field, 'objects {"name", "arguments"}', call)


def _check(holds: object, field: str, expected: str, value: object) -> None:
    if not holds:
        raise ScriptError(f"step.{field} must be {expected}, not {value!r}")


def _all(values: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(values, tuple) and all(isinstance(v, kind) and not isinstance(v, bool) for v in values)


def _header(name: Any, value: Any) -> bool:
    """Whether they can stand in the head of an answer: a token and visible text on one line."""
    return isinstance(name, str) and isinstance(value, str) and bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


def _int(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
