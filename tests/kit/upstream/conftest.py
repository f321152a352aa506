"""A real upstream process for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream

from .caller import Caller


@pytest.fixture(scope="session")
def server() -> Iterator[Upstream]:
    with Upstream.start(fixture_path("chatml")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def caller(server: Upstream) -> Iterator[Caller]:
    made = Caller(server.url, server.tokenizer)
    yield made
    made.http.close()


@pytest.fixture
def scripted(server: Upstream) -> Iterator[Upstream]:
    server.begin()
    yield server
    server.end()
