"""What is said of log-probabilities that a model does not confirm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import main
from conformance.fixtures import tiny_model_path
from conformance.oracles import rescore
from conformance.oracles.rescore import Scored
from conformance.recorded.scoring import scorer
from conformance.tokenizer import Tokenizer

MODEL = tiny_model_path()
Document = dict[str, Any]


@dataclass
class Exported:
    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    response_logprobs: list[float] | None


def tokens(*pairs: tuple[float, float], number: int = 0, start: int = 0) -> list[Scored]:
    return [Scored(number, start + place, *pair) for place, pair in enumerate(pairs)]


ONE = Exported([9], [1, 2, 3, 4], [1] * 4, [-1.0] * 4)


def test_what_can_be_compared() -> None:
    nan = float("nan")
    assert rescore.comparable(Exported([9], [1, 2, 3, 4], [1, 0, 1, 1], [-1.0, 0.0, nan, -2])) == [0, 3]
    assert rescore.comparable(Exported([], [1, 2], [1, 1], [-1.0, -1.0])) == [1]
    assert rescore.comparable(Exported([9], [1], [1], None)) == []
    assert rescore.comparable(Exported([9], [1, 2], [1, 1], [None, True])) == []  # type: ignore[list-item]


def test_the_summary() -> None:
    found = rescore.summary(tokens((-1, -1), (-1, -1.5), (-1, -21), (-1, -1.005)), 0.01)
    assert (found.tokens, found.over, found.largest) == (4, 2, 20)
    assert found.mean == pytest.approx(5.12625)
    assert found.median == pytest.approx(0.2525)
    assert found.bars == (1, 0, 0, 0, 1, 0, 1, 0, 1)
    with pytest.raises(ValueError, match="no sampled token has a log-probability to compare"):
        rescore.summary([], 0.01)


def test_a_difference_within_the_tolerance_is_none() -> None:
    assert rescore.judge([ONE], tokens((-1, -1.01), (-1, -0.995)), 0.011) == []


@pytest.mark.parametrize(
    ("pairs", "hint"),
    [
        (
            [(-1, -2), (-2, -3), (-3, -4), (-4, -5)],
            "the logprobs are shifted by one against the ids: each stands one late",
        ),
        (
            [(-2, -1), (-3, -2), (-4, -3), (-9, -4)],
            "the logprobs are shifted by one against the ids: each stands one early",
        ),
        ([(0, -1), (0, -2)], "zeros were filled in where the engine reported logprobs"),
        ([(-1, -7), (-1, -3), (-1, -1)], "the ids of this generation, or what stands before it, are not those"),
        ([(-1, -1), (-1, -1), (-1, -8)], "the first 2 tokens of this generation agree: were the ids behind them made"),
    ],
)
def test_the_cause(pairs: list[tuple[float, float]], hint: str) -> None:
    (found,) = rescore.judge([ONE], tokens(*pairs), 0.01)
    assert found.hint.startswith(hint)


def test_each_generation_is_told_by_its_worst_token() -> None:
    several = tokens((-1, -1), (-1, -1.5), (-1, -4)) + tokens((-1, -1), start=7) + tokens((-1, -3), number=1)

    first, second = rescore.judge([Exported([9], [1, 2, 3], [1] * 3, None), ONE], several, 0.01)

    assert first.where == "trajectory 0, response_logprobs[2]"
    assert first.expected == "-4.0000, as the model scores id 3"
    assert first.actual == "-1.0000: 3 nats apart, and 1 more of this generation's 3"
    assert second.where == "trajectory 1, response_logprobs[0]"
    decoded = rescore.judge([Exported([9], [1, 2, 3], [1] * 3, None), ONE], several, 0.01, lambda ids: f"<{ids}>")
    assert decoded[0].expected == "-4.0000, as the model scores `<[3]>` behind `<[9, 1, 2]>`"


def test_a_run_that_is_off_everywhere_is_another_model() -> None:
    several = tokens((-1, -1.2), (-1, -1.3)) + tokens((-1, -1.1), (-1, -1), (-1, -0.8), number=1)
    found = rescore.judge([ONE, ONE], several, 0.01)
    assert all(each.hint.startswith("so are most tokens of every generation: another model") for each in found)


# the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trajectory() -> Document:
    """A conversation of two answers with the log-probabilities that the model has for them; the ids of the second are
    not those of its text."""
    tokenizer = Tokenizer.load(MODEL)
    asked = [{"role": "user", "content": "How is the weather in Oslo?"}]
    prompt = tokenizer.encode(tokenizer.render(asked))
    first = [*tokenizer.encode("It is sunny in Oslo, with 3 degrees."), tokenizer.end_of_turn]
    gap = tokenizer.encode("\n<|im_start|>user\nThank you<|im_end|>\n<|im_start|>assistant\n")
    second = [*(token for letter in "You are welcome." for token in tokenizer.encode(letter)), tokenizer.end_of_turn]
    response = first + gap + second
    mask = [1] * len(first) + [0] * len(gap) + [1] * len(second)
    places = [len(prompt) + place for place, bit in enumerate(mask) if bit]
    values = iter(scorer(f"numpy:{MODEL}").score(prompt + response, places))
    logprobs = [next(values) if bit else 0.0 for bit in mask]
    return {"prompt_ids": prompt, "response_ids": response, "response_mask": mask, "response_logprobs": logprobs}


def run(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> tuple[int, str]:
    code = main(["check-trajectory", str(file), "--tokenizer", str(MODEL), "--score", f"numpy:{MODEL}", *arguments])
    return code, capsys.readouterr().out


def test_a_true_trajectory_is_confirmed(
    trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps(trajectory))

    code, out = run(capsys, file, "--tolerance", "1e-4")

    assert code == 0, out
    sampled = sum(trajectory["response_mask"])
    assert f"scored by numpy:{MODEL}: {sampled} sampled tokens, 0 over the tolerance of 0.0001 nats" in out
    assert f"    up to 1e-06 {sampled:8}  " + 40 * "#" in out
    assert out.count("(trajectory 0, response_ids[") == 3


def encodes_again(one: Document, tokenizer: Tokenizer) -> None:
    """The second answer's ids are those of its text, its log-probabilities are cut to them."""
    start = len(one["response_mask"]) - one["response_mask"][::-1].index(0)
    ids = tokenizer.encode(tokenizer.decode(one["response_ids"][start:]))
    one["response_ids"][start:], one["response_mask"][start:] = ids, [1] * len(ids)
    one["response_logprobs"][start:] = one["response_logprobs"][start:][: len(ids)]


def shifts(one: Document, _: Tokenizer) -> None:
    end = one["response_mask"].index(0)
    one["response_logprobs"][:end] = [one["response_logprobs"][end - 1], *one["response_logprobs"][: end - 1]]


def drops_the_separator(one: Document, _: Tokenizer) -> None:
    place = one["response_mask"].index(0)
    for name in ("response_ids", "response_mask", "response_logprobs"):
        del one[name][place]


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        (encodes_again, "the ids of this generation, or what stands before it, are not those that the model had"),
        (shifts, "the logprobs are shifted by one against the ids: each stands one late"),
        (drops_the_separator, "the ids of this generation, or what stands before it, are not those that the model had"),
    ],
)
def test_an_untrue_trajectory_is_not(
    fault: Callable[[Document, Tokenizer], None],
    hint: str,
    trajectory: Document,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = json.loads(json.dumps(trajectory))
    fault(broken, Tokenizer.load(MODEL))
    (file := tmp_path / "run.jsonl").write_text(json.dumps(broken))

    code, out = run(capsys, file)

    assert code == 1
    assert f"{file}:1: trajectory 0, response_logprobs[" in out
    assert "nats apart" in out
    assert hint in out, out


def test_log_probabilities_of_the_ledger(
    trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end = trajectory["response_mask"].index(0)
    call = {
        "context": trajectory["prompt_ids"],
        "generation": trajectory["response_ids"][:end],
        "logprobs": trajectory["response_logprobs"][:end],
    }
    (file := tmp_path / "run.jsonl").write_text(json.dumps({**trajectory, "response_logprobs": None}))
    (ledger := tmp_path / "calls.jsonl").write_text(json.dumps(call))

    _, out = run(capsys, file, "--ledger", str(ledger))

    assert f"{end} sampled tokens, 0 over the tolerance of 0.01 nats" in out
    with pytest.raises(SystemExit) as stopped:
        run(capsys, file)
    assert stopped.value.code == 2
    assert "nothing to score: neither the trajectories nor the ledger have log-probabilities" in capsys.readouterr().err


KINDS = [
    ({"logprobs": "raw"}, "compared are the model's own log-probabilities"),
    ({"logprobs": "scaled", "logprobs_temperature": 1}, "compared are the model's own log-probabilities"),
    ({"logprobs": "scaled"}, "compared are log-probabilities of which the file does not say what they are of"),
    ({}, "compared are log-probabilities of which the file does not say what they are of"),
]


@pytest.mark.parametrize(("extra", "said"), KINDS)
def test_what_is_compared_is_said(
    extra: Document, said: str, trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps({**trajectory, "extra_fields": extra}))

    code, out = run(capsys, file)

    assert (code, said in out) == (0, True), out


OTHER = "its log-probabilities are those at temperature"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"logprobs": "scaled", "logprobs_temperature": 0.5},
            f"{OTHER} 0.5, the scorer's those at 1; --temperature 0.5 compares them",
        ),
        ({"logprobs": "scaled", "logprobs_temperature": [0.5, 1.0]}, f"{OTHER} 0.5, 1, the scorer's those at 1"),
    ],
)
def test_what_is_of_another_kind_is_not_compared(
    extra: Document, said: str, trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**trajectory, "extra_fields": extra}
    (file := tmp_path / "run.jsonl").write_text(json.dumps(other))

    code, out = run(capsys, file)

    assert code == 0
    assert f"not scored by numpy:{MODEL}:\n    trajectory 0 can't be compared: {said}\n" in out
    (both := tmp_path / "both.jsonl").write_text(f"{json.dumps(trajectory)}\n{json.dumps(other)}\n")
    _, told = run(capsys, both, "--format", "json")
    found = json.loads(told)["score"]
    assert {row[0] for row in found["each"]} == {0}
    assert found["left_out"] == [f"trajectory 1 can't be compared: {said}"]


def test_the_model_s_own_are_not_those_at_a_temperature(
    trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps({**trajectory, "extra_fields": {"logprobs": "raw"}}))

    code, out = run(capsys, file, "--temperature", "0.5", "--format", "json")

    told = "those at temperature 1, the scorer's those at 0.5; --temperature 1 compares them"
    assert code == 0
    assert json.loads(out)["score"]["left_out"] == [f"trajectory 0 can't be compared: its log-probabilities are {told}"]


def test_json(trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps(trajectory))

    code, out = run(capsys, file, "--format", "json")

    found = json.loads(out)["score"]
    sampled = sum(trajectory["response_mask"])
    assert (code, found["scorer"], found["tokens"], found["over"]) == (0, f"numpy:{MODEL}", sampled, 0)
    assert found["histogram"][0] == {"up_to": 1e-6, "tokens": sampled}
    assert found["histogram"][-1]["up_to"] is None
    assert len(found["each"]) == sampled
    assert found["each"][0][:2] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tolerance", "0"], "expected a number above 0, got '0'"),
        (["--temperature", "hot"], "expected a number above 0, got 'hot'"),
        (["--tolerance", "1"], "--tolerance and --temperature go with --score"),
    ],
)
def test_wrong_usage(
    arguments: list[str], said: str, trajectory: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "run.jsonl").write_text(json.dumps(trajectory))
    with pytest.raises(SystemExit) as stopped:
        main(["check-trajectory", str(file), *arguments])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
