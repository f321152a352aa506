"""Which checks a mutant can reach is found out for several mutants at once, and comes out as for each by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

from reference_gateway.session import Session, Sessions
from reference_gateway.wire import openai_chat
from tests.mutants.impact import Baseline
from tests.mutants.registry import Mutant
from tests.mutants.sabotage import Sabotage

CHECKS = [f"test_it.py::test_{number}" for number in range(100)]


def mutant(name: str, kills: str, apply: Callable[[Sabotage], object] = lambda gateway: None) -> Mutant:
    return Mutant(name, kills, frozenset(), "A story.", (), lambda gateway: apply(gateway) and None)


def replacing(place: Any, name: str) -> Callable[[Sabotage], object]:
    return lambda gateway: gateway.patch(place, name, getattr(place, name))


class Told(Baseline):
    """Knows for each mutant the checks whose tape comes out otherwise, and counts the tapes that are played."""

    differing: dict[str, set[str]]
    tapes = 0

    def _otherwise(self, names: Set[str], mutants: Sequence[Mutant] = ()) -> set[str]:
        self.tapes += len(names)
        return set().union(*(self.differing[one.name] for one in mutants)) & names


def told(differing: dict[str, set[str]]) -> Told:
    baseline = Told(lambda sabotage, codec: None)  # type: ignore[arg-type, return-value]
    baseline.differing = differing
    return baseline


def test_mutants_at_once_reach_what_each_reaches() -> None:
    differing = {f"m{number}": {CHECKS[number]} for number in range(8)}
    differing["m3"] = set(CHECKS[:20])
    mutants = [mutant(name, f"AREA{name}-001") for name in differing]
    touched = {name: set(CHECKS) for name in differing} | {"m0": {CHECKS[0]}, "m3": set(CHECKS) - {CHECKS[3]}}
    baseline = told(differing)

    found = {one.name: checks for one, checks in baseline._played(mutants, touched)}

    assert found == {**differing, "m3": differing["m3"] - {CHECKS[3]}}
    assert baseline.tapes < 3 * len(CHECKS), "tapes are played again only where one of several came out otherwise"


def test_together_no_two_replace_the_same_or_break_one_area() -> None:
    baseline = told({})
    codes = {Session._run.__code__, Sessions.get.__code__, openai_chat._usage.__code__}
    baseline.ran = {CHECKS[0]: codes}
    first = mutant("first", "CHAT-001", replacing(Session, "_run"))
    same_place = mutant("same_place", "MSG-001", replacing(Session, "_run"))
    same_area = mutant("same_area", "CHAT-002", replacing(openai_chat, "_usage"))
    apart = mutant("apart", "LIFE-001", replacing(Sessions, "get"))
    rewriting = mutant("rewriting", "RESP-001", lambda gateway: gateway.rewrite(lambda answer: None))

    groups = baseline.together([first, same_place, same_area, apart, rewriting])

    assert [[one.name for one in group] for group in groups] == [["first", "apart"], ["same_place", "same_area"]]
