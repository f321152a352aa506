"""What the kit's own tests share: pytester, hypothesis profiles, a live upstream and a live reference gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream

pytest_plugins = ["pytester"]

try:
    from hypothesis import settings
except ImportError:  # pytest reads this file for the shipped suite too, which needs no hypothesis
    pass
else:
    settings.register_profile("default", derandomize=True, deadline=None, max_examples=50)
    settings.register_profile("nightly", print_blob=True, deadline=None, max_examples=1000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """One scripted upstream for all tests of this worker."""
    with Upstream.start(fixture_path("chatml")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def reference_url(shared_upstream: Upstream) -> Iterator[str]:
    """The reference gateway, unharmed, with the shared upstream as its backend."""
    from tests.mutants.harness import serving

    with serving(shared_upstream) as url:
        yield url
