"""The state of one pytest run: settings, catalogue, and the target once it is known. Lives in `config.stash`."""

from __future__ import annotations

import site
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from conformance.fixtures import fixture_path
from conformance.gateway import Capability, Declaration, Driver, Gateway
from conformance.requirements import FROZEN_SET, Catalogue, Requirement
from conformance.run import checks
from conformance.run.checks import REQUIREMENT, KnownDefect
from conformance.run.options import IN_PROCESS, Settings
from conformance.upstream.client import Upstream, UpstreamError
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.pinned import KIT_SHAPES
from conformance.vocabulary.target import (
    REFERENCES,
    ReferenceGateway,
    Target,
    connect,
    preflight,
    read_own_ledger,
    record_engine,
    require_recorded,
    start_upstream,
)

RUN: pytest.StashKey[Run] = pytest.StashKey()
PACKAGE = Path(__file__).parents[1]


@dataclass
class Run:
    """`gateway` and `upstream` are set when the controller knows them; a fixture of the user's may set them later."""

    config: pytest.Config
    settings: Settings
    gateway: Gateway | None = None
    upstream: Upstream | None = None
    declaration: Declaration | None = None
    unseen: str | None = None
    whole_suite: bool = False
    reference: ReferenceGateway | None = field(default=None, repr=False)
    _connected: list[Target] = field(default_factory=list, repr=False)
    _unclaimed_before: int = 0
    _engine: dict[str, str] | None = None

    @classmethod
    def of(cls, config: pytest.Config) -> Run:
        run = cls(config, Settings.read(config))
        shared = getattr(config, "workerinput", {}).get("gateway_conformance")
        if shared:
            run._adopt(shared)
        return run

    @property
    def is_worker(self) -> bool:
        return hasattr(self.config, "workerinput")

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue.load()

    @cached_property
    def defects(self) -> Mapping[str, KnownDefect]:
        """The implementer's list of known defects, by requirement id."""
        return self._known_defects()

    def _known_defects(self) -> Mapping[str, KnownDefect]:
        return checks.known_defects(self.settings.expected_failures, self.config.rootpath, self.catalogue)

    @cached_property
    def only(self) -> frozenset[str]:
        """The requirement ids that `--gateway-only` means."""
        return self._selected_ids()

    def _selected_ids(self) -> frozenset[str]:
        if not self.settings.only:
            return frozenset()
        try:
            return frozenset(requirement.id for requirement in self.catalogue.select(ids=self.settings.only))
        except LookupError as error:
            raise pytest.UsageError(f"--gateway-only: {error}") from error

    def drivers(self) -> dict[str, type[Driver]]:
        """The drivers that plug-ins and conftest files add."""
        drivers: dict[str, type[Driver]] = {}
        for additions in self.config.hook.pytest_gateway_drivers():
            drivers.update(additions)
        return drivers

    def start(self) -> None:
        """On the controller: find or start the target and ask it what it is. Unknown names are refused here."""
        if not self.settings.targeted:
            return
        self._refuse_unknown_names()  # before anything is started
        if self.is_worker or self.settings.gateway == "fixture" or self.config.option.collectonly:
            return
        upstream = self.open_upstream()
        api_key = self.settings.api_key
        if self.settings.url is not None:
            url = self.settings.url
        else:
            tokenizer = self.settings.tokenizer or fixture_path("chatml")
            self.reference = ReferenceGateway.start(
                upstream, tokenizer, self.settings.gateway or "reference", self.settings.api_key
            )
            url, api_key = self.reference.url, self.reference.api_key or api_key
        self.gateway = Gateway(url, driver=self.settings.driver or "http", api_key=api_key)
        target = self._reach(self.gateway, upstream)
        target.unseen = self._introduce(target)
        self._note(target)
        target.close()

    def _refuse_unknown_names(self) -> None:
        """Raise `pytest.UsageError` for a profile, or an id of a requirement, that the catalogue does not have."""
        for name in self.settings.profiles:
            if name not in self.catalogue.profiles:
                raise pytest.UsageError(
                    f"--gateway-profile: no profile {name!r}; known: {', '.join(self.catalogue.profiles)}"
                )
            if self.catalogue.profiles[name].engine and not self.settings.live:
                raise pytest.UsageError(f"--gateway-profile {name} needs a real engine: give --gateway-engine URL")
            if self.settings.live and not self.catalogue.profiles[name].engine:
                raise pytest.UsageError(
                    f"--gateway-profile {name} is judged with a scripted engine: run it without --gateway-engine"
                )
        self.only, self.defects = self._selected_ids(), self._known_defects()

    def open_upstream(self) -> Upstream:
        """The upstream of this run, started by whoever needs it first."""
        if self.upstream is None:
            settings = self.settings
            if settings.in_process:
                self.upstream = read_own_ledger(settings.tokenizer, settings.ledger, settings.scoring)
            elif settings.engine is not None:
                self.upstream = record_engine(
                    settings.engine, settings.tokenizer, settings.port, settings.ledger, settings.scoring
                )
            else:
                self.upstream = start_upstream(settings.tokenizer, settings.port)
            self.upstream.tool_format = self.settings.tool_format
            self._unclaimed_before = self.upstream.unclaimed
        return self.upstream

    def connect(self, gateway: Gateway, upstream: Upstream) -> Target:
        """This process's connection to the gateway, one however many modules ask. Raises `pytest.UsageError`."""
        known = next((target for target in self._connected if target.gateway is gateway), None)
        if known is not None:
            return known
        target = self._reach(gateway, upstream)
        target.unseen = self.unseen if self.gateway is gateway else self._introduce(target)
        self._note(target)
        self._connected.append(target)
        return target

    def _reach(self, gateway: Gateway, upstream: Upstream) -> Target:
        settings = self.settings
        claims: dict[str, Any] = {"has": settings.has, "options": settings.options, "trust": settings.trust}
        return connect(gateway, upstream, settings.timeout, self.drivers(), **claims)

    def _introduce(self, target: Target) -> str | None:
        """Why the scripted upstream is unseen, if it is. Over a real engine nothing is scripted, and nothing missed."""
        if isinstance(target.upstream, RecordedEngine):
            require_recorded(target, self._announce)
            return None
        return preflight(target, self._announce)

    def disconnect(self, target: Target) -> None:
        if target in self._connected:
            self._connected.remove(target)
            if self.gateway is target.gateway:
                self.unseen = target.unseen  # or seen since
            target.close()

    @property
    def engine(self) -> dict[str, str] | None:
        """What a real engine tells of itself (`RecordedEngine.about`), here or to a worker; None without one."""
        return self.upstream.about if isinstance(self.upstream, RecordedEngine) else self._engine

    def _announce(self, line: str) -> None:
        """Say at once, on the controller, why nothing seems to happen."""
        terminal: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and not self.is_worker:
            terminal.ensure_newline()
            terminal.write_line(line)

    def _note(self, target: Target) -> None:
        """Remember what the target declares, for the header and the report."""
        self.declaration = target.declaration
        self.unseen = target.unseen if target.unseen is not None else self.unseen
        self.gateway = target.gateway

    def shared(self) -> dict[str, Any]:
        """What the controller tells its workers, in types that survive the trip."""
        if self.gateway is None or self.upstream is None:
            return {}
        shared: dict[str, Any] = {
            "url": self.gateway.url,
            "driver": self.gateway.driver,
            "upstream": self.upstream.url,
            "unseen": self.unseen,
            "api_key": self.gateway.api_key,
        }
        if isinstance(self.upstream, RecordedEngine):
            shared["ledger"] = str(self.upstream.ledger)
        return shared

    def judged(self) -> dict[str, Any]:
        """What a worker tells the controller at its end: which gateway its `gateway` fixture gave."""
        if self.gateway is None or self.declaration is None:
            return {}
        return {
            "url": self.gateway.url,
            "driver": driver_name(self.gateway),
            "unseen": self.unseen,
            "name": self.declaration.name,
            "version": self.declaration.version,
            "capabilities": sorted(capability.value for capability in self.declaration.capabilities),
            "options": dict(self.declaration.options),
            "engine": self.engine,
        }

    def hear(self, judged: Mapping[str, Any] | None) -> None:
        """On the controller, which has no fixtures: what a worker says of the gateway."""
        if not judged:
            return
        if judged["unseen"] is None:  # by one of the workers the upstream was seen
            self.unseen = None
        if self.declaration is not None:
            return
        self._engine = judged["engine"]
        capabilities = frozenset(map(Capability, judged["capabilities"]))
        self.declaration = Declaration(judged["name"], judged["version"], capabilities, judged["options"])
        self.gateway = Gateway(judged["url"], driver=judged["driver"])
        self.unseen = judged["unseen"]

    def _adopt(self, shared: Mapping[str, Any]) -> None:
        self.gateway = Gateway(shared["url"], driver=shared["driver"], api_key=shared["api_key"])
        tokenizer = self.settings.tokenizer or fixture_path("chatml")
        if self.settings.in_process:
            self.upstream = RecordedEngine.in_process(tokenizer, Path(shared["ledger"]), self.settings.scoring)
        elif "ledger" in shared:
            engine, scoring = self.settings.engine or shared["upstream"], self.settings.scoring
            self.upstream = RecordedEngine.read(shared["upstream"], engine, tokenizer, Path(shared["ledger"]), scoring)
        else:
            self.upstream = Upstream.attach(shared["upstream"], tokenizer)
        self.upstream.tool_format = self.settings.tool_format
        self.unseen = shared["unseen"]

    def select(self, items: list[pytest.Item], shipped: Sequence[str]) -> None:
        """Bind the collected checks to the catalogue, refuse what is wrong with them, and apply the options. `shipped`
        are the names in the suite."""
        bound = checks.bind(items, self.catalogue)
        if bound:
            checks.refuse_overrides(items, shipped)
            self._refuse_no_target(bound)
        if self.whole_suite and not self.only:
            checks.refuse_gaps(bound, self.catalogue)
        dropped = [item for item in bound if not self._selected(item.stash[REQUIREMENT])]
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
            items[:] = [item for item in items if item not in set(dropped)]

    def _selected(self, requirement: Requirement) -> bool:
        return self.catalogue.needs_engine(requirement) is self.settings.live and checks.selected(
            requirement, self.settings, self.only
        )

    def counts(self, requirement: Requirement) -> bool:
        """Whether what is found against it counts in this run: it was asked for, and its profile is claimed."""
        return self._selected(requirement) and requirement.profile in claimed_profiles(self)

    def _refuse_no_target(self, bound: list[pytest.Item]) -> None:
        """The target is never chosen silently."""
        if self.settings.targeted and self.settings.gateway != "fixture":
            return
        manager = bound[0].session._fixturemanager
        for item in bound:
            definitions = manager.getfixturedefs("gateway", item) or ()
            if definitions and definitions[-1].func.__module__ != "pytest_gateway_conformance":
                continue
            raise pytest.UsageError(
                "no gateway to judge: give --gateway-url URL or --gateway reference, or define a `gateway` fixture "
                "in the conftest.py of the root directory"
            )

    @property
    def snapshots(self) -> Path | None:
        """Where the shapes of the gateway under test are pinned; the kit ships those of the reference gateway."""
        if self.settings.snapshots is None and self.settings.gateway in REFERENCES:
            return KIT_SHAPES
        return self.settings.snapshots

    def excuse_unused_shapes(self) -> None:
        """The shapes of checks that were not asked for are not unused. Said to syrupy before anything is collected, as
        a controller of xdist collects nothing."""
        pinned = self.catalogue.select(area="SHAPE")
        selected = [checks.selected(requirement, self.settings, self.only) for requirement in pinned]
        if any(selected) and not all(selected):
            self.config.option.disable_unused_snapshots = True

    def refuse_snapshot_update(self) -> None:
        """The pinned shapes of the installed kit are not a user's to rewrite."""
        if not getattr(self.config.option, "update_snapshots", False) or self.settings.snapshots is not None:
            return
        installed = [Path(sysconfig.get_path("purelib")), *map(Path, site.getsitepackages())]
        if self.settings.targeted and any(PACKAGE.is_relative_to(place) for place in installed):
            raise pytest.UsageError(
                "--snapshot-update would rewrite the shapes inside the installed kit: "
                "give --gateway-snapshots DIR with a directory of your own"
            )

    def header(self) -> list[str]:
        if self.is_worker or not self.settings.targeted:
            return []
        judged = ", ".join(self.settings.profiles or ("live",) * self.settings.live)
        judged = judged or "all that the gateway declares"
        lines = [f"gateway: {self.target_name}"]
        if self.declaration is not None:
            lines.append(f"profiles: {judged}; requirement set {FROZEN_SET}")
        if isinstance(self.upstream, RecordedEngine):
            lines.append(f"engine: {self.upstream.engine or 'in the process of the gateway'}, {self.upstream.recorded}")
        return lines

    @property
    def target_name(self) -> str:
        if self.gateway is None or self.declaration is None:
            return "from the `gateway` fixture"
        what = f"{self.declaration.name} {self.declaration.version}"
        return f"{what} at {self.gateway.url} (driver {driver_name(self.gateway)})"

    def rerun(self, requirement_id: str) -> str:
        """The command that checks one requirement again."""
        if self.settings.url is None:
            target = f"--gateway {self.settings.gateway}" if self.settings.gateway else ""
        else:
            target = f"--gateway-url {self.settings.url}"
        driver = f"--gateway-driver {self.settings.driver}" if self.settings.driver else ""
        port = f"--gateway-upstream-port {self.settings.upstream_port}" if self.settings.upstream_port else ""
        engine = f"--gateway-engine {self.settings.engine}" if self.settings.engine else ""
        if self.settings.gateway == IN_PROCESS:
            engine = f"--gateway-tokenizer {self.settings.tokenizer}"
        elif self.settings.in_process:
            engine = f"--gateway-ledger {self.settings.ledger}"
        only = f"--gateway-only {requirement_id}"
        return " ".join(filter(None, ["pytest", target, driver, port, engine, *self._claims(), only]))

    def _claims(self) -> list[str]:
        """What the command line says of the gateway, as it would be said again."""
        given = {
            "--gateway-has": ",".join(self.settings.has),
            "--gateway-option": ",".join(f"{name}={value}" for name, value in self.settings.options.items()),
            "--gateway-ca": str(self.settings.authority or ""),
        }
        claims = [f"{flag} {value}" for flag, value in given.items() if value]
        return claims + ["--gateway-insecure"] * self.settings.insecure

    @property
    def unclaimed(self) -> int:
        """How many calls of the upstream had no nonce since this run began; 0 where that can't be known."""
        try:
            return 0 if self.upstream is None else self.upstream.unclaimed - self._unclaimed_before
        except UpstreamError:
            return 0

    def close(self) -> None:
        if self.reference is not None:
            self.reference.close()
        if self.upstream is not None:
            self.upstream.close()


def driver_name(gateway: Gateway) -> str:
    return gateway.driver if isinstance(gateway.driver, str) else gateway.driver.__name__


def claimed_profiles(run: Run) -> list[str]:
    """The profiles that count for the verdict: the named ones, else those whose capability is declared."""
    if run.settings.profiles:
        return list(run.settings.profiles)
    declared: frozenset[Capability] = run.declaration.capabilities if run.declaration else frozenset()
    return [
        profile.name
        for profile in run.catalogue.profiles.values()
        if (profile.capability is None or profile.capability in declared) and profile.engine is run.settings.live
    ]
