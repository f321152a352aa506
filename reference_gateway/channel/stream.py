"""A stream of text with something bound to it (contract AF-BRS).

Knows chunks and one binding; never what either is. Invariants: the binding is open from `open` until the stream is
exhausted, failed, read to its final response or closed, and is closed exactly once; what goes wrong while it closes is
logged and hides neither the chunks nor the error of the stream.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

log = logging.getLogger(__name__)

BENIGN = (
    "async generator ignored GeneratorExit",
    "aclose(): asynchronous generator is already running",
)
"""The two complaints of a generator that is closed while it ends by itself."""


class TextStream(Protocol):
    """What a target streams: chunks of text, and then what they amount to."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def get_final_response(self) -> str:
        """Run to the end, whatever was read before, and keep what there is to keep."""

    async def aclose(self) -> None:
        """Give up; nothing is run any further."""


class BoundStream:
    """`inner` within `binding`. Awaiting it gives the final response; unknown attributes are those of `inner`."""

    def __init__(self, inner: TextStream, binding: AbstractContextManager[object]) -> None:
        self._inner = inner
        self._binding: AbstractContextManager[object] | None = binding
        self._closed = False
        binding.__enter__()

    async def __aiter__(self) -> AsyncIterator[str]:
        error: BaseException | None = None
        try:
            async for chunk in self._inner:
                yield chunk
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._release(error)

    async def get_final_response(self) -> str:
        """The whole text; the binding is closed."""
        try:
            return await self._inner.get_final_response()
        finally:
            self._release()

    def __await__(self) -> Generator[Any, None, str]:
        return self.get_final_response().__await__()

    async def aclose(self) -> None:
        """Abandon the stream. May be repeated."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._inner.aclose()
        except RuntimeError as error:
            if str(error) not in BENIGN:
                log.exception("closing a stream failed")
        except Exception:
            log.exception("closing a stream failed")
        finally:
            self._release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _release(self, error: BaseException | None = None) -> None:
        binding, self._binding = self._binding, None
        if binding is None:
            return
        try:
            binding.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except Exception:
            log.exception("releasing what a stream was bound to failed")
