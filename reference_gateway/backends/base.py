"""What every backend shares: one kind of failure for the caller's fault, one for the engine's, and honest token ids.

Knows `types.Generation`. Never knows messages, sessions or HTTP.
"""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from reference_gateway.types import Backend, BackendFailed, BackendRefused, Generation, Grammar, Media, Progress


class EngineError(BackendFailed):
    """Something else than `BackendFailed` came out of a backend. `described` is `ClassName: text` of it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.described = f"{type(error).__name__}: {error}"


class Checked:
    """A backend whose failures are `BackendRefused` and `BackendFailed` only, and whose generations are well formed.

    A ValueError is the caller's fault (contract UA-ERR-08), any other exception the engine's (UA-ERR-09); so nothing
    that is raised elsewhere in a turn can be taken for either.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._streams = "progress" in inspect.signature(backend.generate).parameters
        self.name = backend.name

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
        more: dict[str, Any] = {"progress": progress} if progress is not None and self._streams else {}
        if grammar is not None:
            more["grammar"] = grammar
        try:
            generation = await self._backend.generate(context, sampling, session_id=session_id, media=media, **more)
            check_ids(generation.ids)
        except (BackendRefused, BackendFailed):
            raise
        except ValueError as error:
            raise BackendRefused(str(error)) from error
        except Exception as error:
            raise EngineError(error) from error
        return generation

    async def close(self) -> None:
        """Release what the backend holds."""
        await self._backend.close()


def check_ids(ids: Any) -> None:
    """Raises `BackendFailed` unless `ids` is a list of token ids."""
    if not isinstance(ids, list):
        raise BackendFailed(f"the engine's token ids are {type(ids).__name__}, not a list")
    try:
        array("I", ids)  # the fastest way to look at each
    except (TypeError, OverflowError):
        raise BackendFailed("the engine's token ids hold something that is no token id") from None
