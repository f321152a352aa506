"""A recorder in front of the scripted upstream, and one in front of an engine that answers with bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream

from ..upstream.caller import Caller
from .canned import CannedEngine


@dataclass
class Recording:
    """A recorder that runs, and its ledger."""

    url: str
    ledger: Path
    process: subprocess.Popen[str]
    _seen: int = 0

    def calls(self, least: int = 1) -> list[dict[str, Any]]:
        """The calls that were recorded since the last look, `least` of them at least."""
        for _ in range(500):
            found = self.ledger.read_text().splitlines()[self._seen :]
            if len(found) >= least:
                break
            time.sleep(0.02)
        self._seen += len(found)
        return [json.loads(line) for line in found]


@contextmanager
def recording(engine: str, ledger: Path, *arguments: str) -> Iterator[Recording]:
    command = [sys.executable, "-m", "conformance.cli", "record", "--engine", engine, "--ledger", str(ledger)]
    process = subprocess.Popen([*command, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        yield Recording(line.removeprefix("listening on ").strip(), ledger, process)
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream.start(fixture_path("chatml")) as upstream:
        yield upstream


@pytest.fixture
def scripted(server: Upstream) -> Iterator[Upstream]:
    server.begin()
    yield server
    server.end()


@pytest.fixture(scope="module")
def scripted_recording(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recording(server.url, tmp_path_factory.mktemp("recorder") / "calls.jsonl") as made:
        yield made


@pytest.fixture
def recorder(scripted_recording: Recording) -> Recording:
    """In front of the scripted upstream."""
    scripted_recording.calls(0)
    return scripted_recording


@pytest.fixture(scope="module")
def direct(server: Upstream) -> Iterator[Caller]:
    made = Caller(server.url, server.tokenizer)
    yield made
    made.http.close()


@pytest.fixture(scope="module")
def through(server: Upstream, scripted_recording: Recording) -> Iterator[Caller]:
    made = Caller(scripted_recording.url, server.tokenizer)
    yield made
    made.http.close()


@pytest.fixture(scope="module")
def bytes_engine() -> Iterator[CannedEngine]:
    engine = CannedEngine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def bytes_recording(bytes_engine: CannedEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recording(bytes_engine.url + "/v1/", tmp_path_factory.mktemp("recorder") / "calls.jsonl") as made:
        yield made


@pytest.fixture
def engine(bytes_engine: CannedEngine) -> CannedEngine:
    bytes_engine.requests.clear()
    bytes_engine.gone.clear()
    bytes_engine.connections = 0
    return bytes_engine


@pytest.fixture
def byte_recorder(bytes_recording: Recording) -> Recording:
    """In front of the engine that answers with bytes."""
    bytes_recording.calls(0)
    return bytes_recording
