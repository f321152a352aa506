"""A run of the reference gateway through the recorder: what it exports is true, and each way to be untrue is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.cli import main
from conformance.fixtures import fixture_path
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Upstream
from conformance.vocabulary.target import ReferenceGateway

from .conftest import Recording, recording

CHATML = fixture_path("chatml")
Document = dict[str, Any]
Fault = Callable[[Document, Tokenizer], None]


@pytest.fixture(scope="module")
def run_recording(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recording(server.url, tmp_path_factory.mktemp("run") / "calls.jsonl") as made:
        yield made


@pytest.fixture(scope="module")
def exported(server: Upstream, run_recording: Recording) -> Document:
    """One trajectory of three generations, one of ids that the tokenizer would not choose, one streamed."""
    behind = Upstream(run_recording.url, server.tokenizer)
    behind.tool_format = server.tool_format
    gateway = ReferenceGateway.start(behind, CHATML)
    try:
        server.begin()
        tokenizer = server.tokenizer
        odd = [token for letter in "wonderful" for token in tokenizer.encode(letter)]
        server.says("Hello!")
        server.says(ids=[*odd, tokenizer.end_of_turn])
        server.says("Good bye")
        session = httpx.post(f"{gateway.url}/sessions", json={"sampling_params": {"logprobs": True}}).json()
        messages: list[Document] = [{"role": "user", "content": f"{server.nonce} Hi"}]
        for turn, text in enumerate(("Hello!", "wonderful", "Good bye")):
            body = {"model": "m", "messages": messages, "stream": turn == 2}
            assert httpx.post(f"{session['base_url']}/chat/completions", json=body, timeout=20).status_code == 200
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": f"And {turn}?"}]
        found = httpx.post(f"{gateway.url}/sessions/{session['session_id']}/finalize").json()["trajectories"]
        server.end()
    finally:
        gateway.close()
        assert gateway.process.stdout is not None
        gateway.process.stdout.close()
    assert len(found) == 1
    trajectory: Document = found[0]
    return trajectory


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["check-trajectory", *map(str, arguments)])
    return code, capsys.readouterr().out


def runs(one: Document) -> list[tuple[int, int]]:
    """Where the generations stand in the response."""
    mask, found, start = one["response_mask"], [], 0
    for place in range(1, len(mask) + 1):
        if place == len(mask) or mask[place] != mask[start]:
            if mask[start] == 1:
                found.append((start, place))
            start = place
    return found


def cut(one: Document, start: int, end: int, ids: list[int], mask: int) -> None:
    """Put `ids` in the place of what stands from `start` to `end`."""
    logprobs = one["response_logprobs"]
    one["response_ids"][start:end] = ids
    one["response_mask"][start:end] = [mask] * len(ids)
    logprobs[start:end] = ((logprobs[start:end] if mask and end > start else [0.0]) * (len(ids) + 1))[: len(ids)]


def drops_the_end_token(one: Document, _: Tokenizer) -> None:
    _, end = runs(one)[0]
    cut(one, end - 1, end, [], 1)


def encodes_an_answer_again(one: Document, tokenizer: Tokenizer) -> None:
    start, end = runs(one)[1]
    cut(one, start, end, tokenizer.encode(tokenizer.decode(one["response_ids"][start:end])), 1)


def encodes_the_history_again(one: Document, tokenizer: Tokenizer) -> None:
    start, end = runs(one)[1]
    cut(one, start, end, tokenizer.encode(tokenizer.decode(one["response_ids"][start:end])), 0)


def shifts_logprobs(one: Document, _: Tokenizer) -> None:
    for start, end in runs(one):
        values = one["response_logprobs"][start:end]
        one["response_logprobs"][start:end] = [values[-1], *values[:-1]]


def invents(one: Document, tokenizer: Tokenizer) -> None:
    cut(one, len(one["response_ids"]), len(one["response_ids"]), tokenizer.encode("Thanks for asking me"), 1)


def loses_the_last_turn(one: Document, _: Tokenizer) -> None:
    end = runs(one)[1][1]
    for name in ("response_ids", "response_mask", "response_logprobs"):
        del one[name][end:]


def fills_logprobs_in(one: Document, _: Tokenizer) -> None:
    one["response_logprobs"] = [0.0] * len(one["response_ids"])


def test_a_true_run_is_clean(
    exported: Document, run_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps(exported))

    assert len(runs(exported)) == 3
    code, out = run(capsys, file, "--ledger", run_recording.ledger, "--tokenizer", CHATML)
    assert (code, out.rpartition(": ")[2]) == (0, "no violation\n")
    assert [call["dialect"] for call in map(json.loads, run_recording.ledger.read_text().splitlines())] == [
        *["vllm-completions"] * 3
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (drops_the_end_token, "the last sampled id, usually the end-of-turn token, is missing"),
        (encodes_an_answer_again, "the ids were made again from text: same text, other ids"),
        (encodes_the_history_again, "the ids were made again from text: same text, other ids"),
        (shifts_logprobs, "the logprobs are shifted by one"),
        (invents, "never sampled: ids behind a generation, which the gateway put there"),
        (loses_the_last_turn, "expected mask 1 once, got none: it is in no trajectory"),
        (fills_logprobs_in, "zeros were filled in where the upstream reported logprobs"),
    ],
)
def test_an_untrue_run_is_told(
    fault: Fault,
    said: str,
    exported: Document,
    server: Upstream,
    run_recording: Recording,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = json.loads(json.dumps(exported))
    fault(broken, server.tokenizer)
    (file := tmp_path / "run.jsonl").write_text(json.dumps(broken))

    code, out = run(capsys, file, "--ledger", run_recording.ledger, "--tokenizer", CHATML)

    assert code == 1
    assert said in out, out


def test_part_of_a_run(
    exported: Document, run_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = json.loads(json.dumps(exported))
    loses_the_last_turn(part, None)  # type: ignore[arg-type]
    (file := tmp_path / "run.jsonl").write_text(json.dumps(part))

    assert run(capsys, file, "--ledger", run_recording.ledger)[0] == 1
    assert run(capsys, file, "--ledger", run_recording.ledger, "--superseded", "any")[0] == 0
    file.write_text(json.dumps(part) + "\n" + json.dumps(part))
    code, out = run(capsys, file, "--ledger", run_recording.ledger, "--superseded", "any")
    assert code == 1
    assert "expected mask 1 once, got 2 times" in out


def test_what_the_ledger_does_not_know_is_taken_on_trust(
    exported: Document, run_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps(exported))
    calls = [json.loads(line) for line in run_recording.ledger.read_text().splitlines()]
    calls[1] |= {"outcome": "unread", "generations": [], "logprobs": None, "message": "the engine told no token ids"}
    ledger = tmp_path / "calls.jsonl"
    ledger.write_text("".join(json.dumps(call) + "\n" for call in calls))

    code, out = run(capsys, file, "--ledger", ledger, "--tokenizer", CHATML)

    assert code == 0
    assert f"{ledger}:2: warning: call 1: expected the ids that were sampled, got the engine told no token ids" in out
    assert "is taken on trust" in out


def test_records_of_single_calls(
    run_recording: Recording, exported: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [json.loads(line) for line in run_recording.ledger.read_text().splitlines()]
    records = [
        {
            "prompt_token_ids": call["context"],
            "completion_token_ids": call["generations"][0],
            "logprobs": call["logprobs"],
        }
        for call in calls
    ]
    (file := tmp_path / "run.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    assert run(capsys, file, "--ledger", run_recording.ledger)[0] == 0
    records[1]["completion_token_ids"][0] += 1
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert run(capsys, file, "--ledger", run_recording.ledger)[0] == 1
