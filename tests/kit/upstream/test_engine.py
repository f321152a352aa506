"""The scripted engine ends and refuses as the real ones do, each in its own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream

from .caller import Caller, events

VLLM, CHAT, SGLANG = "/v1/completions", "/v1/chat/completions", "/generate"
ROUTES = [VLLM, CHAT, SGLANG]
TEXT = "First, stop here: END and then some more."


def ask(caller: Caller, route: str, said: str, **sampling: Any) -> httpx.Response:
    """A request of this route whose sampling parameters are these."""
    stream = {"stream": sampling.pop("stream", False)}
    if route == CHAT:
        messages = [{"role": "user", "content": said}]
        return caller.post(route, {"messages": messages, "return_token_ids": True, **stream, **sampling})
    if route == VLLM:
        body = {"prompt": caller.context(said), "return_token_ids": True, "return_prompt_token_ids": True}
        return caller.post(route, {**body, **stream, **sampling})
    body = {"input_ids": caller.context(said), "return_prompt_token_ids": True, "sampling_params": sampling}
    return caller.post(route, {**body, **stream})


def told(route: str, answer: Any) -> tuple[list[int], str, Any]:
    """The ids, the text, and how it ended: finish reason and what matched."""
    if route == SGLANG:
        finish = answer["meta_info"]["finish_reason"]
        return answer["output_ids"], answer["text"], (finish["type"], finish.get("matched"))
    choice = answer["choices"][0]
    text = choice["text"] if route == VLLM else choice["message"]["content"]
    return choice["token_ids"], text, (choice["finish_reason"], choice["stop_reason"])


def streamed(route: str, stream: list[Any]) -> tuple[list[int], str, Any]:
    """The same of the events of a stream."""
    if route == SGLANG:
        return told(route, stream[-1])
    choices = [event["choices"][0] for event in stream]
    texts = [choice["text"] if route == VLLM else choice["delta"].get("content", "") for choice in choices]
    ids = [token for choice in choices for token in choice.get("token_ids") or ()]
    return ids, "".join(texts), (choices[-1]["finish_reason"], choices[-1]["stop_reason"])


# Stop strings and stop ids


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("stop", ["END", ["nowhere", "END"], ["e: END"]], ids=["one", "second", "across tokens"])
def test_a_stop_string_ends_the_generation(
    route: str, stream: bool, stop: Any, scripted: Upstream, caller: Caller
) -> None:
    scripted.says(TEXT)

    answer = ask(caller, route, scripted.nonce, stop=stop, stream=stream)

    ids, text, ended = streamed(route, events(answer)) if stream else told(route, answer.json())
    matched = stop if isinstance(stop, str) else stop[-1]
    whole = scripted.tokenizer.encode(TEXT)
    assert ids == whole[: len(ids)]
    assert matched in scripted.tokenizer.decode(ids)
    assert matched not in scripted.tokenizer.decode(ids[:-1])
    assert ended == ("stop", matched)
    shown = TEXT.partition(matched)[0]
    assert text == (scripted.tokenizer.decode(ids) if route == SGLANG else shown)
    call = scripted.calls[0]
    assert (call.generation, call.finish_reason, call.stop_reason) == (ids, "stop", matched)


@pytest.mark.parametrize("route", [VLLM, CHAT])
def test_a_stop_string_can_stay_in_the_text(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(TEXT)

    answer = ask(caller, route, scripted.nonce, stop="EN", include_stop_str_in_output=True).json()

    assert told(route, answer)[1:] == ("First, stop here: EN", ("stop", "EN"))


@pytest.mark.parametrize("route", ROUTES)
def test_a_stop_token_ends_the_generation_and_stays_in_it(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(TEXT)
    whole = scripted.tokenizer.encode(TEXT)

    answer = ask(caller, route, scripted.nonce, stop_token_ids=[whole[3]]).json()

    place = whole.index(whole[3])
    assert told(route, answer) == (whole[: place + 1], scripted.tokenizer.decode(whole[:place]), ("stop", whole[3]))


@pytest.mark.parametrize("route", ROUTES)
def test_a_stop_string_that_does_not_occur_changes_nothing(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(TEXT)

    ids, text, ended = told(route, ask(caller, route, scripted.nonce, stop=["FIN"]).json())

    end = scripted.tokenizer.end_of_turn
    assert (ids, text) == ([*scripted.tokenizer.encode(TEXT), end], TEXT)
    assert ended == ("stop", end if route == SGLANG else None)


def test_a_stop_must_be_text(scripted: Upstream, caller: Caller) -> None:
    refusals = [ask(caller, VLLM, scripted.nonce, stop=stop) for stop in (7, [""], [None])]
    refusals.append(ask(caller, SGLANG, scripted.nonce, stop_token_ids="x"))

    assert [refused.status_code for refused in refusals] == [400] * 4


# Limits


@pytest.mark.parametrize(
    ("route", "limits", "count"),
    [
        pytest.param(VLLM, {}, 16, id="vllm, absent"),
        pytest.param(VLLM, {"max_tokens": None}, 16, id="vllm, null"),
        pytest.param(VLLM, {"max_tokens": 20}, 20, id="vllm, given"),
        pytest.param(CHAT, {}, 200, id="vllm chat, absent"),
        pytest.param(CHAT, {"max_tokens": 20}, 20, id="vllm chat, given"),
        pytest.param(SGLANG, {}, 128, id="sglang, absent"),
        pytest.param(SGLANG, {"max_new_tokens": None}, 200, id="sglang, null"),
        pytest.param(SGLANG, {"max_new_tokens": 20}, 20, id="sglang, given"),
    ],
)
def test_a_step_that_obeys_limits_ends_where_the_engine_would(
    route: str, limits: dict[str, Any], count: int, scripted: Upstream, caller: Caller
) -> None:
    scripted.says(ids=[300] * 200, obeys_limits=True)

    ids, _, (finish, _) = told(route, ask(caller, route, scripted.nonce, **limits).json())

    assert (len(ids), finish) == (count, "length" if count < 200 else "stop")


@pytest.fixture(scope="module")
def small() -> Iterator[Upstream]:
    """An engine whose model takes 100 tokens."""
    with Upstream.start(fixture_path("chatml"), max_model_len=100) as upstream:
        upstream.begin()
        yield upstream
        upstream.end()


@pytest.fixture(scope="module")
def tight(small: Upstream) -> Iterator[Caller]:
    """A caller of that engine."""
    made = Caller(small.url, small.tokenizer)
    yield made
    made.http.close()


OVERFLOWS = {
    VLLM: ["maximum context length is 100 tokens", "requested 90 output tokens"],
    CHAT: ["maximum context length is 100 tokens", "requested 90 output tokens"],
    SGLANG: ["model's maximum context length of 100 tokens", "90 tokens for the completion"],
}


@pytest.mark.parametrize("route", ROUTES)
def test_what_does_not_fit_the_model_is_refused(route: str, small: Upstream, tight: Caller) -> None:
    name = "max_new_tokens" if route == SGLANG else "max_tokens"

    refused = ask(tight, route, small.nonce, **{name: 90})

    assert refused.status_code == 400
    message = refused.json()["error"]["message"]
    assert all(words in message for words in OVERFLOWS[route])
    call = small.calls[-1]
    assert (call.outcome, call.status, call.message) == ("failed", 400, message)


def test_a_chat_without_a_limit_ends_with_the_model(small: Upstream, tight: Caller) -> None:
    small.says(ids=[300] * 200, obeys_limits=True)

    ids, _, (finish, _) = told(CHAT, ask(tight, CHAT, small.nonce).json())

    assert (len(tight.context(small.nonce)) + len(ids), finish) == (100, "length")


def test_the_models_list_tells_what_fits(tight: Caller, caller: Caller) -> None:
    assert [each.http.get("/v1/models").json()["data"][0]["max_model_len"] for each in (tight, caller)] == [100, 10**6]


@pytest.mark.parametrize(
    ("route", "words"), [(VLLM, "Token id 70000 is out of vocabulary"), (SGLANG, "greater than the vocab size")]
)
def test_ids_outside_the_vocabulary_are_refused(route: str, words: str, scripted: Upstream, caller: Caller) -> None:
    name = "prompt" if route == VLLM else "input_ids"

    refused = caller.post(route, {name: [*caller.context(scripted.nonce), 70000]})

    assert refused.status_code == 400
    assert words in refused.json()["error"]["message"]
    assert scripted.calls[0].outcome == "failed"


def test_the_last_id_of_the_vocabulary_is_none_of_them(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi")

    assert caller.post(VLLM, {"prompt": [*caller.context(scripted.nonce), scripted.tokenizer.last_id]}).is_success


# How generations and calls end otherwise


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_aborted_generation_has_no_end_of_turn(route: str, stream: bool, scripted: Upstream, caller: Caller) -> None:
    scripted.says("Half an ans", finish="abort")

    answer = ask(caller, route, scripted.nonce, stream=stream)

    ids, text, (finish, _) = streamed(route, events(answer)) if stream else told(route, answer.json())
    assert (ids, text, finish) == (scripted.tokenizer.encode("Half an ans"), "Half an ans", "abort")


KINDS = {
    400: "BadRequestError",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "InternalServerError",
    503: "Service Unavailable",
    529: "Overloaded",
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("status", KINDS)
def test_an_error_has_the_engine_s_body_and_the_headers_of_the_step(
    route: str, status: int, scripted: Upstream, caller: Caller
) -> None:
    scripted.fails(status, "busy", headers={"retry-after": "7"})

    answer = ask(caller, route, scripted.nonce)

    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    if route == SGLANG and status == 400:
        assert answer.json() == {"error": {"message": "busy"}}
    elif route == SGLANG:
        expected = {"object": "error", "message": "busy", "type": str(status), "param": None, "code": status}
        assert answer.json() == expected
    else:
        expected = {"message": "busy", "type": KINDS[status], "param": None, "code": status}
        assert {**answer.json()["error"], "type": expected["type"]} == expected
        assert answer.json()["error"]["type"] in (KINDS[status], "Content Too Large", "Unprocessable Content")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "how", [{"status": 201}, {"truncated": True}, {"status": 500}, {"body": "odd"}], ids=lambda how: next(iter(how))
)
def test_any_answer_can_have_headers(stream: bool, how: dict[str, Any], scripted: Upstream, caller: Caller) -> None:
    scripted.fails(**{"status": 200, **how}, headers={"x-engine": "odd", "content-type": "text/odd"})

    body = {"prompt": caller.context(scripted.nonce), "stream": stream}
    with caller.http.stream("POST", VLLM, json=body) as answer:
        assert (answer.headers["x-engine"], answer.headers.get_list("content-type")) == ("odd", ["text/odd"])


# Streams


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", [2, 5, 1000])
def test_several_ids_come_with_an_event(route: str, size: int, scripted: Upstream, caller: Caller) -> None:
    scripted.says(TEXT)
    scripted.says(TEXT, ids_per_event=size)

    plain = told(route, ask(caller, route, scripted.nonce).json())
    stream = events(ask(caller, route, scripted.nonce, stream=True))

    assert streamed(route, stream) == plain
    counted = [event for event in stream if route != CHAT or event["choices"][0].get("token_ids") is not None]
    assert len(counted) == -(-len(plain[0]) // size)


@pytest.mark.parametrize("route", ROUTES)
def test_a_weight_version_changes_in_the_middle_of_a_stream(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(TEXT, weight_version=(3, 4))

    stream = events(ask(caller, route, scripted.nonce, stream=True))

    versions = [
        event["meta_info"]["weight_version"] if route == SGLANG else event["weight_version"] for event in stream
    ]
    assert versions == sorted(versions)
    assert set(versions) == {3, 4}


def test_a_pause_counts_ids_and_not_events(scripted: Upstream, caller: Caller) -> None:
    scripted.says(TEXT, ids_per_event=4, hold=True, pause=8)
    body = {"prompt": caller.context(scripted.nonce), "stream": True, "return_token_ids": True}
    with caller.http.stream("POST", VLLM, json=body) as answer:
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(4)]  # two events, an empty line behind each
        assert [len(json.loads(line[6:])["choices"][0]["token_ids"]) for line in first[::2]] == [4, 4]
        scripted.release()
        assert list(lines)[-2] == "data: [DONE]"


# The prompt that it was sent


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_prompt_is_echoed_or_another_or_none(route: str, stream: bool, scripted: Upstream, caller: Caller) -> None:
    for claimed in (None, [1, 2], "missing"):
        scripted.says("Hi", prompt_ids=claimed)

    echoed = []
    for _ in range(3):
        answer = ask(caller, route, scripted.nonce, stream=stream)
        first = events(answer)[0] if stream else answer.json()
        echoed.append((first["choices"][0] if route == VLLM else first).get("prompt_token_ids"))

    assert echoed == [caller.context(scripted.nonce), [1, 2], None]


# What a model would sooner say

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PLACE = '{"city": "Oslo"}'
SOONER = [{"text": "Hello"}, {"text": "{}"}, {"tool_calls": [{"name": "find", "arguments": {}}]}]
CALL = '<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("route", "fields", "said"),
    [
        *((route, {}, "Hello") for route in ROUTES),
        (VLLM, {"structured_outputs": {"json": SCHEMA}}, PLACE),
        (VLLM, {"structured_outputs": {"json": {"type": "object"}}}, "{}"),
        (VLLM, {"structured_outputs": {"regex": "<tool_call>[^<]*</tool_call>"}}, CALL),
        (VLLM, {"structured_outputs": {"grammar": 'root ::= "Hello"'}}, PLACE),
        (SGLANG, {"json_schema": json.dumps(SCHEMA)}, PLACE),
        (SGLANG, {"ebnf": 'root ::= "Hello"'}, PLACE),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, PLACE),
    ],
)
def test_the_model_says_what_it_would_sooner_say_where_it_is_free(
    scripted: Upstream, caller: Caller, route: str, fields: dict[str, Any], said: str, stream: bool
) -> None:
    scripted.says(PLACE, rather=SOONER)
    limit = {"max_new_tokens" if route == SGLANG else "max_tokens": 100}
    answer = ask(caller, route, scripted.nonce, stream=stream, **limit, **fields)
    _, text, _ = streamed(route, events(answer)) if stream else told(route, answer.json())
    assert text == said


def test_a_forced_call_of_chat_is_one(scripted: Upstream, caller: Caller) -> None:
    scripted.says(tool_calls=[{"name": "look", "arguments": {}}], rather=SOONER)
    tools = [{"type": "function", "function": {"name": name}} for name in ("find", "look")]
    answer = ask(caller, CHAT, scripted.nonce, tools=tools, tool_choice="required").json()
    assert [call["function"]["name"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["find"]
