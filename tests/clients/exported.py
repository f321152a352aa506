"""What a session exported, held against the upstream's ledger: the end of every test of a client."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import httpx

from conformance.gateway import Trajectory
from conformance.oracles import token_truth
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import ANSWERED, FAILED, Call

FIELDS = ("prompt_ids", "response_ids", "response_mask", "response_logprobs")


def create_session(gateway: httpx.Client, **options: str) -> dict[str, str]:
    """The session's handle: its id, the URLs that clients are given, and their key where the gateway has keys."""
    return gateway.post("/sessions", json={"options": options}).raise_for_status().json()


def finalize(
    gateway: httpx.Client,
    handle: Mapping[str, str],
    upstream: Upstream,
    failures: Sequence[str] = (),
    superseded: Collection[int] = (),
) -> list[Trajectory]:
    """The session's trajectories. Asserts that every call was scripted and answered, but for the engine's `failures` in
    their order, and that the trajectories are token for token what the upstream received and returned, but for the
    generations of which the places are `superseded`."""
    answer = gateway.post(f"/sessions/{handle['session_id']}/finalize").raise_for_status()
    exported: list[dict[str, Any]] = answer.json()["trajectories"]
    trajectories = [Trajectory(**{name: each[name] for name in FIELDS}) for each in exported]
    calls = [call for call in upstream.calls if call.outcome == ANSWERED]
    others = [(call.outcome, call.message) for call in upstream.calls if call.outcome != ANSWERED]
    assert others == [(FAILED, message) for message in failures]
    assert calls, "no call carried the nonce of this test"
    assert token_truth.judge(trajectories, calls, superseded, decode=upstream.tokenizer.decode) == []
    return trajectories


def one_chain(trajectories: Sequence[Trajectory], calls: Sequence[Call]) -> bool:
    """Whether one trajectory has all that these calls generated, and nothing else, as trainable tokens."""
    generated = [token for call in calls for token in call.generation]
    return any(
        [token for token, mask in zip(each.response_ids, each.response_mask, strict=True) if mask] == generated
        for each in trajectories
    )
