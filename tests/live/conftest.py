"""llama.cpp with the tiny model, a recorder before it, and the suite against gateways over it (`tox -e live`)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.fixtures import tiny_model_path
from conformance.vocabulary.engine import RecordedEngine

SERVE = Path(__file__).parents[2] / "fixtures" / "serve_llama_cpp.py"


@pytest.fixture(scope="session")
def llama_cpp() -> Iterator[str]:
    """The URL of a real llama.cpp."""
    for package in ("xllamacpp", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: tox -e live")
    process = subprocess.Popen([sys.executable, str(SERVE), "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), "llama.cpp did not start"
    yield line.removeprefix("listening on ").strip()
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(scope="session")
def engine(llama_cpp: str) -> Iterator[RecordedEngine]:
    """The engine with a recorder before it."""
    recorded = RecordedEngine.record(llama_cpp, tiny_model_path())
    yield recorded
    recorded.close()
