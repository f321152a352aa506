"""A real engine as a check sees it: the calls of the check that is under way, of what its recorder wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.fixtures import fixture_path
from conformance.gateway import NotObservable
from conformance.upstream.client import UpstreamError
from conformance.upstream.ledger import Call
from conformance.vocabulary.engine import RecordedEngine

CHATML = fixture_path("chatml")


@pytest.fixture
def engine(tmp_path: Path) -> RecordedEngine:
    ledger = tmp_path / "calls.jsonl"
    ledger.write_text("")
    made = RecordedEngine.read("http://127.0.0.1:1", "http://127.0.0.1:2/v1", CHATML, ledger)
    made.begin()
    return made


def line(engine: RecordedEngine, index: int, outcome: str = "answered", text: str | None = None, **fields: Any) -> str:
    context = engine.tokenizer.encode(f"{engine.nonce} Hi" if text is None else text)
    call = Call(index, None, "llamacpp-completion", 1.0, context, {}, {}, outcome=outcome, **fields)
    return json.dumps(call.to_json()) + "\n"


def write(engine: RecordedEngine, *lines: str) -> None:
    with engine.ledger.open("a") as file:
        file.write("".join(lines))


def outcomes(engine: RecordedEngine) -> list[str]:
    return [call.outcome for call in engine.calls]


def test_calls_are_those_with_the_nonce_in_order_of_arrival(engine: RecordedEngine) -> None:
    write(engine, line(engine, 1), line(engine, 2, text="#k0000000000# Hi"), line(engine, 0, "failed"))
    assert outcomes(engine) == ["failed", "answered"]
    assert engine.nonce in engine.calls[0].text


def test_a_call_is_known_by_its_messages_where_nobody_tells_its_ids(engine: RecordedEngine) -> None:
    write(engine, line(engine, 0, text="", messages=[{"role": "user", "content": f"{engine.nonce} Hi"}]))
    assert len(engine.calls) == 1


def test_a_call_takes_the_place_of_its_arrival(engine: RecordedEngine) -> None:
    write(engine, line(engine, 0, "pending"))
    assert outcomes(engine) == ["pending"]
    write(engine, line(engine, 0, "aborted"))
    assert outcomes(engine) == ["aborted"]


def test_half_a_line_is_read_when_it_is_whole(engine: RecordedEngine) -> None:
    whole = line(engine, 0)
    write(engine, whole[:40])
    assert outcomes(engine) == []
    write(engine, whole[40:])
    assert outcomes(engine) == ["answered"]


def test_each_test_has_its_own_calls(engine: RecordedEngine) -> None:
    write(engine, line(engine, 0))
    first = engine.nonce
    assert engine.end() == []
    engine.begin()
    assert engine.nonce != first
    assert outcomes(engine) == []


def test_waiting_ends_with_what_is_waited_for_or_in_time(engine: RecordedEngine) -> None:
    write(engine, line(engine, 0, "pending"))
    assert len(engine.wait_for_calls(1, 0.0)) == 1
    with pytest.raises(TimeoutError, match="waited 0 s for 2 calls; calls so far: pending"):
        engine.wait_for_calls(2, 0.0)
    with pytest.raises(TimeoutError, match="waited 0 s for 1 calls aborted"):
        engine.wait_for_calls(1, 0.0, outcome="aborted")
    with pytest.raises(TimeoutError, match="still at work"):
        engine.wait_until_settled(0.0)
    write(engine, line(engine, 0, "aborted"))
    assert [call.outcome for call in engine.wait_until_settled(0.0)] == ["aborted"]


def test_nobody_scripts_it(engine: RecordedEngine) -> None:
    engine.says("Hello")
    engine.holds("Hello").release()
    engine.fails()
    assert engine.calls == []
    assert (engine.posts, engine.fetched, engine.strays, engine.unclaimed) == ([], [], [], 0)
    for impossible in (engine.refuses_posts, engine.holds_posts, lambda: engine.picture("cat")):
        with pytest.raises(NotObservable):
            impossible()


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"there is no ledger .*none\.jsonl: gateway-conformance record --arrivals"):
        RecordedEngine.read("http://127.0.0.1:1", "http://127.0.0.1:2", CHATML, tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("models", "props", "length"),
    [
        ({"data": [{"max_model_len": 4096}]}, {}, 4096),
        (
            {"data": [{"id": "m", "meta": {"n_ctx_train": 32768}}]},
            {"default_generation_settings": {"n_ctx": 8192}},
            8192,
        ),
        ({"data": [{"id": "m", "meta": None}]}, {}, None),
        ({"data": "none"}, {"default_generation_settings": None}, None),
        ({}, {}, None),
    ],
    ids=["vllm", "llama.cpp", "unknown", "odd", "nothing"],
)
def test_how_long_a_context_may_be_is_what_the_engine_tells(
    engine: RecordedEngine, monkeypatch: pytest.MonkeyPatch, models: Any, props: Any, length: int | None
) -> None:
    monkeypatch.setattr(RecordedEngine, "told", lambda self, path: {"/v1/models": models, "/props": props}[path])
    assert engine.max_model_len == length


def test_an_engine_that_is_not_there_tells_nothing(engine: RecordedEngine) -> None:
    assert engine.told("/v1/models") == {}


def test_a_recorder_that_cannot_start_says_why() -> None:
    with pytest.raises(UpstreamError, match=r"the recorder before ftp://x did not start: .*must be http"):
        RecordedEngine.record("ftp://x", CHATML)


@pytest.mark.parametrize(
    ("path", "document", "about"),
    [
        ("/version", {"version": "0.32.0"}, ("vLLM", "0.32.0")),
        ("/get_server_info", {"version": "0.5.23"}, ("SGLang", "0.5.23")),
        ("/props", {"build_info": "b7-abc"}, ("llama.cpp", "b7-abc")),
        ("/health", {}, ("unknown", "unknown")),
    ],
)
def test_what_the_engine_tells_of_itself(
    engine: RecordedEngine, monkeypatch: pytest.MonkeyPatch, path: str, document: Any, about: tuple[str, str]
) -> None:
    told = {"/v1/models": {"data": [{"id": "/models/tiny.gguf"}]}, path: document}
    monkeypatch.setattr(RecordedEngine, "told", lambda self, asked: told.get(asked, {}))
    assert engine.about == {"name": about[0], "version": about[1], "model": "tiny.gguf"}


def test_an_engine_in_the_gateways_process_is_what_the_ledger_says(tmp_path: Path) -> None:
    ledger = tmp_path / "calls.jsonl"
    with pytest.raises(
        UpstreamError, match=r"there is no ledger .*: the gateway keeps it, or gateway-conformance record"
    ):
        RecordedEngine.in_process(CHATML, ledger)
    ledger.touch()
    engine = RecordedEngine.in_process(CHATML, ledger)
    assert (engine.about, engine.max_model_len) == (dict.fromkeys(("name", "version", "model"), "unknown"), None)
    for version in ("1", "2"):
        about = {"name": "own", "version": version, "model": "m", "max_model_len": 64}
        write(engine, json.dumps({"engine": about}, separators=(",", ":")) + "\n")
    engine.begin()
    write(engine, '{"engine":{}}\n', line(engine, 0))
    assert outcomes(engine) == ["answered"]
    assert engine.about["version"] == "unknown"
    assert engine.recorded == f"its calls written to {ledger} by the gateway"
    engine.close()
    assert ledger.exists()


def test_a_ledger_of_its_own_is_gone_with_it() -> None:
    engine = RecordedEngine.in_process(CHATML)
    assert engine.ledger.read_text() == ""
    engine.close()
    assert not engine.ledger.parent.exists()
