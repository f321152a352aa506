"""A gateway that fetches images itself is judged for that, and for the rest of what is done with media."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.upstream.client import Upstream
from conformance.vocabulary.outcome import Outcome
from tests.mutants.harness import run_suite, serving
from tests.mutants.media import fetching
from tests.mutants.sabotage import Sabotage


def test_a_gateway_that_fetches_each_image_once_is_judged(
    shared_upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Sabotage(monkeypatch)
    fetching(gateway)

    with serving(shared_upstream, gateway) as url:
        verdicts = run_suite(url, shared_upstream, tmp_path, "--gateway-only", "MEDIA-*")

    assert not verdicts.failed | verdicts.broken, verdicts.texts
    assert verdicts.outcomes["MEDIA-016"] == verdicts.outcomes["MEDIA-029"] == {Outcome.PASSED}
    assert verdicts.outcomes["MEDIA-015"] == verdicts.outcomes["MEDIA-021"] == {Outcome.NOT_APPLICABLE}
