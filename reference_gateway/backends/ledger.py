"""A ledger for an engine in this process, before which no recorder can stand: a line of JSON for each call.

Knows what a call is: the ids that an engine received, and those that it said it sampled. The lines are those of
`gateway-conformance record --arrivals`, so that whatever reads one ledger reads the other; the first line says what the
engine is. Invariant: a call is in the file before whoever asked has its answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


class Ledger:
    """Appends to `path`. `engine` is what is told of the engine: `name`, `version`, `model`, `max_model_len`. Raises
    OSError when it cannot."""

    def __init__(self, path: Path, engine: Mapping[str, Any]) -> None:
        self._file = path.open("ab", buffering=0)
        self._dialect = engine["name"]
        self._calls = 0
        self.write({"engine": dict(engine)})

    def write(self, document: Mapping[str, Any]) -> None:
        """Append a line, unless it is closed: what ends after the gateway did is nobody's answer."""
        if not self._file.closed:
            self._file.write(orjson.dumps(document, option=_LINE))

    def arrived(self, context: Sequence[int], body: Mapping[str, Any], session_id: str) -> Entry:
        """A call that the engine is sent now. `body` says how to sample."""
        call = {
            "index": self._calls,
            "nonce": None,
            "dialect": self._dialect,
            "arrived": time.monotonic(),
            "context": list(context),
            "body": dict(body),
            "headers": {"x-session-id": session_id},
            "outcome": "pending",
        }
        self._calls += 1
        return Entry(self, call)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Entry:
    """One call, written as it arrives, and again as it is closed: once, whatever comes first."""

    def __init__(self, ledger: Ledger, call: dict[str, Any]) -> None:
        self._ledger, self._call = ledger, call
        self._closed = False
        ledger.write(call)

    def close(self, outcome: str, ids: Sequence[int] = (), **more: Any) -> None:
        """`outcome` is `answered`, `failed` or `aborted`; `more` are fields of the call."""
        if self._closed:
            return
        self._closed = True
        known = {"generations": [list(ids)]} if ids or outcome == "answered" else {}
        self._ledger.write({**self._call, "answered": time.monotonic(), "outcome": outcome, **known, **more})
