"""The profile live on vLLM with the tiny model, over both of its routes that take tokens: the reference passes, and
gateways that are wrong in ways in which this engine differs from others are found out. What it sampled it scores
again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.cli import main
from conformance.fixtures import tiny_model_path
from conformance.recorded.scoring import scorer
from conformance.vocabulary.engine import RecordedEngine
from reference_gateway.config import STREAM, VLLM_ROUTES
from tests.live.conftest import recorded
from tests.live.judging import TOLERANCES, expect_found_out, expect_green, over
from tests.live.wrong import WRONG, Wrong
from tests.mutants import budget_defaults

pytestmark = pytest.mark.live_vllm

ABSENT_LIMIT = Wrong(
    "absent_limit_is_sent_as_null",
    "LIVE-030",
    frozenset({"LIVE-035", "LIVE-036"}),
    "A limit that is absent stays so, and this route samples 16 tokens then.",
    budget_defaults.absent_limit_is_sent_as_null,
)
FEW: dict[str, Wrong] = {
    ABSENT_LIMIT.name: ABSENT_LIMIT,
    **{
        name: WRONG[name]
        for name in (
            "answers_are_tokenised_again",
            "logprobs_are_shifted",
            "end_token_is_dropped",
            "limit_of_a_message_is_dropped",
            "refusals_of_the_engine_are_failures",
            "stop_string_stays_in_the_text",
            "hang_ups_are_not_heard",
            "what_came_so_far_is_recorded",
            "seed_is_dropped",
        )
    },
}


@pytest.mark.parametrize("stream", STREAM)
@pytest.mark.parametrize("route", VLLM_ROUTES)
def test_reference_passes(vllm: RecordedEngine, tmp_path: Path, route: str, stream: str) -> None:
    expect_green(vllm, tmp_path, backend="vllm", vllm_route=route, stream=stream)


@pytest.mark.parametrize("wrong", FEW.values(), ids=FEW)
def test_wrong_gateway_is_found_out(
    vllm: RecordedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Wrong
) -> None:
    expect_found_out(vllm, tmp_path, monkeypatch, wrong, backend="vllm")


@pytest.fixture
def run(vllm: RecordedEngine) -> Iterator[tuple[list[dict[str, Any]], Path]]:
    """The trajectories of four sessions of two turns over the routes, and the ledger of their recorder."""
    with recorded(vllm.engine) as engine:
        trajectories = [
            trajectory
            for route in VLLM_ROUTES
            for stream in STREAM
            for trajectory in _trajectories(engine, vllm_route=route, stream=stream)
        ]
        yield trajectories, engine.ledger


def _trajectories(engine: RecordedEngine, **config: Any) -> list[dict[str, Any]]:
    with over(engine, backend="vllm", **config) as url, httpx.Client(timeout=60) as http:
        settings = {"sampling_params": {"logprobs": True, "temperature": 1.0, "max_tokens": 60}}
        session = http.post(f"{url}/sessions", json=settings).json()
        messages: list[dict[str, Any]] = []
        for text in ("How is the weather in Oslo?", "And in Lima?"):
            messages.append({"role": "user", "content": text})
            body = {"model": "tiny", "messages": messages, "stream": False}
            answer = http.post(f"{session['base_url']}/chat/completions", json=body).json()
            messages.append(answer["choices"][0]["message"])
        exported = http.post(f"{url}/sessions/{session['session_id']}/finalize").json()["trajectories"]
    assert exported
    return list(exported)


def _check(capsys: pytest.CaptureFixture[str], vllm: RecordedEngine, folder: Path, *about: object) -> tuple[int, str]:
    """`check-trajectory` with vLLM for its scorer."""
    scoring = ("--score", f"vllm:{vllm.engine}", "--tolerance", TOLERANCES["vllm"])
    arguments = (folder / "run.jsonl", "--tokenizer", tiny_model_path(), *scoring, *about)
    return main(["check-trajectory", *map(str, arguments)]), capsys.readouterr().out


def _write(folder: Path, trajectories: list[dict[str, Any]]) -> None:
    (folder / "run.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in trajectories))


def test_vllm_scores_a_run_of_its_own(
    run: tuple[list[dict[str, Any]], Path], vllm: RecordedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trajectories, ledger = run
    _write(tmp_path, trajectories)

    code, out = _check(capsys, vllm, tmp_path, "--ledger", ledger)

    sampled = sum(sum(each["response_mask"]) for each in trajectories)
    assert (code, f"{sampled} sampled tokens, 0 over" in out) == (0, True), out


def test_what_is_not_what_vllm_sampled_is_told(
    run: tuple[list[dict[str, Any]], Path], vllm: RecordedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trajectories, _ = run
    trajectories[0]["prompt_ids"] = trajectories[0]["prompt_ids"][:-2]
    values = trajectories[1]["response_logprobs"]
    trajectories[1]["response_logprobs"] = [*values[1:], values[0]]
    _write(tmp_path, trajectories)

    code, out = _check(capsys, vllm, tmp_path)

    assert code == 1
    assert "shifted by one" in out, out
    assert "trajectory 0" in out, out


def test_vllm_scores_what_fills_its_context(vllm: RecordedEngine) -> None:
    assert vllm.max_model_len is not None
    ids = [number % 4000 + 5 for number in range(vllm.max_model_len)]
    places = [7, len(ids) - 2, len(ids) - 1]

    with closing(scorer(f"vllm:{vllm.engine}")) as served, closing(scorer(f"numpy:{tiny_model_path()}")) as dense:
        assert served.score(ids, places) == pytest.approx(dense.score(ids, places), abs=1e-3)
