"""What the kit's own tests share: pytester, hypothesis profiles, a live upstream and a live reference gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream

pytest_plugins = ["pytester"]

try:
    from hypothesis import HealthCheck, Phase, settings
except ImportError:  # pytest reads this file for the shipped suite too, which needs no hypothesis
    pass
else:
    # No verdict from a clock: a red run is a fact about the code, however busy the machine is.
    untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("default", untimed, derandomize=True, max_examples=50)
    settings.register_profile("nightly", untimed, print_blob=True, max_examples=1000)
    # Whether a test fails is all that the knife asks, not by which smallest example.
    quick = settings(settings.get_profile("default"), max_examples=25, phases=[Phase.explicit, Phase.generate])
    settings.register_profile("knife", quick)
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
