"""How a generation ended, on each wire: stop strings, cuts, what the engine gave up, and what it answered instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from conformance.oracles import anthropic_stream, chat_stream, responses
from conformance.oracles.sse import SSEParser
from reference_gateway.types import BackendRefused, BackendUnavailable, Generation
from tests.reference.app.gateway_doubles import Client, byte_codec, gateway
from tests.reference.app.test_app_responses_live import Typing

CALL = '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
WIRES = ("chat", "messages", "responses")
STREAMS = (None, "synthesised", "incremental")


def sampled(text: str, reason: str = "stop", matched: str | None = None) -> Generation:
    return Generation(byte_codec().vocabulary.encode(text), stop_reason=reason, matched=matched)


@dataclass
class Talk:
    """One conversation over one wire, whose client sends back what it was shown."""

    client: Client
    wire: str
    stream: bool

    def __post_init__(self) -> None:
        self.base = self.client.open()
        self.history: list[Any] = []

    def say(self, text: str, **fields: Any) -> httpx.Response:
        self.history.append({"role": "user", "content": text})
        stop = fields.pop("stop", None)
        body: dict[str, Any] = {"model": "m", "stream": self.stream, **fields}
        body["input" if self.wire == "responses" else "messages"] = self.history
        if stop is not None:
            body["stop_sequences" if self.wire == "messages" else "stop"] = stop
        if self.wire == "messages":
            body["max_tokens"] = 99
        path = {"chat": "/v1/chat/completions"}.get(self.wire, f"/v1/{self.wire}")
        return self.client.http.post(self.base + path, json=body)

    def body(self, answer: httpx.Response) -> dict[str, Any]:
        """The answer, put together if it was streamed."""
        assert answer.status_code == 200, answer.text
        if not self.stream:
            return answer.json()
        events = SSEParser().feed(answer.content)
        assemble = {"chat": chat_stream, "messages": anthropic_stream, "responses": responses}[self.wire].assemble
        return assemble(events)

    def told(self, answer: httpx.Response) -> tuple[str, Any]:
        """The text, and how it ended; the answer becomes part of the history."""
        body = self.body(answer)
        if self.wire == "chat":
            choice = body["choices"][0]
            self.history.append(choice["message"])
            return choice["message"].get("content") or "", choice["finish_reason"]
        if self.wire == "messages":
            self.history.append({"role": "assistant", "content": body["content"]})
            ended = (
                body["stop_reason"] if body["stop_sequence"] is None else (body["stop_reason"], body["stop_sequence"])
            )
            return "".join(each["text"] for each in body["content"] if each["type"] == "text"), ended
        self.history += body["output"]
        text = "".join(p["text"] for item in body["output"] if item["type"] == "message" for p in item["content"])
        return text, body["status"]

    def exported(self) -> list[dict[str, Any]]:
        return self.client.http.get(f"{self.base}/trajectories").json()["trajectories"]


@contextmanager
def talking(wire: str, stream: str | None, *steps: Any) -> Iterator[Talk]:
    with gateway(Typing(*steps), stream=stream or "synthesised") as client:
        yield Talk(client, wire, stream is not None)


ended_by = {"chat": "stop", "messages": ("stop_sequence", "END"), "responses": "completed"}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("matched", [None, "END"])
def test_a_stop_string_is_sampled_and_not_shown(wire, stream, matched):
    first, second = sampled("One ENDLESS"), sampled("Two END", matched=matched)
    with talking(wire, stream, first, second, sampled("Three")) as talk:
        assert talk.told(talk.say("a"))[0] == "One ENDLESS"
        assert talk.told(talk.say("b", stop=["\n\n", "END"])) == ("Two ", ended_by[wire])
        assert talk.told(talk.say("c", stop=["END"]))[0] == "Three"
        (trajectory,) = talk.exported()
    mask = trajectory["response_mask"]
    response = [token for token, own in zip(trajectory["response_ids"], mask, strict=True) if own]
    assert response == [*first.ids, *second.ids, *byte_codec().vocabulary.encode("Three")]


@pytest.mark.parametrize("wire", WIRES)
def test_stop_strings_of_the_session_count(wire):
    with gateway(Typing(sampled("Two END"), sampled("END")), stream="incremental") as client:
        for stream in (True, False):
            talk = Talk(client, wire, stream)
            talk.base = client.open(sampling_params={"stop": "END"})
            assert talk.told(talk.say("a")) == ("Two " if stream else "", ended_by[wire])


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_behind_a_whole_call_is_told(wire, stream):
    tool: dict[str, Any] = {"name": "look", "description": "d"}
    if wire == "messages":
        tool["input_schema"] = {"type": "object"}
    else:
        tool["parameters"] = {"type": "object"}
    if wire == "responses":
        tool["type"] = "function"
    tools = [{"type": "function", "function": tool}] if wire == "chat" else [tool]
    with talking(wire, stream, sampled(f"{CALL}\n<tool_call>\n{{", "length")) as talk:
        answer = talk.say("a", tools=tools)
        _, ended = talk.told(answer)
        body = talk.body(answer)
    assert ended == {"chat": "length", "messages": "max_tokens", "responses": "incomplete"}[wire]
    assert json.dumps(body).count('"look"') >= 1
    if wire == "responses":
        assert body["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("wire", WIRES)
def test_what_the_engine_broke_off_is_no_answer(wire, stream):
    with talking(wire, stream, sampled("One"), sampled("half an", "abort"), sampled("Two"), sampled("Three")) as talk:
        talk.told(talk.say("a"))
        before = talk.exported()
        failed = talk.say("b")
        if stream == "incremental":
            assert failed.status_code == 200
            last = json.loads(SSEParser().feed(failed.content)[-1].data)
            kind = {"chat": "internal_server_error", "messages": "overloaded_error", "responses": "server_error"}[wire]
            error = last["response"]["error"] if wire == "responses" else last["error"]
            assert error.get("type", error.get("code")) == kind
        else:
            assert (failed.status_code, failed.headers["retry-after"]) == (503, "1")
        assert talk.exported() == before
        talk.history.pop()
        assert talk.told(talk.say("b"))[0] == "Two"
        assert len(talk.exported()) == 1


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("status", [413, 422, 429, 503, 529])
def test_statuses_of_the_engine(wire, stream, status):
    caller = status in (413, 422)
    error = BackendRefused("too long", status) if caller else BackendUnavailable("busy", status, "7")
    with talking(wire, stream, error, sampled("Fine")) as talk:
        failed = talk.say("a")
        assert (failed.status_code, failed.headers.get("retry-after")) == (status, None if caller else "7")
        kind = failed.json()["error"]["type"]
        talk.history.pop()
        assert talk.told(talk.say("a"))[0] == "Fine"
    if wire == "messages":
        kinds = {413: "request_too_large", 422: "invalid_request_error", 429: "rate_limit_error"}
        assert kind == kinds.get(status, "overloaded_error")
    else:
        kinds = {429: "rate_limit_error"}
        assert kind == kinds.get(status, "invalid_request_error" if caller else "internal_server_error")


@pytest.mark.parametrize("stream", STREAMS)
def test_an_invocation_shows_no_stop_string(stream):
    with gateway(Typing(sampled("Two END"), sampled("Three")), stream=stream or "synthesised") as client:
        base = client.open(sampling_params={"stop": ["END"]})
        for said in ("Two ", "Three"):
            body = {"message": "a", "session_id": "s", "stream": stream is not None}
            answer = client.http.post(f"{base}/v1/invocations", json=body)
            expected = "".join(f"data: {piece}\n\n" for piece in said)
            if stream is None:
                assert answer.json()["response"] == said
            else:
                text = answer.text.replace("\n\ndata: ", "").removeprefix("data: ").removesuffix("[DONE]\n\n")
                assert text == said, expected
        (trajectory,) = client.http.get(f"{base}/trajectories").json()["trajectories"]
    assert sum(trajectory["response_mask"]) == len("Two ENDThree")


@pytest.mark.parametrize("stream", STREAMS)
def test_an_invocation_whose_engine_broke_off_fails(stream):
    with gateway(Typing(sampled("half an", "abort"), sampled("Two")), stream=stream or "synthesised") as client:
        base = client.open()
        body = {"message": "a", "session_id": "s", "stream": stream is not None}
        failed = client.http.post(f"{base}/v1/invocations", json=body)
        if stream is None:
            assert (failed.status_code, failed.headers["retry-after"]) == (503, "1")
        else:
            assert "event: error" in failed.text
            assert "[DONE]" not in failed.text
        assert client.http.get(f"{base}/trajectories").json()["trajectories"] == []
        body["stream"] = False
        assert client.http.post(f"{base}/v1/invocations", json=body).json()["response"] == "Two"
