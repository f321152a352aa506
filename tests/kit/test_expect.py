"""The words of checks about answers and values: what holds is silent, and all that is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.client.transcript import Exchange
from conformance.gateway import Refused
from conformance.oracles import Violation
from conformance.vocabulary.expect import FAILED, REFUSED, expect, fail, together
from conformance.vocabulary.pinned import Pinned
from conformance.vocabulary.session import ControlRefused

MESSAGE = {"role": "assistant", "content": "Hello"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COMPLETION: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": USAGE,
}
ERROR = {"error": {"message": "The field n is odd", "type": "invalid_request_error", "param": "n", "code": None}}


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


CHUNKS = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hello"}), chunk({}, "stop")]
DONE = "[DONE]"


RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "model": "m",
    "output": [],
    "parallel_tool_calls": True,
    "metadata": {},
    "tool_choice": "auto",
    "tools": [],
    "temperature": 1.0,
    "top_p": 1.0,
    "usage": None,
}
CONVERSATION = {"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}}
ITEMS = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def reply(body: Any = COMPLETION, status: int = 200, kind: str = "application/json") -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(Exchange("POST", "http://gw/v1/x", {}, b"", 0.0, status, {"content-type": kind}, [(0.0, raw)]))


def stream(*events: Any, status: int = 200, kind: str = "text/event-stream; charset=utf-8") -> Reply:
    data = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return reply("".join(f"data: {one}\n\n" for one in data).encode(), status, kind)


def said(word: Callable[[], object]) -> list[str]:
    """What a word reports, one line for each violation."""
    try:
        word()
    except ConformanceFailure as failure:
        return [str(one) for one in failure.violations]
    return []


VALUES = [
    (lambda: expect(1).equals(1, "n"), []),
    (lambda: expect(1.0).equals(1, "n"), []),
    (lambda: expect(1).equals(2, "n"), ["n: expected 2, got 1"]),
    (lambda: expect("a").equals("b", "s"), ["s: expected 'b', got 'a'"]),
    (lambda: expect(True).equals(1, "n"), ["n: expected 1, got true"]),
    (lambda: expect(0).equals(False, "n"), ["n: expected false, got 0"]),
    (lambda: expect(True).equals(True, "n"), []),
    (lambda: expect(1).differs_from(2, "n"), []),
    (lambda: expect(1).differs_from(1, "n"), ["n: expected anything but 1, got 1"]),
    (lambda: expect([1, 2]).contains(2, "l"), []),
    (lambda: expect([1, 2]).contains(3, "l"), ["l: expected something with 3, got [1, 2]"]),
    (lambda: expect([1, 2]).lacks(3, "l"), []),
    (lambda: expect([1, 2]).lacks(2, "l"), ["l: expected nothing with 2, got [1, 2]"]),
    (lambda: expect(2).is_one_of([1, 2], "n"), []),
    (lambda: expect(3).is_one_of([1, 2], "n"), ["n: expected 1 or 2, got 3"]),
    (lambda: expect(3).satisfies(lambda n: n == 3, "three", "n"), []),
    (lambda: expect(4).satisfies(lambda n: n == 3, "three", "n"), ["n: expected three, got 4"]),
    (lambda: fail("place", "this", {"a": 1}), ['place: expected this, got {"a": 1}']),
    (lambda: fail("place", "this", "a text as it is"), ["place: expected this, got a text as it is"]),
]


@pytest.mark.parametrize(("word", "lines"), VALUES)
def test_values(word, lines):
    assert said(word) == lines


def test_a_hint_travels_with_its_violation():
    for word in ("equals", "contains"):
        with pytest.raises(ConformanceFailure) as caught:
            getattr(expect([]), word)(3, "n", "look there")
        assert [one.hint for one in caught.value.violations] == ["look there"]


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        (["é", 1.5, None], '["é", 1.5, null]'),
        (b"ab\xff", r"'ab\\xff'"),
        ({1}, '"{1}"'),
        ("a" * 198, f"'{'a' * 198}'"),
        ("a" * 199, f"'{'a' * 199}... (201 characters)"),
    ],
)
def test_a_value_is_described_as_a_short_phrase(value, phrase):
    assert describe(value) == phrase


def test_together_reports_what_is_wrong_with_any():
    words = [lambda: expect(1).equals(2, "a"), lambda: expect(1).equals(1, "b"), lambda: expect(1).equals(3, "c")]
    assert said(lambda: together(*words)) == ["a: expected 2, got 1", "c: expected 3, got 1"]
    assert said(lambda: together(words[1])) == []


STATUS = [
    (lambda: expect(reply()).status(200), []),
    (lambda: expect(reply(status=404)).status(*REFUSED), []),
    (lambda: expect(reply({}, 500)).status(*REFUSED), ["status: expected 4xx, got 500 with the body '{}'"]),
    (lambda: expect(reply({}, 404)).status(*FAILED), ["status: expected 5xx, got 404 with the body '{}'"]),
    (lambda: expect(reply({}, 404)).status(200, 201), ["status: expected 200 or 201, got 404 with the body '{}'"]),
    (lambda: expect(reply({}, 400)).is_refused(), []),
    (lambda: expect(reply({}, 422)).is_refused(), []),
    (lambda: expect(reply({}, 404)).is_refused(), ["status: expected 400 or 422, got 404 with the body '{}'"]),
    (lambda: expect(reply({}, 200)).is_refused(), ["status: expected 400 or 422, got 200 with the body '{}'"]),
]
HEADERS = [
    (lambda: expect(reply(kind="Application/JSON")).header("Content-Type", "application/json"), []),
    (
        lambda: expect(reply(kind="application/json; x")).header("content-type", "application/json"),
        ["header content-type: expected application/json, got 'application/json; x'"],
    ),
    (lambda: expect(reply(kind="application/json; x")).header("content-type", "application/JSON", starts=True), []),
    (
        lambda: expect(reply(kind="text/json")).header("content-type", "application/json", starts=True),
        ["header content-type: expected application/json, got 'text/json'"],
    ),
    (lambda: expect(reply()).header("x-none", ""), ["header x-none: expected , got no such header"]),
    (lambda: expect(reply()).is_json(), []),
    (lambda: expect(reply(b"{")).is_json(), ["body: expected JSON, got '{'"]),
    (
        lambda: expect(reply(kind="text/plain")).is_json(),
        ["header content-type: expected application/json, got 'text/plain'"],
    ),
    (lambda: expect(stream(*CHUNKS, DONE)).is_event_stream(), []),
    (
        lambda: expect(reply()).is_event_stream(),
        ["header content-type: expected text/event-stream, got 'application/json'"],
    ),
    (
        lambda: expect(stream(status=500)).is_event_stream(),
        ["status: expected 200, got 500 with the body ''"],
    ),
]
ENVELOPES = [
    (lambda: expect(reply(ERROR)).has_error_envelope(), []),
    (
        lambda: expect(reply({"error": {"message": "", "type": 3}})).has_error_envelope(),
        ['error.message: expected a non-empty string, got string ""', "error.type: expected a non-empty string, got"],
    ),
    (
        lambda: expect(reply({"error": {}})).has_error_envelope(),
        ["error.message: expected a non-empty string, got null", "error.type: expected a non-empty string, got null"],
    ),
    (
        lambda: expect(reply({"error": "odd"})).has_error_envelope(),
        ["error: expected an object, got 'odd'"],
    ),
    (
        lambda: expect(reply(ERROR, kind="text/plain")).has_error_envelope(),
        ["header content-type: expected application/json, got 'text/plain'"],
    ),
    (lambda: expect(reply(ERROR)).leaks_nothing(), []),
    (lambda: expect(reply(b"at /srv/app/main.py\xff")).leaks_nothing(), ["body: expected a text without a file path"]),
    (lambda: expect(reply(ERROR, 400)).is_openai_error(400), []),
    (lambda: expect(reply(ERROR, 400)).is_openai_error(400, naming="FIELD N"), []),
    (lambda: expect(reply(ERROR, 404)).is_openai_error(400, 422), ["status: expected 400 or 422, got 404"]),
    (
        lambda: expect(reply(ERROR, 400)).is_openai_error(400, naming="top_p"),
        ["error.message: expected a message that names 'top_p', got The field n is odd"],
    ),
    (
        lambda: expect(reply({"error": {}}, 400)).is_openai_error(400, naming="n"),
        [f"error.{each}: expected " for each in ("message", "type", "param", "code")],
    ),
    (
        lambda: expect(reply(ERROR, 400, "text/plain")).is_openai_error(400),
        ["header content-type: expected application/json, got 'text/plain'"],
    ),
    (lambda: expect(reply({"type": "error", **ERROR})).has_anthropic_envelope(), []),
    (lambda: expect(reply({"type": "odd", **ERROR})).has_anthropic_envelope(), ["type: expected \"error\", got 'odd'"]),
    (
        lambda: expect(reply({"type": "error", "error": {"type": "t"}})).has_anthropic_envelope(),
        ["error.message: expected a non-empty string, got null"],
    ),
    (lambda: expect(reply({"error": "odd"}, 404)).has_flat_error((404, "odd")), []),
    (
        lambda: expect(reply({"error": "odd"}, 400)).has_flat_error((404, "odd")),
        ["status: expected 404, got 400"],
    ),
    (
        lambda: expect(reply({"error": "odd"}, 404, "text/plain")).has_flat_error(),
        ["header content-type: expected application/json, got 'text/plain'"],
    ),
    (lambda: expect(reply()).has_none_of([]), []),
    (lambda: expect(reply()).has_none_of([Violation("a", "b", "c")]), ["a: expected b, got c"]),
]
NO_CHOICE = {**COMPLETION, "choices": []}
COMPLETIONS = [
    (lambda: expect(reply()).is_answered(), []),
    (lambda: expect(stream(*CHUNKS, DONE)).is_answered(), []),
    (
        lambda: expect(reply(status=500)).is_answered(),
        ['status: expected 200, got 500 with the body \'{"id": "c1"'],
    ),
    (lambda: expect(reply({"choices": []})).is_answered(), ["choices[0]: expected a value, got none in []"]),
    (lambda: expect(reply()).is_completion(), []),
    (lambda: expect(stream(*CHUNKS, DONE)).is_completion(), []),
    (lambda: expect(reply(ERROR, 201)).is_completion(), ["status: expected 200, got 201"]),
    (lambda: expect(reply(NO_CHOICE)).is_completion(), ["choices: expected a non-empty array, got array []"]),
    (lambda: expect(reply()).has_no_engine_data(), []),
    (lambda: expect(reply({**COMPLETION, "prompt_token_ids": [1]})).has_no_engine_data(), ["prompt_token_ids: "]),
    (
        lambda: expect(stream(*CHUNKS, {**chunk({}), "prompt_token_ids": [1]}, DONE)).has_no_engine_data(),
        ["prompt_token_ids: "],
    ),
    (lambda: expect(reply({"choices": []})).has_no_engine_data(), ["choices[0]: expected a value, got none in []"]),
    (lambda: expect(stream(*CHUNKS, DONE)).has_no_engine_data(), []),
    (lambda: expect(reply()).is_not_streamed(), []),
    (
        lambda: expect(stream(DONE)).is_not_streamed(),
        ["body: expected one plain JSON body, got text/event-stream; charset=utf-8: 'data: [DONE]\\n\\n'"],
    ),
    (lambda: expect(reply(b"{")).is_not_streamed(), ["body: expected JSON, got '{'"]),
]
TWICE = "event 5: expected one `data: [DONE]` only, got another `data: [DONE]`"
AFTER = "event 2: expected nothing after `data: [DONE]`, got '{}'"
FRAME = "end of the stream: expected one `error` frame, the last event, got the stream ends with"
STREAMS = [
    (lambda: expect(stream(*CHUNKS, DONE)).has_clean_frames(), []),
    (lambda: expect(stream(*CHUNKS, "{")).has_clean_frames(), ["frame 4 (line 7): expected JSON or [DONE], got `{`"]),
    (lambda: expect(stream(*CHUNKS, DONE)).is_chunk_stream(), []),
    (lambda: expect(stream(*CHUNKS)).is_chunk_stream(), ["end of stream: expected data: [DONE] as the last frame"]),
    (lambda: expect(stream(*CHUNKS, DONE)).ends_with_done(), []),
    (
        lambda: expect(stream(*CHUNKS[:1])).ends_with_done(),
        ['end of the stream: expected `data: [DONE]`, got the stream ends after \'{"id": "c1"'],
    ),
    (
        lambda: expect(stream()).ends_with_done(),
        ["end of the stream: expected `data: [DONE]`, got the stream ends after an empty body"],
    ),
    (lambda: expect(stream(*CHUNKS, DONE, DONE)).ends_with_done(), [TWICE]),
    (lambda: expect(stream(DONE, DONE, DONE)).ends_with_done(), ["event 2: expected one", "event 3: expected one"]),
    (lambda: expect(stream(DONE, {})).ends_with_done(), [AFTER]),
    (lambda: expect(stream(CHUNKS[0], ERROR)).ends_with_error_frame(), []),
    (lambda: expect(stream(ERROR, DONE)).ends_with_error_frame(), [f"{FRAME} '[DONE]'"]),
    (lambda: expect(stream(ERROR, ERROR)).ends_with_error_frame(), [FRAME]),
    (
        lambda: expect(stream(CHUNKS[0], {"error": {}})).ends_with_error_frame(),
        [f"error.{each}: " for each in ("message", "type", "param", "code")],
    ),
]
RESPONSES = [
    (lambda: expect(reply({"output": [{}]})).has_output(), []),
    (lambda: expect(reply({"output": []})).has_output(), ["output: expected at least one item, got none"]),
    (lambda: expect(reply({"output": None})).has_output(), ["output: expected an array, got null"]),
    (lambda: expect(reply(RESPONSE)).is_response(), []),
    (lambda: expect(reply(RESPONSE)).is_response("conv_1"), ["conversation: "]),
    (lambda: expect(reply({**RESPONSE, "object": "odd"})).is_response(), ["object: "]),
    (lambda: expect(reply(CONVERSATION)).is_conversation(), []),
    (lambda: expect(reply({**CONVERSATION, "object": "odd"})).is_conversation(), ["object: "]),
    (lambda: expect(reply(ITEMS)).is_item_list(), []),
    (lambda: expect(reply({**ITEMS, "object": "odd"})).is_item_list(), ["object: "]),
    (lambda: expect(stream(DONE)).is_response_stream(), ["frame 1 (line 1): "]),
]
STATUSES = [
    (lambda word=word: getattr(expect(stream(*CHUNKS, DONE, status=502)), word)(), ["status: expected 200, got 502"])
    for word in (
        "is_completion",
        "is_answered",
        "has_no_engine_data",
        "is_event_stream",
        "has_clean_frames",
        "is_chunk_stream",
        "ends_with_done",
        "ends_with_error_frame",
        "is_response",
        "has_output",
        "is_response_stream",
    )
] + [(lambda: expect(reply({"data": []}, 502)).is_item_list(), ["status: expected 200, got 502"])]


@pytest.mark.parametrize(
    ("word", "lines"), [*STATUS, *HEADERS, *ENVELOPES, *COMPLETIONS, *STREAMS, *RESPONSES, *STATUSES]
)
def test_replies(word, lines):
    found = said(word)
    assert len(found) == len(lines), found
    for actual, start in zip(found, lines, strict=True):
        assert actual.startswith(start)


def refuses(status: int) -> Callable[[], None]:
    def call() -> None:
        raise ControlRefused("finalizing", "a list", Refused(status, "gone"))

    return call


CALLS = [
    (lambda: expect(refuses(404)).is_refused("a second finalize"), []),
    (lambda: expect(refuses(404)).is_refused("a second finalize", 404, 409), []),
    (
        lambda: expect(refuses(500)).is_refused("a second finalize", 404, 409),
        ["a second finalize: expected refused with status 404 or 409, got refused with 500: gone"],
    ),
    (lambda: expect(lambda: None).is_refused("a finalize"), ["a finalize: expected refused, got done"]),
    (
        lambda: expect(lambda: [1]).is_refused("a finalize"),
        ["a finalize: expected refused, got done, with the answer [1]"],
    ),
]


@pytest.mark.parametrize(("word", "lines"), CALLS)
def test_calls(word, lines):
    assert said(word) == lines


class Snapshot:
    """A snapshot that recalls this text."""

    def __init__(self, recalled: str | None) -> None:
        self.executions = [
            type("Execution", (), {"recalled_data": "[]"}),
            type("Execution", (), {"recalled_data": recalled}),
        ]
        self.num_executions = 2

    def __eq__(self, actual: object) -> bool:
        recalled = self.executions[1].recalled_data
        return recalled is not None and json.loads(recalled) == actual

    __hash__ = None  # type: ignore[assignment]


def test_a_shape_is_the_pinned_one_or_the_lines_that_differ_are_told():
    same = {"status": 200, "body": {"a": "integer"}}
    assert said(lambda: expect(reply({"a": 1})).has_shape(Pinned(Snapshot(json.dumps(same))))) == []
    assert said(lambda: expect({"a": 1}).has_shape(Pinned(Snapshot('{"a": "integer"}')), "n")) == []
    assert said(lambda: expect({"a": 1}).has_shape(Pinned(Snapshot(None)), "the state")) == [
        "shape of the state: expected a pinned shape, got none is pinned yet: run with --snapshot-update"
    ]
    (found,) = said(lambda: expect(reply({"a": "x"})).has_shape(Pinned(Snapshot(json.dumps(same)))))
    head, *lines = found.split("\n")
    assert head.startswith("shape of the answer: expected the pinned shape, got @@")
    assert [line.strip() for line in lines if line[0] in "+-"] == ['-  "a": "integer"', '+  "a": "string"']
    streamed = said(lambda: expect(stream({"a": 1})).has_shape(Pinned(Snapshot("{}"))))
    assert '"status": 200' in streamed[0]


def test_a_failure_reads_as_all_that_is_wrong():
    assert str(ConformanceFailure([Violation("id", "a string", "5"), Violation("model", "a string", "6")])) == (
        "id: expected a string, got 5\nmodel: expected a string, got 6"
    )
