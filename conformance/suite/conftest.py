"""The checks' fixtures, where pytest looks for them, and the kit itself for whoever names this directory and no
target."""

from __future__ import annotations

import pytest

from conformance.suite.fixtures import *  # noqa: F403
from pytest_gateway_conformance import let_in


def pytest_configure(config: pytest.Config) -> None:
    let_in(config)
