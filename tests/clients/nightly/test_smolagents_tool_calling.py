"""smolagents' ToolCallingAgent, unmodified and offline, on a gateway that leaves forced calls to its engine: each turn
is a call, which the model would sooner not make, and is exported token for token, once."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.clients import pypi
from tests.clients.exported import create_session, finalize
from tests.clients.nightly.conftest import Run

pytestmark = pytest.mark.nightly_clients

SCRIPT = Path(__file__).parent / "frameworks" / "smolagents_tool_calling_agent.py"
SOONER = [{"text": "I would rather talk."}]


@pytest.mark.parametrize("structured_outputs", ["engine"], indirect=True)
@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_each_turn_is_a_forced_call(
    gateway: httpx.Client, upstream: Upstream, run: Run, pytestconfig: pytest.Config, tmp_path: Path, mode: str
) -> None:
    python = pypi.install(pypi.dependencies(SCRIPT), pytestconfig.cache)
    handle = create_session(gateway)
    for name, argument in (
        ("weather", {"city": "Zürich"}),
        ("final_answer", {"answer": "It is sunny."}),
        ("final_answer", {"answer": "You are welcome."}),
    ):
        upstream.says(tool_calls=[{"name": name, "arguments": argument}], rather=SOONER)

    command = (str(python), "-X", "utf8", str(SCRIPT))
    printed = run(*command, handle["base_url"], handle["api_key"], upstream.nonce, mode, cwd=tmp_path, variables={})

    assert printed.splitlines()[-2:] == ["It is sunny.", "You are welcome."]
    calls = upstream.calls
    assert len(calls) == 3
    assert "sunny in Zürich" in calls[1].text, "what the tool returned is not in the next context"
    assert all("final_answer" in json.dumps(call.body) for call in calls), "a call that is no constraint's"
    # It echoes its calls as text of its own, so each turn is a trajectory.
    trained = sum(sum(each.response_mask) for each in finalize(gateway, handle, upstream))
    assert trained == sum(len(call.generation) for call in calls), "a turn is trained on once"
