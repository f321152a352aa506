"""Defects that real gateways had (tests/known_bugs.toml), the requirements that stand against them, and the mutants
that prove it, as a page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conformance.requirements import Catalogue
from tests.mutants.registry import MUTANTS

ROWS = Path(__file__).parents[1] / "known_bugs.toml"
PAGE = Path(__file__).parents[2] / "docs" / "known-bugs.md"

SEEN = {
    "Y": "by any suite with a scripted model server",
    "P": "with a backend or template that has the feature",
    "L": "under load, after idling or with a raw socket",
    "N": "not at this level",
}


@dataclass(frozen=True, slots=True)
class Bug:
    """A row. `outside` says why the kit does not judge it, where it does not."""

    number: int
    reference: str
    classes: tuple[str, ...]
    what: str
    seen: str
    thread: bool = False
    outside: str | None = None


@cache
def load() -> Mapping[int, Bug]:
    """The rows by their numbers."""
    rows = tomllib.loads(ROWS.read_text("utf-8"))
    return {
        int(number): Bug(
            int(number),
            row["reference"],
            tuple(row["classes"]),
            row["what"],
            row["seen"],
            row.get("thread", False),
            row.get("outside"),
        )
        for number, row in rows.items()
    }


def requirements(bug: Bug) -> list[str]:
    """The requirements that stand against it: those that name it, and those whose mutants do."""
    catalogue = Catalogue.load().requirements.values()
    named = {one.id for one in catalogue if bug.number in one.bugs and not one.excluded}
    return sorted(named | {mutant.kills for mutant in MUTANTS.values() if bug.number in mutant.bugs})


def mutants(bug: Bug) -> list[str]:
    """The mutants that do the same wrong; without one, those that break a requirement that stands against it."""
    same = [name for name, mutant in MUTANTS.items() if bug.number in mutant.bugs]
    against = set(requirements(bug))
    return sorted(same or [name for name, mutant in MUTANTS.items() if mutant.kills in against])


def page() -> str:
    """The rows for people."""
    rows = load().values()
    judged = [bug for bug in rows if requirements(bug)]
    lines = [
        "# Known bugs",
        "",
        "Made by `python -m tests.mutants.matrix` from `tests/known_bugs.toml`, the catalogue and the mutants; do not",
        "edit. Defects that shipped in real gateways, servers and clients, and were fixed or reported in public; what",
        "went wrong is told in our words. The suite is meant to catch the kind, not the row. The mutants are gateways",
        "that do the same wrong; that the requirement turns red for each is in the [kill matrix](kill-matrix.md).",
        "",
        f"{len(judged)} of {len(rows)} rows have a requirement against them. Seen from HTTP: "
        + "; ".join(f"**{letter}** {what}" for letter, what in SEEN.items())
        + ".",
        "",
        "| # | reference | what went wrong | seen | requirements | mutants |",
        "|---|---|---|---|---|---|",
    ]
    for bug in rows:
        against, proofs = requirements(bug), [f"`{name}`" for name in mutants(bug)]
        proof = f"{', '.join(against)} | {', '.join(proofs)}" if against else f"none: {bug.outside or SEEN[bug.seen]} |"
        reference = bug.reference + (" (thread)" if bug.thread else "")
        lines.append(f"| {bug.number} | {_cell(reference)} | {_cell(bug.what)} | {bug.seen} | {proof} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
