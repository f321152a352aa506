"""The rules by which tests become checks of requirements: what is collected, what applies, what is a known defect."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.gateway import OPTIONS
from conformance.oracles import Violation
from conformance.requirements import ANY, LEVELS, Catalogue, Requirement
from conformance.run.options import Settings
from conformance.vocabulary.outcome import NotApplicable, NotTested
from conformance.vocabulary.target import Target

SUITE = "conformance.suite"
REQUIREMENT: pytest.StashKey[Requirement] = pytest.StashKey()
UNSERVED: pytest.StashKey[list[Violation]] = pytest.StashKey()
"""What the control of a check's profile found wrong."""


def is_shipped(item: pytest.Item) -> bool:
    """Is this a test function of the installed suite, wherever it was imported to?"""
    return str(getattr(getattr(item, "function", None), "__module__", "")).startswith(SUITE + ".")


def bind(items: Iterable[pytest.Item], catalogue: Catalogue) -> list[pytest.Item]:
    """Tie each check to its requirement and give it the `target` fixture. Returns the checks."""
    checks = []
    for item in items:
        marker = item.get_closest_marker("requirement")
        if marker is None:
            if is_shipped(item):
                raise pytest.UsageError(f"{item.nodeid} is a check of the suite without a requirement id")
            continue
        requirement_id = marker.kwargs.get("id")
        if marker.args or set(marker.kwargs) != {"id"} or not isinstance(requirement_id, str):
            raise pytest.UsageError(f'{item.nodeid}: the marker is written requirement(id="STREAM-004")')
        try:
            item.stash[REQUIREMENT] = catalogue.get(requirement_id)
        except LookupError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from error
        if isinstance(item, pytest.Function):
            if not item.session._fixturemanager.getfixturedefs("target", item):
                raise pytest.UsageError(
                    f"{item.nodeid}: a check needs the suite's fixtures: from conformance.suite.fixtures import *"
                )
            if "target" not in item.fixturenames:
                item.fixturenames.insert(0, "target")
        checks.append(item)
    return checks


def refuse_overrides(items: Iterable[pytest.Item], shipped: Sequence[str]) -> None:
    """A module that imports the suite may replace one of its tests only by an `xfail` with a reason."""
    names = set(shipped)
    for item in items:
        function = getattr(item, "function", None)
        module = getattr(item, "module", None)
        if function is None or module is None or is_shipped(item) or function.__name__ not in names:
            continue
        imported = any(str(getattr(value, "__module__", "")).startswith(SUITE + ".") for value in vars(module).values())
        known = item.get_closest_marker("xfail")
        if imported and not (known and known.kwargs.get("reason")):
            raise pytest.UsageError(
                f"{item.nodeid} overrides a check of the suite: mark it xfail with a reason, "
                "or list the requirement in gateway-expected-failures.toml"
            )


def refuse_gaps(checks: Iterable[pytest.Item], catalogue: Catalogue) -> None:
    """When the whole suite is collected, each entry of the catalogue has a check or a reason why it has none."""
    checked = {item.stash[REQUIREMENT].id for item in checks}
    for requirement in catalogue.requirements.values():
        if requirement.excluded and requirement.id in checked:
            raise pytest.UsageError(f"{requirement.id} is excluded ({requirement.excluded}) but has a check")
        if not requirement.excluded and requirement.id not in checked:
            raise pytest.UsageError(f"{requirement.id} has neither a check nor a reason to be excluded")


def selected(requirement: Requirement, settings: Settings, only: frozenset[str]) -> bool:
    """Does the command line ask for this requirement?"""
    return (
        (not only or requirement.id in only)
        and (not settings.profiles or requirement.profile in settings.profiles)
        and LEVELS.index(requirement.level) <= LEVELS.index(settings.level)
    )


def values(requirement: Requirement) -> tuple[str, ...]:
    """The values of its option for each of which the requirement is checked; none when it is not about each."""
    return next((tuple(OPTIONS[name].values) for name, value in requirement.option if value == ANY), ())


def about(requirement: Requirement, value: str | None, target: Target) -> Requirement:
    """The requirement for one value of the option that it is about each of. What holds for every value is checked once
    on a gateway that does not declare the option."""
    declared = target.declaration.options

    def settled(name: str, option_value: str) -> str:
        if option_value != ANY or value is None or (name not in declared and value == values(requirement)[0]):
            return option_value
        return value

    return replace(
        requirement, option=tuple((name, settled(name, option_value)) for name, option_value in requirement.option)
    )


def chosen_options(requirement: Requirement, target: Target) -> dict[str, str]:
    """What a session must be opened with so that the requirement can be judged on it: nothing where the gateway does
    by itself what the requirement is about."""
    declared = target.declaration.options
    return {name: value for name, value in requirement.option if value not in (ANY, declared.get(name))}


def require_applicable(requirement: Requirement, target: Target, catalogue: Catalogue, claimed: Sequence[str]) -> None:
    """Raise `NotApplicable` where the check comes to that, by what the gateway declares."""
    declared = target.declaration.capabilities
    profile = catalogue.profiles[requirement.profile]
    if profile.name in claimed and profile.capability is not None and profile.capability not in declared:
        reason = f"the profile {profile.name} is claimed, and needs it"
        raise ConformanceFailure(
            [Violation("declaration", f"the capability {profile.capability}: {reason}", "not declared")]
        )
    absent = catalogue.not_applicable(requirement, declared, target.declaration.options)
    if absent is not None:
        raise NotApplicable(absent)


def require_observable(requirement: Requirement, target: Target) -> None:
    """Raise `NotTested` where the kit cannot see what the requirement needs."""
    for need in requirement.needs:
        unseen = target.observes(need)
        if unseen is not None:
            raise NotTested(unseen)


def require_served(item: pytest.Item) -> None:
    """A check that found nothing wrong says something only of a gateway that serves what is right."""
    unserved = item.stash.get(UNSERVED, [])
    if unserved:
        raise ConformanceFailure(unserved)


@dataclass(frozen=True, slots=True)
class KnownDefect:
    reason: str
    link: str


def known_defects(path: Path | None, root: Path, catalogue: Catalogue) -> Mapping[str, KnownDefect]:
    """The implementer's list of known defects, by requirement id."""
    file = path or root / "gateway-expected-failures.toml"
    if path is None and not file.exists():
        return {}
    try:
        entries: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"{file}: {error}") from error
    defects = {}
    for name, entry in entries.items():
        try:
            catalogue.get(name)
        except LookupError as error:
            raise pytest.UsageError(f"{file}: {error}") from error
        texts = [entry.get(key) if isinstance(entry, dict) else None for key in ("reason", "link")]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise pytest.UsageError(f'{file}: [{name}] needs reason = "..." and link = "..."')
        defects[name] = KnownDefect(*map(str, texts))
    return defects
