"""The unmodified SDKs for Node hold a conversation with a tool call over a session, and the export is right token for
token: the client's answers, the upstream's ledger and the trajectory are three records of one exchange."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.npm import install

pytestmark = pytest.mark.clients

SCRIPTS = Path(__file__).parent / "node"
RUN_S = 60

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(pytestconfig: pytest.Config, tmp_path: Path) -> Run:
    """Runs a script of `node/` and gives what it printed. A module finds packages from where it stands, so the scripts
    are copied beside the packages."""
    packages = install(SCRIPTS / "package.json", pytestconfig.cache)
    folder = Path(shutil.copytree(SCRIPTS, tmp_path / "node"))
    (folder / "node_modules").symlink_to(packages)

    def call(script: str, *arguments: str) -> dict[str, Any]:
        command = ["node", str(folder / script), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return call


@pytest.mark.parametrize("mode", ["plain", "stream"])
@pytest.mark.parametrize(
    ("script", "url", "ended"),
    [
        pytest.param("openai_chat.mjs", "base_url", ["stop", "tool_calls", "stop"], id="openai-chat"),
        pytest.param("openai_responses.mjs", "base_url", ["completed"] * 3, id="openai-responses"),
        pytest.param(
            "anthropic_messages.mjs", "anthropic_base_url", ["end_turn", "tool_use", "end_turn"], id="anthropic"
        ),
    ],
)
def test_three_turns_with_a_tool_call(
    gateway: httpx.Client, upstream: Upstream, run: Run, script: str, url: str, ended: list[str], mode: str
) -> None:
    handle = create_session(gateway)
    upstream.says("Hello! What would you like to know?")
    upstream.says("I will look.", tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says("It is sunny in Zürich ☀.")

    understood = run(script, handle[url], upstream.nonce, mode)

    assert understood == {
        "texts": ["Hello! What would you like to know?", "I will look.\n", "It is sunny in Zürich ☀."],
        "ended": ended,
        "call": {"name": "weather", "arguments": {"city": "Zürich"}},
    }
    trajectories = finalize(gateway, handle, upstream)
    assert len(trajectories) == 1
    assert one_chain(trajectories, upstream.calls)
