"""How a generation ended, from the engine's word to the answer's.

| the engine's word | the answer's |
|---|---|
| `length`, `max_tokens` | `length`, also behind whole calls: there may have been more |
| `content_filter` | `content_filter` |
| `abort`, `cancelled`, `error` and their like | none: it is no answer |
| any other, or none | `tool_calls` where there are calls, else `stop` |

An engine that names another reason ended the generation by a rule of its own (`repetition`, `eos_token`): what was
sampled is whole, and the wires have no word for it. A text that reached a stop string ended there, whatever else ended
the generation (a limit at the same token, an engine that knows no stop strings).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reference_gateway.types import BackendUnavailable, Generation, Message, Stopped

BROKEN_OFF = frozenset({"abort", "aborted", "cancelled", "canceled", "error", "timeout"})
"""Reasons of engines that gave the generation up: a weight update, a pause, a shutdown, a fault."""

CUT: Mapping[str | None, str] = {"length": "length", "max_tokens": "length", "content_filter": "content_filter"}

AGAIN_S = "1"
"""After so many seconds a client may ask again, where the engine does not say."""


def require_ended(generation: Generation) -> None:
    """Raises `BackendUnavailable` for a generation that was broken off: half an answer is none."""
    if generation.stop_reason in BROKEN_OFF:
        raise BackendUnavailable("the engine broke the generation off: ask again", retry_after=AGAIN_S)


def finish_reason(stop_reason: str | None, message: Message, stopped: Stopped | None) -> str:
    """The answer's word: `stop`, `length`, `tool_calls` or `content_filter`."""
    cut = CUT.get(stop_reason) if stopped is None else None
    return cut or ("tool_calls" if message.get("tool_calls") else "stop")


def stop_strings(sampling: Mapping[str, Any]) -> Sequence[str]:
    """The stop strings among sampling parameters. An empty one stops nothing."""
    stop = sampling.get("stop")
    if isinstance(stop, str):
        stop = [stop]
    return [text for text in stop if isinstance(text, str) and text] if isinstance(stop, list) else ()
