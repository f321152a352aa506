"""Pinned response shapes: syrupy snapshots in a directory that the gateway's owner chooses.

What is pinned is the type tree of an answer, not its text: ids, times, counts and wording may change, a field may not.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion
    from syrupy.location import PyTestLocation

KIT_SHAPES = Path(__file__).parents[1] / "suite" / "shapes"
"""The shapes of the reference gateway, which the kit ships."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The shape that is pinned for one check."""

    snapshot: SnapshotAssertion

    def difference(self, actual: Any) -> tuple[str, str] | None:
        """None if `actual` is the pinned shape, else (what is pinned, the lines that differ)."""
        snapshot = self.snapshot
        if snapshot == actual:
            return None
        recalled = snapshot.executions[snapshot.num_executions - 1].recalled_data
        if recalled is None:
            return "a pinned shape", "none is pinned yet: run with --snapshot-update"
        now = json.dumps(actual, indent=1, sort_keys=True).splitlines()
        then = json.dumps(json.loads(recalled), indent=1, sort_keys=True).splitlines()
        lines = difflib.unified_diff(then, now, lineterm="", n=2)
        return "the pinned shape", "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def pinned_in(directory: Path, snapshot: SnapshotAssertion) -> Pinned:
    """The shape in `directory/<module>/<check>.json`, by a snapshot of syrupy's."""
    from syrupy.extensions.json import JSONSnapshotExtension

    class InDirectory(JSONSnapshotExtension):
        @classmethod
        def dirname(cls, *, test_location: PyTestLocation) -> str:
            return str(directory / test_location.basename)

    return Pinned(snapshot.use_extension(InDirectory))
