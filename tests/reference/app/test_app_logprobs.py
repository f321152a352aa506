"""What a trajectory says that its log-probabilities are of."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_doubles import Told, gateway

from reference_gateway.backends.llama_cpp import LlamaCppBackend
from reference_gateway.backends.sglang import SglangBackend
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.types import Generation

SAMPLED = Generation([72, 105], [-1, -2.5], "stop")


class Raw(Told):
    logprobs_kind = "raw"


class Scaled(Told):
    logprobs_kind = "scaled"


def said(backend: Told, *turns: dict[str, Any], **sampling: Any) -> list[dict[str, Any]]:
    """`extra_fields` of each trajectory of a conversation with these fields in its requests."""
    texts = ["Hi"]
    with gateway(backend) as client:
        session = client.open(sampling_params={"logprobs": True, **sampling})
        for fields in turns:
            answer = client.chat(session, *texts, **fields)
            assert answer.status_code == 200, answer.text
            texts += [answer.json()["choices"][0]["message"]["content"], "More"]
        return [each["extra_fields"] for each in client.http.get(f"{session}/trajectories").json()["trajectories"]]


@pytest.mark.parametrize(
    ("backend", "turns", "sampling", "told"),
    [
        (Raw, ({"temperature": 0.5},), {}, {"logprobs": "raw"}),
        (Scaled, ({},), {}, {"logprobs": "scaled", "logprobs_temperature": 1.0}),
        (Scaled, ({},), {"temperature": 0.5}, {"logprobs": "scaled", "logprobs_temperature": 0.5}),
        (
            Scaled,
            ({"temperature": 0.7}, {"temperature": 0.5}),
            {},
            {"logprobs": "scaled", "logprobs_temperature": [0.5, 0.7]},
        ),
        (Told, ({},), {}, {}),
        (Scaled, ({},), {"logprobs": False}, {}),
    ],
)
def test_a_trajectory_says_what_its_log_probabilities_are_of(backend, turns, sampling, told):
    assert said(backend(*[SAMPLED] * len(turns)), *turns, **sampling) == [told]


def test_each_engine_has_a_kind():
    kinds = {backend.name: backend.logprobs_kind for backend in (VllmBackend, SglangBackend, LlamaCppBackend)}
    assert kinds == {"vllm": "raw", "sglang": "scaled", "llama_cpp": "raw"}
