"""A check is run for the values of its options that the gateway has, and opens its sessions with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance.gateway import Capability, Declaration
from conformance.requirements import ANY, Catalogue, Requirement
from conformance.run import checks

ROLLBACK = (("last_rewrite", "rollback"),)
EACH = (("last_rewrite", ANY),)


def requirement(option: tuple[tuple[str, str], ...]) -> Requirement:
    return Requirement("DEMO-001", "MUST", "trajectories", "It is.", "here", (), "2026.1", "", option=option)


def target(*capabilities: Capability, **options: str) -> Any:
    declared = frozenset({Capability.TRAJECTORIES, *capabilities})
    return SimpleNamespace(declaration=Declaration("mine", "7", declared, options))


def absent(wanted: Requirement, gateway: Any) -> str | None:
    declared = gateway.declaration
    return Catalogue.load().not_applicable(wanted, declared.capabilities, declared.options)


CHOOSES = target(Capability.SESSION_OPTIONS, last_rewrite="split", multi_chain="true")
FIXED = target(last_rewrite="split")
SILENT = target(Capability.SESSION_OPTIONS)


@pytest.mark.parametrize(
    ("gateway", "why"),
    [
        (CHOOSES, None),
        (FIXED, "option last_rewrite is declared as split, this is about rollback"),
        (SILENT, "option last_rewrite is undeclared"),
    ],
)
def test_one_value(gateway: Any, why: str | None) -> None:
    wanted = requirement(ROLLBACK)
    assert checks.values(wanted) == ()
    assert checks.about(wanted, None, gateway) == wanted
    assert absent(wanted, gateway) == why


@pytest.mark.parametrize(
    ("gateway", "applies"), [(CHOOSES, [True, True]), (FIXED, [False, True]), (SILENT, [True, False])]
)
def test_every_value(gateway: Any, applies: list[bool]) -> None:
    wanted = requirement(EACH)
    assert checks.values(wanted) == ("rollback", "split")
    settled = [checks.about(wanted, value, gateway) for value in checks.values(wanted)]
    assert [absent(each, gateway) is None for each in settled] == applies


def test_sessions_choose_only_what_is_not_so_anyway() -> None:
    several = requirement((("multi_chain", "true"), *ROLLBACK))
    assert checks.chosen_options(several, CHOOSES) == {"last_rewrite": "rollback"}
    assert checks.chosen_options(requirement(EACH), SILENT) == {}


def test_what_the_whole_gateway_has_cannot_be_chosen() -> None:
    one_a_call = requirement((("trajectory", "call"),))
    conversing = target(Capability.SESSION_OPTIONS, trajectory="conversation")
    assert absent(one_a_call, conversing) == "option trajectory is declared as conversation, this is about call"
