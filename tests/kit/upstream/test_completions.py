"""vLLM's `/v1/completions`, as a gateway that sends tokens sees it."""

from __future__ import annotations

import pytest

from conformance.upstream.client import Upstream

from .caller import Caller, events, joined


def test_says_gives_the_tokens_of_the_text_and_the_end_of_the_turn(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello wörld")

    answer = caller.complete(scripted.nonce, return_token_ids=True).json()

    choice = answer["choices"][0]
    assert choice["token_ids"] == [*scripted.tokenizer.encode("Hello wörld"), scripted.tokenizer.end_of_turn]
    assert choice["text"] == "Hello wörld"
    assert choice["finish_reason"] == "stop"
    assert choice["stop_reason"] is None
    assert choice["prompt_token_ids"] == caller.context(scripted.nonce)
    assert choice["logprobs"] is None
    assert answer["object"] == "text_completion"
    sampled, prompt = len(choice["token_ids"]), len(choice["prompt_token_ids"])
    assert answer["usage"] == {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled}


def test_token_ids_come_only_when_asked_for(scripted: Upstream, caller: Caller) -> None:
    scripted.says("a")
    scripted.says("b", token_ids="volunteer")
    scripted.says("c", token_ids="missing")

    unasked = caller.complete(scripted.nonce).json()["choices"][0]
    volunteered = caller.complete(scripted.nonce).json()["choices"][0]
    missing = caller.complete(scripted.nonce, return_token_ids=True).json()["choices"][0]

    assert (unasked["token_ids"], unasked["prompt_token_ids"]) == (None, None)
    assert volunteered["token_ids"] is not None
    assert (missing["token_ids"], missing["prompt_token_ids"]) == (None, None)
    assert [call.generation for call in scripted.calls] == [
        [*scripted.tokenizer.encode(text), scripted.tokenizer.end_of_turn] for text in "abc"
    ]


def test_a_length_stop_has_no_end_of_turn(scripted: Upstream, caller: Caller) -> None:
    scripted.says("cut sho", finish="length")

    choice = caller.complete(scripted.nonce, return_token_ids=True).json()["choices"][0]

    assert choice["token_ids"] == scripted.tokenizer.encode("cut sho")
    assert choice["finish_reason"] == "length"


def test_ids_are_given_verbatim_also_when_they_are_not_canonical(scripted: Upstream, caller: Caller) -> None:
    tokenizer = scripted.tokenizer
    ids = [*tokenizer.encode("ret"), *tokenizer.encode("urn")]
    assert ids != tokenizer.encode("return")
    scripted.says(ids=ids)

    choice = caller.complete(scripted.nonce, return_token_ids=True).json()["choices"][0]

    assert choice["token_ids"] == ids
    assert choice["text"] == "return"
    assert choice["finish_reason"] == "stop"


def test_a_generation_may_be_empty(scripted: Upstream, caller: Caller) -> None:
    scripted.says(ids=[])

    choice = caller.complete(scripted.nonce, return_token_ids=True, logprobs=1).json()["choices"][0]

    assert (choice["token_ids"], choice["text"], choice["logprobs"]["token_logprobs"]) == ([], "", [])


def test_tool_calls_are_written_as_the_template_writes_them(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Let me look.", tool_calls=[{"name": "search", "arguments": {"q": "wéather"}}])

    text = caller.complete(scripted.nonce).json()["choices"][0]["text"]

    assert text == 'Let me look.\n<tool_call>\n{"name": "search", "arguments": {"q": "wéather"}}\n</tool_call>'
    call = {"type": "function", "function": {"name": "search", "arguments": '{"q": "wéather"}'}}
    message = {"role": "assistant", "content": "Let me look.", "tool_calls": [call]}
    rendered = scripted.tokenizer.render([message], add_generation_prompt=False)
    assert rendered == f"<|im_start|>assistant\n{text}<|im_end|>\n"


@pytest.mark.parametrize("asked", [0, 1, 5, True])
def test_logprobs_are_one_known_value_per_token(asked: int, scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi there")

    choice = caller.complete(scripted.nonce, logprobs=asked, return_token_ids=True).json()["choices"][0]

    count = len(choice["token_ids"])
    assert choice["logprobs"]["token_logprobs"] == [-(i + 1) / 16 for i in range(count)]
    assert "".join(choice["logprobs"]["tokens"]) == "Hi there<|im_end|>"
    assert len(choice["logprobs"]["top_logprobs"]) == len(choice["logprobs"]["text_offset"]) == count
    assert scripted.calls[0].logprobs == choice["logprobs"]["token_logprobs"]


def test_logprobs_can_be_volunteered_missing_short_or_given(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi", logprobs="volunteer")
    scripted.says("Hi", logprobs="missing")
    scripted.says("Hi", logprobs="short")
    scripted.says("Hi", logprobs=[-1, -2, -3, -4])

    volunteered = caller.complete(scripted.nonce, return_token_ids=True).json()["choices"][0]
    missing, short, given = (
        caller.complete(scripted.nonce, logprobs=1).json()["choices"][0]["logprobs"] for _ in range(3)
    )

    count = len(volunteered["token_ids"])
    assert len(volunteered["logprobs"]["token_logprobs"]) == count
    assert missing is None
    assert len(short["token_logprobs"]) == count - 1
    assert given["token_logprobs"] == [-1.0, -2.0, -3.0, -4.0]
    assert scripted.calls[3].logprobs == [-1.0, -2.0, -3.0, -4.0]


def test_tokens_can_be_named_by_their_ids(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi")

    choice = caller.complete(scripted.nonce, logprobs=1, return_token_ids=True, return_tokens_as_token_ids=True).json()[
        "choices"
    ][0]

    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in choice["token_ids"]]


def test_max_tokens_is_obeyed_only_when_the_step_says_so(scripted: Upstream, caller: Caller) -> None:
    scripted.says("one two three four")
    scripted.says("one two three four", obeys_limits=True)

    free = caller.complete(scripted.nonce, max_tokens=2, return_token_ids=True).json()["choices"][0]
    bound = caller.complete(scripted.nonce, max_tokens=2, return_token_ids=True).json()["choices"][0]

    assert len(free["token_ids"]) > 2
    assert free["finish_reason"] == "stop"
    assert bound["token_ids"] == free["token_ids"][:2]
    assert bound["finish_reason"] == "length"
    assert [call.sampling["max_tokens"] for call in scripted.calls] == [2, 2]


@pytest.mark.parametrize("version", [3, "step-7", (3, 4)])
def test_the_weight_version_is_a_field_of_the_answer(
    version: int | str | tuple[int, int], scripted: Upstream, caller: Caller
) -> None:
    scripted.says("Hi", weight_version=version)
    expected = list(version) if isinstance(version, tuple) else version

    assert caller.complete(scripted.nonce).json()["weight_version"] == expected
    assert scripted.calls[0].weight_version == expected


def test_an_answer_can_claim_another_prompt_and_any_finish_reason(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi", prompt_ids=[1, 2], finish="matched_stop")

    choice = caller.complete(scripted.nonce, return_token_ids=True).json()["choices"][0]

    assert choice["prompt_token_ids"] == [1, 2]
    assert choice["finish_reason"] == "matched_stop"


@pytest.mark.parametrize("text", ["Hello wörld 😀!", "", "é"])
def test_a_stream_is_the_plain_answer_in_pieces(text: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(text)
    scripted.says(text)
    fields = {"return_token_ids": True, "logprobs": 1}

    plain = caller.complete(scripted.nonce, **fields).json()
    chunks = events(caller.complete(scripted.nonce, stream=True, stream_options={"include_usage": True}, **fields))

    *pieces, last = chunks
    choices = [chunk["choices"][0] for chunk in pieces]
    whole = plain["choices"][0]
    assert "".join(choice["text"] for choice in choices) == text
    assert joined(choice["token_ids"] for choice in choices) == whole["token_ids"]
    assert joined(c["logprobs"]["token_logprobs"] for c in choices) == whole["logprobs"]["token_logprobs"]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert choices[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    assert (last["choices"], last["usage"]) == ([], plain["usage"])


def test_n_choices_take_n_steps(scripted: Upstream, caller: Caller) -> None:
    scripted.says("A")
    scripted.says("B")

    answer = caller.complete(scripted.nonce, n=2).json()

    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [(0, "A"), (1, "B")]
    assert [scripted.tokenizer.decode(ids, skip_special=True) for ids in scripted.calls[0].generations] == ["A", "B"]


def test_a_prompt_may_be_text_or_a_list_of_one(scripted: Upstream, caller: Caller) -> None:
    scripted.says("A")
    scripted.says("B")

    text = caller.post("/v1/completions", {"prompt": f"{scripted.nonce} <|im_end|>"})
    nested = caller.post("/v1/completions", {"prompt": [caller.context(scripted.nonce)]})

    assert (text.status_code, nested.status_code) == (200, 200)
    assert scripted.calls[0].context[-1] == scripted.tokenizer.end_of_turn
    assert scripted.calls[1].context == caller.context(scripted.nonce)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body must be JSON"),
        (b"[]", "the body must be a JSON object"),
        (b"{}", "prompt must be a non-empty list of token ids or a string"),
        (b'{"prompt": []}', "prompt must be"),
        (b'{"prompt": [1, -2]}', "prompt must be"),
        (b'{"prompt": [[1], [2]]}', "prompt must be one prompt"),
        (b'{"prompt": "a", "n": 0}', "n must be a whole number, 1 or more, not 0"),
        (b'{"prompt": "a", "n": 1000000}', "n must be 1024 at most, not 1000000"),
        (b'{"prompt": "a", "stream": 1}', "stream must be true or false, not 1"),
        (b'{"prompt": "a", "logprobs": "all"}', "logprobs must be a whole number, 0 or more"),
        (b'{"prompt": "a", "max_tokens": 1.5}', "max_tokens must be"),
        (b'{"prompt": "a", "model": 3}', "model must be a string"),
        (b'{"prompt": "a", "stream_options": true}', "stream_options must be an object"),
        (b'{"prompt": ' + b"[" * 100_000, "the body must be JSON"),
        (b'{"prompt": [99999999999999999999]}', "prompt"),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(body: bytes, message: str, caller: Caller) -> None:
    refused = caller.http.post("/v1/completions", content=body)

    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]


def test_a_call_that_is_refused_for_a_field_stands_in_the_ledger(scripted: Upstream, caller: Caller) -> None:
    scripted.says("not taken")
    refused = caller.complete(scripted.nonce, max_tokens=-3)
    answered = caller.complete(scripted.nonce)

    assert (refused.status_code, answered.status_code) == (400, 200)
    first, second = scripted.calls
    assert (first.outcome, first.status, first.max_tokens, second.outcome) == ("failed", 400, -3, "answered")
    assert first.context == second.context
