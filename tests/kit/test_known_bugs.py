"""Real defects of real gateways, the requirements that stand against them, and the mutants that prove it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from conformance.requirements import Catalogue
from tests.mutants.registry import MUTANTS, load_all

ROWS: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parents[1] / "known_bugs.toml").read_text("utf-8"))
JUDGED = {"TT", "SEP", "ISO", "SPL", "CONC", "BUD", "LP", "VER", "NORM"}
"""The classes that are about what the trainer gets: the kit claims to catch each of their rows that HTTP can show."""


def judged() -> list[str]:
    return [number for number, row in ROWS.items() if row["seen"] == "Y" and JUDGED & set(row["classes"])]


@pytest.mark.parametrize("number", judged())
def test_a_requirement_and_a_mutant_stand_against_it(number: str) -> None:
    load_all()
    against = {one.id for one in Catalogue.load().requirements.values() if int(number) in one.bugs and not one.excluded}
    assert against, f"no requirement would have caught: {ROWS[number]['what']}"
    proofs = [mutant.name for mutant in MUTANTS.values() if mutant.kills in against]
    assert proofs, f"no mutant proves that one of {sorted(against)} catches: {ROWS[number]['what']}"


def test_every_row_that_is_named_exists() -> None:
    load_all()
    named = {bug for one in Catalogue.load().requirements.values() for bug in one.bugs}
    named |= {bug for mutant in MUTANTS.values() for bug in mutant.bugs}
    assert named <= {int(number) for number in ROWS}
