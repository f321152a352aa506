"""A vLLM server, spoken to in tokens over either of its routes that take them.

| route | token ids in | parameters | a limit that is absent | logprobs out |
|---|---|---|---|---|
| `completions`: `POST {url}/v1/completions` | `prompt` | beside it | 16, so it is told what fits | `token_logprobs` |
| `generate`: `POST {url}/inference/v1/generate` | `token_ids` | `sampling_params` | what fits | `content`, as in chat |

The second has no text, and a server that was started with `--enable-scale-out`. Knows these routes. Never knows
messages.

Invariants: what is returned is what the engine says it sampled, for the context that was sent, or an exception; ids are
never made from text; a generation is never asked for twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from reference_gateway.backends.http_engine import (
    NO_OTHER_LIMITS,
    HttpEngine,
    Limits,
    parsed,
    parsed_event,
    spanned,
    versions_of,
)
from reference_gateway.backends.model_length import ModelLength
from reference_gateway.context import Context
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Grammar, Media, Progress

PATHS: Mapping[str, str] = {"completions": "/v1/completions", "generate": "/inference/v1/generate"}
"""The routes by their names."""


class VllmBackend(HttpEngine):
    """`url` is the server's root (a trailing `/v1` is taken off). `model` is sent when given, `api_key` as a bearer
    token. `max_model_len` is how many tokens the model takes; unless it is given, the engine's list of models says.
    `route` is one of `PATHS`."""

    name = "vllm"
    takes_media = False
    takes_grammars = True
    logprobs_kind = "raw"

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        limits: Limits = NO_OTHER_LIMITS,
        max_model_len: int | None = None,
        route: str = "completions",
    ) -> None:
        super().__init__(url, PATHS[route], api_key=api_key, limits=limits)
        self._body = self._generate_body if route == "generate" else self._completion_body
        self._length = ModelLength(max_model_len, lambda: self._get("/v1/models"), model)
        self._fixed: dict[str, Any] = {"return_token_ids": True, **({"model": model} if model else {})}

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
        progress: Progress | None = None,
        grammar: Grammar | None = None,
    ) -> Generation:
        """See `types.Streaming`. A parameter `logprobs` that is true becomes the count that these routes take."""
        if media.images or media.videos:
            raise BackendRefused("this backend takes no media: it sends vLLM token ids, and no images or videos")
        context = Context.of(context)
        parameters = _parameters(sampling)
        if grammar is not None:
            parameters["structured_outputs"] = {grammar.kind: grammar.text}
        body = {**self._fixed, **await self._body(parameters, context)}
        if progress is not None:
            return await self._stream({**body, "stream": True}, session_id, context, progress)
        most = self._limits.bytes_of(len(context), _limit_in(body))
        return _generation(parsed(await self._post(orjson.dumps(body), session_id, most), context), context)

    async def _completion_body(self, parameters: dict[str, Any], context: Context) -> dict[str, Any]:
        limit = await self._limit(parameters, context)
        return {**parameters, "max_tokens": limit, "prompt": orjson.Fragment(context.json())}

    async def _limit(self, sampling: Mapping[str, Any], context: Context) -> Any:
        """As asked for, or all that fits: without a number, absent or null, this route samples 16 tokens."""
        asked = sampling.get("max_tokens")
        return await self._length.room(len(context)) if asked is None else asked

    async def _generate_body(self, parameters: dict[str, Any], context: Context) -> dict[str, Any]:
        given = {name: value for name, value in parameters.items() if value is not None}
        return {"token_ids": orjson.Fragment(context.json()), "sampling_params": given}

    async def _stream(self, body: dict[str, Any], session_id: str, context: Context, progress: Progress) -> Generation:
        """One generation as the engine streams it: whole when a chunk has said why it ended and `[DONE]` has come."""
        whole = Pieces(context)
        most = self._limits.bytes_of(len(context), _limit_in(body))
        await self._follow(body, session_id, whole.take, progress, most)
        return whole.generation()


class Pieces:
    """A streamed generation on its way: what the events of the stream have said so far."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ids: list[int] = []
        self._logprobs: list[float] | None = None
        self._stop_reason: str | None = None
        self._matched: str | int | None = None
        self._versions: tuple[int, int] | None = None
        self._done = False

    def take(self, data: bytes) -> list[int]:
        """The ids that an event brings. Raises `BackendFailed` for an error in it."""
        if data == b"[DONE]":
            self._done = True
            return []
        document = parsed_event(data, self._context)
        if isinstance(document, dict) and document.get("choices") == []:
            return []  # usage stands in a chunk of its own
        piece = _generation(document, self._context)
        self._ids += piece.ids
        if piece.logprobs is not None:
            self._logprobs = self._logprobs or []
            self._logprobs += piece.logprobs
        if piece.stop_reason is not None:
            self._stop_reason, self._matched = piece.stop_reason, piece.matched
        self._versions = spanned(self._versions, piece.versions)
        return piece.ids

    def generation(self) -> Generation:
        """The whole. Raises `BackendFailed` when the stream ended before it was."""
        if not self._done or self._stop_reason is None:
            raise BackendFailed("the engine's stream broke off before its generation was whole")
        return Generation(self._ids, self._logprobs, self._stop_reason, self._versions, matched=self._matched)


def _limit_in(body: Mapping[str, Any]) -> Any:
    """The limit of tokens of a request to either route; None where it has none."""
    return body.get("sampling_params", body).get("max_tokens")


def _parameters(sampling: Mapping[str, Any]) -> dict[str, Any]:
    parameters = dict(sampling)
    if "logprobs" in parameters:
        wanted = parameters.pop("logprobs")
        if wanted is not None and wanted is not False:
            parameters["logprobs"] = 1 if wanted is True else wanted
    return parameters


def _generation(document: Any, context: Context) -> Generation:
    try:
        choice = document["choices"][0]
        ids = choice.get("token_ids")
        prompt_ids = choice.get("prompt_token_ids") or document.get("prompt_token_ids")
        reason = choice.get("finish_reason")
        matched = choice.get("stop_reason")
    except (LookupError, TypeError, AttributeError):
        raise BackendFailed("the engine's answer is not a completion") from None
    if not isinstance(ids, list):
        raise BackendFailed("the engine's answer has no token_ids: a vLLM that honours return_token_ids is needed")
    if prompt_ids is not None and prompt_ids != context:
        raise BackendFailed("the engine sampled for another context than it was sent (prompt_token_ids differ)")
    return Generation(
        ids,
        logprobs=_logprobs(choice.get("logprobs")),
        stop_reason=reason if isinstance(reason, str) else None,
        # Beside another reason this field says more about that, and names no stop string.
        matched=matched if reason == "stop" and isinstance(matched, str | int) else None,
        versions=_versions(document.get("weight_version"), choice.get("weight_versions")),
    )


def _logprobs(logprobs: Any) -> list[float] | None:
    if not isinstance(logprobs, dict):
        return None
    values = logprobs.get("token_logprobs")
    if isinstance(entries := logprobs.get("content"), list):
        values = [entry.get("logprob") if isinstance(entry, dict) else None for entry in entries]
    if values is None:
        return None
    if not isinstance(values, list):
        raise BackendFailed("the engine's logprobs are not a list of numbers")
    return values


def _versions(version: Any, spans: Any) -> tuple[int, int] | None:
    """The versions that took part: of an answer that names one, or of its spans of ids, each with its own. A server
    that was never told a version calls it `default`, which is none."""
    if not isinstance(spans, list) or not spans:
        return versions_of(version)
    pairs = [versions_of(span.get("version") if isinstance(span, dict) else None) for span in spans]
    known = [pair for pair in pairs if pair is not None]
    return (min(known)[0], max(known)[1]) if len(known) == len(pairs) else None
