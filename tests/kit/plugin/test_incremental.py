"""The reference gateway with `--stream incremental` passes the same suite, and the checks that only it can be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.upstream.client import Upstream
from tests.kit.plugin.conftest import Kit, counts
from tests.mutants.harness import serving

PROFILES = ("--gateway-profile", "openai-chat,trajectories,anthropic-messages")


def test_the_suite_passes(kit: Kit, shared_upstream: Upstream, suite_folder: Path) -> None:
    with serving(shared_upstream, stream="incremental") as url:
        result = kit("--gateway-url", url, *PROFILES, "--gateway-snapshots", str(suite_folder / "shapes"))
    assert result.ret == 0, result.stdout.str()
    assert "failed" not in counts(result)


@pytest.mark.parametrize("requirement", ["STREAM-023", "STREAM-024", "COMMIT-018"])
def test_what_only_an_incremental_stream_can_show(kit: Kit, shared_upstream: Upstream, requirement: str) -> None:
    with serving(shared_upstream, stream="incremental") as url:
        result = kit("--gateway-url", url, "--gateway-only", requirement)
    assert counts(result) == {"passed": 1}
