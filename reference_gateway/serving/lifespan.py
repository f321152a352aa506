"""The parts of a gateway that start and stop with it (contract AF-LIF).

Knows callbacks, sync or async, and their order. Invariants: every callback is called, whatever the others do; each
failure is logged with the callback's name; the first one is raised again when all were called. Parts stop in the
opposite order to that in which they started.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

log = logging.getLogger(__name__)

Callback = Callable[[], Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that starts and stops; either half may be missing. A part without `startup` has started."""

    startup: Callback | None = None
    shutdown: Callback | None = None


@asynccontextmanager
async def running(parts: Sequence[Part], startup_failure: str = "shutdown_started") -> AsyncIterator[None]:
    """All parts are started while the block runs; `startup_failure` is one of `config.STARTUP_FAILURE`. Raises the
    first error of a start-up, after every part was tried, or of a shutdown."""
    started: list[Part] = []
    error: Exception | None = None
    for part in parts:
        failed = await _called("start-up", part.startup)
        if failed is None:
            started.append(part)
        error = error or failed
    if error is not None:
        if startup_failure == "shutdown_started":
            await _stopped(started)
        raise error
    try:
        yield
    finally:
        error = await _stopped(started)
        if error is not None:
            raise error


async def _stopped(parts: Sequence[Part]) -> Exception | None:
    errors = [await _called("shutdown", part.shutdown) for part in reversed(parts)]
    return next((error for error in errors if error is not None), None)


async def _called(what: str, callback: Callback | None) -> Exception | None:
    if callback is None:
        return None
    try:
        result = callback()
        if inspect.isawaitable(result):
            await result
    except Exception as error:
        log.exception("%s callback failed", what, extra={"callback": name_of(callback)})
        return error
    return None


def name_of(callback: Callback) -> str:
    """The qualified name, with its module."""
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return f"{getattr(callback, '__module__', None) or type(callback).__module__}.{name}"
