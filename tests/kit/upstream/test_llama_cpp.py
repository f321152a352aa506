"""The llama.cpp dialect: what its server says, and what it leaves out."""

from __future__ import annotations

from conformance.upstream.client import Upstream

from .caller import Caller, events, joined

EMOJI = "Hi 🙂!"


def asked(caller: Caller, text: str, **fields: object) -> dict[str, object]:
    return {"prompt": caller.context(text), "return_tokens": True, "n_probs": 1, **fields}


def test_a_plain_answer(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello")

    answer = caller.post("/completion", asked(caller, f"{scripted.nonce} x", n_predict=-1)).json()

    (call,) = scripted.calls
    assert answer["tokens"] == call.generation
    assert [entry["id"] for entry in answer["completion_probabilities"]] == call.generation
    assert [entry["logprob"] for entry in answer["completion_probabilities"]] == call.logprobs
    assert (answer["content"], answer["stop_type"], answer["stopping_word"]) == ("Hello", "eos", "")
    assert (answer["tokens_predicted"], answer["tokens_evaluated"]) == (len(call.generation), len(call.context))
    assert (call.dialect, call.max_tokens) == ("llamacpp-completion", None)


def test_what_is_not_asked_for_is_not_told(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello")
    answer = caller.post("/completion", {"prompt": caller.context(f"{scripted.nonce} x")}).json()
    assert answer["tokens"] == []
    assert "completion_probabilities" not in answer


def test_a_stream(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello there")

    answer = caller.post("/completion", asked(caller, f"{scripted.nonce} x", stream=True))

    *pieces, last = events(answer)
    (call,) = scripted.calls
    assert joined(piece["tokens"] for piece in pieces) == call.generation
    assert "".join(piece["content"] for piece in pieces) == "Hello there"
    assert not any(piece["stop"] for piece in pieces)
    assert (last["tokens"], last["content"], last["stop"]) == ([], "", True)
    assert last["tokens_predicted"] == len(call.generation)


def test_tokens_that_end_inside_of_a_character(scripted: Upstream, caller: Caller) -> None:
    ids = [*caller.tokenizer.encode(EMOJI), caller.tokenizer.end_of_turn]
    for _ in range(2):
        scripted.says(ids=ids)

    plain = caller.post("/completion", asked(caller, f"{scripted.nonce} x")).json()
    *pieces, last = events(caller.post("/completion", asked(caller, f"{scripted.nonce} x", stream=True)))

    told = joined(piece["tokens"] for piece in pieces)
    assert plain["tokens"] == ids
    assert len(plain["completion_probabilities"]) == len(told) < len(ids)
    assert "".join(piece["content"] for piece in pieces) == EMOJI
    assert last["tokens_predicted"] == len(ids)


def test_where_it_ends(scripted: Upstream, caller: Caller) -> None:
    scripted.says("one two three")
    scripted.says("one two three", obeys_limits=True)
    scripted.says("one", finish="abort")

    word = caller.post("/completion", asked(caller, f"{scripted.nonce} x", stop=["two"])).json()
    limit = caller.post("/completion", asked(caller, f"{scripted.nonce} x", n_predict=2)).json()
    none = caller.post("/completion", asked(caller, f"{scripted.nonce} x")).json()

    assert (word["content"], word["stop_type"], word["stopping_word"]) == ("one ", "word", "two")
    assert (limit["stop_type"], len(limit["tokens"])) == ("limit", 2)
    assert none["stop_type"] == "none"


def test_refusals(scripted: Upstream, caller: Caller) -> None:
    scripted.fails(503)
    assert caller.post("/completion", {"prompt": []}).status_code == 400
    foreign = caller.post("/completion", {"prompt": [*caller.context(f"{scripted.nonce} x"), 99999]})
    assert foreign.json() == {
        "error": {"code": 400, "message": "Prompt contains invalid tokens", "type": "invalid_request_error"}
    }
    busy = caller.post("/completion", asked(caller, f"{scripted.nonce} x"))
    assert (busy.status_code, busy.json()["error"]["type"]) == (503, "unavailable_error")
