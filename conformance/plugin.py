"""The pytest plug-in: hooks, nothing else. What they do lives in `conformance.run`; the door
(`pytest_gateway_conformance`) lets it in where there is a gateway to judge."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from conformance import suite
from conformance.gateway import NotObservable
from conformance.report.collector import Collector
from conformance.run import bystander, checks, verdict
from conformance.run.checks import REQUIREMENT
from conformance.run.run import RUN, Run

SUITE = Path(__file__).parent / "suite"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", 'requirement(id="AREA-000"): the requirement of the catalogue that this test checks.'
    )
    run = config.stash[RUN] = Run.of(config)
    run.refuse_snapshot_update()
    run.excuse_unused_shapes()
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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)  # of a worker of xdist
    if output is not None:
        output["gateway_conformance"] = session.config.stash[RUN].judged()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[RUN].hear(getattr(node, "workeroutput", {}).get("gateway_conformance"))


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
    config.stash[RUN].select(items, suite.__all__)


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
        bystander.attach(item, report)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return verdict.status(report)
