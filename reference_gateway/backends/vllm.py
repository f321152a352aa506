"""A vLLM server, spoken to in tokens: `POST {url}/v1/completions` with token ids in and `return_token_ids`.

Knows that one route. Never knows messages.

Invariants: what is returned is what the engine says it sampled, for the context that was sent, or an exception; ids are
never made from text; a generation is never asked for twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from reference_gateway.backends.http_engine import NO_OTHER_LIMITS, HttpEngine, Limits, parsed, parsed_event, spanned
from reference_gateway.backends.http_engine import versions_of as _versions
from reference_gateway.backends.model_length import ModelLength
from reference_gateway.context import Context
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Grammar, Media, Progress


class VllmBackend(HttpEngine):
    """`url` is the server's root (a trailing `/v1` is taken off). `model` is sent when given, `api_key` as a bearer
    token. `max_model_len` is how many tokens the model takes; unless it is given, the engine's list of models says."""

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
    ) -> None:
        super().__init__(url, "/v1/completions", api_key=api_key, limits=limits)
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
        """See `types.Streaming`. A parameter `logprobs` that is true becomes the count that this route takes."""
        if media.images or media.videos:
            raise BackendRefused(
                "this backend takes no media: vLLM's completions route has no field for images or videos"
            )
        context = Context.of(context)
        limit = await self._limit(sampling, context)
        body = {**self._fixed, **_parameters(sampling), "max_tokens": limit, "prompt": orjson.Fragment(context.json())}
        if grammar is not None:
            body["structured_outputs"] = {grammar.kind: grammar.text}
        if progress is not None:
            return await self._stream({**body, "stream": True}, session_id, context, progress)
        most = self._limits.bytes_of(len(context), limit)
        return _generation(parsed(await self._post(orjson.dumps(body), session_id, most), context), context)

    async def _limit(self, sampling: Mapping[str, Any], context: Context) -> Any:
        """As asked for, or all that fits: without a number, absent or null, this route samples 16 tokens."""
        asked = sampling.get("max_tokens")
        return await self._length.room(len(context)) if asked is None else asked

    async def _stream(self, body: dict[str, Any], session_id: str, context: Context, progress: Progress) -> Generation:
        """One generation as the engine streams it: whole when a chunk has said why it ended and `[DONE]` has come."""
        whole = Pieces(context)
        most = self._limits.bytes_of(len(context), body["max_tokens"])
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
        prompt_ids = choice.get("prompt_token_ids")
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
        versions=_versions(document.get("weight_version")),
    )


def _logprobs(logprobs: Any) -> list[float] | None:
    values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    if values is None:
        return None
    if not isinstance(values, list):
        raise BackendFailed("the engine's token_logprobs are not a list of numbers")
    return values
