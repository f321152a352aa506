"""What a person sees: the terminal text of failures, pinned line by line.

The gateways are copies of the reference with one defect put in by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from syrupy.assertion import SnapshotAssertion

from conformance.upstream.client import Upstream
from tests.kit.plugin.conftest import Kit
from tests.mutants.harness import serving
from tests.mutants.sabotage import Answer, Sabotage

# What differs from run to run -> what stands for it.
NOISE = (
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"#k\d{10}#", "#NONCE#"),
    (r"[+-]?\d+\.\d ms", "T ms"),
    (r'"created":\s*\d+', '"created": TIME'),
    (r'"(created_at|updated_at)":\s*[\d.]+', r'"\1": TIME'),
    (r"=*( \d+ passed.*) in \d+\.\d+s.*", r"=\1"),
    (r"\d+ deselected", "N deselected"),
    (r"upstream-port \d+", "upstream-port PORT"),
    (r"\(\d+ bytes\)", "(N bytes)"),
    (r"reference-gateway \S+", "reference-gateway VERSION"),
    # the digits of the nonce as token ids of the kit's tokenizer, one each
    (r"74,( ?)(?:\d+,\s?){10}", "74,DIGITS,"),
)


def seen(result: pytest.RunResult) -> str:
    """From the first failure to the closing line, without what differs from run to run."""
    text = result.stdout.str()
    text = text[text.index("= FAILURES =") : text.index("short test summary info")]
    for pattern, stand_in in NOISE:
        text = re.sub(pattern, stand_in, text)
    return re.sub(r"[ \t]+$", "", re.sub(r" *T ms", " T ms", text), flags=re.M).strip("= \n")


@contextmanager
def broken(upstream: Upstream, defect: Callable[[Sabotage], None]) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        defect(sabotage)
        with serving(upstream, sabotage) as url:
            yield url


def no_done(gateway: Sabotage) -> None:
    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chunk_stream:
            answer.body = answer.body.removesuffix(b"data: [DONE]\n\n")


def mask_off_by_one(gateway: Sabotage) -> None:
    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/trajectories"):
            document = answer.json
            for each in document["trajectories"]:
                each["response_mask"] = [0, *each["response_mask"][:-1]]
            answer.json = document


def envelope_without_message(gateway: Sabotage) -> None:
    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status == 400:
            answer.json = {"detail": answer.json["error"]["message"]}


@pytest.mark.parametrize(
    ("defect", "only"),
    [
        pytest.param(no_done, "STREAM-004", id="done is missing"),
        pytest.param(mask_off_by_one, "TOKEN-005", id="mask off by one"),
        pytest.param(envelope_without_message, "HTTP-004", id="no envelope"),
    ],
)
def test_failure_text(
    kit: Kit, shared_upstream: Upstream, snapshot: SnapshotAssertion, defect: Callable[[Sabotage], None], only: str
) -> None:
    with broken(shared_upstream, defect) as url:
        result = kit("--gateway-url", url, "--gateway-only", only, "-k", "not (mask and stream)")
    assert result.ret == 1
    assert seen(result) == snapshot


def test_the_end_leads_to_the_cause(kit: Kit, shared_upstream: Upstream) -> None:
    with broken(shared_upstream, mask_off_by_one) as url:
        result = kit("--gateway-url", url, "--gateway-only", "SPLIT-051,TOKEN-005")
    result.stdout.fnmatch_lines(["  failed: SPLIT-051 TOKEN-005", "  look first at: TOKEN-005"])


def test_green_text(kit: Kit, reference_url: str, snapshot: SnapshotAssertion) -> None:
    result = kit("--gateway-url", reference_url, "--gateway-only", "STREAM-004,CHAT-038")
    text = result.stdout.str()
    text = text[text.index("= gateway conformance =") :]
    for pattern, stand_in in NOISE:
        text = re.sub(pattern, stand_in, text)
    assert text.strip("= \n") == snapshot


PROBING = """
import httpx, pytest
from conformance.gateway import Gateway
@pytest.fixture(scope="session")
def gateway(upstream):
    for _ in range(2):
        httpx.post(upstream.url + "/v1/completions", json={{"prompt": [1, 2]}}).raise_for_status()
    return Gateway({url!r}, capabilities={capabilities})
"""
TOLD = '*2 calls of the upstream had no check\'s nonce in their context and were answered "OK."*'


def test_calls_of_no_check_are_told_where_something_failed(kit, reference_url, pytester) -> None:
    pytester.makeconftest(PROBING.format(url=reference_url, capabilities={"streaming"}))
    failed = kit("--gateway", "fixture", "--gateway-profile", "trajectories", "--gateway-only", "TOKEN-002")
    failed.stdout.fnmatch_lines([TOLD])
    passed = kit("--gateway", "fixture", "--gateway-only", "CHAT-001")
    assert passed.ret == 0
    passed.stdout.no_fnmatch_line(TOLD)
