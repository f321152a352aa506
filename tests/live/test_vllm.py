"""The profile live on vLLM with the tiny model, over both of its routes that take tokens: the reference passes, and
gateways that are wrong in ways in which this engine differs from others are found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.vocabulary.engine import RecordedEngine
from reference_gateway.config import STREAM, VLLM_ROUTES
from tests.live.judging import expect_found_out, expect_green
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
            "limit_of_a_chat_is_dropped",
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
