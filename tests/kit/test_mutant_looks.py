"""What a check looks at in an answer is what decides whether another answer is the same for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conformance.client.anthropic import MessageReply
from conformance.client.http import Reply
from conformance.client.responses import ResponseReply
from conformance.client.transcript import Exchange
from tests.mutants.looks import Looked, Looks, alike
from tests.mutants.tape import Came, Request, Tape

MESSAGE = {"role": "assistant", "content": "Hello", "tool_calls": None}
COMPLETION = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"total_tokens": 3},
}
ANSWER = {"id": "msg_1", "content": [{"type": "text", "text": "Hello"}], "usage": {"output_tokens": 1}}
HELD = ("choices", 0, "message")


def exchange(document: Any = COMPLETION, url: str = "http://host/v1/chat/completions", **fields: Any) -> Exchange:
    made = Exchange("POST", url, {}, b"{}", 0.0, status=200, headers={"content-type": "application/json"}, **fields)
    made.chunks.append((0.0, json.dumps(document).encode()))
    return made


@pytest.fixture
def looks() -> Iterator[Looks]:
    looks = Looks()
    with looks.watching():
        yield looks


@pytest.mark.parametrize(
    ("look", "looked"),
    [
        (lambda reply: reply.status, set()),
        (lambda reply: reply.message, {HELD}),
        (lambda reply: (reply.text, reply.finish_reason), {(*HELD, "content"), ("choices", 0, "finish_reason")}),
        (lambda reply: reply.tool_calls, {HELD}),
        (lambda reply: reply.is_stream, set()),
        (lambda reply: reply.completion, None),
        (lambda reply: (reply.text, reply.json()), None),
        (lambda reply: reply.headers, None),
        (lambda reply: reply.body, None),
        (lambda reply: reply.events, None),
        (lambda reply: reply.error, None),
    ],
)
def test_accessors_say_what_is_looked_at(looks: Looks, look: Callable[[Reply], Any], looked: Looked) -> None:
    one, other = exchange(), exchange()
    reply = Reply(one)
    Reply(other)
    look(reply)
    assert looks.taken() == [(one, looked), (other, set())]
    assert looks.taken() == []


def test_what_is_looked_at_twice_counts_twice(looks: Looks) -> None:
    reply = Reply(exchange())
    assert reply.text == "Hello"
    assert reply.id == "chatcmpl-1"
    looks.taken()
    assert reply.text == "Hello"
    assert looks.taken() == [(reply.exchange, {(*HELD, "content")})]


def test_answers_of_other_wires(looks: Looks) -> None:
    message, response = MessageReply(exchange(ANSWER)), ResponseReply(exchange({"id": "resp_1", "output": []}))
    assert message.usage == {"output_tokens": 1}
    assert response.completion["output"] == []
    assert looks.taken() == [(message.exchange, {("usage",)}), (response.exchange, None)]


def test_afterwards_accessors_are_what_they_were() -> None:
    before = {kind: dict(vars(kind)) for kind in (Reply, MessageReply, ResponseReply)}
    with Looks().watching():
        assert vars(Reply)["body"] is not before[Reply]["body"]
    assert {kind: dict(vars(kind)) for kind in before} == before


@pytest.mark.parametrize(
    ("looked", "other", "same"),
    [
        (None, COMPLETION, True),
        (None, {**COMPLETION, "id": "chatcmpl-2"}, False),
        (set(), {**COMPLETION, "id": "chatcmpl-2"}, True),
        ({HELD}, {**COMPLETION, "id": "chatcmpl-2"}, True),
        ({HELD, ("id",)}, {**COMPLETION, "id": "chatcmpl-2"}, False),
        ({HELD}, {"choices": [{"message": dict(reversed(MESSAGE.items()))}]}, False),
        ({("usage",)}, {"usage": {"total_tokens": 3.0}}, False),
        ({("usage",)}, {"usage": {"total_tokens": 3}}, True),
        ({HELD}, {"choices": []}, False),
        ({("error",)}, {"choices": []}, True),
    ],
)
def test_alike(looked: Looked, other: Any, same: bool) -> None:
    assert alike(looked, json.dumps(COMPLETION).encode(), json.dumps(other).encode()) is same


def test_what_is_no_json_is_alike_where_nothing_is_looked_at() -> None:
    assert not alike({HELD}, json.dumps(COMPLETION).encode(), b"{")
    assert alike(frozenset(), json.dumps(COMPLETION).encode(), b"{")


def asked(path: str = "/v1/chat/completions", query: bytes = b"", body: bytes = b"{}") -> Request:
    scope = {"method": "POST", "path": path, "query_string": query}
    return Request(scope, received=[{"type": "http.request", "body": body}])


@pytest.mark.parametrize(
    ("requests", "said", "kept"),
    [
        ([asked()], [(exchange(), {HELD})], [{HELD}]),
        ([asked()], [(exchange(), set())], [set()]),
        ([asked()], [(exchange(), None)], [None]),
        ([asked()], [], [None]),
        ([asked(body=b"[]")], [(exchange(), {HELD})], [None]),
        ([asked("/a b", b"c=1")], [(exchange(url="http://host/a%20b?c=1"), {HELD})], [{HELD}]),
        ([asked(query=b"c=1")], [(exchange(), {HELD})], [None]),
        ([asked(), asked()], [(exchange(), {HELD}), (exchange(), {("id",)})], [{HELD, ("id",)}] * 2),
        ([asked(), asked()], [(exchange(), {HELD}), (exchange(), None)], [None] * 2),
        ([asked(), asked()], [(exchange(), {HELD})], [None] * 2),
        ([asked(), asked("/b")], [(exchange(), {HELD})], [{HELD}, None]),
    ],
)
def test_requests_keep_what_is_looked_at(
    requests: list[Request], said: list[tuple[Exchange, Looked]], kept: list[Looked]
) -> None:
    tape = Tape("a check")
    tape.events = [Came(request) for request in requests]
    for request in requests:
        request.looked = None
    tape.looked_at(said)
    assert [request.looked for request in requests] == kept
