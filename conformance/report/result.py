"""What the controller keeps of a check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from conformance.vocabulary.outcome import Outcome


@dataclass(slots=True)
class CheckResult:
    """How one check ended. `text` is the whole explanation of a failure; `reruns` counts the times that it was run
    before, as pytest-rerunfailures does where it failed. `rescore` are the figures of a check that scored what a model
    sampled again. `seen_while`: no check of this requirement, but something that was found wrong while that other one
    was checked."""

    node: str
    requirement: str
    outcome: Outcome
    duration: float = 0.0
    reason: str = ""
    violations: list[dict[str, str]] = field(default_factory=list)
    text: str = ""
    reruns: int = 0
    rescore: dict[str, Any] | None = None
    seen_while: str = ""
