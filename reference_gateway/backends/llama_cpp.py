"""A llama.cpp server, spoken to in tokens: `POST {url}/completion` with token ids in and `return_tokens`.

Knows that one route. Never knows messages.

Invariants: what is returned is what the engine says it sampled, all of it, or an exception: its streams leave out the
ids of tokens that end inside of a character, and its `tokens_predicted` tells that they did; ids are never made from
text; a generation is never asked for twice.
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
    versions_of,
)
from reference_gateway.context import Context
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Grammar, Media, Progress

_ENDS = {"eos": "stop", "word": "stop", "limit": "length", "none": "abort"}
"""The engine's `stop_type` -> why the generation ended; `none` is one that did not end."""

_NAMES = {
    "max_tokens": "n_predict",
    "repetition_penalty": "repeat_penalty",
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop")},
    **{name: name for name in ("presence_penalty", "frequency_penalty", "logit_bias")},
}
"""Sampling parameters -> fields of the route. What it does not know it ignores, so nothing else is sent."""

_MODELS_OWN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
"""The distribution of the model itself: the engine's defaults cut it (top_k 40, top_p 0.95, min_p 0.05)."""

_PENALTIES = frozenset({"repetition_penalty", "presence_penalty", "frequency_penalty"})
_ASSUMED_ROOM = 4096
"""Tokens that a generation without a limit is taken to have at most, for penalties."""

_ORDER = ("penalties", "temperature", "top_k", "top_p", "min_p")
"""The samplers, temperature first, as other engines apply them."""


class LlamaCppBackend(HttpEngine):
    """`url` is the server's root. `api_key` is sent as a bearer token.

    Log-probabilities are those of the raw model. They are None for a generation that has a token for which the engine
    reports none: one that is no whole character, or in which a stop string was found.
    """

    name = "llama_cpp"
    takes_media = False
    takes_grammars = True
    grammar_kinds = ("json",)
    logprobs_kind = "raw"

    def __init__(self, url: str, *, api_key: str | None = None, limits: Limits = NO_OTHER_LIMITS) -> None:
        super().__init__(url, "/completion", api_key=api_key, limits=limits)
        # The server closes kept connections without a word, and a turn that meets a closed one is lost.
        self._headers["Connection"] = "close"

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
        """See `types.Streaming`. `max_tokens` becomes `n_predict`, a wish for `logprobs` `n_probs`, a grammar of JSON
        `json_schema`. Text around JSON, as a call has, would need a grammar in the engine's own language for the
        schema, too, which no route of it gives."""
        if media.images or media.videos:
            raise BackendRefused("this backend takes no media: llama.cpp's completion route takes them with text only")
        context = Context.of(context)
        body = {**_parameters(sampling, len(context)), "prompt": orjson.Fragment(context.json())}
        if grammar is not None:
            if grammar.kind not in self.grammar_kinds:
                raise BackendRefused("llama.cpp's completion route holds an answer to a JSON Schema only")
            body["json_schema"] = orjson.Fragment(grammar.text)
        whole = Pieces(len(context))
        most = self._limits.bytes_of(len(context), sampling.get("max_tokens"))
        if progress is not None:
            await self._follow({**body, "stream": True}, session_id, whole.take, progress, most)
        else:
            whole.add(parsed(await self._post(orjson.dumps(body), session_id, most), None))
        return whole.generation()


class Pieces:
    """A generation on its way: what the answer, or the events of the stream, have said so far."""

    def __init__(self, context: int) -> None:
        self._context = context
        self._ids: list[int] = []
        self._logprobs: list[float] | None = None
        self._stop_reason: str | None = None
        self._matched: str | None = None
        self._versions: tuple[int, int] | None = None

    def take(self, data: bytes) -> list[int]:
        """The ids that an event brings. Raises `BackendFailed` for an error in it."""
        return [] if data == b"[DONE]" else self.add(parsed_event(data, None))

    def add(self, document: Any) -> list[int]:
        """The ids that a document brings. Raises `BackendFailed` where it is no completion."""
        ids = document.get("tokens") if isinstance(document, dict) else None
        if not isinstance(ids, list):
            raise BackendFailed("the engine's answer has no tokens: a llama.cpp that returns them is needed")
        self._read_logprobs(document.get("completion_probabilities"))
        self._ids += ids
        if document.get("stop") is True:
            self._read_end(document)
        return ids

    def _read_logprobs(self, entries: Any) -> None:
        if not entries:
            return
        try:
            self._logprobs = [*(self._logprobs or ()), *(entry["logprob"] for entry in entries)]
        except (LookupError, TypeError):
            raise BackendFailed("the engine's completion_probabilities are not a list of logprobs") from None

    def _read_end(self, document: Mapping[str, Any]) -> None:
        if document.get("truncated") is True:
            raise BackendFailed("the engine left out a part of the context")
        if document.get("tokens_evaluated") != self._context:
            raise BackendFailed("the engine sampled for another context than it was sent (tokens_evaluated differs)")
        sampled = document.get("tokens_predicted")
        if sampled != len(self._ids):
            raise BackendFailed(f"the engine sampled {sampled} tokens, and told the ids of {len(self._ids)}")
        ended = document.get("stop_type")
        self._stop_reason = _ENDS.get(ended, ended) if isinstance(ended, str) else None
        self._versions = versions_of(document.get("weight_version"))
        word = document.get("stopping_word")
        self._matched = word if isinstance(word, str) and word else None

    def generation(self) -> Generation:
        """The whole. Raises `BackendFailed` when the answer ended before it was."""
        if self._stop_reason is None:
            raise BackendFailed("the engine's answer broke off before its generation was whole")
        logprobs = self._logprobs if self._logprobs is None or len(self._logprobs) == len(self._ids) else None
        return Generation(self._ids, logprobs, self._stop_reason, self._versions, matched=self._matched)


def _parameters(sampling: Mapping[str, Any], context: int) -> dict[str, Any]:
    given = {name: value for name, value in sampling.items() if value is not None}
    wanted = given.pop("logprobs", None)
    unknown = sorted(set(given) - set(_NAMES))
    if unknown:
        raise BackendRefused(f"llama.cpp's completion route has no field for {', '.join(unknown)}")
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    fields: dict[str, Any] = {"n_predict": -1, **_MODELS_OWN, "samplers": _ORDER, "return_tokens": True}
    fields |= {_NAMES[name]: value for name, value in given.items()}
    if _PENALTIES & set(given):  # of the whole, not of the last 64 tokens
        fields["repeat_last_n"] = context + given.get("max_tokens", _ASSUMED_ROOM)
    if wanted is not None and wanted is not False:
        fields |= {"n_probs": 1 if wanted is True else max(int(wanted), 1), "post_sampling_probs": False}
    return fields
