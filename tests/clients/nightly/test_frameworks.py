"""Agent frameworks for Python, unmodified and offline, run a tool on a session and go on with the conversation; the
export is token for token what the upstream saw and sampled."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.conftest import Run

pytestmark = pytest.mark.nightly_clients

SCRIPTS = Path(__file__).parent / "frameworks"


@pytest.mark.parametrize("mode", ["plain", "stream"])
@pytest.mark.parametrize(
    ("script", "package"),
    [
        pytest.param("langchain_agent.py", "langchain_openai", id="langchain-openai"),
        pytest.param("pydantic_ai_agent.py", "pydantic_ai", id="pydantic-ai"),
        pytest.param("openai_agents_agent.py", "agents", id="openai-agents"),
    ],
)
def test_two_prompts_with_a_tool_call(
    gateway: httpx.Client, upstream: Upstream, run: Run, tmp_path: Path, script: str, package: str, mode: str
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: run tox -e nightly-clients")
    handle = create_session(gateway)
    upstream.says("I will look.", tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says("It is sunny.")
    upstream.says("You are welcome.")

    command = (sys.executable, "-X", "utf8", str(SCRIPTS / script))
    given = (handle["base_url"], handle["api_key"], upstream.nonce, mode)
    printed = run(*command, *given, cwd=tmp_path, variables={})

    assert printed.splitlines() == ["It is sunny.", "You are welcome."]
    calls = upstream.calls
    assert len(calls) == 3
    assert "sunny in Zürich" in calls[1].text, "what the tool returned is not in the next context"
    trajectories = finalize(gateway, handle, upstream)
    assert len(trajectories) == 1
    assert one_chain(trajectories, calls)
