"""A vLLM server, spoken to in tokens: `POST {url}/v1/completions` with token ids in and `return_token_ids`.

Knows that one route. Never knows messages.

Invariants: what is returned is what the engine says it sampled, for the context that was sent, or an exception; ids are
never made from text; a generation is never asked for twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import aiohttp
import orjson

from reference_gateway.types import BackendFailed, BackendRefused, Generation, Media, Progress

CALLER_AT_FAULT = frozenset({400, 413, 422})
"""Statuses by which the engine refuses this request. Others, also 401, 404 and 429, say something about the engine."""

IDLE_CONNECTION_S = 3.0
"""Shorter than the 5 s after which the engine's server closes an idle connection: no request meets a closing one."""


class VllmBackend:
    """`url` is the server's root (a trailing `/v1` is taken off). `model` is sent when given; `timeout_s` bounds one
    generation. `api_key` is sent as a bearer token."""

    name = "vllm"

    def __init__(
        self, url: str, *, model: str | None = None, api_key: str | None = None, timeout_s: float | None = None
    ) -> None:
        root = url.rstrip("/").removesuffix("/v1")
        self._url = f"{root}/v1/completions"
        self._fixed: dict[str, Any] = {"return_token_ids": True, **({"model": model} if model else {})}
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=10)
        self._client: aiohttp.ClientSession | None = None

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
        progress: Progress | None = None,
    ) -> Generation:
        """See `types.Streaming`. A parameter `logprobs` that is true becomes the count that this route takes."""
        if media.images or media.videos:
            raise BackendRefused(
                "this backend takes no media: vLLM's completions route has no field for images or videos"
            )
        context = context if isinstance(context, list) else list(context)
        body = {**self._fixed, **_parameters(sampling), "prompt": context}
        if progress is not None:
            return await self._stream({**body, "stream": True}, session_id, context, progress)
        status, answer = await self._post(orjson.dumps(body), session_id)
        if status != 200:
            self._refuse(status, answer)
        return _generation(answer, context)

    async def _post(self, body: bytes, session_id: str) -> tuple[int, bytes]:
        async with self._request(body, session_id) as response:
            return response.status, await response.read()

    def _refuse(self, status: int, answer: bytes) -> NoReturn:
        if status in CALLER_AT_FAULT:
            raise BackendRefused(_message(answer))
        raise BackendFailed(f"HTTP {status} from the engine: {_message(answer)}")

    async def close(self) -> None:
        """Close the connection pool."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _stream(
        self, body: dict[str, Any], session_id: str, context: list[int], progress: Progress
    ) -> Generation:
        """One generation as the engine streams it: whole when a chunk has said why it ended and `[DONE]` has come."""
        whole = Pieces(context)
        async with self._request(orjson.dumps(body), session_id) as response:
            if response.status != 200:
                self._refuse(response.status, await response.read())
            async for line in response.content:
                ids = whole.take(line)
                if ids:
                    progress.sampled(ids)
        return whole.generation()

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


class Pieces:
    """A streamed generation on its way: what the lines of the stream have said so far."""

    def __init__(self, context: list[int]) -> None:
        self._context = context
        self._ids: list[int] = []
        self._logprobs: list[float] | None = None
        self._stop_reason: str | None = None
        self._versions: tuple[int, int] | None = None
        self._done = False

    def take(self, line: bytes) -> list[int]:
        """The ids that a line of the stream brings. Raises `BackendFailed` for an error in it."""
        if not line.startswith(b"data:"):
            return []
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            self._done = True
            return []
        document = _parsed(data)
        if isinstance(document, dict) and document.get("error"):
            raise BackendFailed(f"the engine failed while it sampled: {_message(data)}")
        if isinstance(document, dict) and document.get("choices") == []:
            return []  # usage stands in a chunk of its own
        piece = _generation(data, self._context)
        self._ids += piece.ids
        if piece.logprobs is not None:
            self._logprobs = [*(self._logprobs or []), *piece.logprobs]
        self._stop_reason = piece.stop_reason or self._stop_reason
        self._versions = piece.versions or self._versions
        return piece.ids

    def generation(self) -> Generation:
        """The whole. Raises `BackendFailed` when the stream ended before it was."""
        if not self._done or self._stop_reason is None:
            raise BackendFailed("the engine's stream broke off before its generation was whole")
        return Generation(self._ids, self._logprobs, self._stop_reason, self._versions)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BackendFailed("the engine's stream has a line that is no JSON") from None


def _parameters(sampling: Mapping[str, Any]) -> dict[str, Any]:
    # Left out, this route's max_tokens is 16; null is its word for "as much as fits".
    parameters = {"max_tokens": None, **sampling}
    if "logprobs" in parameters:
        wanted = parameters.pop("logprobs")
        if wanted is not None and wanted is not False:
            parameters["logprobs"] = 1 if wanted is True else wanted
    return parameters


def _generation(answer: bytes, context: list[int]) -> Generation:
    try:
        body = orjson.loads(answer)
        choice = body["choices"][0]
        ids = choice.get("token_ids")
        prompt_ids = choice.get("prompt_token_ids")
        reason = choice.get("finish_reason")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise BackendFailed("the engine's answer is not a completion") from None
    if not isinstance(ids, list):
        raise BackendFailed("the engine's answer has no token_ids: a vLLM that honours return_token_ids is needed")
    if prompt_ids is not None and prompt_ids != context:
        raise BackendFailed("the engine sampled for another context than it was sent (prompt_token_ids differ)")
    return Generation(
        ids,
        logprobs=_logprobs(choice.get("logprobs")),
        stop_reason=reason if isinstance(reason, str) else None,
        versions=_versions(body.get("weight_version")),
    )


def _logprobs(found: Any) -> list[float] | None:
    values = found.get("token_logprobs") if isinstance(found, dict) else None
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        raise BackendFailed("the engine's token_logprobs are not a list of numbers")
    return [float(value) for value in values]


def _versions(found: Any) -> tuple[int, int] | None:
    """A version that is a number, or a pair of them (the first and the last that took part)."""
    pair = found if isinstance(found, list) and len(found) == 2 else [found, found]
    try:
        first, last = (int(version) for version in pair)
    except (TypeError, ValueError):
        return None
    return min(first, last), max(first, last)


def _message(answer: bytes) -> str:
    """What the engine says is wrong, in the forms that such servers use."""
    try:
        body = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return answer[:500].decode("utf-8", "replace").strip() or "no message"
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return error if isinstance(error, str) else orjson.dumps(error)[:500].decode("utf-8", "replace")
