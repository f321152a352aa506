"""The recorder in front of the scripted upstream: what the gateway sees is what it would see without, and the ledger
is the upstream's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.recorded.file import read_ledger
from conformance.upstream.client import Upstream

from ..upstream.caller import Caller, events
from .conftest import Recording, recording

TEXT = "Hello there, world"
HIDDEN = {"token_ids", "prompt_token_ids", "logprobs"}


def asked(route: str, context: list[int], nonce: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """A request of each route that asks for neither ids nor log-probabilities."""
    if route == "vllm-completions":
        return "/v1/completions", {"prompt": context, "max_tokens": 50, **fields}
    if route == "vllm-chat":
        messages = [{"role": "user", "content": f"{nonce} Hi"}]
        return "/v1/chat/completions", {"messages": messages, "temperature": 1, **fields}
    if route == "vllm-generate":
        return "/inference/v1/generate", {"token_ids": context, "sampling_params": {"max_tokens": 50}, **fields}
    if route == "llamacpp-completion":
        return "/completion", {"prompt": context, "n_predict": 50, **fields}
    return "/generate", {"input_ids": context, "sampling_params": {"max_new_tokens": 50}, **fields}


ROUTES = ["vllm-completions", "vllm-chat", "vllm-generate", "sglang-generate", "llamacpp-completion"]


def documents(response: httpx.Response, stream: bool) -> list[Any]:
    return events(response) if stream else [response.json()]


def comparable(document: Any) -> Any:
    """Without what differs from call to call, and what may be null or absent."""
    if isinstance(document, list):
        return [comparable(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        name: comparable(value)
        for name, value in document.items()
        if name not in ("id", "created", "request_id") and not (name in HIDDEN and value is None)
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_the_gateway_sees_what_it_would_see(
    route: str, stream: bool, scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    for _ in range(2):
        scripted.says(TEXT, weight_version=7)
    path, body = asked(route, direct.context(f"{scripted.nonce} Hi"), scripted.nonce, stream=stream)

    without, with_it = direct.post(path, body), through.post(path, body)

    assert with_it.status_code == 200
    assert comparable(documents(with_it, stream)) == comparable(documents(without, stream))
    (call,) = recorder.calls()
    _, own = scripted.calls
    assert call["context"] == own.context
    assert call["generations"] == own.generations
    assert call["logprobs"] == own.logprobs
    assert (call["dialect"], call["outcome"], call["finish_reason"]) == (route, "answered", "stop")
    assert call["weight_version"] == ("7" if route == "vllm-generate" else 7)  # there it is text, in spans
    assert call["message"] is None
    prompts = ("prompt", "messages", "token_ids", "input_ids")
    assert call["body"] == {name: value for name, value in body.items() if name not in prompts}


def test_ids_that_llama_cpp_leaves_out(scripted: Upstream, recorder: Recording, through: Caller) -> None:
    for _ in range(2):
        scripted.says("Hi 🙂!")
    context = through.context(f"{scripted.nonce} Hi")

    through.post("/completion", {"prompt": context, "stream": True})
    through.post("/completion", {"prompt": context})

    streamed, plain = recorder.calls(2)
    whole = len(scripted.calls[0].generation)
    told = len(streamed["generations"][0])
    assert told < whole
    assert streamed["outcome"] == "unread"
    assert streamed["message"] == f"the engine sampled {whole} tokens and told the ids of {told}"
    assert (plain["outcome"], plain["generations"]) == ("answered", scripted.calls[1].generations)
    assert plain["logprobs"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_gateway_asks_for_stays(
    stream: bool, scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    for _ in range(2):
        scripted.says(TEXT)
    body = {
        "prompt": direct.context(f"{scripted.nonce} Hi"),
        "return_token_ids": True,
        "logprobs": 3,
        "stream": stream,
    }

    without, with_it = direct.post("/v1/completions", body), through.post("/v1/completions", body)

    name = re.compile(r"cmpl-[0-9-]+")
    assert name.sub("", with_it.text) == name.sub("", without.text)
    assert recorder.calls()[0]["body"]["logprobs"] == 3


def test_several_generations_and_several_prompts(
    scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    for text in ("One", "Two"):
        scripted.says(text)
    context = direct.context(f"{scripted.nonce} Hi")

    answer = through.post("/v1/completions", {"prompt": context, "n": 2}).json()

    assert [choice["token_ids"] for choice in answer["choices"]] == [None, None]
    (call,) = recorder.calls()
    assert call["generations"] == scripted.calls[0].generations


def test_a_hang_up_reaches_the_engine(scripted: Upstream, recorder: Recording, direct: Caller) -> None:
    hold = scripted.holds(TEXT, pause=2)
    body = {"prompt": direct.context(f"{scripted.nonce} Hi"), "stream": True}

    with httpx.stream("POST", f"{recorder.url}/v1/completions", json=body, timeout=20) as response:
        lines = [line for line, _ in zip(response.iter_lines(), range(3), strict=False)]
    assert lines[0].startswith("data: {")

    (call,) = recorder.calls()
    assert call["outcome"] == "aborted"
    assert len(call["generations"][0]) == 2
    assert scripted.wait_for_calls(1, outcome="aborted")
    hold.release()


def test_what_is_sampled_arrives_at_once(scripted: Upstream, recorder: Recording, direct: Caller) -> None:
    hold = scripted.holds(TEXT, pause=1)
    body = {"prompt": direct.context(f"{scripted.nonce} Hi"), "stream": True}

    with httpx.stream("POST", f"{recorder.url}/v1/completions", json=body, timeout=20) as response:
        lines = response.iter_lines()
        first = next(lines)  # the engine is waiting
        hold.release()
        rest = list(lines)

    assert first.startswith("data: {")
    assert rest[-2:] == ["data: [DONE]", ""]
    assert recorder.calls()[0]["outcome"] == "answered"


@pytest.mark.parametrize(
    ("step", "status"), [({"status": 429, "headers": {"retry-after": "7"}}, 429), ({"status": 500}, 500)]
)
def test_a_failure_passes_as_it_is(
    step: dict[str, Any], status: int, scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    for _ in range(2):
        scripted.fails(**step)
    body = {"prompt": direct.context(f"{scripted.nonce} Hi")}

    without, with_it = direct.post("/v1/completions", body), through.post("/v1/completions", body)

    assert (with_it.status_code, with_it.content) == (status, without.content)
    assert with_it.headers.get("retry-after") == without.headers.get("retry-after")
    (call,) = recorder.calls()
    assert (call["outcome"], call["status"], call["generations"], call["message"]) == ("failed", status, [], "boom")


@pytest.mark.parametrize("fields", [{"reset": True}, {"truncated": True}, {"truncated": True, "stream": True}])
def test_where_the_engine_breaks_off_so_does_the_recorder(
    fields: dict[str, Any], scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    stream = fields.pop("stream", False)
    scripted.says(TEXT, **fields)
    body = {"prompt": direct.context(f"{scripted.nonce} Hi"), "stream": stream}

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        through.post("/v1/completions", body)

    (call,) = recorder.calls()
    assert (call["outcome"], call["message"]) == (
        "failed",
        "the engine closed the connection before its answer was whole",
    )


def test_an_engine_that_broke_a_generation_off(
    scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    scripted.says("Hel", finish="abort")
    through.complete(f"{scripted.nonce} Hi")

    assert recorder.calls()[0]["outcome"] == "aborted"


@pytest.mark.parametrize(
    ("step", "outcome", "message"),
    [
        ({"token_ids": "missing"}, "unread", "the engine told no token ids"),
        ({"logprobs": "short"}, "answered", "the engine told 3 log-probabilities for 4 ids"),
        ({"prompt_ids": (1, 2)}, "answered", "the engine says that its prompt had other ids than it was sent"),
        ({"logprobs": "missing"}, "answered", None),
    ],
)
def test_what_an_engine_does_not_tell(
    step: dict[str, Any],
    outcome: str,
    message: str,
    scripted: Upstream,
    recorder: Recording,
    through: Caller,
) -> None:
    scripted.says("Hello", **step)

    through.complete(f"{scripted.nonce} Hi")

    (call,) = recorder.calls()
    assert (call["outcome"], call["message"]) == (outcome, message)
    assert (call["logprobs"] is None) == ("logprobs" in step)


def test_other_routes_pass_unrecorded(recorder: Recording, direct: Caller, through: Caller) -> None:
    for path in ("/v1/models", "/health", "/nothing/here"):
        without, with_it = direct.http.get(path), through.http.get(path)
        assert (with_it.status_code, with_it.content) == (without.status_code, without.content)
    assert through.post("/tokenize", {"prompt": "Hello"}).json() == direct.post("/tokenize", {"prompt": "Hello"}).json()
    assert through.post("/v1/completions", {"prompt": 7}).status_code == 400

    (refused,) = recorder.calls()
    assert (refused["outcome"], refused["status"]) == ("failed", 400)


def test_credentials_reach_the_engine_and_not_the_ledger(
    scripted: Upstream, recorder: Recording, direct: Caller, through: Caller
) -> None:
    scripted.says("Hello")
    secret = {
        "authorization": "Bearer sk-secret",
        "x-goog-api-key": "sk-secret",
        "x-auth": "sk-secret",
        "cookie": "sk-secret",
    }
    body = {"prompt": direct.context(f"{scripted.nonce} Hi")}

    through.http.post("/v1/completions?key=sk-secret", json=body, headers={**secret, "x-session-id": "s1"})

    (call,) = recorder.calls()
    assert "sk-secret" not in json.dumps(call)
    assert call["headers"]["x-session-id"] == "s1"
    assert scripted.calls[0].headers["x-goog-api-key"] == "sk-secret"


def test_arrivals_stand_before_their_calls(scripted: Upstream, tmp_path: Path) -> None:
    scripted.says(TEXT)
    with recording(scripted.url, tmp_path / "calls.jsonl", "--arrivals") as recorder:
        path, body = asked("llamacpp-completion", scripted.tokenizer.encode(scripted.nonce), scripted.nonce)
        assert httpx.post(recorder.url + path, json=body).status_code == 200
        arrived, closed = recorder.calls(2)

    assert [arrived["outcome"], closed["outcome"]] == ["pending", "answered"]
    assert arrived["index"] == closed["index"] == 0
    assert arrived["context"] == closed["context"]
    assert (arrived["answered"], arrived["generations"]) == (None, [])
    assert [call.outcome for call in read_ledger(recorder.ledger)] == ["answered"]
