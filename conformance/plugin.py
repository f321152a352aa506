"""The pytest plug-in: hooks and fixtures, nothing else. What they do lives in the modules beside it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

pytest.register_assert_rewrite("conformance.suite")

from conformance import hookspec  # noqa: E402
from conformance.gateway import Capability, Gateway, NotObservable  # noqa: E402
from conformance.report.collector import Collector  # noqa: E402
from conformance.requirements import Requirement  # noqa: E402
from conformance.run import checks, options, verdict  # noqa: E402
from conformance.run.checks import REQUIREMENT  # noqa: E402
from conformance.run.control import Controls  # noqa: E402
from conformance.run.run import RUN, Run  # noqa: E402
from conformance.upstream.client import Upstream  # noqa: E402
from conformance.vocabulary.outcome import NotTested  # noqa: E402
from conformance.vocabulary.pinned import pinned_in  # noqa: E402
from conformance.vocabulary.session import Session, Sessions  # noqa: E402
from conformance.vocabulary.target import Target, connect, preflight  # noqa: E402

SUITE = Path(__file__).parent / "suite"


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspec)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", 'requirement(id="AREA-000"): the requirement of the catalogue that this test checks.'
    )
    run = config.stash[RUN] = Run.of(config)
    run.refuse_snapshot_update()
    if run.settings.targeted and config.args_source is not config.ArgsSource.ARGS:
        config.args = [str(SUITE)]
        run.whole_suite = True
    if not run.is_worker:
        config.pluginmanager.register(Collector(run), "gateway-conformance-report")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[RUN].start()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["gateway_conformance"] = node.config.stash[RUN].shared()


def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(RUN, None)
    if run is not None:
        run.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash[RUN].header()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("requirement")
    requirement = metafunc.config.stash[RUN].catalogue.requirements.get(marker.kwargs.get("id", "")) if marker else None
    if requirement is not None and checks.values(requirement):
        metafunc.parametrize("option_value", checks.values(requirement), indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[RUN].select(items)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    try:
        result = yield
    except Exception as error:
        if not isinstance(error, AssertionError | NotObservable):  # the check broke, of which that may be the cause
            checks.require_served(pyfuncitem)
        raise
    checks.require_served(pyfuncitem)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIREMENT in item.stash:
        verdict.judge(item, call, report, item.config.stash[RUN])
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return verdict.status(report)


@pytest.fixture(scope="session")
def upstream(request: pytest.FixtureRequest) -> Upstream:
    """The kit's scripted model server: `.url` for a gateway to be started with, `.says(...)` `.calls` for checks."""
    run = request.config.stash[RUN]
    return run.upstream or run.start_upstream()


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """The gateway under test. Override it in the root conftest.py to start your own."""
    run = request.config.stash[RUN]
    if run.gateway is None:
        pytest.exit("no gateway to judge: give --gateway-url, --gateway reference or a `gateway` fixture", returncode=4)
    return run.gateway


@pytest.fixture(scope="session")
def gateway_target(request: pytest.FixtureRequest, upstream: Upstream, gateway: Gateway) -> Iterator[Target]:
    """This worker's connection to the gateway, and what the gateway declares."""
    run = request.config.stash[RUN]
    try:
        target = connect(gateway, upstream, run.settings, run.drivers())
        target.unseen = run.unseen if run.gateway is gateway else preflight(target)
    except pytest.UsageError as error:
        pytest.exit(str(error), returncode=4)
    run.note(target)
    yield target
    target.close()


@pytest.fixture
def option_value(request: pytest.FixtureRequest) -> str | None:
    """The value of its requirement's option that this run of a check is about, where it is about each value."""
    return getattr(request, "param", None)


@pytest.fixture
def judged(request: pytest.FixtureRequest, gateway_target: Target, option_value: str | None) -> Requirement:
    """The requirement of a check, for one value of its option."""
    return checks.about(request.node.stash[REQUIREMENT], option_value, gateway_target)


@pytest.fixture(scope="session")
def gateway_controls(gateway_target: Target) -> Iterator[Controls]:
    """What this worker found when it asked the gateway for what is right."""
    controls = Controls(gateway_target)
    yield controls
    controls.close()


@pytest.fixture
def check(
    request: pytest.FixtureRequest, gateway_target: Target, gateway_controls: Controls, judged: Requirement
) -> Iterator[Target]:
    """Starts a check: decides whether it applies, and clears the record of exchanges and calls."""
    run, requirement = request.config.stash[RUN], judged
    checks.require_applicable(requirement, gateway_target, run.catalogue, run.settings.profiles)
    request.node.stash[checks.UNSERVED] = gateway_controls.of(requirement.profile)
    gateway_target.recorder.begin()
    gateway_target.upstream.begin()
    request.node.stash[verdict.TARGET] = gateway_target
    yield gateway_target
    gateway_target.upstream.end()


@pytest.fixture
def sessions(check: Target, judged: Requirement) -> Iterator[Sessions]:
    """Opens sessions with the options that the check is about: `sessions.open(sampling_params={...})`."""
    options = checks.chosen_options(judged, check)
    opened = Sessions(check.driver, check.http, check.recorder, check.upstream.nonce, options)
    yield opened
    opened.discard()


@pytest.fixture
def session(sessions: Sessions) -> Session:
    """A session of the gateway under test, opened at its first use."""
    return sessions.open()


@pytest.fixture
def pinned(request: pytest.FixtureRequest, check: Target, snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """The pinned shape of this check's answer, in the gateway's own directory."""
    directory = request.config.stash[RUN].snapshots
    if directory is None:
        raise NotTested("no shapes are pinned for this gateway: give --gateway-snapshots DIR")
    return pinned_in(directory, snapshot)


@pytest.fixture(params=[False, True], ids=["plain", "stream"])
def streamed(request: pytest.FixtureRequest, check: Target) -> bool:
    """Runs a check twice: with `stream` false and true."""
    if request.param:
        checks.require_capability(check, Capability.STREAMING)
    return bool(request.param)
