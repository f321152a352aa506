"""Coding agents, unmodified and offline, do a task with a tool call on a session and go on with it; the file is
there, and the export is token for token what the upstream saw and sampled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.upstream.client import Upstream
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.coding_agents import TEXT, Pointed, claude_code, codex, opencode, qwen_code
from tests.clients.nightly.conftest import Run
from tests.clients.nightly.loopback import Loopback
from tests.clients.npm import install

pytestmark = pytest.mark.nightly_clients

MANIFEST = Path(__file__).parent / "agents" / "package.json"

HAS_TOOLS = "<tools>"
"""What the template writes only where the request has tools: an agent's own calls have them, those that it makes beside
them (a title, a topic) do not."""


@pytest.fixture
def path(network: Loopback, pytestconfig: pytest.Config) -> str:
    """A PATH on which the agents are."""
    return f"{install(MANIFEST, pytestconfig.cache) / '.bin'}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("pointed", [claude_code, codex, qwen_code, opencode])
def test_a_task_with_a_tool_call_in_two_prompts(
    gateway_url: str, upstream: Upstream, run: Run, path: str, tmp_path: Path, pointed: Pointed
) -> None:
    handle = create_session(gateway_url)
    folder = tmp_path / "work"
    folder.mkdir()
    agent = pointed(handle, folder / "note.txt")
    variables = {**agent.variables, "PATH": path}
    upstream.says("I will write it.", tool_calls=[agent.write], when=HAS_TOOLS)
    upstream.says("It is written.", when=HAS_TOOLS)
    upstream.says("You are welcome.", when=HAS_TOOLS)
    upstream.says("A title", when="title")

    first = run(*agent.ask, f"{upstream.nonce} Write note.txt", cwd=folder, variables=variables)
    second = run(*agent.go_on, f"Thank you", cwd=folder, variables=variables)

    assert "It is written." in first
    assert "You are welcome." in second
    assert (folder / "note.txt").read_text() == TEXT
    own = [call for call in upstream.calls if HAS_TOOLS in call.text]
    assert len(own) == 3
    assert one_chain(finalize(gateway_url, handle, upstream), own)


def test_nothing_but_loopback_is_there(run: Run, path: str, tmp_path: Path) -> None:
    printed = run("node", "-p", "Object.keys(os.networkInterfaces())", cwd=tmp_path, variables={})
    assert printed.strip() == "[ 'lo' ]"
