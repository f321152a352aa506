"""Hooks of the plug-in, for `conftest.py` and for other plug-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.gateway import Driver
    from conformance.requirements import Requirement
    from conformance.vocabulary.outcome import Outcome


@pytest.hookspec
def pytest_gateway_drivers() -> dict[str, type[Driver]]:  # type: ignore[empty-body]
    """Drivers by the name that `--gateway-driver` and `Gateway(driver=...)` take, beside the built-in ones.

    Example::

        def pytest_gateway_drivers():
            return {"mine": MyDriver}
    """


@pytest.hookspec
def pytest_gateway_check_finished(requirement: Requirement, outcome: Outcome, item: pytest.Item) -> None:
    """Called for each check of the suite with what it ended as, in the process that ran it.

    Example::

        def pytest_gateway_check_finished(requirement, outcome, item):
            print(requirement.id, outcome)
    """


@pytest.hookspec
def pytest_gateway_report(report: dict[str, Any], config: pytest.Config) -> None:
    """Called once at the end with the JSON report, before it is written. It may be added to under `"extra"`.

    Example::

        def pytest_gateway_report(report, config):
            report["extra"]["build"] = os.environ["BUILD_ID"]
    """
