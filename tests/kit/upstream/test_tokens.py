"""vLLM's `/inference/v1/generate`, as a gateway that sends tokens sees it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from conformance.upstream.client import Upstream

from .caller import Caller, events, joined


def generate(caller: Caller, said: str, /, stream: bool = False, **sampling: Any) -> httpx.Response:
    body = {"token_ids": caller.context(said), "sampling_params": sampling, "stream": stream}
    return caller.post("/inference/v1/generate", body)


def test_tokens_go_in_and_come_out(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello wörld")

    answer = generate(caller, scripted.nonce, logprobs=1, temperature=0.5, max_tokens=9).json()

    ids = [*scripted.tokenizer.encode("Hello wörld"), scripted.tokenizer.end_of_turn]
    [choice] = answer["choices"]
    assert (choice["token_ids"], choice["finish_reason"]) == (ids, "stop")
    named = [(entry["token_id"], entry["logprob"]) for entry in choice["logprobs"]["content"]]
    assert named == [(token, -(place + 1) / 16) for place, token in enumerate(ids)]
    assert answer["usage"]["completion_tokens"] == len(ids)
    assert "text" not in choice
    call = scripted.calls[0]
    assert (call.dialect, call.context, call.generation) == ("vllm-generate", caller.context(scripted.nonce), ids)
    assert (call.max_tokens, call.sampling) == (9, {"logprobs": 1, "temperature": 0.5, "max_tokens": 9})


def test_no_logprobs_unless_they_are_asked_for(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi")

    assert generate(caller, scripted.nonce).json()["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("size", [1, 3])
def test_a_stream_is_the_plain_answer_in_pieces(size: int, scripted: Upstream, caller: Caller) -> None:
    for _ in range(2):
        scripted.says("Hello wörld", ids_per_event=size)

    [whole] = generate(caller, scripted.nonce, logprobs=0).json()["choices"]
    stream = [event["choices"][0] for event in events(generate(caller, scripted.nonce, stream=True, logprobs=0))]

    assert joined(piece["token_ids"] for piece in stream) == whole["token_ids"]
    assert joined(piece["logprobs"]["content"] for piece in stream) == whole["logprobs"]["content"]
    assert [piece["finish_reason"] for piece in stream] == [None] * (len(stream) - 1) + ["stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_prompt_is_repeated_once_where_it_is_asked_for(stream: bool, scripted: Upstream, caller: Caller) -> None:
    for _ in range(2):
        scripted.says("Hello wörld")
    body = {"token_ids": caller.context(scripted.nonce), "sampling_params": {}, "stream": stream}

    told = []
    for asked in ({}, {"return_token_ids": True}):
        answer = caller.post("/inference/v1/generate", {**body, **asked})
        documents = events(answer) if stream else [answer.json()]
        told.append([each["prompt_token_ids"] for each in documents if each.get("prompt_token_ids") is not None])

    assert told == [[], [body["token_ids"]]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("version", "spans"),
    [(None, [("default", 0, 4)]), (7, [("7", 0, 4)]), ((3, 4), [("3", 0, 2), ("4", 2, 4)])],
)
def test_weight_versions_are_spans_of_ids(
    version: Any, spans: list[tuple[str, int, int]], stream: bool, scripted: Upstream, caller: Caller
) -> None:
    scripted.says(ids=[300] * 4, weight_version=version)

    answer = generate(caller, scripted.nonce, stream=stream)
    choices = [each["choices"][0] for each in (events(answer) if stream else [answer.json()])]

    assert [(span["version"], span["start"], span["end"]) for span in choices[-1]["weight_versions"]] == spans
    assert all(choice["weight_versions"] is None for choice in choices[:-1])


def test_a_generation_of_nothing_says_why_it_ended(scripted: Upstream, caller: Caller) -> None:
    scripted.says(ids=[], finish="abort")

    [event] = events(generate(caller, scripted.nonce, stream=True))

    assert (event["choices"][0]["token_ids"], event["choices"][0]["finish_reason"]) == ([], "abort")


def test_a_stop_string_ends_it_and_is_named(scripted: Upstream, caller: Caller) -> None:
    scripted.says("One END two")

    [choice] = generate(caller, scripted.nonce, stop=["END"]).json()["choices"]

    assert scripted.tokenizer.decode(choice["token_ids"]) == "One END"
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "END")
    assert scripted.calls[0].stop_reason == "END"


@pytest.mark.parametrize(("limits", "count"), [({}, 200), ({"max_tokens": None}, 200), ({"max_tokens": 3}, 3)])
def test_without_a_limit_it_samples_what_fits(
    limits: dict[str, Any], count: int, scripted: Upstream, caller: Caller
) -> None:
    scripted.says(ids=[300] * 200, obeys_limits=True)

    assert len(generate(caller, scripted.nonce, **limits).json()["choices"][0]["token_ids"]) == count


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"token_ids": []}, "token_ids must be a non-empty list"),
        ({"token_ids": "x"}, "token_ids must be"),
        ({"token_ids": [-1]}, "token_ids must be"),
        ({"sampling_params": 7}, "sampling_params must be an object"),
        ({"sampling_params": {"max_tokens": 0}}, "max_tokens must be a whole number"),
        ({"features": {}}, "features must be null"),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(
    fields: dict[str, Any], message: str, caller: Caller
) -> None:
    refused = caller.post("/inference/v1/generate", {"token_ids": [1], "sampling_params": {}, **fields})

    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]
