"""The catalogue as a table for people and for programs. Knows no file and no test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from conformance.requirements.catalogue import Requirement

FORMATS = ("text", "markdown", "json")

_COLUMNS = ("id", "level", "profile", "applies", "requirement")


def render_table(requirements: Iterable[Requirement], format: str = "text") -> str:
    """One row per requirement, in the order given, without a trailing newline.

    `text`: aligned columns. `markdown`: a table. `json`: a list of objects with every field of `Requirement` plus
    `area`. Raises `ValueError` for another format.
    """
    chosen = list(requirements)
    if format == "json":
        return json.dumps(
            [{"area": requirement.area, **asdict(requirement)} for requirement in chosen], indent=2, ensure_ascii=False
        )
    rows = [
        (requirement.id, requirement.level, requirement.profile, requirement.condition, requirement.text)
        for requirement in chosen
    ]
    if format == "markdown":
        lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
    if format == "text":
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [_COLUMNS, *rows]
        )
    raise ValueError(f"no format {format!r}; expected one of: {', '.join(FORMATS)}")
