"""The client of llama-stack, in the versions before and after its agent moved, and as it is called now: its agent's
turns of text, with a tool of its own and with a search of the vector store that it filled, unmodified and offline."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from conformance.upstream.client import Upstream
from conformance.upstream.ledger import ANSWERED
from tests.clients import pypi
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.conftest import Attempt, Run

pytestmark = pytest.mark.nightly_clients

SCRIPT = Path(__file__).parent / "frameworks" / "llama_stack_agent.py"
PYTHON = (3, 12)
"""What these packages need at least."""


@pytest.fixture(scope="module", params=["llama-stack-client==0.3.0", "llama-stack-client==0.7.0", "ogx-client==1.5.0"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def python(client: str, pytestconfig: pytest.Config) -> str:
    """An interpreter that has this version of the client, in an environment of its own: two cannot share one."""
    return str(pypi.install([client], pytestconfig.cache, at_least=PYTHON))


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


def test_an_engine_that_fails_for_a_while_and_one_that_refuses(
    gateway: httpx.Client, upstream: Upstream, attempt: Attempt, tmp_path: Path, client: str, python: str
) -> None:
    """ogx-client never asks again."""
    handle = create_session(gateway)
    upstream.says("Hello to you.")
    upstream.says("I will look.", tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    overloaded = [] if client.startswith("ogx") else ["overloaded"]
    for message in overloaded:
        upstream.fails(503, message, headers={"retry-after": "1"})
    upstream.says("It is sunny.")
    upstream.fails(400, "unknown token id")

    given = (handle["base_url"], handle["api_key"], upstream.nonce, "stream")
    ended = attempt(python, "-X", "utf8", str(SCRIPT), *given, cwd=tmp_path, variables={})

    assert ended.stdout.splitlines() == [
        "inference, Hello to you.",
        "inference, tool_execution, inference, It is sunny.",
    ]
    assert "unknown token id" in ended.stderr
    trajectories = finalize(gateway, handle, upstream, [*overloaded, "unknown token id"])
    assert len(trajectories) == 1
    assert one_chain(trajectories, [call for call in upstream.calls if call.outcome == ANSWERED])
