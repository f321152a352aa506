"""An engine behind HTTP: one POST for each generation, over a pool of connections.

Knows connections, statuses and the forms in which such servers complain. Never knows a dialect's fields.

Invariants: what the connection does wrong is a `BackendFailed`; a generation is never asked for twice; whoever stops
waiting hangs up, by which the engine knows that it can stop, too; what may be shown of a failure names neither the
engine's address nor what is inside of it: that is in the log, without the engine's key. No answer is kept beyond the
size that `Limits` allow, none is waited for for ever, and none sends the gateway elsewhere: a redirect is a status like
any other, so keys go to the engine and to nobody else.

| the engine's status | is |
|---|---|
| 400, 413, 422 | the caller's fault: `BackendRefused` with that status and the engine's words |
| 429, 503, 529 | `BackendUnavailable` with that status and the engine's `retry-after` |
| any other | `BackendFailed`: 401, 403 and 404 say something about how the gateway is set up |
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import aiohttp
import orjson

from reference_gateway.backends.engine_url import engine_root
from reference_gateway.context import Context
from reference_gateway.types import BackendFailed, BackendRefused, BackendUnavailable, Progress

CALLER_AT_FAULT = frozenset({400, 413, 422})
UNAVAILABLE = frozenset({429, 503, 529})

_RETRY_AFTER = re.compile(r"[0-9A-Za-z ,:.+-]{1,40}")
"""A number of seconds or a date."""

_ECHO = b'"prompt_token_ids":'

IDLE_CONNECTION_S = 3.0
"""Shorter than the 5 s after which the engine's server closes an idle connection: no request meets a closing one."""

_SHORT = aiohttp.ClientTimeout(total=10)
"""For what is not a generation."""
_SHORT_ANSWER = 2**20
"""Bytes of what is not a generation."""
_COMPLAINT = 2**16
"""Bytes that are read of an answer that refuses."""
LEAST_KEY = 6
"""Characters of a key that is one; a shorter one (`x`, `none`) would be found in any text."""
MESSAGE = 2000
"""Characters of what an engine says is wrong."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one generation may take of the gateway. `total_s` bounds the whole; `idle_s` the time from one event of a
    stream to the next, and from the head of a plain answer to its end. `answer` is in bytes, those of a plain answer or
    of a stream; None is what so many tokens may need. `assumed_tokens` is what a request without a limit may sample."""

    total_s: float = 3600.0
    idle_s: float = 300.0
    answer: int | None = None
    assumed_tokens: int = 2**17

    def bytes_of(self, context: int, max_tokens: Any) -> int:
        """The most that an answer may have that samples `max_tokens` tokens (None: no limit) behind `context`, which it
        may repeat."""
        if self.answer is not None:
            return self.answer
        sampled = max_tokens if type(max_tokens) is int and max_tokens > 0 else self.assumed_tokens
        return ANSWER_BYTES + TOKEN_BYTES * (context + sampled)


NO_OTHER_LIMITS = Limits()

ANSWER_BYTES = 2**20
"""Bytes that any answer may have, and for each of its tokens so many more:"""
TOKEN_BYTES = 2048


class HttpEngine:
    """`path` is that of the route below the server's root `url` (a trailing `/v1` is taken off). `api_key` is sent as a
    bearer token. Raises ValueError for a URL that is none, or that has a password in it."""

    repeats_itself = False
    """Whether each event of a stream has all that came before it: then `Limits.answer` bounds each, and not their
    sum."""

    def __init__(self, url: str, path: str, *, api_key: str | None = None, limits: Limits = NO_OTHER_LIMITS) -> None:
        self._root = engine_root(url)
        self._url = self._root + path
        # A coded answer could be a thousand times as long as what came over the wire.
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._limits = limits
        self._timeout = aiohttp.ClientTimeout(total=limits.total_s, sock_connect=min(10.0, limits.total_s))
        self._client: aiohttp.ClientSession | None = None
        place = self._root.partition("://")[2]
        self.secrets = (api_key,) if api_key and len(api_key) >= LEAST_KEY else ()
        """What nobody may read: the engine's key, unless it is a word for none."""
        self.hidden = (*self.secrets, self._root, place, place.partition("/")[0])
        """What no agent may read: that, and where the engine is."""

    async def close(self) -> None:
        """Close the connection pool."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _pool(self) -> aiohttp.ClientSession:
        if self._client is None:  # made here because a pool belongs to the running loop
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S)
            self._client = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._client

    async def _get(self, path: str) -> tuple[int, bytes] | None:
        """Status and body of what the engine has at `path`; None where it does not answer."""
        try:
            async with self._pool().get(self._root + path, timeout=_SHORT, allow_redirects=False) as response:
                return response.status, await _read(response, _SHORT_ANSWER)
        except (TimeoutError, aiohttp.ClientError, BackendFailed):
            return None

    async def _post(self, body: bytes, session_id: str, most: int) -> bytes:
        """The answer, which has no more than `most` bytes."""
        async with self._request(body, session_id) as response:
            try:
                async with asyncio.timeout(self._limits.idle_s) as idle:
                    return await _read(response, most)
            except TimeoutError:
                raise self._stood_still() if idle.expired() else self._too_late() from None

    @asynccontextmanager
    async def _request(self, body: bytes, session_id: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """One POST that is answered with 200; any other status is what the table above says, and what the connection
        does wrong a `BackendFailed`."""
        try:
            headers = {"X-Session-ID": session_id}
            async with self._pool().post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    refuse(response.status, await _begun(response, _COMPLAINT), response.headers)
                if response.headers.get("content-encoding", "identity") not in ("", "identity"):
                    raise BackendFailed("the engine's answer is in a content coding that it was not asked for")
                yield response
        except TimeoutError:
            raise self._too_late() from None
        except aiohttp.ClientError as error:
            name = type(error).__name__
            detail = f"no answer from the engine at {self._url}: {shortened(str(error)) or name}"
            raise BackendFailed(f"no answer from the engine ({name})", detail=detail) from error

    def _too_late(self) -> BackendFailed:
        return BackendFailed(f"the engine did not answer within {self._limits.total_s:g} s", 504)

    def _stood_still(self) -> BackendFailed:
        return BackendFailed(f"the engine's answer did not go on for {self._limits.idle_s:g} s", 504)

    async def _follow(
        self, body: dict[str, Any], session_id: str, take: Callable[[bytes], list[int]], progress: Progress, most: int
    ) -> None:
        """Tell `progress` of the ids that `take` finds in the data of each event of a stream, which has no more than
        `most` bytes. Those that came together are told together: engines send an event for each token, and the way to
        the client costs more than a token."""
        async with self._request(orjson.dumps(body), session_id) as response:
            try:
                async with asyncio.timeout(None) as idle:
                    await self._take_events(response, take, progress, most, idle)
            except TimeoutError:
                raise self._stood_still() if idle.expired() else self._too_late() from None

    async def _take_events(
        self,
        response: aiohttp.ClientResponse,
        take: Callable[[bytes], list[int]],
        progress: Progress,
        most: int,
        idle: asyncio.Timeout,
    ) -> None:
        clock = asyncio.get_running_loop()
        sampled = 0
        async for lines in _lines(response.content, most, whole=not self.repeats_itself):
            ids: list[int] = []
            try:
                for line in lines:
                    if line.startswith(b"data:"):
                        ids += take(line[5:].strip())
                        idle.reschedule(clock.time() + self._limits.idle_s)
            finally:
                if ids:
                    progress.sampled(ids)
            sampled += len(ids)
            if 2 * sampled > most:  # so many could not stand in one answer
                raise _too_long(most)


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, of `most` bytes at most. Raises `BackendFailed` for a longer one."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            raise _too_long(most)
        pieces.append(piece)
    return b"".join(pieces)


async def _begun(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The first bytes of the body, `most` of them at most."""
    read = b""
    async for piece in response.content.iter_any():
        read += piece
        if len(read) >= most:
            break
    return read[:most]


def _too_long(most: int) -> BackendFailed:
    return BackendFailed(f"the engine's answer is longer than {most} bytes")


def refuse(status: int, answer: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> NoReturn:
    """Raise what an answer with this status is."""
    message = message_of(answer)
    if status in CALLER_AT_FAULT:
        raise BackendRefused(message, status)
    detail = f"HTTP {status} from the engine: {message}"
    if status in UNAVAILABLE:
        after = headers.get("retry-after", "")
        retry_after = after if _RETRY_AFTER.fullmatch(after) else None
        raise BackendUnavailable(
            "the engine takes no requests now: ask again later", status, retry_after, detail=detail
        )
    raise BackendFailed(f"HTTP {status} from the engine", detail=detail)


async def _lines(content: aiohttp.StreamReader, most: int, *, whole: bool) -> AsyncIterator[list[bytes]]:
    """The lines that each read made whole. Raises `BackendFailed` where one of them, or with `whole` all of them, are
    longer than `most` bytes."""
    unfinished: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > most:
            raise _too_long(most)
        ended, end, rest = chunk.rpartition(b"\n")
        if end:
            yield b"".join([*unfinished, ended]).split(b"\n")
            unfinished = []
            size = size if whole else len(rest)
        unfinished.append(rest)
    yield [b"".join(unfinished)]


def versions_of(version: Any) -> tuple[int, int] | None:
    """A version that is a number, or a pair of them (the first and the last that took part)."""
    if version is None:
        return None
    pair = version if isinstance(version, list) and len(version) == 2 else [version, version]
    try:
        first, last = (int(version) for version in pair)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(first, last), max(first, last)


def spanned(earlier: tuple[int, int] | None, later: tuple[int, int] | None) -> tuple[int, int] | None:
    """The versions that took part in both pieces of a generation."""
    if earlier is None or later is None:
        return earlier or later
    return min(earlier[0], later[0]), max(earlier[1], later[1])


def parsed(answer: bytes, context: Context | None) -> Any:
    """The JSON of an answer; None where it is none. Of the `context`, which engines repeat, null is left where it is
    spelled as it was sent: to read it only to compare it would be most of the work of a long session's turn."""
    if context is not None and (start := answer.find(_ECHO + b"[")) >= 0:
        start += len(_ECHO)
        spelled = context.json()
        if answer.startswith(spelled, start):
            answer = answer[:start] + b"null" + answer[start + len(spelled) :]
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None


def parsed_event(data: bytes, context: Context | None) -> Any:
    """The JSON of one event of a stream. For an event that is an error, raises what an answer with its `code` is."""
    document = parsed(data, context)
    if document is None:
        raise BackendFailed("the engine's stream has a line that is no JSON")
    if isinstance(document, dict) and (error := document.get("error")):
        code = error.get("code") if isinstance(error, dict) else None
        refuse(code if type(code) is int else 500, data)
    return document


def message_of(answer: bytes) -> str:
    """What the engine says is wrong, in the forms that such servers use."""
    try:
        body = orjson.loads(answer)
    except orjson.JSONDecodeError:
        text = shortened(answer[:500].decode("utf-8", "replace").strip())
        return "no message" if not text or text.startswith("<") else text  # a proxy's page is nothing to pass on
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return shortened(error if isinstance(error, str) else orjson.dumps(error)[:500].decode("utf-8", "replace"))


def shortened(text: str) -> str:
    """What an engine says, without what a terminal would obey, and not all of a text without end."""
    printable = "".join(character if character.isprintable() else " " for character in text[: MESSAGE + 1])
    return printable if len(printable) <= MESSAGE else f"{printable[:MESSAGE]}..."
