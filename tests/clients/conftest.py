"""What the tests of clients share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from conformance.upstream.client import Upstream


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    shared_upstream.begin()
    yield shared_upstream
    shared_upstream.end()


@pytest.fixture
def gateway(reference_url: str) -> Iterator[httpx.Client]:
    """The control plane of a gateway without keys."""
    with httpx.Client(base_url=reference_url) as client:
        yield client
