"""What the tests of clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.upstream.client import Upstream


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    shared_upstream.begin()
    yield shared_upstream
    shared_upstream.end()
