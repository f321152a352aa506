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

from conformance.gateway import Trajectory
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import ANSWERED
from tests.clients import npm, pypi
from tests.clients.exported import create_session, finalize, one_chain
from tests.clients.nightly.conftest import Attempt, Run

pytestmark = pytest.mark.nightly_clients

SCRIPTS = Path(__file__).parent / "frameworks"
AI_SDK = Path(__file__).parent / "ai_sdk"

OPENAI, ANTHROPIC = "base_url", "anthropic_base_url"
BOTH = ("plain", "stream")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the model `says`, each the fields of a step, and what the script has `printed` of it. `refusal`: what the
    engine says where it refuses the last one, and `refusals`, how often the framework then asks for it. `rewritten` is
    for a framework that sends back another text than the model's: each generation is then a trajectory of its own."""

    says: Sequence[Mapping[str, Any]]
    printed: Sequence[str]
    refusal: str = "unknown token id"
    refusals: int = 1
    rewritten: bool = False


def calling(tool: str, **arguments: Any) -> Mapping[str, Any]:
    return {"text": "I will look.", "tool_calls": [{"name": tool, "arguments": arguments}]}


TOO_LONG = "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens."
SUNNY, WELCOME = "It is sunny.", "You are welcome."
FUNCTION = Conversation([calling("weather", city="Zürich"), {"text": SUNNY}, {"text": WELCOME}], [SUNNY, WELCOME])
MCP = Conversation([calling("mcp__sky__weather", city="Zürich"), *FUNCTION.says[1:]], FUNCTION.printed, refusals=6)
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
    refusal=TOO_LONG,  # whatever else is asked again, for minutes
)

FRAMEWORKS = [
    ("agent_framework", OPENAI, ("chat",), FUNCTION, BOTH),
    ("agent_framework", OPENAI, ("responses",), FUNCTION, BOTH),
    ("ai_sdk", ANTHROPIC, ("anthropic",), FUNCTION, BOTH),
    ("ai_sdk", OPENAI, ("openai-chat",), FUNCTION, BOTH),
    ("ai_sdk", OPENAI, ("openai-compatible",), FUNCTION, BOTH),
    ("ai_sdk", OPENAI, ("openai-responses",), FUNCTION, BOTH),
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
"""The name of the script, the URL of the session that it is given, what it is given behind the key, the nonce and the
mode, how its model talks, and its modes."""


def cases(every_mode: bool) -> list[Any]:
    """One for each mode of a framework, or for its last mode only."""
    return [
        pytest.param(name, url, (mode, *arguments), conversation, id=" ".join([name, *arguments, mode]))
        for name, url, arguments, conversation, modes in FRAMEWORKS
        for mode in (modes if every_mode else modes[-1:])
    ]


@pytest.fixture
def command(name: str, pytestconfig: pytest.Config, tmp_path: Path) -> list[str]:
    """Which runs the script of this name, with its packages installed."""
    if name == "ai_sdk":
        packages = npm.install(AI_SDK / "package.json", pytestconfig.cache)
        script = shutil.copy(AI_SDK / "agent.mjs", tmp_path)  # a module finds packages from where it stands
        (tmp_path / "node_modules").symlink_to(packages)
        return ["node", str(script)]
    agent = SCRIPTS / f"{name}_agent.py"
    return [str(pypi.install(pypi.dependencies(agent), pytestconfig.cache)), "-X", "utf8", str(agent)]


@pytest.mark.parametrize(("name", "url", "arguments", "conversation"), cases(every_mode=True))
def test_two_prompts_with_a_tool_call(
    gateway: httpx.Client,
    upstream: Upstream,
    run: Run,
    command: Sequence[str],
    tmp_path: Path,
    url: str,
    arguments: Sequence[str],
    conversation: Conversation,
) -> None:
    handle = create_session(gateway)
    for step in conversation.says:
        upstream.says(**step)

    given = (handle[url], handle["api_key"], upstream.nonce, *arguments)
    printed = run(*command, *given, cwd=tmp_path, variables={})

    assert printed.splitlines() == conversation.printed
    assert len(upstream.calls) == len(conversation.says), "something was asked twice"
    judge(conversation, finalize(gateway, handle, upstream), upstream)


@pytest.mark.parametrize(("name", "url", "arguments", "conversation"), cases(every_mode=False))
def test_an_engine_that_fails_for_a_while_and_one_that_refuses(
    gateway: httpx.Client,
    upstream: Upstream,
    attempt: Attempt,
    command: Sequence[str],
    tmp_path: Path,
    url: str,
    arguments: Sequence[str],
    conversation: Conversation,
) -> None:
    """The framework asks again where the engine is overloaded, within its conversation, and reports what the engine
    says of the last request; neither leaves anything in the export."""
    handle = create_session(gateway)
    called, *others, _ = conversation.says
    upstream.says(**called)
    upstream.fails(503, "overloaded", headers={"retry-after": "1"})
    for step in others:
        upstream.says(**step)
    for _ in range(conversation.refusals + 1):
        upstream.fails(400, conversation.refusal)

    given = (handle[url], handle["api_key"], upstream.nonce, *arguments)
    ended = attempt(*command, *given, cwd=tmp_path, variables={})

    written = ended.stdout + ended.stderr
    assert all(text in written for text in (*conversation.printed[:-1], conversation.refusal)), written
    failures = ["overloaded", *[conversation.refusal] * conversation.refusals]
    judge(conversation, finalize(gateway, handle, upstream, failures), upstream)


@pytest.mark.parametrize("name", ["claude_agent_sdk"])
@pytest.mark.parametrize("last_rewrite", ["rollback", "split"])
def test_a_history_that_the_agent_sums_up(
    gateway: httpx.Client, upstream: Upstream, run: Run, command: Sequence[str], tmp_path: Path, last_rewrite: str
) -> None:
    """Where the engine says that the context is too long, Claude Code asks for a summary of what stands before the last
    answer, and goes on from it in a new conversation."""
    handle = create_session(gateway, last_rewrite=last_rewrite)
    called, answered, thanked = MCP.says
    for step in (called, answered):
        upstream.says(**step)
    upstream.fails(400, TOO_LONG)
    upstream.says("<analysis>All of it.</analysis><summary>It is sunny there.</summary>")
    upstream.says(**thanked)

    given = (handle[ANTHROPIC], handle["api_key"], upstream.nonce, "stream")
    printed = run(*command, *given, cwd=tmp_path, variables={})

    assert printed.splitlines() == MCP.printed
    call, answer, summary, after = (call for call in upstream.calls if call.outcome == ANSWERED)
    assert "It is sunny there." in after.text, "the summary is not in the context"
    rolled_back = last_rewrite == "rollback"
    trajectories = finalize(gateway, handle, upstream, [TOO_LONG], superseded=[1] if rolled_back else [])
    chains = [[call, summary], [after]] if rolled_back else [[call, answer], [summary], [after]]
    assert len(trajectories) == len(chains)
    for chain in chains:
        assert one_chain(trajectories, chain)


def judge(conversation: Conversation, trajectories: Sequence[Trajectory], upstream: Upstream) -> None:
    """The tool's result was seen by the model, and each generation is trained once."""
    calls = [call for call in upstream.calls if call.outcome == ANSWERED]
    assert "sunny in Zürich" in calls[1].text, "what the tool returned is not in the next context"
    chains = [[call] for call in calls] if conversation.rewritten else [calls]
    assert len(trajectories) == len(chains)
    for chain in chains:
        assert one_chain(trajectories, chain)
