"""What is kept of one call: its request on the way to the engine, the answer on the way back, a line in the ledger.

Knows bodies and statuses; nothing of connections. Invariants: a call is in the ledger before the last byte of its
answer leaves, so that whoever has the answer also finds it there; what nobody could read passes as it is; no header
that could hold a credential is kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import orjson

from conformance.recorded.recorder import UNREAD
from conformance.recorded.recorder.routes import ROUTES, Answer, Ask, Choice, Route, are_ids, message_of
from conformance.upstream.ledger import ABORTED, ANSWERED, FAILED, PENDING, Call

SECRET = re.compile(r"auth|cookie|credential|key|passw|secret|signature|token", re.IGNORECASE)
"""Names of headers whose values do not enter the ledger."""

_BY_PATH: Mapping[bytes, Route] = {route.path.encode(): route for route in ROUTES}
_DONE = b"[DONE]"
MAX_PASSED = 64 * 1024
"""Bytes of a stream that have passed and are not read yet, at most."""
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


class Ledger:
    """A file to which calls are appended, a line of JSON each, as they are closed; with `arrivals` also as they arrive,
    `pending` then and under the index that they are closed with. Raises OSError when it cannot be."""

    def __init__(self, path: Path, arrivals: bool = False) -> None:
        self._file = path.open("ab", buffering=0)
        self.arrivals = arrivals
        self._calls = 0

    def index(self) -> int:
        """The number of the next call."""
        self._calls += 1
        return self._calls - 1

    def append(self, call: Call) -> None:
        self._file.write(orjson.dumps(call.to_json(), option=orjson.OPT_APPEND_NEWLINE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def route_of(method: bytes, path: bytes) -> Route | None:
    """The route that samples which a request is for."""
    return _BY_PATH.get(path) if method == b"POST" else None


class Recording:
    """One call. `body` is what the engine is sent. Closed once, whatever comes first."""

    def __init__(
        self, ledger: Ledger, route: Route, ask: Ask, raw: bytes, headers: Iterable[tuple[bytes, bytes]], passive: bool
    ) -> None:
        self._ledger, self._route, self._ask = ledger, route, ask
        self._answer: Answer = route.answer(ask)
        self._arrived = time.monotonic()
        self._headers = headers
        self._hidden = bool(ask.hidden) and not passive
        self._rest, self._drop_blank, self._odd = b"", False, ""
        self._passed: list[bytes] = []
        self._passed_size, self._tail, self._ending = 0, b"", False
        self.closed = False
        self.body = raw if passive or not (ask.added or ask.nested) else _with_added(raw, ask)
        self._indices: list[int] = []
        if ledger.arrivals:
            self._indices = [ledger.index() for _ in ask.contexts]
            for place, context in enumerate(ask.contexts):
                ledger.append(self._call(place, context, [], PENDING, None, None))

    @classmethod
    def of(
        cls, ledger: Ledger, route: Route, raw: bytes, headers: list[tuple[bytes, bytes]], passive: bool
    ) -> Recording | None:
        """None for a body that is no request of this route: the engine will say so."""
        try:
            body = orjson.loads(raw)
            ask = route.ask(body)
        except _UNREADABLE:
            return None
        return cls(ledger, route, ask, raw, headers, passive)

    # the answer -------------------------------------------------------------------------------------------------------

    def whole(self, status: int, data: bytes) -> bytes:
        """What the gateway is sent for a plain answer."""
        try:
            document = orjson.loads(data)
        except ValueError:
            self.close(FAILED if status >= 400 else UNREAD, status, "the answer is no JSON")
            return data
        if status >= 400:
            self.close(FAILED, status, message_of(document))
            return data
        try:
            self._answer.take(document, False)
        except _UNREADABLE as error:
            self.close(UNREAD, status, f"the answer is none of this route ({type(error).__name__})")
            return data
        self._end(status)
        return orjson.dumps(document) if self._hidden else data

    def part(self, status: int, data: bytes) -> bytes:
        """What the gateway is sent for the next bytes of a stream. An event is held back until it is whole where
        something is taken out of it; what passes as it is is read later, at the end of the stream at the latest."""
        if self._hidden:
            return self._shown(status, data)
        self._passed.append(data)
        self._passed_size += len(data)
        self._ending = self._ending or not self._route.ends_with_done or _DONE in self._tail + data
        self._tail = (self._tail + data)[1 - len(_DONE) :]
        if self._ending or self._passed_size > MAX_PASSED:
            self._read(status)
        return data

    def _shown(self, status: int, data: bytes) -> bytes:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        shown: list[bytes] = []
        for line in lines:
            passed = self._line(status, line)
            if passed is None:
                self._drop_blank = True
            elif self._drop_blank and not passed.strip():
                self._drop_blank = False
            else:
                shown += (passed, b"\n")
        return b"".join(shown)

    def _read(self, status: int) -> None:
        """Read the lines that have passed and are whole."""
        if not self._passed:
            return
        lines, newline, self._rest = b"".join([self._rest, *self._passed]).rpartition(b"\n")
        self._passed, self._passed_size = [], 0
        if not newline:
            return
        documents, done = _events(lines)
        if documents is None:
            for line in lines.split(b"\n"):
                self._line(status, line)
            return
        for document in documents:
            try:
                self._answer.take(document, True)
            except _UNREADABLE as error:
                self._is_odd(error)
        if done or (not self._route.ends_with_done and self._finished()):
            self._end(status)

    def rest(self, status: int) -> bytes:
        """What is left at the end of a stream."""
        self._read(status)
        rest, self._rest = self._rest, b""
        passed = self._line(status, rest) if rest else b""
        if not self.closed:
            self.close(FAILED, status, self._answer.error or "the stream broke off before it was whole")
        return (passed or b"") if self._hidden else b""

    def unread(self, status: int, why: str) -> None:
        """The answer passes as it is, and cannot be read."""
        self.close(FAILED if status >= 400 else UNREAD, status, why)

    def _line(self, status: int, line: bytes) -> bytes | None:
        """A line of a stream as the gateway sees it; None for one that it does not see."""
        if not line.startswith(b"data:"):
            return line
        data = line[5:].strip()
        if data == b"[DONE]":
            self._end(status)
            return line
        try:
            document = orjson.loads(data)
            seen = self._answer.take(document, True)
        except _UNREADABLE as error:
            self._is_odd(error)
            return line
        if not self._route.ends_with_done and self._finished():
            self._end(status)
        if not self._hidden:
            return line
        return b"data: " + orjson.dumps(document) + line[len(line.rstrip(b"\r")) :] if seen else None

    def _is_odd(self, error: Exception) -> None:
        self._odd = f"an event of the stream is none of this route ({type(error).__name__})"

    # the ledger -------------------------------------------------------------------------------------------------------

    def hung_up(self) -> None:
        """The gateway hung up: on an answer that was whole, or before."""
        self._read(200)
        if self._finished() and self._answer.error is None:
            self._end(200)
        else:
            self.close(ABORTED, None, "the gateway hung up")

    def close(self, outcome: str, status: int | None, message: str | None = None) -> None:
        """Write what is known. What is closed stays as it is."""
        if self.closed:
            return
        self._read(200)
        if self.closed:  # what had passed was the end
            return
        self.closed = True
        for place, context in enumerate(self._ask.contexts):
            choices = [self._answer.choices.get(place * self._ask.n + number) for number in range(self._ask.n)]
            self._ledger.append(self._call(place, context, choices, outcome, status, message))

    def _finished(self) -> bool:
        expected = len(self._ask.contexts) * self._ask.n
        ended = sum(choice.finish_reason is not None for choice in self._answer.choices.values())
        return ended >= expected

    def _end(self, status: int) -> None:
        """The answer is whole."""
        if self._answer.error is not None:
            self.close(FAILED, status, self._answer.error)
        elif self._odd:
            self.close(UNREAD, status, self._odd)
        else:
            self.close(ANSWERED, status)

    def _call(
        self,
        place: int,
        context: list[int] | None,
        choices: list[Choice | None],
        outcome: str,
        status: int | None,
        why: str | None,
    ) -> Call:
        known = [choice for choice in choices if choice is not None]
        first = known[0] if known else Choice()
        faults = list(self._faults(context, choices)) if outcome == ANSWERED else []
        if outcome == ANSWERED and first.finish_reason == "abort":
            outcome, faults = ABORTED, ["the engine broke the generation off"]
        elif faults:
            outcome = UNREAD
        ids = [choice.ids for choice in known if choice.ids is not None]
        if outcome != ANSWERED:  # else all of them were looked at
            ids = [generation for generation in ids if are_ids(generation)]
        logprobs = _numbers(first.logprobs)
        if outcome == ANSWERED and logprobs is not None and len(logprobs) != len(first.ids or ()):
            faults = [f"the engine told {len(logprobs)} log-probabilities for {len(first.ids or ())} ids"]
            logprobs = None
        elif outcome == ANSWERED and context and first.prompt and first.prompt != context and not self._media:
            faults = ["the engine says that its prompt had other ids than it was sent"]
        prompt = first.prompt if context is None and first.prompt and are_ids(first.prompt) else []
        return Call(
            index=self._indices[place] if self._indices else self._ledger.index(),
            nonce=None,
            dialect=self._route.name,
            arrived=self._arrived,
            context=context or prompt,
            body=self._ask.kept,
            headers=_kept(self._headers),
            messages=self._ask.messages,
            images=self._ask.images,
            videos=self._ask.videos,
            answered=None if outcome == PENDING else time.monotonic(),
            generations=ids,
            logprobs=logprobs,
            finish_reason=first.finish_reason,
            stop_reason=first.stop_reason,
            weight_version=self._answer.weight_version,
            status=status,
            outcome=outcome,
            message=why or "; ".join(faults) or None,
        )

    @property
    def _media(self) -> bool:
        return bool(self._ask.images or self._ask.videos)

    def _faults(self, context: list[int] | None, choices: list[Choice | None]) -> Iterator[str]:
        """Why it cannot be told what was sampled for which context."""
        for choice in choices:
            if choice is None or choice.finish_reason is None:
                yield "the engine's answer has fewer generations than it was asked for"
            elif choice.ids is None:
                yield "the engine told no token ids"
            elif not are_ids(choice.ids):
                yield "the engine told ids that are none"
            elif type(choice.sampled) is int and choice.sampled != len(choice.ids):
                yield f"the engine sampled {choice.sampled} tokens and told the ids of {len(choice.ids)}"
            elif context is None and not (choice.prompt and are_ids(choice.prompt)):
                yield "the engine did not tell the ids of its prompt"


def _events(lines: bytes) -> tuple[list[Any] | None, bool]:
    """The documents of a stream's events, and whether they end with `[DONE]`. None where they do not stand in it as
    engines write them, one after the other with nothing beside them: then it has to be read line by line."""
    events, done, after = lines.rpartition(b"data: [DONE]")
    if not done:
        events = lines
    elif after.strip():
        return None, False
    events = events.strip()
    if not events:
        return [], bool(done)
    if not events.startswith(b"data: "):
        return None, False
    pieces = events[6:].split(b"\n\ndata: ")
    try:
        documents = orjson.loads(b"[%b]" % b",".join(pieces))
    except ValueError:
        return None, False
    return (documents, bool(done)) if len(documents) == len(pieces) else (None, False)


def _with_added(raw: bytes, ask: Ask) -> bytes:
    """The body with the fields that are asked for beside it. Where none of them stands in it yet, the rest stays byte
    for byte."""
    if ask.nested:
        params = {**(ask.body.get("sampling_params") or {}), **ask.nested}
        return orjson.dumps({**ask.body, **ask.added, "sampling_params": params})
    if ask.body and not any(name in ask.body for name in ask.added):
        start = raw.index(b"{") + 1
        return b"%b%b,%b" % (raw[:start], orjson.dumps(ask.added)[1:-1], raw[start:])
    return orjson.dumps({**ask.body, **ask.added})


def _numbers(values: list[Any] | None) -> list[float] | None:
    """Log-probabilities; None for what is no list of numbers."""
    return values if values is not None and set(map(type, values)) <= {float, int} else None


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case names; the values of those that can hold a credential are `<redacted>`."""
    kept = {}
    for name, value in headers:
        known, secret = _named(name)
        kept[known] = "<redacted>" if secret else value.decode("latin-1")
    return kept


@lru_cache(1000)
def _named(name: bytes) -> tuple[str, bool]:
    """The name of a header as it is kept, and whether its value is not."""
    known = name.decode("latin-1").lower()
    return known, SECRET.search(known) is not None
