"""What the list of mutants claims, before any of them is run: each requirement is broken by one, and by one alone.

Whether the claims are true is what `tox -e mutants` finds out.
"""

from __future__ import annotations

import pytest

from conformance.requirements import Catalogue
from tests.live.wrong import WRONG
from tests.mutants.registry import MUTANTS, SWEEPS, in_force, load_all

load_all()
CATALOGUE = Catalogue.load()
CHECKED = {one.id: one for one in CATALOGUE if not one.excluded and not CATALOGUE.needs_engine(one)}
AREAS = sorted({one.partition("-")[0] for one in CHECKED})
ALONE = {mutant.kills for mutant in MUTANTS.values() if not mutant.also}


def of(area: str) -> set[str]:
    return {one for one in CHECKED if one.startswith(f"{area}-")}


@pytest.mark.parametrize("area", AREAS)
def test_each_requirement_has_a_mutant(area: str) -> None:
    missing = of(area) - {mutant.kills for mutant in MUTANTS.values()}
    assert not missing, f"no mutant breaks {sorted(missing)}: write one in tests/mutants/{area.lower()}*.py"


@pytest.mark.parametrize("area", AREAS)
def test_each_requirement_has_a_mutant_that_only_it_kills(area: str) -> None:
    shared = of(area) - ALONE
    assert not shared, (
        f"each mutant of {sorted(shared)} names others in `also`: narrow one, or judge less in the others"
    )


def test_mutants_replace_what_is_there() -> None:
    gone = {}
    for mutant in MUTANTS.values():
        try:
            with in_force(mutant):
                pass
        except AttributeError as error:
            gone[mutant.name] = str(error)
    assert not gone, "what these mutants replace has another name or place now"


def test_mutants_name_requirements_that_are_checked() -> None:
    named = {one for mutant in MUTANTS.values() for one in (mutant.kills, *mutant.also)} | SWEEPS
    assert not named - CHECKED.keys(), "mutants name what is not in the catalogue, or has no check"
    itself = [mutant.name for mutant in MUTANTS.values() if mutant.kills in mutant.also]
    assert not itself, "mutants name what they kill among the others"


def test_each_requirement_over_a_real_engine_has_a_gateway_that_breaks_it() -> None:
    """`tox -e live` finds out whether it does."""
    wanted = {one.id for one in CATALOGUE if CATALOGUE.needs_engine(one)}
    assert {wrong.kills for wrong in WRONG.values()} == wanted
    assert {one for wrong in WRONG.values() for one in wrong.also} <= wanted
    assert not [wrong.name for wrong in WRONG.values() if wrong.kills in wrong.also]
