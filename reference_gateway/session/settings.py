"""What a session is created with, as its client gave it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reference_gateway.session.errors import InvalidField


@dataclass(frozen=True, slots=True)
class Settings:
    """Bad values are raised as `InvalidField`, which names the field, by the session that they are given to; a bad
    `sampling_params["max_tokens"]` is reported by the first turn instead (contract UA-VAL-10)."""

    sampling_params: Mapping[str, Any] | None = None
    prompt_length: int | None = None
    response_length: int | None = None
    options: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None


def object_of(field: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the object that `field` was given; empty where it was given none. Raises `InvalidField`."""
    if value is not None and not isinstance(value, Mapping):
        raise InvalidField(field, "must be an object")
    return copy.deepcopy(dict(value or {}))
