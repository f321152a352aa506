"""What every backend shares: one kind of failure for the caller's fault, one for the engine's, and nothing of an engine
that is taken on trust.

Knows `types.Generation`. Never knows messages, sessions or HTTP.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reference_gateway.types import (
    Backend,
    BackendFailed,
    BackendRefused,
    Generation,
    Grammar,
    LogprobsOf,
    Media,
    Progress,
)

log = logging.getLogger(__name__)

LARGEST_ID = 2**31 - 1
"""What an id can be where nobody says how many tokens there are: trajectories have 32 bits for each."""
LARGEST_VERSION = 2**63 - 1
ROUNDING = 1e-3
"""Nats above 0 that a log-probability may be: engines compute them in floats of few bits."""


class EngineError(BackendFailed):
    """Something else than `BackendFailed` came out of a backend in this process. `described` is `ClassName: text` of
    it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error), 500)
        self.described = f"{type(error).__name__}: {error}"


class Checked:
    """A backend whose failures are `BackendRefused` and `BackendFailed` only, and whose generations are well formed.

    A ValueError is the caller's fault (contract UA-ERR-08), any other exception the engine's (UA-ERR-09); so nothing
    that is raised elsewhere in a turn can be taken for either. A backend that speaks to an engine elsewhere says what
    of it no agent may read, `hidden`: that is taken out of its texts, and no exception but those two is its to raise.
    Its `secrets` are taken out of the log, too. `vocabulary` is how many tokens the model has.
    """

    def __init__(self, backend: Backend, vocabulary: int | None = None) -> None:
        self._backend = backend
        self._streams = "progress" in inspect.signature(backend.generate).parameters
        self._largest = LARGEST_ID if vocabulary is None else min(vocabulary - 1, LARGEST_ID)
        self._hidden: Sequence[str] | None = getattr(backend, "hidden", None)
        self._secrets: Sequence[str] = getattr(backend, "secrets", ())
        self.name = backend.name
        self._kind: str | None = getattr(backend, "logprobs_kind", None)

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
        """Sample once. A backend that can't tell of its progress tells nothing until it is done."""
        more: dict[str, Any] = {}
        if progress is not None and self._streams:
            more["progress"] = _CheckedProgress(progress, self._largest)
        if grammar is not None:
            more["grammar"] = grammar
        try:
            generation = await self._backend.generate(context, sampling, session_id=session_id, media=media, **more)
            return replace(checked(generation, self._largest), logprobs_of=self._logprobs_of(sampling))
        except BackendRefused as error:
            if not self._hidden:
                raise
            raise BackendRefused(_without(self._hidden, str(error)), error.status) from error
        except BackendFailed as error:
            if error.detail is not None:
                log.warning("%s", _without(self._secrets, error.detail))
            raise
        except Exception as error:
            if self._hidden is not None:
                log.error("the engine's answer can't be read", exc_info=True)
                raise BackendFailed("the engine's answer can't be read") from error
            if isinstance(error, ValueError):
                raise BackendRefused(str(error)) from error
            raise EngineError(error) from error

    def _logprobs_of(self, sampling: Mapping[str, Any]) -> LogprobsOf | None:
        if self._kind != "scaled":
            return None if self._kind is None else LogprobsOf(self._kind)
        temperature = sampling.get("temperature")
        return LogprobsOf(self._kind, 1.0 if temperature is None else float(temperature))

    async def close(self) -> None:
        """Release what the backend holds."""
        await self._backend.close()


def _without(hidden: Sequence[str], text: str) -> str:
    for each in hidden:
        text = text.replace(each, "...")
    return text


class _CheckedProgress:
    """Hears of ids once they are known to be ids."""

    def __init__(self, progress: Progress, largest: int) -> None:
        self._progress, self._largest = progress, largest

    def started(self, prompt_tokens: int) -> None:
        self._progress.started(prompt_tokens)

    def sampled(self, ids: Sequence[int]) -> None:
        check_ids(list(ids), self._largest)
        self._progress.sampled(ids)


def checked(generation: Generation, largest: int = LARGEST_ID) -> Generation:
    """The generation with its log-probabilities as floats. Raises `BackendFailed` unless it is well formed."""
    check_ids(generation.ids, largest)
    if generation.versions is not None and not all(abs(version) <= LARGEST_VERSION for version in generation.versions):
        raise BackendFailed("the engine's weight version is no number that fits into 64 bits")
    if generation.logprobs is None:
        return generation
    check_logprobs(generation.logprobs)
    return replace(generation, logprobs=[float(value) for value in generation.logprobs])


def check_ids(ids: Any, largest: int = LARGEST_ID) -> None:
    """Raises `BackendFailed` unless `ids` is a list of whole numbers from 0 to `largest`."""
    if not isinstance(ids, list):
        raise BackendFailed(f"the engine's token ids are {type(ids).__name__}, not a list")
    if not ids:
        return
    if set(map(type, ids)) != {int}:
        raise BackendFailed("the engine's token ids hold something that is no token id")
    if min(ids) < 0 or max(ids) > largest:
        raise BackendFailed("the engine's token ids hold a number that is no token id of the vocabulary")


def check_logprobs(logprobs: Any) -> None:
    """Raises `BackendFailed` unless `logprobs` is a list of numbers that are logarithms of probabilities. How many it
    must be is for those to say who asked for them."""
    if not isinstance(logprobs, list) or not set(map(type, logprobs)) <= {int, float}:
        raise BackendFailed("the engine's log-probabilities are not a list of numbers")
    if not all(map(math.isfinite, logprobs)):
        raise BackendFailed("the engine's log-probabilities hold a number that is not finite")
    if max(logprobs, default=0.0) > ROUNDING:
        raise BackendFailed("the engine's log-probabilities hold one above 0")
