"""Pinned response shapes: syrupy snapshots in a directory that the gateway's owner chooses.

What is pinned is the type tree of an answer, not its text: ids, times, counts and wording may change, a field may not.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension
from syrupy.location import PyTestLocation

KIT_SHAPES = Path(__file__).parents[1] / "suite" / "shapes"
"""The shapes of the reference gateway, which the kit ships."""


def pinned_in(directory: Path, snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """A syrupy snapshot whose file is `directory/<module>/<check>.json`."""

    class Pinned(JSONSnapshotExtension):
        @classmethod
        def dirname(cls, *, test_location: PyTestLocation) -> str:
            return str(directory / test_location.basename)

    return snapshot.use_extension(Pinned)


def difference(snapshot: SnapshotAssertion, actual: Any) -> tuple[str, str] | None:
    """None if `actual` is the pinned shape, else (what is pinned, the lines that differ)."""
    if snapshot == actual:
        return None
    recalled = snapshot.executions[snapshot.num_executions - 1].recalled_data
    if recalled is None:
        return "a pinned shape", "none is pinned yet: run with --snapshot-update"
    now = json.dumps(actual, indent=1, sort_keys=True).splitlines()
    then = json.dumps(json.loads(recalled), indent=1, sort_keys=True).splitlines()
    lines = [line for line in difflib.unified_diff(then, now, lineterm="", n=2) if not line.startswith(("---", "+++"))]
    return "the pinned shape", "\n".join(lines)
