"""An SGLang server, spoken to in tokens: `POST {url}/generate` with `input_ids`, and images and videos beside them.

Knows that one route. Never knows messages, and never what a media item is: what can be sent is sent.

Invariants: what is returned is what the engine says it sampled, or an exception; ids are never made from text; a
generation that the engine aborted with a status is a failure, whatever it had sampled by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from reference_gateway.backends.http_engine import (
    NO_OTHER_LIMITS,
    HttpEngine,
    Limits,
    parsed,
    parsed_event,
    refuse,
    spanned,
    versions_of,
)
from reference_gateway.context import Context
from reference_gateway.types import BackendFailed, Generation, Grammar, Media, Progress


class SglangBackend(HttpEngine):
    """`url` is the server's root. `api_key` is sent as a bearer token."""

    name = "sglang"
    takes_media = True
    takes_grammars = True
    logprobs_kind = "scaled"
    repeats_itself = True

    def __init__(self, url: str, *, api_key: str | None = None, limits: Limits = NO_OTHER_LIMITS) -> None:
        super().__init__(url, "/generate", api_key=api_key, limits=limits)

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
        """See `types.Streaming`. `max_tokens` becomes `max_new_tokens`, a wish for `logprobs` `return_logprob`."""
        context = Context.of(context)
        body = {"input_ids": orjson.Fragment(context.json()), **_parameters(sampling), **_media(media)}
        if grammar is not None:
            body["sampling_params"][_GRAMMARS[grammar.kind]] = grammar.text
        # The engine writes each place of an image as many ids: with media, its prompt is longer than what was sent.
        expected = None if media.images or media.videos else context
        if expected is not None:
            body["return_prompt_token_ids"] = True
        most = self._limits.bytes_of(len(context), sampling.get("max_tokens"))
        if progress is not None:
            return await self._stream({**body, "stream": True}, session_id, expected, progress, most)
        return _generation(parsed(await self._post(orjson.dumps(body), session_id, most), expected), expected)

    async def _stream(
        self, body: dict[str, Any], session_id: str, expected: Context | None, progress: Progress, most: int
    ) -> Generation:
        """One generation as the engine streams it: whole when an event has said why it ended."""
        whole = Events(expected)
        await self._follow(body, session_id, whole.take, progress, most)
        return whole.generation()


class Events:
    """A streamed generation on its way. An event has all ids up to it, or, where the server was told to stream
    incrementally, the new ones only: `completion_tokens` says which."""

    def __init__(self, expected: Context | None) -> None:
        self._expected = expected
        self._known = Generation([])
        self._done = False

    def take(self, data: bytes) -> list[int]:
        """The ids that an event brings. Raises what `http_engine.refuse` does, for an error in it."""
        if data == b"[DONE]":
            self._done = True
            return []
        document = parsed_event(data, self._expected)
        event, before = _generation(document, self._expected), len(self._known.ids)
        total = document["meta_info"].get("completion_tokens")
        if len(event.ids) == total:
            new, logprobs = event.ids[before:], event.logprobs
        elif before + len(event.ids) == total:
            new = event.ids
            earlier = self._known.logprobs or []
            logprobs = None if event.logprobs is None else [*earlier, *event.logprobs]
        else:
            raise BackendFailed(f"the engine's stream has {before} and {len(event.ids)} ids, and says {total}")
        versions = spanned(self._known.versions, event.versions)
        self._known = replace(event, ids=[*self._known.ids, *new], logprobs=logprobs, versions=versions)
        return new

    def generation(self) -> Generation:
        """The whole. Raises `BackendFailed` when the stream ended before it was."""
        if not self._done or self._known.stop_reason is None:
            raise BackendFailed("the engine's stream broke off before its generation was whole")
        return self._known


_GRAMMARS: Mapping[str, str] = {"json": "json_schema", "structural_tag": "structural_tag"}
"""Kind of a grammar -> the sampling parameter that takes its text."""


def _parameters(sampling: Mapping[str, Any]) -> dict[str, Any]:
    # Left out, this route's max_new_tokens is 128; null is its word for "as much as fits".
    parameters = {"max_new_tokens": sampling.get("max_tokens"), **sampling}
    parameters.pop("max_tokens", None)
    if "seed" in parameters:
        parameters["sampling_seed"] = parameters.pop("seed")
    wanted = parameters.pop("logprobs", None)
    asked = {} if wanted is None or wanted is False else {"return_logprob": True}
    return {"sampling_params": parameters, **asked}


def _media(media: Media) -> dict[str, Any]:
    """Images and videos as this route takes them; a kind that is not used is null."""
    images, videos = list(media.images), [_video(item) for item in media.videos]
    return {"image_data": images or None, "video_data": videos or None}


def _video(item: Any) -> Any:
    """What is said of a video beside its URL is for the engine's preprocessing."""
    if isinstance(item, tuple | list):  # a list where it was read from JSON
        url, settings = item
        return {"url": url, "preprocess_kwargs": settings}
    return item


def _generation(document: Any, expected: Context | None) -> Generation:
    meta = document.get("meta_info") if isinstance(document, dict) else None
    if not isinstance(meta, dict):
        raise BackendFailed("the engine's answer is not a generation")
    reason, matched = _reason(meta.get("finish_reason"))
    ids = document.get("output_ids")
    if not isinstance(ids, list):
        raise BackendFailed("the engine's answer has no output_ids: an SGLang that returns them is needed")
    prompt_ids = document.get("prompt_token_ids")
    if expected is not None and prompt_ids is not None and prompt_ids != expected:
        raise BackendFailed("the engine sampled for another context than it was sent (prompt_token_ids differ)")
    return Generation(
        ids,
        logprobs=_logprobs(meta.get("output_token_logprobs")),
        stop_reason=reason,
        matched=matched,
        versions=versions_of(meta.get("weight_version")),
        routed_experts=meta.get("routed_experts"),
    )


def _reason(finish_reason: Any) -> tuple[str | None, str | int | None]:
    """Why it ended, None while it has not; and the stop string or id that was matched. An abort with a status is what
    an answer with that status is: in a stream it has no other place."""
    about = finish_reason if isinstance(finish_reason, dict) else {"type": finish_reason}
    kind, matched, status = about.get("type"), about.get("matched"), about.get("status_code")
    if kind == "abort" and type(status) is int:
        refuse(status, orjson.dumps({"message": about.get("message") or "no reason given"}))
    return kind if isinstance(kind, str) else None, matched if isinstance(matched, str | int) else None


def _logprobs(entries: Any) -> list[float] | None:
    """Entries are `[logprob, id, text or null]`."""
    if entries is None:
        return None
    try:
        return [entry[0] for entry in entries]
    except (TypeError, LookupError):
        raise BackendFailed("the engine's output_token_logprobs are not a list of pairs") from None
