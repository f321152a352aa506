"""The client of llama-stack, in the versions before and after its agent moved, and as it is called now: its agent's
turns of text, with a tool of its own and with a search of the vector store that it filled, unmodified and offline."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.clients import pypi
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.conftest import Run

pytestmark = pytest.mark.nightly_clients

SCRIPT = Path(__file__).parent / "frameworks" / "llama_stack_agent.py"
PYTHON = (3, 12)
"""What these packages need at least."""


@pytest.fixture(scope="module", params=["llama-stack-client==0.3.0", "llama-stack-client==0.7.0", "ogx-client==1.5.0"])
def python(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> str:
    """An interpreter that has one version of the client, in an environment of its own: two cannot share one."""
    return str(pypi.install([request.param], pytestconfig.cache, at_least=PYTHON))


@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_turns_of_the_agent(
    gateway: httpx.Client, upstream: Upstream, run: Run, tmp_path: Path, python: str, mode: str
) -> None:
    handle = create_session(gateway)
    upstream.says("Hello to you.")
    upstream.says("I will look.", tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says("It is sunny.")
    upstream.says(tool_calls=[{"name": "file_search", "arguments": {"query": "lighthouse"}}])
    upstream.says("In Zürich.")

    given = (handle["base_url"], handle["api_key"], upstream.nonce, mode)
    printed = run(python, "-X", "utf8", str(SCRIPT), *given, cwd=tmp_path, variables={})

    said = ["Hello to you.", "It is sunny.", "In Zürich."]
    steps = ["inference", "inference, tool_execution, inference", "inference, tool_execution, inference"]
    expected = said if mode == "plain" else [f"{step}, {text}" for step, text in zip(steps, said, strict=True)]
    assert printed.splitlines() == expected
    calls = upstream.calls
    assert len(calls) == 5
    assert "sunny in Zürich" in calls[2].text, "what the client's tool returned is not in the next context"
    assert "[lighthouse.md]\nThe lighthouse stands in Zürich." in calls[4].text, "the passage is not in the context"
    trajectories = finalize(gateway, handle, upstream)
    assert len(trajectories) == 1
    assert one_chain(trajectories, calls)
