"""The ledger of an engine in this process: lines that the kit reads as those of a recorder."""

from __future__ import annotations

import json
from pathlib import Path

from conformance.fixtures import fixture_path
from conformance.recorded.file import read_ledger
from conformance.upstream.ledger import ABORTED, ANSWERED, PENDING
from conformance.vocabulary.engine import RecordedEngine
from reference_gateway.backends.ledger import Ledger
from reference_gateway.context import Context

ENGINE = {"name": "own", "version": "1", "model": "m", "max_model_len": 64}


def test_a_call_is_written_when_it_arrives_and_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    ledger = Ledger(path, ENGINE)
    first = ledger.arrived(Context.of([1, 2]), {"temperature": 0.5, "logit_bias": {7: 1.0}}, "s-1")
    second = ledger.arrived([1], {}, "s-2")
    second.close(ABORTED, message="the gateway hung up")
    first.close(ANSWERED, [3, 4], logprobs=[-0.5, -1.0], finish_reason="stop", stop_reason="x", status=200)
    first.close(ABORTED)
    ledger.close()
    second.close(ANSWERED)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"engine": ENGINE}
    assert [(line["index"], line["outcome"]) for line in lines[1:]] == [
        *((0, PENDING), (1, PENDING)),
        *((1, ABORTED), (0, ANSWERED)),
    ]
    calls = read_ledger(path)
    assert [(call.context, call.generations, call.logprobs, call.outcome) for call in calls] == [
        ([1], [], None, ABORTED),
        ([1, 2], [[3, 4]], [-0.5, -1.0], ANSWERED),
    ]


def test_it_is_read_as_a_recorders(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.touch()
    engine = RecordedEngine.in_process(fixture_path("chatml"), path)
    engine.begin()
    ledger = Ledger(path, ENGINE)
    call = ledger.arrived(engine.tokenizer.encode(f"{engine.nonce} Hi"), {"max_new_tokens": 5}, "s-1")
    assert [each.outcome for each in engine.calls] == [PENDING]
    call.close(ANSWERED, [], finish_reason="length")
    (known,) = engine.calls
    assert (known.outcome, known.generation, known.max_tokens, known.finish_reason) == (ANSWERED, [], 5, "length")
    assert known.headers == {"x-session-id": "s-1"}
    assert known.answered >= known.arrived
    ledger.close()
