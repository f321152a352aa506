"""How each coding agent is pointed at a session of the gateway, and what its tool for writing a file is called.

Knows the command lines and settings of the agents, as their `--help` has them; nothing of the test that runs them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class CodingAgent:
    """`ask` is the command line of a new conversation and `go_on` that of the next prompt in it, each less the prompt,
    which comes last. `write` is the call with which a model writes `TEXT` into the file. `relists` is for an agent that
    lists the folder in its first message, and lists it anew when the conversation goes on: its history has then
    changed where it begins, so what goes on is another trajectory."""

    ask: tuple[str, ...]
    go_on: tuple[str, ...]
    variables: Mapping[str, str]
    write: Mapping[str, Any]
    relists: bool = False


TEXT = "Zürich ☀\n"

Pointed = Callable[[Mapping[str, str], Path], CodingAgent]
"""From the handle of a session and the file to write."""


def claude_code(handle: Mapping[str, str], file: Path) -> CodingAgent:
    ask = ("claude", "--allowedTools=Write", "--print")
    return CodingAgent(
        ask=ask,
        go_on=(*ask, "--continue"),
        variables={"ANTHROPIC_BASE_URL": handle["anthropic_base_url"], "ANTHROPIC_API_KEY": handle["api_key"]},
        write={"name": "Write", "arguments": {"file_path": str(file), "content": TEXT}},
    )


def codex(handle: Mapping[str, str], file: Path) -> CodingAgent:
    provider = f'{{name="gateway", base_url="{handle["base_url"]}", env_key="GATEWAY_API_KEY", wire_api="responses"}}'
    settings = (
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",  # its sandbox is a namespace too, and namespaces may not nest
        *("--model", "any", "--config", 'model_provider="gateway"', "--config", f"model_providers.gateway={provider}"),
    )
    command = f"printf '%s\\n' '{TEXT.strip()}' > {file.name}"
    return CodingAgent(
        ask=("codex", "exec", *settings),
        go_on=("codex", "exec", "resume", "--last", *settings),
        variables={"GATEWAY_API_KEY": handle["api_key"]},
        write={"name": "exec_command", "arguments": {"cmd": command}},
    )


def qwen_code(handle: Mapping[str, str], file: Path) -> CodingAgent:
    settings = ("--auth-type", "openai", "--openai-base-url", handle["base_url"], "--openai-api-key", handle["api_key"])
    ask = ("qwen", *settings, "--model", "any", "--approval-mode", "auto-edit")
    return CodingAgent(
        ask=ask,
        go_on=(*ask, "--continue"),
        variables={},
        write={"name": "write_file", "arguments": {"file_path": str(file), "content": TEXT}},
        relists=True,
    )


def opencode(handle: Mapping[str, str], file: Path) -> CodingAgent:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": handle["base_url"], "apiKey": handle["api_key"]},
        "models": {"any": {}},
    }
    ask = ("opencode", "run", "--model", "gateway/any", "--auto")
    return CodingAgent(
        ask=ask,
        go_on=(*ask, "--continue"),
        variables={"OPENCODE_CONFIG_CONTENT": json.dumps({"provider": {"gateway": provider}})},
        write={"name": "write", "arguments": {"filePath": str(file), "content": TEXT}},
    )
