"""Coding agents, unmodified and offline, do a task with a tool call on a session and go on with it; the file is
there, and the export is token for token what the upstream saw and sampled."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.coding_agents import TEXT, Pointed, claude_code, codex, opencode, qwen_code
from tests.clients.nightly.conftest import Run
from tests.clients.nightly.loopback import Loopback
from tests.clients.npm import install

pytestmark = pytest.mark.nightly_clients

MANIFEST = Path(__file__).parent / "agents" / "package.json"

BESIDE = "Nothing."
"""What the model says to the calls that an agent makes beside its own: for a title, for its memory."""
CALLS_BESIDE = 4
"""At most."""


@pytest.fixture
def path(network: Loopback, pytestconfig: pytest.Config) -> str:
    """A PATH on which the agents are."""
    return f"{install(MANIFEST, pytestconfig.cache) / '.bin'}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("pointed", [claude_code, codex, qwen_code, opencode])
def test_a_task_with_a_tool_call_in_two_prompts(
    gateway: httpx.Client, upstream: Upstream, run: Run, path: str, tmp_path: Path, pointed: Pointed
) -> None:
    handle = create_session(gateway)
    folder = tmp_path / "work"
    folder.mkdir()
    agent = pointed(handle, folder / "note.txt")
    variables = {**agent.variables, "PATH": path}
    upstream.says("I will write it.", tool_calls=[agent.write], when="<tools>")  # a call for a title has no tools
    upstream.says("It is written.", when="I will write it.")
    upstream.says("You are welcome.", when="Thank you for the note")
    for _ in range(CALLS_BESIDE):
        upstream.says(BESIDE)

    first = run(*agent.ask, f"{upstream.nonce} Write note.txt", cwd=folder, variables=variables)
    second = run(*agent.go_on, "Thank you for the note", cwd=folder, variables=variables)

    assert "It is written." in first
    assert "You are welcome." in second
    assert (folder / "note.txt").read_text() == TEXT
    own = [call for call in upstream.calls if upstream.tokenizer.decode(call.generation, skip_special=True) != BESIDE]
    assert len(own) == 3
    trajectories = finalize(gateway, handle, upstream)
    for chain in (own[:2], own[2:]) if agent.relists else (own,):
        assert one_chain(trajectories, chain)


def test_nothing_but_loopback_is_there(run: Run, path: str, tmp_path: Path) -> None:
    printed = run("node", "-p", "Object.keys(os.networkInterfaces())", cwd=tmp_path, variables={})
    assert printed.strip() == "[ 'lo' ]"
