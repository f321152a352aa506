"""The list of mutants: who breaks what, and which requirement must notice."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mutants.sabotage import Sabotage


@dataclass(frozen=True, slots=True)
class Mutant:
    """`kills` is the requirement that must fail. `also` names others that may fail as its consequence; any other
    failure in the areas of these is a defect of the suite, and one elsewhere stands in the published matrix. `story`
    says in one line what someone could have shipped."""

    name: str
    kills: str
    also: frozenset[str]
    story: str
    bugs: tuple[int, ...]
    apply: Callable[[Sabotage], None]


MUTANTS: dict[str, Mutant] = {}

JOURNEYS = "JOURNEY"
"""The area whose checks hold all rules in all situations: nearly every mutant turns some of them red. They are for the
mutants of their own area, which break a rule in a situation that no other check has."""

SWEEPS = frozenset(f"SPLIT-{number:03}" for number in (39, 42, 48, 49, 50, 51, 53)) | frozenset(
    f"JOURNEY-{number:03}" for number in range(1, 11)
)
"""Requirements that judge whole conversations by all that token truth is, or by all that holds for a turn. Whatever
breaks it may turn them red, so they need not be named in `also`; each still has a mutant of its own."""

_MECHANISM = frozenset(
    {
        "__init__",
        "bugs",
        "conftest",
        "direct",
        "fate",
        "forks",
        "found_calls",
        "harness",
        "impact",
        "judging",
        "looks",
        "matrix",
        "playing",
        "registry",
        "sabotage",
        "tape",
        "test_mutants",
    }
)


def load_all() -> None:
    """Import every module of mutants, which fills `MUTANTS`."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in _MECHANISM:
            importlib.import_module(f"tests.mutants.{path.stem}")


@contextmanager
def in_force(*mutants: Mutant) -> Iterator[Sabotage]:
    """The sabotage of these mutants, all at once, which is undone afterwards."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        for mutant in mutants:
            mutant.apply(sabotage)
        yield sabotage


def area_of(requirement: str) -> str:
    return requirement.partition("-")[0]


def may_judge(requirement: str, mutant: Mutant) -> bool:
    """Whether the checks of a requirement are for this mutant at all."""
    return area_of(requirement) != JOURNEYS or area_of(mutant.kills) == JOURNEYS


def mutant(
    kills: str, *, also: tuple[str, ...] = (), bugs: tuple[int, ...] = ()
) -> Callable[[Callable[[Sabotage], None]], Callable[[Sabotage], None]]:
    """Register a mutant; its docstring is its story. `bugs` are rows of the list of known bugs."""

    def register(apply: Callable[[Sabotage], None]) -> Callable[[Sabotage], None]:
        name = apply.__name__
        assert name not in MUTANTS, f"two mutants are named {name}"
        assert apply.__doc__, f"the mutant {name} tells no story"
        MUTANTS[name] = Mutant(name, kills, frozenset(also), " ".join(apply.__doc__.split()), bugs, apply)
        return apply

    return register
