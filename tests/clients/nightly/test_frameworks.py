"""Agent frameworks, unmodified and offline, run a tool on a session and go on with the conversation; the export is
token for token what the upstream saw and sampled."""

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
    """What the model `says`, each the fields of a step, and what the script has `printed` of it. `rewritten` is for a
    framework that sends back another text than the model's: each generation is then a trajectory of its own."""

    says: Sequence[Mapping[str, Any]]
    printed: Sequence[str]
    rewritten: bool = False


def calling(tool: str, **arguments: Any) -> Mapping[str, Any]:
    return {"text": "I will look.", "tool_calls": [{"name": tool, "arguments": arguments}]}


SUNNY, WELCOME = "It is sunny.", "You are welcome."
FUNCTION = Conversation([calling("weather", city="Zürich"), {"text": SUNNY}, {"text": WELCOME}], [SUNNY, WELCOME])
MCP = Conversation([calling("mcp__sky__weather", city="Zürich"), *FUNCTION.says[1:]], FUNCTION.printed)
PYTHON = Conversation(
    [
        {"text": f"Thought: I go on.\n<code>\n{code}\n</code>"}
        for code in ('print(weather("Zürich"))', f'final_answer("{SUNNY}")', f'final_answer("{WELCOME}")')
    ],
    [SUNNY, WELCOME],
    rewritten=True,
)
SHELL = Conversation(
    [
        calling("bash", command="printf 'sunny in %s' Zürich"),
        calling("bash", command="printf 'it stays so'"),
        calling("bash", command=f"printf 'COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\\n{SUNNY}'"),
    ],
    [SUNNY],
)

FRAMEWORKS = [
    ("agent_framework", OPENAI, ("chat",), FUNCTION, BOTH),
    ("agent_framework", OPENAI, ("responses",), FUNCTION, BOTH),
    ("claude_agent_sdk", ANTHROPIC, (), MCP, BOTH),
    ("google_adk", OPENAI, (), FUNCTION, BOTH),
    ("inspect_ai", OPENAI, ("openai-api/gateway/any",), FUNCTION, BOTH),
    ("inspect_ai", OPENAI, ("openai/any",), FUNCTION, BOTH),
    ("inspect_ai", ANTHROPIC, ("anthropic/any",), FUNCTION, BOTH),
    ("langchain", OPENAI, (), FUNCTION, BOTH),
    ("langgraph", OPENAI, ("openai",), FUNCTION, BOTH),
    ("langgraph", ANTHROPIC, ("anthropic",), FUNCTION, BOTH),
    ("litellm", OPENAI, ("openai/any",), FUNCTION, BOTH),
    ("litellm", ANTHROPIC, ("anthropic/any",), FUNCTION, BOTH),
    ("mini_swe", OPENAI, (), SHELL, ("plain",)),
    ("openai_agents", OPENAI, (), FUNCTION, BOTH),
    ("pydantic_ai", OPENAI, (), FUNCTION, BOTH),
    ("smolagents", OPENAI, (), PYTHON, BOTH),
]
"""The script `frameworks/NAME_agent.py`, the URL of the session that it is given, what it is given behind the key, the
nonce and the mode, how its model talks, and its modes."""


@pytest.mark.parametrize(
    ("name", "url", "arguments", "conversation", "mode"),
    [
        pytest.param(name, url, arguments, conversation, mode, id=" ".join([name, *arguments, mode]))
        for name, url, arguments, conversation, modes in FRAMEWORKS
        for mode in modes
    ],
)
def test_two_prompts_with_a_tool_call(
    gateway: httpx.Client,
    upstream: Upstream,
    run: Run,
    pytestconfig: pytest.Config,
    tmp_path: Path,
    name: str,
    url: str,
    arguments: Sequence[str],
    conversation: Conversation,
    mode: str,
) -> None:
    script = SCRIPTS / f"{name}_agent.py"
    python = pypi.install(pypi.dependencies(script), pytestconfig.cache)
    handle = create_session(gateway)
    for step in conversation.says:
        upstream.says(**step)

    command = (str(python), "-X", "utf8", str(script))
    given = (handle[url], handle["api_key"], upstream.nonce, mode, *arguments)
    printed = run(*command, *given, cwd=tmp_path, variables={})

    judge(conversation, printed, gateway, handle, upstream)


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
    conversation: Conversation, printed: str, gateway: httpx.Client, handle: Mapping[str, str], upstream: Upstream
) -> None:
    """The framework understood each generation, nothing was asked twice, and each is trained once."""
    assert printed.splitlines() == conversation.printed
    calls = upstream.calls
    assert len(calls) == len(conversation.says)
    assert "sunny in Zürich" in calls[1].text, "what the tool returned is not in the next context"
    trajectories = finalize(gateway, dict(handle), upstream)
    chains = [[call] for call in calls] if conversation.rewritten else [calls]
    assert len(trajectories) == len(chains)
    for chain in chains:
        assert one_chain(trajectories, chain)
