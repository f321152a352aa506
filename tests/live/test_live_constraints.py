"""A format of an answer, left to a real llama.cpp: the tiny model, which knows no JSON Schema, is held to it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from conformance.vocabulary.engine import RecordedEngine
from tests.live.judging import over

pytestmark = pytest.mark.live

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


@pytest.mark.parametrize("stream", ["synthesised", "incremental"])
def test_an_answer_is_held_to_a_schema(llama_cpp: RecordedEngine, stream: str) -> None:
    with (
        over(llama_cpp, backend="llama_cpp", stream=stream, structured_outputs="engine") as url,
        httpx.Client(timeout=60) as http,
    ):
        session = http.post(f"{url}/sessions", json={}).json()
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "Where is it warm?"}],
            "response_format": FORMAT,
            "max_tokens": 200,
        }
        answer = http.post(f"{session['base_url']}/chat/completions", json=body).json()
        (trajectory,) = http.get(f"{url}/sessions/{session['session_id']}/trajectories").json()["trajectories"]

    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop", answer
    value = json.loads(choice["message"]["content"])
    assert value["city"] in ("Oslo", "Rome")
    assert type(value["warm"]) is bool
    assert set(value) == {"city", "warm"}
    assert sum(trajectory["response_mask"]) == answer["usage"]["completion_tokens"]
