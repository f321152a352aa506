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
    differing["m3"] = set(CHECKS[:20]) - {CHECKS[3]}
    mutants = [mutant(name, f"AREA{name}-001") for name in differing]
    touched = {name: set(CHECKS) for name in differing} | {"m0": {CHECKS[0]}, "m3": set(CHECKS) - {CHECKS[3]}}
    baseline = told(differing)

    found: dict[str, set[str]] = {name: set() for name in differing}
    for one, checks in baseline._played(mutants, touched):
        found[one.name] |= checks

    assert found == differing
    assert baseline.tapes < 3 * len(CHECKS), "tapes are played again only where one of several came out otherwise"


def test_a_check_that_one_of_several_touches_is_played_once() -> None:
    differing = {f"m{number}": set(CHECKS[number * 10 : number * 10 + 5]) for number in range(10)}
    mutants = [mutant(name, f"AREA{name}-001") for name in differing]
    touched = {f"m{number}": set(CHECKS[number * 10 : number * 10 + 10]) for number in range(10)}
    baseline = told(differing)

    assert [(one.name, checks) for one, checks in baseline._played(mutants, touched)] == list(differing.items())
    assert baseline.tapes == len(CHECKS)


def test_together_no_two_replace_the_same_or_break_one_area() -> None:
    baseline = told({})
    codes = {Session._run.__code__, Sessions.get.__code__, openai_chat._usage.__code__}
    baseline.ran = {CHECKS[0]: codes, CHECKS[1]: codes, CHECKS[2]: {Session._generate.__code__}}
    first = mutant("first", "CHAT-001", replacing(Session, "_run"))
    same_place = mutant("same_place", "MSG-001", replacing(Session, "_run"))
    same_area = mutant("same_area", "CHAT-002", replacing(openai_chat, "_usage"))
    apart = mutant("apart", "LIFE-001", replacing(Sessions, "get"))
    elsewhere = mutant("elsewhere", "BUDGET-001", replacing(Session, "_generate"))
    rewriting = mutant("rewriting", "RESP-001", lambda gateway: gateway.rewrite(lambda answer: None))
    configured = mutant("configured", "TURN-001", lambda gateway: gateway.configure(port=1))

    groups = baseline.together([elsewhere, first, same_place, same_area, apart, rewriting, configured])

    assert [[one.name for one in group] for group in groups] == [
        ["first", "apart"],
        ["same_place", "same_area"],
        ["elsewhere"],
    ], "with those that touch the same checks"
