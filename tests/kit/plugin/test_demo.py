"""Hooks, deliveries and background tasks are judged on any gateway that has the demo, in every declared form."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.upstream.client import Upstream
from tests.kit.plugin.conftest import Kit, counts
from tests.mutants.harness import serving

PROFILES = ("--gateway-profile", "hooks,delivery,background-tasks")
EXAMPLE = Path(__file__).parents[3] / "docs" / "demo_gateway.py"


@pytest.fixture
def example(shared_upstream: Upstream) -> Iterator[str]:
    """The gateway of the documentation, which imports neither of our packages."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(EXAMPLE), "--upstream", shared_upstream.url, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_the_example_of_the_documentation_is_conformant(judge, example: str) -> None:
    assert "import conformance" not in EXAMPLE.read_text()
    assert "reference_gateway" not in EXAMPLE.read_text()

    result, report = judge("--gateway-url", example, "--gateway-profile", f"invocations,{PROFILES[1]}")

    assert result.ret == 0, result.stdout.str()
    for profile in ("invocations", "hooks", "delivery", "background-tasks"):
        assert report["profiles"][profile]["verdict"] == "conformant"


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"deployment": "reference_gateway.examples.demo:with_task_delivery"}, id="tasks"),
        pytest.param({"channel_options": {"run_hook": "before_stream_decision"}}, id="before"),
        pytest.param({"stream": "incremental"}, id="incremental"),
        pytest.param({"channel_options": {"invocations_frames": "json"}}, id="json-frames"),
    ],
)
def test_every_form_is_conformant(kit: Kit, shared_upstream: Upstream, config: dict[str, object]) -> None:
    with serving(shared_upstream, **config) as url:
        result = kit("--gateway-url", url, *PROFILES)
    assert result.ret == 0, result.stdout.str()
    assert "failed" not in counts(result)


def test_what_is_not_declared_does_not_apply(kit: Kit, shared_upstream: Upstream) -> None:
    with serving(shared_upstream, deployment=None) as url:
        result = kit("--gateway-url", url, "--gateway-only", "HOOK-*,DLV-*,RUN-*")
    assert set(counts(result)) == {"not_applicable"}
