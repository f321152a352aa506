"""A real engine with the tiny model, a recorder before it, and the suite against gateways over it: llama.cpp
(`tox -e live`), vLLM (`tox -e live-vllm`)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.fixtures import tiny_model_path
from conformance.vocabulary.engine import RecordedEngine

FIXTURES = Path(__file__).parents[2] / "fixtures"


@contextmanager
def serving(script: str, tox: str, *packages: str) -> Iterator[str]:
    """The URL of the engine that a script of `fixtures/` starts; without its packages the test is skipped."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: tox -e {tox}")
    process = subprocess.Popen(
        [sys.executable, str(FIXTURES / script), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), f"{script} did not start"
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextmanager
def recorded(url: str) -> Iterator[RecordedEngine]:
    """The engine with a recorder before it."""
    engine = RecordedEngine.record(url, tiny_model_path())
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def llama_cpp() -> Iterator[RecordedEngine]:
    """A real llama.cpp."""
    with serving("serve_llama_cpp.py", "live", "xllamacpp", "gguf") as url, recorded(url) as engine:
        yield engine


@pytest.fixture(scope="session")
def vllm() -> Iterator[RecordedEngine]:
    """A real vLLM."""
    with serving("serve_vllm.py", "live-vllm", "vllm") as url, recorded(url) as engine:
        yield engine
