"""The one exception by which a check says that the gateway is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from conformance.oracles import Violation


class ConformanceFailure(AssertionError):
    """The gateway violated a requirement. Carries every violation that was found, in reading order."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = list(violations)
        super().__init__("\n".join(map(str, self.violations)))


def describe(value: Any, limit: int = 200) -> str:
    """A value as a short phrase for the `actual` side of a violation."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
