"""The profile live on llama.cpp with the tiny model: the reference passes, and each wrong gateway is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.vocabulary.engine import RecordedEngine
from tests.live.judging import expect_found_out, expect_green
from tests.live.wrong import WRONG, Wrong

pytestmark = pytest.mark.live


@pytest.mark.parametrize("stream", ["synthesised", "incremental"])
def test_reference_passes(llama_cpp: RecordedEngine, tmp_path: Path, stream: str) -> None:
    expect_green(llama_cpp, tmp_path, backend="llama_cpp", stream=stream)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_gateway_is_found_out(
    llama_cpp: RecordedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Wrong
) -> None:
    expect_found_out(llama_cpp, tmp_path, monkeypatch, wrong, backend="llama_cpp")
