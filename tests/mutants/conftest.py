"""Fixtures of the mutant run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """One scripted upstream for all mutants of this worker."""
    with Upstream.start(fixture_path("chatml")) as upstream:
        yield upstream
