"""An engine behind HTTP: one POST for each generation, over a pool of connections.

Knows connections, statuses and the forms in which such servers complain. Never knows a dialect's fields.

Invariants: what the connection does wrong is a `BackendFailed`; a generation is never asked for twice; whoever stops
waiting hangs up, by which the engine knows that it can stop, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import aiohttp
import orjson

from reference_gateway.types import BackendFailed, BackendRefused

CALLER_AT_FAULT = frozenset({400, 413, 422})
"""Statuses by which the engine refuses this request. Others, also 401, 404 and 429, say something about the engine."""

IDLE_CONNECTION_S = 3.0
"""Shorter than the 5 s after which the engine's server closes an idle connection: no request meets a closing one."""


class HttpEngine:
    """`path` is that of the route below the server's root `url` (a trailing `/v1` is taken off). `timeout_s` bounds one
    generation. `api_key` is sent as a bearer token."""

    def __init__(self, url: str, path: str, *, api_key: str | None = None, timeout_s: float | None = None) -> None:
        self._url = url.rstrip("/").removesuffix("/v1") + path
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

    async def _post(self, body: bytes, session_id: str) -> tuple[int, bytes]:
        async with self._request(body, session_id) as response:
            return response.status, await response.read()

    @asynccontextmanager
    async def _request(self, body: bytes, session_id: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """One POST; what the connection does wrong is a `BackendFailed`."""
        if self._client is None:  # made here because a pool belongs to the running loop
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S)
            self._client = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            async with self._client.post(self._url, data=body, headers={"X-Session-ID": session_id}) as response:
                yield response
        except TimeoutError:
            raise BackendFailed("the engine did not answer in time") from None
        except aiohttp.ClientError as error:
            raise BackendFailed(f"no answer from the engine: {error or type(error).__name__}") from error

    def _refuse(self, status: int, answer: bytes) -> NoReturn:
        if status in CALLER_AT_FAULT:
            raise BackendRefused(message_of(answer))
        raise BackendFailed(f"HTTP {status} from the engine: {message_of(answer)}")


def versions_of(found: Any) -> tuple[int, int] | None:
    """A version that is a number, or a pair of them (the first and the last that took part)."""
    pair = found if isinstance(found, list) and len(found) == 2 else [found, found]
    try:
        first, last = (int(version) for version in pair)
    except (TypeError, ValueError):
        return None
    return min(first, last), max(first, last)


def parsed_line(data: bytes) -> Any:
    """The JSON of one event of a stream. Raises `BackendFailed`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BackendFailed("the engine's stream has a line that is no JSON") from None


def message_of(answer: bytes) -> str:
    """What the engine says is wrong, in the forms that such servers use."""
    try:
        body = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return answer[:500].decode("utf-8", "replace").strip() or "no message"
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return error if isinstance(error, str) else orjson.dumps(error)[:500].decode("utf-8", "replace")
