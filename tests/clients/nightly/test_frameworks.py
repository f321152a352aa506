"""Agent frameworks, unmodified and offline, run a tool on a session and go on with the conversation; the export is token
for token what the upstream saw and sampled."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.upstream.client import Upstream
from tests.clients import npm, pypi
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.conftest import Run

pytestmark = pytest.mark.nightly_clients

SCRIPTS = Path(__file__).parent / "frameworks"
AI_SDK = Path(__file__).parent / "ai_sdk"

OPENAI, ANTHROPIC = "base_url", "anthropic_base_url"
BOTH = ("plain", "stream")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the model `says`, each the fields of a step, and what the script has `printed` of it. `returned` is what the
    tool gave, which stands in the second context. `chains` is for a framework that rewrites what the model said before
    it sends it back: each of its generations is then a trajectory of its own."""

    says: Sequence[Mapping[str, Any]]
    printed: Sequence[str]
    returned: str = "sunny in Zürich"
    chains: int = 1


def conversation(function: str) -> Conversation:
    """With a tool that the request describes."""
    return Conversation(
        says=[
            {"text": "I will look.", "tool_calls": [{"name": function, "arguments": {"city": "Zürich"}}]},
            {"text": "It is sunny."},
            {"text": "You are welcome."},
        ],
        printed=["It is sunny.", "You are welcome."],
    )


FUNCTION = conversation("weather")


@pytest.mark.parametrize(
    ("script", "url", "arguments", "talk", "mode"),
    [
        pytest.param(script, url, arguments, talk, mode, id="-".join([script.removesuffix("_agent.py"), *arguments, mode]))
        for script, url, arguments, talk, modes in [
            ("langchain_agent.py", OPENAI, (), FUNCTION, BOTH),
            ("langgraph_agent.py", OPENAI, ("openai",), FUNCTION, BOTH),
            ("langgraph_agent.py", ANTHROPIC, ("anthropic",), FUNCTION, BOTH),
            ("litellm_agent.py", OPENAI, ("openai/any",), FUNCTION, BOTH),
            ("litellm_agent.py", ANTHROPIC, ("anthropic/any",), FUNCTION, BOTH),
            ("openai_agents_agent.py", OPENAI, (), FUNCTION, BOTH),
            ("pydantic_ai_agent.py", OPENAI, (), FUNCTION, BOTH),
        ]
        for mode in modes
    ],
)
def test_two_prompts_with_a_tool_call(
    gateway: httpx.Client,
    upstream: Upstream,
    run: Run,
    pytestconfig: pytest.Config,
    tmp_path: Path,
    script: str,
    url: str,
    arguments: Sequence[str],
    talk: Conversation,
    mode: str,
) -> None:
    python = pypi.install(SCRIPTS / script, pytestconfig.cache)
    handle = create_session(gateway)
    for step in talk.says:
        upstream.says(**step)

    command = (str(python), "-X", "utf8", str(SCRIPTS / script))
    given = (handle[url], handle["api_key"], upstream.nonce, mode, *arguments)
    printed = run(*command, *given, cwd=tmp_path, variables={})

    judge(talk, printed, gateway, handle, upstream)


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("anthropic", ANTHROPIC),
        ("openai-chat", OPENAI),
        ("openai-compatible", OPENAI),
        ("openai-responses", OPENAI),
    ],
)
def test_the_ai_sdk_with_each_of_its_providers(
    gateway: httpx.Client,
    upstream: Upstream,
    run: Run,
    pytestconfig: pytest.Config,
    tmp_path: Path,
    provider: str,
    url: str,
    mode: str,
) -> None:
    packages = npm.install(AI_SDK / "package.json", pytestconfig.cache)
    script = shutil.copy(AI_SDK / "agent.mjs", tmp_path)  # a module finds packages from where it stands
    (tmp_path / "node_modules").symlink_to(packages)
    handle = create_session(gateway)
    for step in FUNCTION.says:
        upstream.says(**step)

    given = (handle[url], handle["api_key"], upstream.nonce, mode, provider)
    printed = run("node", script, *given, cwd=tmp_path, variables={})

    judge(FUNCTION, printed, gateway, handle, upstream)


def judge(
    talk: Conversation, printed: str, gateway: httpx.Client, handle: Mapping[str, str], upstream: Upstream
) -> None:
    """The framework understood each generation, nothing was asked twice, and each is trained once."""
    assert printed.splitlines() == talk.printed
    calls = upstream.calls
    assert len(calls) == len(talk.says)
    assert talk.returned in calls[1].text, "what the tool returned is not in the next context"
    trajectories = finalize(gateway, dict(handle), upstream)
    assert len(trajectories) == talk.chains
    for chain in ([calls] if talk.chains == 1 else [[call] for call in calls]):
        assert one_chain(trajectories, chain)
