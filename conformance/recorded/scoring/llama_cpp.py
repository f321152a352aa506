"""llama.cpp in this process, from the wheel `xllamacpp`: any GGUF file.

It tells log-probabilities of what it samples only. So each token is sampled again: forced by a bias, behind its
context, whose keys and values are kept; the log-probability that is told is that of the model without the bias. Keys
and values are 32-bit floats. A token that is no whole character has none told; it is then looked up among those of the
whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xllamacpp

from conformance.recorded.scoring import Unscorable

_FORCED = 1e9
_SMALL = 100 << 20
"""Bytes of a model for which one thread is enough."""
_ROOM = 4096
"""Places of the context at first; a longer sequence gets a larger one."""


class LlamaCpp:
    """`where` is the GGUF file."""

    def __init__(self, where: str, temperature: float = 1.0) -> None:
        if temperature != 1.0:
            raise Unscorable("gguf: scores at temperature 1 only: llama.cpp tells those of the raw model")
        if not Path(where).is_file():
            raise Unscorable(f"gguf:{where}: there is no such file")
        self._file, self._room = where, 0
        self._server: Any = None

    def score(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        if places and places[-1] + 8 > self._room:
            self._start(max(_ROOM, 2 * (places[-1] + 8)))
        return [self._told(list(ids[:place]), ids[place]) for place in places]

    def close(self) -> None:
        self._server = None

    def _start(self, room: int) -> None:
        self._server = None
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel = self._file, room, 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup, params.verbosity, params.ui, params.endpoint_props = False, 0, False, False
        if Path(self._file).stat().st_size < _SMALL:  # its threads would wait for each other more than they compute
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        try:
            self._server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise Unscorable(f"gguf:{self._file}: {error}") from None
        self._room = room

    def _told(self, context: list[int], token: int) -> float:
        entry = self._sampled(context, token, 1)
        if entry is not None and entry.get("id") == token:
            return float(entry["logprob"])
        for letter in self._letters:
            entry = self._sampled(context, letter, 1 << 20)
            if entry is None:
                continue
            for other in entry["top_logprobs"]:
                if other["id"] == token:
                    return float(other["logprob"])
        raise Unscorable(f"gguf:{self._file}: tells no log-probability of id {token}")

    def _sampled(self, context: list[int], token: int, told: int) -> dict[str, Any] | None:
        """What is told of `token` when it is forced, and of `told` others."""
        body = {"prompt": context, "n_predict": 1, "n_probs": told, "post_sampling_probs": False, "cache_prompt": True}
        sampling = {"logit_bias": [[token, _FORCED]], "samplers": ["temperature"], "temperature": 1.0, "id_slot": 0}
        answer = self._server.handle_completions({**body, **sampling})
        try:
            content = answer["choices"][0]["logprobs"]
            return dict(content["content"][0]) if content else None
        except (LookupError, TypeError):
            raise Unscorable(f"gguf:{self._file}: llama.cpp answered {str(answer)[:200]}") from None

    @property
    def _letters(self) -> range:
        """Ids of which some are whole characters."""
        return range(32, 128)
