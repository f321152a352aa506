"""The words of checks over a real engine, on answers and records that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.client.anthropic import MessageReply
from conformance.client.failure import ConformanceFailure
from conformance.client.http import Reply
from conformance.client.responses import ResponseReply
from conformance.client.transcript import Exchange
from conformance.fixtures import fixture_path
from conformance.upstream.ledger import Call
from conformance.vocabulary import live
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.outcome import NotApplicable, NotTested


@pytest.fixture
def engine(tmp_path: Path) -> RecordedEngine:
    ledger = tmp_path / "calls.jsonl"
    ledger.write_text("")
    made = RecordedEngine.read("http://127.0.0.1:1", "http://127.0.0.1:2", fixture_path("chatml"), ledger)
    made.begin()
    return made


def call(engine: RecordedEngine, said: str = "Hello<|im_end|>", **fields: Any) -> Call:
    context = engine.tokenizer.encode(f"{engine.nonce} Hi")
    made = {"outcome": "answered", "generations": [engine.tokenizer.encode(said)], "answered": 2.0, **fields}
    return Call(0, None, "llamacpp-completion", 1.0, context, {}, {}, **made)


def write(engine: RecordedEngine, *calls: Call) -> None:
    for index, each in enumerate(calls):
        each.index = index
    with engine.ledger.open("a") as file:
        file.writelines(json.dumps(each.to_json()) + "\n" for each in calls)


def reply(document: Any, kind: type[Reply] = Reply) -> Any:
    exchange = Exchange("POST", "http://gateway/v1/chat/completions", {}, b"", 0.0, 200)
    exchange.headers = {"content-type": "application/json"}
    exchange.chunks.append((0.0, json.dumps(document).encode()))
    return kind(exchange)


def chat(content: str | None, **fields: Any) -> Any:
    return reply({"choices": [{"message": {"role": "assistant", "content": content, **fields}}]})


def test_what_is_said_stands_in_what_was_sampled(engine: RecordedEngine) -> None:
    live.expect_sampled(chat(" Hello\n"), engine, call(engine))
    for text in ("Hallo", ""):
        with pytest.raises(ConformanceFailure, match="what was sampled"):
            live.expect_sampled(chat(text), engine, call(engine))
    live.expect_sampled(chat(""), engine, call(engine), stopped=True)
    live.expect_sampled(chat(""), engine, call(engine, "<|im_end|>"))


def test_thoughts_count_as_said_on_each_wire(engine: RecordedEngine) -> None:
    thought = call(engine, "Hello, let me see")
    message = {"content": [{"type": "thinking", "thinking": "let me"}]}
    item = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "let me"}]}
    live.expect_sampled(chat(None, reasoning_content="let me"), engine, thought)
    live.expect_sampled(reply(message, MessageReply), engine, thought)
    live.expect_sampled(reply({"output": [item]}, ResponseReply), engine, thought)
    with pytest.raises(ConformanceFailure, match="invented"):
        live.expect_sampled(chat("", reasoning="invented"), engine, thought)


def test_a_record_without_this_check_names_the_set_up(engine: RecordedEngine) -> None:
    with pytest.raises(ConformanceFailure) as failure:
        live.recorded(engine)
    assert "is http://127.0.0.1:1 the engine's address" in failure.value.violations[0].hint


def test_what_the_engine_did_not_tell_is_not_tested(engine: RecordedEngine) -> None:
    write(engine, call(engine, outcome="unread", message="the engine told no token ids"))
    with pytest.raises(NotTested, match="does not tell what it sampled: the engine told no token ids"):
        live.recorded(engine)


def test_calls_that_do_not_end_fail(engine: RecordedEngine) -> None:
    write(engine, call(engine, outcome="pending", answered=None))
    with pytest.raises(ConformanceFailure, match="still at work"):
        live.recorded(engine, 0.0)


def test_the_last_answer_is_of_a_call_that_was_answered(engine: RecordedEngine) -> None:
    write(engine, call(engine, outcome="failed"))
    with pytest.raises(ConformanceFailure, match="a call that the engine answered"):
        live.last_answered(engine)
    write(engine, call(engine, outcome="failed"), call(engine), call(engine, outcome="aborted"))
    assert live.last_answered(engine).index == 1


def test_what_a_model_never_does_does_not_apply() -> None:
    tries: list[int] = []
    live.until(tries.append, lambda: len(tries) == 3, "counted to three")
    assert tries == [0, 1, 2]
    with pytest.raises(NotApplicable, match="the model sang in none of 8 answers"):
        live.until(tries.append, lambda: False, "sang")


def test_ids_that_stand_in_others() -> None:
    assert live.behind([1, 2, 1, 2, 3], [1, 2]) == [3]
    assert live.behind([1, 2], [1, 2]) == []
    assert live.behind([1, 3, 2], [1, 2]) is None
    assert live.holds([1, 2], [2])
    assert not live.holds([1], [1, 2])


def test_ids_that_are_not_those_of_their_text(engine: RecordedEngine) -> None:
    tokenizer = engine.tokenizer
    letters = [token for letter in "wonderful" for token in tokenizer.encode(letter)]
    assert live.is_canonical(tokenizer.encode("wonderful"), tokenizer)
    assert not live.is_canonical(letters, tokenizer)


def test_how_many_calls_were_at_the_engine_at_once(engine: RecordedEngine) -> None:
    def at(arrived: float, answered: float | None) -> Call:
        made = call(engine, answered=answered)
        made.arrived = arrived
        return made

    assert live.most_at_once([at(0.0, 1.0), at(1.0, 2.0), at(2.0, 3.0)]) == 1
    assert live.most_at_once([at(0.0, 3.0), at(1.0, 2.0), at(1.5, 4.0), at(0.5, None)]) == 3
    assert live.most_at_once([]) == 0


def test_an_answer_without_an_end_is_asked_for_by_the_ids_that_end_one(engine: RecordedEngine) -> None:
    (bias,) = live.without_end(engine.tokenizer).values()
    assert set(bias) == {str(end) for end in engine.tokenizer.end_tokens}
    assert set(bias.values()) == {-100}
