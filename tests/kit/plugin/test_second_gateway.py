"""A gateway that shares no code with the reference is conformant for all that it claims.

Where it is not, either it is wrong, or the suite asks for our code and not for the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.fixtures import fixture_path

ROOT = Path(__file__).parents[3]

CONFTEST = """
import subprocess, sys
import pytest
from conformance.gateway import Gateway

@pytest.fixture(scope="session")
def gateway(upstream):
    command = [sys.executable, "-m", "tests.second_gateway", "--engine", upstream.url, "--tokenizer", {tokenizer!r}]
    with subprocess.Popen(command, cwd={root!r}, stdout=subprocess.PIPE, text=True) as process:
        yield Gateway(process.stdout.readline().removeprefix("listening on ").strip())
        process.terminate()
"""
CLAIMED = ("openai-chat", "sessions", "trajectories", "anthropic-messages")
JUDGED = 440
"""Requirements that must have been passed, not merely been found not to apply."""


def test_the_second_gateway_is_conformant(
    judge: Callable[..., tuple[pytest.RunResult, dict[str, Any]]], pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(CONFTEST.format(tokenizer=str(fixture_path("chatml")), root=str(ROOT)))
    # Shapes, which are the owner's to pin, are the only requirements below SHOULD.
    result, report = judge("--gateway", "fixture", "--gateway-profile", ",".join(CLAIMED), "--gateway-level", "SHOULD")
    assert report["gateway"]["name"] == "second-gateway", result.stdout.str()
    outcomes = {requirement["id"]: requirement["outcome"] for requirement in report["requirements"]}
    assert {requirement for requirement, outcome in outcomes.items() if outcome == "failed"} == set()
    assert set(outcomes.values()) == {"passed", "not_applicable"}
    assert list(outcomes.values()).count("passed") > JUDGED
