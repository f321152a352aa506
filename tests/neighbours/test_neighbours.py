"""The kit beside other plug-ins of pytest: the same verdict, and a check that was run again is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.neighbours

OURS = ("gateway-conformance", "syrupy")
CHOSEN = "CHAT-00*,STREAM-00*,LIFE-00*,TOKEN-00*,SPLIT-00*,SHAPE-*"
NEIGHBOURS = {
    "asyncio": ("pytest-asyncio", ("--asyncio-mode=auto",)),
    "check": ("pytest-check", ()),
    "cov": ("pytest-cov", ("--cov=conformance", "--cov-report=")),
    "html": ("pytest-html pytest-metadata", ("--html=report.html", "--self-contained-html")),
    "loadscope": ("pytest-xdist", ("-n", "2", "--dist", "loadscope")),
    "randomly": ("pytest-randomly", ("-p", "randomly")),
    "rerunfailures": ("pytest-rerunfailures", ("--reruns", "2")),
    "sugar": ("pytest-sugar", ("--force-sugar",)),
    "timeout": ("pytest-timeout", ("--timeout=60",)),
}
"""Name -> its packages, and how a run uses it."""


def judge(folder: Path, *arguments: str, beside: tuple[str, ...] = ()) -> tuple[dict[str, Any], str]:
    """A run in which no other plug-ins are loaded than the kit's and those of the packages `beside`."""
    plugins = [
        entry.name
        for package in (*OURS, *beside)
        for entry in distribution(package).entry_points
        if entry.group == "pytest11"
    ]
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", *(part for name in plugins for part in ("-p", name)), *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "120"}
    command += ["-p", "no:cacheprovider", "--gateway-report", str(report)]
    run = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert report.exists(), run.stdout + run.stderr
    return json.loads(report.read_text("utf-8")), run.stdout


def outcomes(report: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Requirement -> its checks and how each ended."""
    return {
        requirement["id"]: sorted((check["name"], check["outcome"]) for check in requirement["checks"])
        for requirement in report["requirements"]
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    report, _ = judge(tmp_path_factory.mktemp("alone"), "--gateway", "reference", "--gateway-only", CHOSEN)
    return report


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_the_verdict_is_the_same(name: str, alone: dict[str, Any], tmp_path: Path) -> None:
    packages, arguments = NEIGHBOURS[name]
    report, _ = judge(
        tmp_path, "--gateway", "reference", "--gateway-only", CHOSEN, *arguments, beside=tuple(packages.split())
    )
    assert len(report["requirements"]) > 50
    assert outcomes(report) == outcomes(alone)
    assert report["profiles"] == alone["profiles"]


FLAKY = """
import pytest
from conformance.suite.fixtures import *
from conformance.vocabulary.expect import fail

RUNS = []

@pytest.mark.requirement(id="CHAT-001")
def test_flaky(session, upstream):
    RUNS.append(1)
    if len(RUNS) < 3:
        fail("here", "this", "that")
"""


def test_a_check_that_was_run_again_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_flaky.py").write_text(FLAKY)
    arguments = ("--gateway", "reference", "test_flaky.py", "--reruns", "2")
    report, printed = judge(tmp_path, *arguments, beside=("pytest-rerunfailures",))
    (check,) = report["requirements"][0]["checks"]
    assert (check["outcome"], check["reruns"]) == ("passed", 2)
    assert "  failed at first, and run again: CHAT-001" in printed.splitlines()
