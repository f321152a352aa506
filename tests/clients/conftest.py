"""What the tests of clients share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.mutants.harness import serving

pytest.register_assert_rewrite("tests.clients.exported")  # what it asserts is to be told as in a test


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    shared_upstream.begin()
    yield shared_upstream
    shared_upstream.end()


@pytest.fixture(params=["synthesised", "incremental"])
def gateway(request: pytest.FixtureRequest, shared_upstream: Upstream) -> Iterator[httpx.Client]:
    """The control plane of a gateway without keys, with both kinds of streams."""
    with serving(shared_upstream, stream=request.param) as url, httpx.Client(base_url=url) as client:
        yield client
