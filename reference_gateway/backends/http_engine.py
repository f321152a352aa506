"""An engine behind HTTP: one POST for each generation, over a pool of connections.

Knows connections, statuses and the forms in which such servers complain. Never knows a dialect's fields.

Invariants: what the connection does wrong is a `BackendFailed`; a generation is never asked for twice; whoever stops
waiting hangs up, by which the engine knows that it can stop, too; what may be shown of a failure names neither the
engine's address nor what is inside of it: that is in the log.

| the engine's status | is |
|---|---|
| 400, 413, 422 | the caller's fault: `BackendRefused` with that status and the engine's words |
| 429, 503, 529 | `BackendUnavailable` with that status and the engine's `retry-after` |
| any other | `BackendFailed`: 401, 403 and 404 say something about how the gateway is set up |
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, NoReturn

import aiohttp
import orjson

from reference_gateway.context import Context
from reference_gateway.types import BackendFailed, BackendRefused, BackendUnavailable, Progress

log = logging.getLogger(__name__)

CALLER_AT_FAULT = frozenset({400, 413, 422})
UNAVAILABLE = frozenset({429, 503, 529})

_RETRY_AFTER = re.compile(r"[0-9A-Za-z ,:.+-]{1,40}")
"""A number of seconds or a date."""

_ECHO = b'"prompt_token_ids":'

IDLE_CONNECTION_S = 3.0
"""Shorter than the 5 s after which the engine's server closes an idle connection: no request meets a closing one."""

_SHORT = aiohttp.ClientTimeout(total=10)
"""For what is not a generation."""


class HttpEngine:
    """`path` is that of the route below the server's root `url` (a trailing `/v1` is taken off). `timeout_s` bounds one
    generation. `api_key` is sent as a bearer token."""

    def __init__(self, url: str, path: str, *, api_key: str | None = None, timeout_s: float | None = None) -> None:
        self._root = url.rstrip("/").removesuffix("/v1")
        self._url = self._root + path
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=10)
        self._client: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connection pool."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _pool(self) -> aiohttp.ClientSession:
        if self._client is None:  # made here because a pool belongs to the running loop
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S)
            self._client = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._client

    async def _get(self, path: str) -> tuple[int, bytes] | None:
        """Status and body of what the engine has at `path`; None where it does not answer."""
        try:
            async with self._pool().get(self._root + path, timeout=_SHORT) as response:
                return response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError):
            return None

    async def _post(self, body: bytes, session_id: str) -> bytes:
        async with self._request(body, session_id) as response:
            return await response.read()

    @asynccontextmanager
    async def _request(self, body: bytes, session_id: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """One POST that is answered with 200; any other status is what the table above says, and what the connection
        does wrong a `BackendFailed`."""
        try:
            async with self._pool().post(self._url, data=body, headers={"X-Session-ID": session_id}) as response:
                if response.status != 200:
                    refuse(response.status, await response.read(), response.headers)
                yield response
        except TimeoutError:
            raise BackendFailed("the engine did not answer in time") from None
        except aiohttp.ClientError as error:
            log.warning("no answer from the engine at %s: %s", self._url, error or type(error).__name__)
            raise BackendFailed(f"no answer from the engine ({type(error).__name__})") from error

    async def _follow(
        self, body: dict[str, Any], session_id: str, take: Callable[[bytes], list[int]], progress: Progress
    ) -> None:
        """Tell `progress` of the ids that `take` finds in the data of each event of a stream. Those that came together
        are told together: engines send an event for each token, and the way to the client costs more than a token."""
        async with self._request(orjson.dumps(body), session_id) as response:
            async for lines in _lines(response.content):
                ids: list[int] = []
                try:
                    for line in lines:
                        if line.startswith(b"data:"):
                            ids += take(line[5:].strip())
                finally:
                    if ids:
                        progress.sampled(ids)


def refuse(status: int, answer: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> NoReturn:
    """Raise what an answer with this status is."""
    message = message_of(answer)
    if status in CALLER_AT_FAULT:
        raise BackendRefused(message, status)
    log.warning("HTTP %s from the engine: %s", status, message)
    if status in UNAVAILABLE:
        after = headers.get("retry-after", "")
        retry_after = after if _RETRY_AFTER.fullmatch(after) else None
        raise BackendUnavailable("the engine takes no requests now: ask again later", status, retry_after)
    raise BackendFailed(f"HTTP {status} from the engine")


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[list[bytes]]:
    """The lines that each read made whole; they may be of any length."""
    unfinished: list[bytes] = []
    async for chunk in content.iter_any():
        whole, end, rest = chunk.rpartition(b"\n")
        if end:
            yield b"".join([*unfinished, whole]).split(b"\n")
            unfinished = []
        unfinished.append(rest)
    yield [b"".join(unfinished)]


def versions_of(version: Any) -> tuple[int, int] | None:
    """A version that is a number, or a pair of them (the first and the last that took part)."""
    if version is None:
        return None
    pair = version if isinstance(version, list) and len(version) == 2 else [version, version]
    try:
        first, last = (int(version) for version in pair)
    except (TypeError, ValueError):
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
        text = answer[:500].decode("utf-8", "replace").strip()
        return "no message" if not text or text.startswith("<") else text  # a proxy's page is nothing to pass on
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return error if isinstance(error, str) else orjson.dumps(error)[:500].decode("utf-8", "replace")
