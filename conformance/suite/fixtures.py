"""What checks ask for by name. Come along with `from conformance.suite import *`; a test module with checks of its own
takes them with `from conformance.suite.fixtures import *`.

They stand where the checks stand, so that no fixture of a project or of another plug-in takes the place of one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.gateway import Capability, Gateway
from conformance.requirements import Requirement
from conformance.run import bystander, checks, verdict
from conformance.run.checks import REQUIREMENT
from conformance.run.control import Controls
from conformance.run.run import RUN
from conformance.upstream.client import Upstream
from conformance.vocabulary.demo import Deliveries
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.pinned import Pinned, pinned_in
from conformance.vocabulary.session import Session, Sessions
from conformance.vocabulary.target import Target, require_capability

__all__ = [
    "connection",
    "controls",
    "deliveries",
    "judged",
    "option_value",
    "pinned",
    "session",
    "sessions",
    "streamed",
    "target",
]


@pytest.fixture(scope="session")
def connection(request: pytest.FixtureRequest, upstream: Upstream, gateway: Gateway) -> Iterator[Target]:
    """This worker's connection to the gateway, and what the gateway declares."""
    run = request.config.stash[RUN]
    try:
        connected = run.connect(gateway, upstream)
    except pytest.UsageError as error:
        pytest.exit(str(error), returncode=4)
    yield connected
    run.disconnect(connected)


@pytest.fixture(scope="session")
def controls(connection: Target) -> Iterator[Controls]:
    """What this worker found when it asked the gateway for what is right."""
    controls = Controls(connection)
    yield controls
    controls.close()


@pytest.fixture
def option_value(request: pytest.FixtureRequest) -> str | None:
    """The value of its requirement's option that this run of a check is about, where it is about each value."""
    return getattr(request, "param", None)


@pytest.fixture
def judged(request: pytest.FixtureRequest, connection: Target, option_value: str | None) -> Requirement:
    """The requirement of a check, for one value of its option."""
    return checks.about(request.node.stash[REQUIREMENT], option_value, connection)


@pytest.fixture
def target(
    request: pytest.FixtureRequest, connection: Target, controls: Controls, judged: Requirement
) -> Iterator[Target]:
    """The gateway under test, for one check: decides whether the check applies, and clears the record of exchanges and
    calls. Every check has it, whether it names it or not."""
    run = request.config.stash[RUN]
    checks.require_applicable(judged, connection, run.catalogue, run.settings.profiles)
    # Over a real engine each check asks for an answer of its model itself, and fails without one. Elsewhere the control
    # does, and the upstream may be seen at last.
    unserved = [] if run.catalogue.needs_engine(judged) else controls.of(judged.profile)
    request.node.stash[checks.UNSERVED] = unserved
    checks.require_observable(judged, connection)
    connection.recorder.begin()
    connection.upstream.begin()
    request.node.stash[verdict.TARGET] = connection
    yield connection
    controls.notice(connection.upstream)
    bystander.tell(request.node, run)
    connection.upstream.end()


@pytest.fixture
def sessions(request: pytest.FixtureRequest, target: Target, judged: Requirement) -> Iterator[Sessions]:
    """Opens sessions with the options that the check is about: `sessions.open(sampling_params={...})`."""
    options = checks.chosen_options(judged, target)
    opened = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce, options)
    yield opened
    bystander.close(request.node, request.config.stash[RUN], target, opened)


@pytest.fixture
def session(sessions: Sessions) -> Session:
    """A session of the gateway under test, opened at its first use."""
    return sessions.open()


@pytest.fixture
def deliveries(session: Session, upstream: Upstream, target: Target) -> Deliveries:
    """Invocations of the session whose answers go to others."""
    return Deliveries(session, upstream, target)


@pytest.fixture
def pinned(request: pytest.FixtureRequest, target: Target) -> Pinned:
    """The pinned shape of this check's answer, in the gateway's own directory."""
    directory = request.config.stash[RUN].snapshots
    if directory is None:
        raise NotTested("no shapes are pinned for this gateway: give --gateway-snapshots DIR")
    if not request.config.pluginmanager.hasplugin("syrupy"):
        raise NotTested("shapes are pinned with syrupy: pip install 'gateway-conformance[shapes]'")
    return pinned_in(directory, request.getfixturevalue("snapshot"))


@pytest.fixture(params=[False, True], ids=["plain", "stream"])
def streamed(request: pytest.FixtureRequest, target: Target) -> bool:
    """Runs a check twice: with `stream` false and true."""
    if request.param:
        require_capability(target, Capability.STREAMING)
    return bool(request.param)
