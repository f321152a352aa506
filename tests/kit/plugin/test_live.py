"""The profile live: what it needs, and what it comes to over an engine that nobody scripts.

Here the engine says one thing only. A real one is judged over in `tests/live`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from conformance.fixtures import fixture_path
from conformance.report.markdown import load_report
from conformance.tokenizer import Tokenizer
from reference_gateway.app import create_app
from reference_gateway.backends.ledger import Ledger
from reference_gateway.config import Config
from reference_gateway.serving.server import serving as served
from reference_gateway.types import BackendRefused, Generation
from tests.kit.plugin.conftest import Kit, counts
from tests.kit.plugin.parrot import LOGPROB, MODEL_LENGTH, SAYS, Parrot
from tests.kit.plugin.test_target import NOWHERE, assert_one_sentence

ENGINE = ("--gateway-engine", "http://127.0.0.1:1")


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    server = Parrot()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gateway-profile", "live"], "--gateway-profile live needs a real engine: give --gateway-engine URL"),
        ([*ENGINE, "--gateway-profile", "sessions"], "sessions is judged with a scripted engine: run it without"),
        (["--gateway-engine", "localhost:8000"], "--gateway-engine takes a URL such as"),
        (["--gateway-score", "numpy:DIR"], "--gateway-score goes with --gateway-engine"),
        (["--gateway-tolerance", "0.1"], "--gateway-tolerance goes with --gateway-engine"),
        (["--gateway-ledger", "none.jsonl"], "none.jsonl: the gateway keeps it, or gateway-conformance record does"),
        (["--gateway-ledger", "no.jsonl", "--gateway-profile", "sessions"], "is judged with a scripted engine"),
        ([*ENGINE, "--gateway-score", "torch"], "--gateway-score takes one of numpy, transformers, vllm, gguf"),
        ([*ENGINE, "--gateway-score", "numpy:DIR", "--gateway-tolerance", "-1"], "--gateway-tolerance takes a number"),
        ([*ENGINE, "--gateway-ledger", "no.jsonl"], "there is no ledger"),
        (["--gateway-engine", "http://me:secret@127.0.0.1:1"], "must hold no credentials"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(kit: Kit, arguments: list[str], sentence: str) -> None:
    result = kit(*NOWHERE, "--gateway-upstream-port", "0", *arguments)
    assert_one_sentence(result, sentence)
    assert "secret@" not in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["reference", "--gateway-ledger", "calls.jsonl"],
            "--gateway-ledger goes with --gateway-engine URL, or with a",
        ),
        (["reference-transformers"], "--gateway reference-transformers takes the directory of its model as"),
        (["reference-transformers", "--gateway-tokenizer", ".", *ENGINE], "give no --gateway-engine and no"),
    ],
)
def test_what_does_not_go_with_the_reference_is_one_sentence(kit: Kit, arguments: list[str], sentence: str) -> None:
    assert_one_sentence(kit("--gateway", *arguments), sentence)


def test_a_gateway_that_has_another_engine_is_one_sentence(kit: Kit, reference_url: str, parrot: Parrot) -> None:
    result = kit("--gateway-url", reference_url, "--gateway-engine", parrot.url, "--gateway-upstream-port", "0")
    assert_one_sentence(result, f"{reference_url} was asked something (", "saw no call", "as its engine")


JUDGED = "LIVE-001,LIVE-005,LIVE-010,LIVE-011,LIVE-012,LIVE-013,LIVE-020,LIVE-031,LIVE-033,LIVE-080"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_it_is_judged_by_the_record(pytester: pytest.Pytester, parrot: Parrot, workers: tuple[str, ...]) -> None:
    report = pytester.path / "report.json"
    result = pytester.runpytest_subprocess(
        *("--gateway", "reference-llamacpp", "--gateway-engine", parrot.url, "--gateway-only", JUDGED),
        *("--gateway-report", str(report), *workers),
    )
    result.stdout.fnmatch_lines([f"*over a real engine at {parrot.url}*"])
    assert result.ret == 0
    assert counts(result) == {"passed": 15, "not_applicable": 2}
    verdict = load_report(report)
    assert set(verdict["profiles"]) == {"live"}
    assert verdict["engine"] == {"name": "unknown", "version": "unknown", "model": "parrot"}
    assert {entry["profile"] for entry in verdict["requirements"]} == {"live"}


class Own:
    """A backend with its engine in the gateway's process, which says one thing only and keeps a ledger."""

    name = "own"
    takes_media = False

    def __init__(self, ledger: Path) -> None:
        tokenizer = Tokenizer.load(fixture_path("chatml"))
        self._ids = [*tokenizer.encode(SAYS), tokenizer.end_of_turn]
        about = {"name": "own", "version": "1", "model": "parrot", "max_model_len": MODEL_LENGTH}
        self._ledger = Ledger(ledger, about)

    async def generate(self, context: Any, sampling: Any, *, session_id: str, media: Any) -> Generation:
        if len(context) > MODEL_LENGTH:
            raise BackendRefused("the context is too long")
        call = self._ledger.arrived(context, sampling, session_id)
        ids = self._ids[: sampling.get("max_tokens")]
        logprobs, reason = [LOGPROB] * len(ids), "stop" if ids == self._ids else "length"
        call.close("answered", ids, logprobs=logprobs, finish_reason=reason)
        return Generation(ids, logprobs if sampling.get("logprobs") else None, reason)

    async def close(self) -> None:
        self._ledger.close()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_gateway_that_has_its_engine_itself_is_judged_by_its_own_ledger(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    ledger, report = pytester.path / "calls.jsonl", pytester.path / "report.json"
    app = create_app(Config(tokenizer=fixture_path("chatml")), backend=Own(ledger))
    with served(cast(Any, app)) as url:
        arguments = ("--gateway-url", url, "--gateway-ledger", str(ledger), "--gateway-only", JUDGED)
        result = pytester.runpytest_subprocess(*arguments, "--gateway-report", str(report), *workers)
        result.stdout.fnmatch_lines(["*over a real engine in the gateway's own process: own 1 parrot*"])
        assert result.ret == 0
        assert counts(result) == {"passed": 15, "not_applicable": 2}
        assert load_report(report)["engine"] == {"name": "own", "version": "1", "model": "parrot"}

        other = pytester.path / "other.jsonl"
        other.touch()
        arguments = ("--gateway-url", url, "--gateway-ledger", str(other))
        assert_one_sentence(
            pytester.runpytest_subprocess(*arguments), f"the ledger {other} saw no call", "with that ledger"
        )


def test_without_a_scorer_it_is_not_green(pytester: pytest.Pytester, parrot: Parrot) -> None:
    result = pytester.runpytest_subprocess(
        *("--gateway", "reference-llamacpp", "--gateway-engine", parrot.url, "--gateway-only", "LIVE-001,LIVE-021")
    )
    assert result.ret == 1
    assert counts(result) == {"passed": 2, "not_tested": 1}


def test_a_score_that_differs_is_told_with_its_figures(pytester: pytest.Pytester, parrot: Parrot) -> None:
    """The parrot is no model: the tiny one thinks otherwise of what it says."""
    from conformance.fixtures import tiny_model_path

    report = pytester.path / "report.json"
    result = pytester.runpytest_subprocess(
        *("--gateway", "reference-llamacpp", "--gateway-engine", parrot.url, "--gateway-only", "LIVE-021"),
        *("--gateway-score", f"numpy:{tiny_model_path()}", "--gateway-report", str(report)),
    )
    assert counts(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*another model or other weights*", "*scored by numpy: * sampled tokens*"])
    (entry,) = load_report(report)["requirements"]
    figures = entry["checks"][0]["rescore"]
    assert figures["over"] > figures["tokens"] / 2
    assert str(tiny_model_path()) not in json.dumps(figures)


def test_a_ledger_of_somebody_elses_recorder(pytester: pytest.Pytester, parrot: Parrot, tmp_path: Path) -> None:
    from tests.kit.recorder.conftest import recording

    with recording(parrot.url, tmp_path / "calls.jsonl", "--arrivals") as recorder:
        result = pytester.runpytest_subprocess(
            *("--gateway", "reference-llamacpp", "--gateway-engine", parrot.url, "--gateway-only", "LIVE-001"),
            *("--gateway-ledger", str(recorder.ledger), "--gateway-upstream-port", recorder.url.rpartition(":")[2]),
        )
    assert counts(result) == {"passed": 2}


def test_nothing_live_is_judged_over_the_scripted_upstream(kit: Kit, reference_url: str) -> None:
    result = kit("--gateway-url", reference_url, "--gateway-only", "LIVE-001,STREAM-004")
    assert set(counts(result)) == {"passed"}
    assert "live " not in result.stdout.str()
