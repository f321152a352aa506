"""Requirements, profiles and the frozen set, read from TOML and validated.

Knows the files of its directory and the words of `conformance.gateway`. Never knows a test, an outcome or a gateway.

Invariants of a loaded catalogue:
- an id is `AREA-NNN`, stands in the file of its area, and is used once;
- a retired id is in no file and in no frozen set;
- the frozen set names exactly the requirements that existed when it was frozen (`since` not later than the set).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType

from conformance.gateway import GATEWAY_WIDE, OPTIONS, Capability
from conformance.requirements.fields import CatalogueError, Fields, read

LEVELS = ("MUST", "SHOULD", "MAY")
"""From the most demanding to the least (RFC 2119)."""

NEEDS = ("upstream", "context", "trajectories", "state", "engine", "scorer")
"""What the kit may have to see: `upstream` = the gateway calls the kit's upstream; `context` = the token ids that the
upstream received; `trajectories` and `state` = the driver can read them; `engine` = a real engine's calls are recorded;
`scorer` = sampled tokens can be scored again."""

FROZEN_SET = "2026.1"
"""The set that a verdict is about. Requirements added later run unscored."""

ANY = "*"
"""As the value of an option: the requirement holds whatever its value, and is checked for each."""

_ID = re.compile(r"[A-Z]{2,8}-\d{3}")
_CONTRACT = re.compile(r"(?:(?:UA|HA|LS|AF)-[A-Z]+|X)-\d{2}")
_SET = re.compile(r"\d{4}\.\d+")
_CONDITIONS = frozenset(("capabilities", "unless", "option", "needs"))
_ENTRY_FIELDS = _CONDITIONS | {"level", "profile", "text", "source", "contract", "since", "hint", "bugs", "excluded"}
_AREA_FIELDS = frozenset(("name", "title", "profile", "since"))


class UnknownRequirement(LookupError):
    """An id or a pattern that names no requirement. The text lists near matches."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One checkable sentence about any gateway.

    `capabilities`: all of them must be declared, otherwise the requirement is not applicable. `unless`: the requirement
    is the refusal that applies only when this capability is *not* declared. `option`: pairs of name and value; applies
    only when the gateway declares these values, or a session can choose them; `ANY` always applies. `needs`: what the
    kit must be able to see; what is missing makes it `not_tested`. `contract` and `bugs` (rows of the list of known
    bugs) are provenance only. `excluded`: why no test exists.
    """

    id: str
    level: str
    profile: str
    text: str
    source: str
    contract: tuple[str, ...]
    since: str
    hint: str
    capabilities: tuple[Capability, ...] = ()
    unless: Capability | None = None
    option: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    bugs: tuple[int, ...] = ()
    excluded: str | None = None

    @property
    def area(self) -> str:
        return self.id.partition("-")[0]

    @property
    def condition(self) -> str:
        """When it applies, in short: `streaming, tools`, `unless n`, `last_rewrite=rollback`; empty = always."""
        parts = [str(capability) for capability in self.capabilities]
        if self.unless is not None:
            parts.append(f"unless {self.unless}")
        parts.extend("=".join(pair) for pair in self.option)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Profile:
    """A set of requirements that a gateway claims. `capability` None = the core, which every gateway claims. `engine`:
    it is about a gateway over a real engine, and nobody claims it without one."""

    name: str
    title: str
    capability: Capability | None
    text: str
    engine: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """One file of the catalogue."""

    name: str
    title: str


@dataclass(frozen=True)
class Catalogue:
    """All requirements in the order of their files. Load it with `Catalogue.load()`."""

    requirements: Mapping[str, Requirement]
    areas: Mapping[str, Area]
    profiles: Mapping[str, Profile]
    frozen: frozenset[str]
    retired: Mapping[str, str]
    """Ids that may never be used again -> why they were retired."""

    @classmethod
    def load(cls, directory: Path | None = None) -> Catalogue:
        """Read and validate the shipped catalogue, or the one in `directory`. Raises `CatalogueError`."""
        return _load(directory or Path(__file__).parent)

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.requirements.values())

    def __len__(self) -> int:
        return len(self.requirements)

    def get(self, requirement_id: str) -> Requirement:
        """Raises `UnknownRequirement`."""
        try:
            return self.requirements[requirement_id]
        except KeyError:
            raise UnknownRequirement(self._unknown(requirement_id)) from None

    def needs_engine(self, requirement: Requirement) -> bool:
        """Whether it is judged over a real engine only."""
        return self.profiles[requirement.profile].engine

    def by_profile(self, profile: str) -> tuple[Requirement, ...]:
        """Raises `CatalogueError` for a profile that does not exist."""
        return self.select(profile=profile)

    def by_area(self, area: str) -> tuple[Requirement, ...]:
        """Raises `CatalogueError` for an area that does not exist."""
        return self.select(area=area)

    def select(
        self,
        *,
        profile: str | None = None,
        level: str | None = None,
        area: str | None = None,
        ids: Iterable[str] | None = None,
    ) -> tuple[Requirement, ...]:
        """The requirements that meet every condition, in catalogue order.

        `level` takes that level and the more demanding ones (`SHOULD` = MUST and SHOULD). `ids` are ids or globs
        (`STREAM-*`); one that matches nothing raises `UnknownRequirement`. An unknown profile, level or area raises
        `CatalogueError` with the known ones.
        """
        chosen: Iterable[Requirement] = self.requirements.values()
        if profile is not None:
            _known("profile", profile, self.profiles)
            chosen = [requirement for requirement in chosen if requirement.profile == profile]
        if level is not None:
            _known("level", level, LEVELS)
            accepted = LEVELS[: LEVELS.index(level) + 1]
            chosen = [requirement for requirement in chosen if requirement.level in accepted]
        if area is not None:
            _known("area", area, self.areas)
            chosen = [requirement for requirement in chosen if requirement.area == area]
        if ids is not None:
            wanted = self._expand(ids)
            chosen = [requirement for requirement in chosen if requirement.id in wanted]
        return tuple(chosen)

    def not_applicable(
        self, requirement: Requirement, capabilities: Collection[str], options: Mapping[str, str]
    ) -> str | None:
        """Why the requirement does not apply to a gateway that declares these; None when it applies."""
        profile = self.profiles[requirement.profile]
        needed = (profile.capability, *requirement.capabilities)
        for capability in needed:
            if capability is not None and capability not in capabilities:
                return f"capability {capability} is not declared"
        if requirement.unless is not None and requirement.unless in capabilities:
            return f"capability {requirement.unless} is declared: this is its refusal"
        for name, value in requirement.option:
            if value == ANY:
                continue
            declared = options.get(name)
            if declared is None:
                return f"option {name} is undeclared"
            may_choose = Capability.SESSION_OPTIONS in capabilities and name not in GATEWAY_WIDE
            if declared != value and not may_choose:
                return f"option {name} is declared as {declared}, this is about {value}"
        return None

    def _expand(self, patterns: Iterable[str]) -> frozenset[str]:
        expanded: set[str] = set()
        for pattern in patterns:
            matches = {requirement_id for requirement_id in self.requirements if fnmatchcase(requirement_id, pattern)}
            if not matches:
                raise UnknownRequirement(self._unknown(pattern))
            expanded |= matches
        return frozenset(expanded)

    def _unknown(self, name: str) -> str:
        if name in self.retired:
            return f"requirement {name} was retired: {self.retired[name]}"
        from difflib import get_close_matches  # slow to import, and needed for this text only

        near = get_close_matches(name.upper(), self.requirements, n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(near)}?" if near else f"areas: {', '.join(self.areas)}"
        return f"no requirement {name!r}; {hint}"


def _known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise CatalogueError(f"no {what} {name!r}; expected one of: {', '.join(known)}")


# The catalogue cannot change while a process lives, and several parts of the kit ask for it.
@cache
def _load(directory: Path) -> Catalogue:
    profiles = _profiles(directory / "profiles.toml")
    retired = _retired(directory / "retired.toml")
    areas: dict[str, Area] = {}
    requirements: dict[str, Requirement] = {}
    own = {"profiles.toml", "retired.toml", f"{FROZEN_SET}.toml"}
    for path in sorted(directory.glob("*.toml")):
        if path.name in own or _SET.fullmatch(path.stem):
            continue
        area, entries = _area(path, profiles)
        areas[area.name] = area
        requirements.update((requirement.id, requirement) for requirement in entries)
        _check_numbers(path, area, [requirement.id for requirement in entries], retired)
    if not areas:
        raise CatalogueError(f"{directory}: no requirement file")
    frozen = _frozen(directory / f"{FROZEN_SET}.toml", requirements, retired)
    return Catalogue(
        MappingProxyType(requirements), MappingProxyType(areas), MappingProxyType(profiles), frozen, retired
    )


def _area(path: Path, profiles: Mapping[str, Profile]) -> tuple[Area, list[Requirement]]:
    document = read(path)
    head = Fields(path, "area", document.pop("area", None), _AREA_FIELDS)
    area = Area(head.string("name"), head.string("title"))
    if path.stem.upper() != area.name:
        raise head.error("name", f"expected the file's name, {path.stem.upper()}, got {area.name}")
    defaults: dict[str, str] = {field: head.table[field] for field in ("profile", "since") if field in head.table}
    return area, [
        _requirement(path, area, requirement_id, table, defaults, profiles)
        for requirement_id, table in document.items()
    ]


def _requirement(
    path: Path, area: Area, name: str, table: object, defaults: Mapping[str, str], profiles: Mapping[str, Profile]
) -> Requirement:
    if not _ID.fullmatch(name) or not name.startswith(f"{area.name}-"):
        raise CatalogueError(f"{path.name}: {name}: expected an id like {area.name}-001")
    fields = Fields(path, name, {**defaults, **table} if isinstance(table, dict) else table, _ENTRY_FIELDS)
    text = fields.string("text")
    if not text.endswith(".") or "\n" in text:
        raise fields.error("text", "expected one sentence on one line that ends in a full stop")
    contract = fields.many("contract", str)
    for clause in contract:
        if not _CONTRACT.fullmatch(clause):
            raise fields.error("contract", f"expected ids like UA-RT-01, got {clause!r}")
    since = fields.string("since")
    if not _SET.fullmatch(since):
        raise fields.error("since", f"expected a set like 2026.1, got {since!r}")
    needs = fields.many("needs", str)
    for need in needs:
        if need not in NEEDS:
            raise fields.error("needs", f"expected some of {', '.join(NEEDS)}, got {need!r}")
    unless = fields.optional("unless")
    return Requirement(
        id=name,
        level=fields.one_of("level", LEVELS),
        profile=fields.one_of("profile", profiles),
        text=text,
        source=fields.string("source"),
        contract=contract,
        since=since,
        hint=fields.string("hint"),
        capabilities=tuple(
            fields.capability("capabilities", capability) for capability in fields.many("capabilities", str)
        ),
        unless=None if unless is None else fields.capability("unless", unless),
        option=_option(fields),
        needs=needs,
        bugs=fields.many("bugs", int),
        excluded=fields.optional("excluded"),
    )


def _option(fields: Fields) -> tuple[tuple[str, str], ...]:
    table = fields.table.get("option", {})
    if not isinstance(table, dict) or ("option" in fields.table and not table):
        raise fields.error("option", f'expected one option or more, like {{ trajectory = "call" }}, got {table!r}')
    for name, value in table.items():
        if name not in OPTIONS:
            raise fields.error("option", f"no option {name!r}; expected one of {', '.join(OPTIONS)}")
        values = OPTIONS[name].values
        if value not in (*values, ANY):
            raise fields.error("option", f"{name}: expected one of {', '.join(values)} or {ANY}, got {value!r}")
    if list(table.values()).count(ANY) > 1:
        raise fields.error("option", f"expected one option at most with the value {ANY}")
    return tuple(table.items())


def _profiles(path: Path) -> dict[str, Profile]:
    profiles = {}
    for name, table in read(path).items():
        fields = Fields(path, name, table, frozenset(("title", "capability", "text", "engine")))
        capability = fields.optional("capability")
        profiles[name] = Profile(
            name,
            fields.string("title"),
            None if capability is None else fields.capability("capability", capability),
            fields.string("text"),
            fields.boolean("engine"),
        )
    return profiles


def _retired(path: Path) -> Mapping[str, str]:
    retired: dict[str, str] = {}
    for name, reason in read(path).items():
        if not _ID.fullmatch(name) or not isinstance(reason, str) or not reason:
            raise CatalogueError(f"{path.name}: {name}: expected an id and the reason why it was retired")
        retired[name] = reason
    return MappingProxyType(retired)


def _check_numbers(path: Path, area: Area, ids: list[str], retired: Mapping[str, str]) -> None:
    for requirement_id in ids:
        if requirement_id in retired:
            raise CatalogueError(
                f"{path.name}: {requirement_id}: id: was retired ({retired[requirement_id]}) and may not be used again"
            )
    if ids != sorted(ids):
        raise CatalogueError(f"{path.name}: area: the entries are not in the order of their ids")


def _frozen(path: Path, requirements: Mapping[str, Requirement], retired: Mapping[str, str]) -> frozenset[str]:
    fields = Fields(path, "set", read(path), frozenset(("requirements",)))
    listed = fields.many("requirements", str)
    existed = {
        requirement.id for requirement in requirements.values() if _version(requirement.since) <= _version(FROZEN_SET)
    }
    for requirement_id in listed:
        if requirement_id in retired:
            raise fields.error("requirements", f"{requirement_id} was retired")
        if requirement_id not in existed:
            raise fields.error(
                "requirements", f"no requirement {requirement_id} that is in force since {FROZEN_SET} or before"
            )
    for requirement_id in requirements:
        if requirement_id in existed and requirement_id not in listed:
            raise fields.error(
                "requirements",
                f"{requirement_id} is in force since {requirements[requirement_id].since} and is not listed",
            )
    return frozenset(listed)


def _version(name: str) -> tuple[int, int]:
    year, number = name.split(".")
    return int(year), int(number)
