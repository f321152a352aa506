"""What a gateway says of itself and of its sessions, right but for a place or two: read, or named as what it is."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.client.driving import DriverClient
from conformance.client.http import Recorder, client
from conformance.drivers.http import HttpDriver
from conformance.gateway import Declaration, Handle, Refused
from tests.fuzz.documents import bodies

DECLARATION = {
    "name": "gateway",
    "version": "1",
    "capabilities": ["sessions", "streaming"],
    "options": {"multi_chain": "true", "unknown": "x"},
}
SESSION = {
    "session_id": "s",
    "base_url": "http://gw/sessions/s/v1",
    "anthropic_base_url": "http://gw/sessions/s",
    "reward_info_url": None,
    "api_key": "k",
}
TRAJECTORIES = {
    "trajectories": [
        {
            "prompt_ids": [1],
            "response_ids": [2],
            "response_mask": [1],
            "response_logprobs": [-0.5],
            "reward_info": {},
            "num_turns": 1,
            "extra_fields": {},
        }
    ]
}
TURNS = {"turns": [{"events": [{"event_type": "turn_started"}]}]}
ANSWERS: dict[str, tuple[Any, Any]] = {
    "declare": (DECLARATION, lambda driver: driver.declare()),
    "create": (SESSION, lambda driver: driver.create()),
    "trajectories": (TRAJECTORIES, lambda driver: driver.trajectories(Handle("s", "http://gw/s/v1"))),
    "state": ({"session_id": "s"}, lambda driver: driver.state(Handle("s", "http://gw/s/v1"))),
    "turns": (TURNS, lambda driver: driver.turns(Handle("s", "http://gw/s/v1"))),
    "refusal": ({"error": {"message": "gone"}}, lambda driver: driver.finalize(Handle("s", "http://gw/s/v1"))),
}


def driver(status: int, body: bytes) -> HttpDriver:
    answer = httpx.Response(status, content=body, headers={"content-type": "application/json"})
    return HttpDriver("http://gw", DriverClient(client(Recorder(httpx.MockTransport(lambda _: answer)))))


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_without_a_fault_is_read(what):
    document, ask = ANSWERS[what]
    if what == "refusal":
        with pytest.raises(Refused, match="gone"):
            ask(driver(409, json.dumps(document).encode()))
    else:
        assert ask(driver(200, json.dumps(document).encode()))


@given(st.data(), st.sampled_from([200, 201, 404, 500]))
@pytest.mark.parametrize("what", ANSWERS)
def test_any_answer_is_read_or_named(what, data, status):
    document, ask = ANSWERS[what]
    try:
        found = ask(driver(status, data.draw(bodies(document))))
    except (Refused, ValueError):
        return
    if isinstance(found, Declaration):
        assert all(isinstance(value, str) for value in found.options.values())
    if isinstance(found, Handle):
        for name in ("anthropic_base_url", "reward_info_url", "invocations_url"):
            assert isinstance(getattr(found, name), str | None)
        assert isinstance(found.api_key, str)
