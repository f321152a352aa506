"""Gateways with keys: one for each session, or one for everything."""

from __future__ import annotations

import pytest

from conformance.upstream.client import Upstream
from reference_gateway.serving.access import Access
from tests.mutants.harness import serving

KEYS = "WIRE-042,WIRE-043,WIRE-044,WIRE-045"


def test_the_reference_is_started_with_a_key(judge) -> None:
    result, report = judge("--gateway", "reference-keys", "--gateway-only", f"{KEYS},LIFE-006")
    assert result.ret == 0, result.stdout.str()
    assert {entry["outcome"] for entry in report["requirements"]} == {"passed"}


def test_one_key_for_everything(judge, shared_upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "sk-of-the-gateway")
    monkeypatch.setattr(Access, "session_key", lambda self, session_id: None)
    monkeypatch.setattr(Access, "require_session", lambda self, headers, *_, **how: self.require_admin(headers))
    with serving(shared_upstream, api_key="sk-of-the-gateway") as url:
        result, report = judge("--gateway-url", url, "--gateway-only", f"{KEYS},CHAT-007,MSG-030")
    assert result.ret == 0, result.stdout.str()
    outcomes = {entry["id"]: entry["outcome"] for entry in report["requirements"]}
    assert outcomes["CHAT-007"] == "passed"
    assert outcomes["MSG-030"] == "passed"
