"""The judgement on a GPU machine, as far as it needs none: what it says without one, what it starts, and its summary.

With the tiny model on a CPU it runs in `tests/live/test_live_transformers.py`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_torch_or_a_gpu_it_is_one_line_and_not_green(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert gpu.main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "gpu: torch is not installed: pip install 'gateway-conformance[transformers]'\n"

    class Torch(ModuleType):
        __version__ = "2.13.0"

        class cuda:  # noqa: N801
            @staticmethod
            def is_available() -> bool:
                return False

    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch", Torch("torch"))
    assert gpu.main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "gpu: torch 2.13.0 finds no GPU here: nothing was judged\n"
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_is_one_line(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_MODEL", str(tmp_path))
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path / "out")]) == 1
    assert f"there is no {tmp_path / 'config.json'}" in capsys.readouterr().err


def test_the_engines_are_those_that_can_be_imported(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    origins = {"vllm": "/site-packages/vllm/__init__.py", "sglang": None}  # the latter is a folder
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=origins[name]))
    assert gpu.engines() == ["transformers", "vllm"]


def test_engines_and_judgements_are_started_with_the_model(gpu: ModuleType) -> None:
    model = Path("/models/m")
    vllm = gpu.server_command("vllm", model, 8123, "bfloat16")
    assert vllm[:7] == [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", "/models/m", "--port", "8123")
    ]
    assert "--dtype bfloat16 --generation-config vllm" in " ".join(vllm)
    assert " ".join(gpu.server_command("sglang", model, 8123, "bfloat16")[2:7]) == (
        "sglang.launch_server --model-path /models/m --port 8123"
    )
    judge = " ".join(gpu.judge_command(["--gateway", "reference"], model, 0.0625, Path("/out/vllm.json"), None))
    assert judge.endswith(
        "--gateway reference --gateway-tokenizer /models/m --gateway-score transformers:/models/m "
        "--gateway-tolerance 0.0625 --gateway-report /out/vllm.json"
    )


@pytest.mark.parametrize(("largest", "tolerance"), [(0.05, 0.1), (1e-5, 1e-4), (0.0, 1e-4)])
def test_the_tolerance_follows_from_what_was_measured(gpu: ModuleType, largest: float, tolerance: float) -> None:
    assert gpu.tolerance_of({"largest": largest}) == pytest.approx(tolerance)


def test_an_engine_that_does_not_start_is_a_line_of_the_summary_and_not_green(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"largest": 0.05, "mean": 0.001, "tokens": 700}
    fine: dict[str, Any] = {
        "engine": "transformers",
        "version": "5.24.0",
        "measured": figures,
        "tolerance": 0.1,
        "exit_code": 0,
        "verdict": "conformant",
        "rescore": {**figures, "largest": 0.04},
        "seconds": 60,
    }

    def judged(engine: str, *_: Any) -> dict[str, Any]:
        if engine == "vllm":
            raise gpu.Failed("the engine did not start: out of memory")
        return fine

    monkeypatch.setattr(gpu, "judged", judged)
    monkeypatch.setattr(gpu.importlib.metadata, "version", lambda name: "2.13.0")
    monkeypatch.setattr(gpu, "engines", lambda: ["transformers"])
    arguments = ["--device", "cpu", "--out", str(tmp_path)]
    assert gpu.main(arguments) == 0
    monkeypatch.setattr(gpu, "engines", lambda: ["transformers", "vllm"])
    assert gpu.main(arguments) == 1
    summary = (tmp_path / "gpu.md").read_text()
    assert "| transformers 5.24.0 | conformant | 4.0e-02 at most, of 700 tokens |" in summary
    assert "| vllm | failed: the engine did not start: out of memory |" in summary
    assert summary in capsys.readouterr().out
    assert json.loads((tmp_path / "gpu.json").read_text())["engines"][0] == fine


def test_a_server_that_ends_at_once_is_told_by_its_last_words(gpu: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no memory')"]
    for ready in (None, "http://127.0.0.1:9"):
        with (
            pytest.raises(gpu.Failed, match="did not start: no memory"),
            gpu.running(command, tmp_path / "log", ready),
        ):
            pass
