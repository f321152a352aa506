"""How many tokens the engine's model takes, for an engine that has to be told "as much as fits" in numbers.

Knows the list of models that OpenAI-compatible servers give. Asked for once, and kept: a model does not grow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

log = logging.getLogger(__name__)

ASSUMED_ROOM = 4096
"""Tokens that a turn without a limit may sample where nobody says how long the model's context is."""
_NOT_ASKED = object()


class ModelLength:
    """`known` is what the deployment says. Otherwise `ask` is awaited when it is first needed: status and body of the
    list of models, or None where nobody answers, and then the next turn asks again. `model` is the one to look for."""

    def __init__(
        self, known: int | None, ask: Callable[[], Awaitable[tuple[int, bytes] | None]], model: str | None
    ) -> None:
        self._length: Any = _NOT_ASKED if known is None else known
        self._ask, self._model = ask, model
        self._asking = asyncio.Lock()

    async def room(self, context: int) -> int:
        """How many tokens may be sampled behind so many: at least one, so that it is the engine that refuses what
        doesn't fit, in its own words."""
        length = self._length if self._length is not _NOT_ASKED else await self._told()
        return ASSUMED_ROOM if length is None else max(length - context, 1)

    async def _told(self) -> int | None:
        async with self._asking:
            if self._length is _NOT_ASKED:
                answer = await self._ask()
                if answer is None:
                    return None
                status, body = answer
                self._length = told(body, self._model) if status == 200 else None
                if self._length is None:
                    log.warning("the engine does not tell its max_model_len", extra={"assumed_room": ASSUMED_ROOM})
        return None if self._length is None else int(self._length)


def told(body: bytes, model: str | None) -> int | None:
    """`max_model_len` of this model in a list of models; without one, or where an adapter has none, the smallest."""
    try:
        cards = orjson.loads(body)["data"]
        lengths = {card.get("id"): card.get("max_model_len") for card in cards}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    usable = {name: length for name, length in lengths.items() if type(length) is int and length > 0}
    return usable.get(model, min(usable.values(), default=None))
