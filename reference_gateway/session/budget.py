"""How many tokens a turn may still sample (contract UA-CAP). Counts only; knows no tokens, messages or backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reference_gateway.session.errors import InvalidField
from reference_gateway.session.tree import Match

LENGTH_MARKS = {
    "total": ("materialization_reason", "max_trajectory_length"),
    "response": ("finish_reason", "length"),
    "none": ("materialization_reason", "max_trajectory_length"),
}
"""What a trajectory that was closed for length says in `extra_fields`: the key and the value."""


@dataclass(frozen=True, slots=True)
class Budget:
    """`kind` is the session's `budget`: `total` counts everything against both lengths together and only where both are
    given, `response` counts what follows a trajectory's prompt against `response_length`, `none` counts nothing."""

    kind: str
    prompt_length: int | None = None
    response_length: int | None = None

    def __post_init__(self) -> None:
        for name in ("prompt_length", "response_length"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))

    def remaining(self, match: Match, added: int) -> int | None:
        """Tokens that may be sampled after a turn that adds `added` tokens of context behind `match`; 0 or less: none
        may. None: there is no limit."""
        if self.kind == "total" and self.prompt_length is not None and self.response_length is not None:
            return self.prompt_length + self.response_length - match.start - added
        if self.kind == "response" and self.response_length is not None:
            return self.response_length - _responded(match, added)
        return None


def _responded(match: Match, added: int) -> int:
    """Tokens on the response side of the trajectory that the turn would belong to, before it samples."""
    if match.chain is None or match.parent is None or match.parent.chain != match.chain:
        return 0
    first = next(node for node in match.parent.path() if node.chain == match.chain)
    return match.start + added - first.start - len(first.context)


def positive(field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise InvalidField(field, "must be a positive integer")
    return value
