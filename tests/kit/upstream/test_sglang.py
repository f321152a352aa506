"""SGLang's `/generate`, as a gateway that sends tokens and media sees it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from conformance.upstream.client import Upstream

from .caller import Caller, events


def generate(caller: Caller, said: str, /, **fields: Any) -> httpx.Response:
    return caller.post("/generate", {"input_ids": caller.context(said), **fields})


def test_says_gives_the_tokens_of_the_text_and_the_end_of_the_turn(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello wörld")

    answer = generate(caller, scripted.nonce).json()

    end, context = scripted.tokenizer.end_of_turn, caller.context(scripted.nonce)
    assert answer["output_ids"] == [*scripted.tokenizer.encode("Hello wörld"), end]
    assert answer["text"] == "Hello wörld"
    meta = answer["meta_info"]
    assert meta["finish_reason"] == {"type": "stop", "matched": end}
    assert (meta["prompt_tokens"], meta["completion_tokens"]) == (len(context), len(answer["output_ids"]))
    assert meta["weight_version"] == "default"
    assert "output_token_logprobs" not in meta
    assert "prompt_token_ids" not in answer
    call = scripted.calls[0]
    assert (call.dialect, call.context, call.generation) == ("sglang-generate", context, answer["output_ids"])


def test_media_stand_in_the_ledger(scripted: Upstream, caller: Caller) -> None:
    for _ in range(3):
        scripted.says("Seen")

    generate(caller, scripted.nonce, image_data=["http://h/a.png", {"url": "b"}], video_data=None)
    generate(caller, scripted.nonce, image_data="data:image/png;base64,aGk=", video_data=["v"])
    generate(caller, scripted.nonce, image_data=[])

    assert [(call.images, call.videos) for call in scripted.calls] == [
        (["http://h/a.png", {"url": "b"}], None),
        (["data:image/png;base64,aGk="], ["v"]),
        ([], None),
    ]
    assert all("image_data" not in call.body for call in scripted.calls)


def test_sampling_parameters_stand_beside_the_other_fields(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi")

    params = {"temperature": 0.5, "max_new_tokens": 7, "stop": ["END"]}
    generate(caller, scripted.nonce, sampling_params=params, return_logprob=True)

    call = scripted.calls[0]
    assert call.sampling == {**params, "return_logprob": True}
    assert call.max_tokens == 7


@pytest.mark.parametrize(("given", "limit"), [({"max_new_tokens": 2}, 2), ({}, 128), ({"max_new_tokens": None}, 200)])
def test_max_new_tokens_is_obeyed_when_the_step_says_so(
    given: dict[str, Any], limit: int, scripted: Upstream, caller: Caller
) -> None:
    scripted.says(ids=[300] * 200, obeys_limits=True)

    answer = generate(caller, scripted.nonce, sampling_params=given).json()

    assert len(answer["output_ids"]) == limit
    cut = answer["meta_info"]["finish_reason"]
    assert cut == ({"type": "length", "length": limit} if limit < 200 else {"type": "stop", "matched": None})


def test_logprobs_are_one_known_value_per_token(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi there")
    scripted.says("Hi", logprobs="short")
    scripted.says("Hi", logprobs="missing")
    scripted.says("Hi", logprobs=[-1, -2, -3, -4])

    whole, short, missing, given = (generate(caller, scripted.nonce, return_logprob=True).json() for _ in range(4))

    ids = whole["output_ids"]
    expected = [[-(place + 1) / 16, token, None] for place, token in enumerate(ids)]
    assert whole["meta_info"]["output_token_logprobs"] == expected
    assert whole["meta_info"]["output_token_logprobs_length"] == len(ids)
    assert len(short["meta_info"]["output_token_logprobs"]) == len(short["output_ids"]) - 1
    assert "output_token_logprobs" not in missing["meta_info"]
    assert [entry[0] for entry in given["meta_info"]["output_token_logprobs"]] == [-1.0, -2.0, -3.0, -4.0]


@pytest.mark.parametrize(
    ("finish", "kind"), [("length", "length"), ("abort", "abort"), ("stop", "stop"), ("odd", "odd")]
)
def test_finish_reasons_are_objects(finish: str, kind: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi", finish=finish)

    assert generate(caller, scripted.nonce).json()["meta_info"]["finish_reason"]["type"] == kind


def test_version_and_prompt(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi", weight_version="step-7", prompt_ids=[1, 2])

    answer = generate(caller, scripted.nonce, return_prompt_token_ids=True).json()

    assert answer["meta_info"]["weight_version"] == "step-7"
    assert answer["prompt_token_ids"] == [1, 2]


@pytest.mark.parametrize("text", ["Hello wörld 😀!", "", "é"])
def test_a_stream_repeats_what_came_before(text: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(text)
    scripted.says(text)

    plain = generate(caller, scripted.nonce, return_logprob=True).json()
    stream = events(generate(caller, scripted.nonce, return_logprob=True, stream=True))

    assert stream[-1]["output_ids"] == plain["output_ids"]
    assert (stream[-1]["text"], stream[-1]["meta_info"]["finish_reason"]) == (text, plain["meta_info"]["finish_reason"])
    counts = [len(event["output_ids"]) for event in stream]
    assert counts == list(range(1, len(counts) + 1))
    assert counts == [event["meta_info"]["completion_tokens"] for event in stream]
    assert counts == [len(event["meta_info"]["output_token_logprobs"]) for event in stream]
    assert all(event["meta_info"]["finish_reason"] is None for event in stream[:-1])
    assert all(text.startswith(event["text"]) for event in stream)


def test_several_samples_are_a_list(scripted: Upstream, caller: Caller) -> None:
    scripted.says("A")
    scripted.says("B")

    answers = generate(caller, scripted.nonce, sampling_params={"n": 2}).json()

    assert [answer["text"] for answer in answers] == ["A", "B"]


def test_failures_have_the_engine_s_forms(scripted: Upstream, caller: Caller) -> None:
    scripted.fails(400, "too long")
    scripted.fails(503, "busy")

    refused, broken = (generate(caller, scripted.nonce) for _ in range(2))

    assert (refused.status_code, refused.json()) == (400, {"error": {"message": "too long"}})
    assert (broken.status_code, broken.json()["message"], broken.json()["object"]) == (503, "busy", "error")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_ids": None}, "one of input_ids and text must be given"),
        ({"text": "a"}, "one of input_ids and text must be given"),
        ({"input_ids": []}, "input_ids must be a non-empty list"),
        ({"input_ids": [[1], [2]]}, "input_ids must be a non-empty list"),
        ({"sampling_params": []}, "sampling_params must be an object"),
        ({"sampling_params": {"max_new_tokens": -1}}, "max_new_tokens must be a whole number"),
        ({"image_data": [["a"]]}, "image_data[0] must be a URL, a data URI or an object"),
        ({"video_data": 5}, "video_data[0] must be"),
        ({"stream": 1}, "stream must be true or false"),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(
    fields: dict[str, Any], message: str, scripted: Upstream, caller: Caller
) -> None:
    refused = generate(caller, scripted.nonce, **fields)

    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]


def test_images_of_chat_messages_stand_in_the_ledger_too(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Seen")
    parts = [
        {"type": "text", "text": scripted.nonce},
        {"type": "image_url", "image_url": {"url": "http://h/a.png"}},
        {"type": "image_url", "image_url": {"url": "b", "detail": "low"}},
    ]

    caller.post("/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]})

    call = scripted.calls[0]
    assert (call.images, call.videos) == (["http://h/a.png", {"url": "b", "detail": "low"}], None)
