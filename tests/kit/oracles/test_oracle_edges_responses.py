"""The edges of the oracles of Responses, one by one: what the knife left standing."""

from __future__ import annotations

import json

import pytest
from test_oracle_spoiled import OUTPUT, RAW, numbered, response

from conformance.oracles import Violation, responses
from conformance.oracles.responses_body import MILLISECONDS
from conformance.oracles.responses_stream import SPELLINGS
from conformance.oracles.responses_stream_items import DEPTH
from conformance.oracles.sse import Event


def stream(*documents, **options):
    events = [Event(str(one.get("type")), json.dumps(one)) for one in numbered(*documents)]
    return responses.stream(events, **options)


def where(violations):
    return [one.where for one in violations]


HEAD = RAW[:2]
MISSING = "nothing: the field is missing"


def test_milliseconds_begin_at_their_edge():
    assert where(responses.response(response([], created_at=MILLISECONDS))) == ["created_at"]
    assert responses.response(response([], created_at=MILLISECONDS - 1)) == []


def test_the_content_of_a_thought_is_reasoning_text():
    thought = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "output_text", "text": "x"}]}
    assert where(responses.response(response([thought])))[0] == "output[0].content[0].type"
    thought["content"] = [{"type": "reasoning_text", "text": "x"}]
    assert responses.response(response([thought])) == []


def test_nothing_follows_the_done_marker():
    events = [Event(str(one.get("type")), json.dumps(one)) for one in numbered(*RAW)]
    done = Event("message", "[DONE]")
    assert responses.stream([*events, done]) == []
    (twice, *_) = responses.stream([*events, done, done])
    assert (twice.expected, twice.actual) == ("nothing after the [DONE]", "`[DONE]`")
    (late, *_) = responses.stream([*events, events[-1]])
    assert late.expected.startswith("nothing after the response.completed of frame ")


def test_an_event_is_named_by_its_type():
    events = [Event(str(one.get("type")), json.dumps(one)) for one in numbered(*RAW)]
    for name, actual in (("message", "no `event:` line"), ("odd", "`event: odd`")):
        (found,) = responses.stream([Event(name, events[0].data), *events[1:]])
        assert (found.where, found.actual) == ("frame 1", actual)


def test_another_spelling_of_a_type_is_told():
    known, standard = next(iter(SPELLINGS.items()))
    (first, *_) = stream(*HEAD, {"type": known}, *RAW[2:])
    assert (first.where, first.hint) == ("frame 3, type", f"the standard name is {standard}")
    (other, *_) = stream(*HEAD, {"type": "odd"}, *RAW[2:])
    assert (other.where, other.hint) == ("frame 3, type", "")


def test_an_error_has_a_message_in_one_of_two_places():
    def said(**fields):
        return [str(one) for one in stream(*HEAD, {"type": "error", **fields})]

    assert said(message="boom", code=None, param=None) == []
    assert said(error={"message": "boom"}) == []
    assert said(error={"message": ""}) == ['frame 3, error.message: expected a non-empty string, got string ""']
    assert said(error={}) == [f"frame 3, error.message: expected a non-empty string, got {MISSING}"]
    assert said(message=5) == ["frame 3, message: expected a non-empty string, got integer 5"]
    assert said() == [f"frame 3, message: expected a non-empty string, got {MISSING}"]


def test_a_failed_response_may_lack_what_was_streamed():
    error = {"code": "server_error", "message": "boom"}
    failed = {"type": "response.failed", "response": response([], "failed", error=error)}
    assert stream(*RAW[:4], failed) == []


def test_what_was_streamed_stands_in_the_response():
    def hint(output):
        return [one.hint for one in stream(*RAW[:-1], {"type": "response.completed", "response": response(output)})]

    assert hint(OUTPUT) == []
    assert hint([]) == ["clients read the output from the terminal event"]
    assert hint(OUTPUT[:-1]) == [""]


def test_an_item_that_ends_without_a_beginning():
    done = next(one for one in RAW if one["type"] == "response.output_item.done")
    completed = {"type": "response.completed", "response": response([done["item"]])}
    (found,) = stream(*HEAD, done, completed)
    assert found == Violation(
        "frame 3, output_index", "the index of an item that was added", "0", "response.output_item.added comes first"
    )
    delta = next(one for one in RAW if one["type"] == "response.output_text.delta")
    found = stream(*HEAD, {**delta, "item": {"id": "x", "type": "message"}}, RAW[-1])
    assert where(found)[0] == "frame 3, output_index"
    assert "frame 4" not in where(found)


REFUSED = {
    "id": "msg_9",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "refusal", "refusal": "No"}],
}
AT = {"item_id": "msg_9", "output_index": 0, "content_index": 0}
REFUSAL = [
    *HEAD,
    {"type": "response.output_item.added", "output_index": 0, "item": {**REFUSED, "content": []}},
    {"type": "response.content_part.added", **AT, "part": {"type": "refusal", "refusal": ""}},
    {"type": "response.refusal.delta", **AT, "delta": "N"},
    {"type": "response.refusal.delta", **AT, "delta": "o"},
    {"type": "response.refusal.done", **AT, "refusal": "No"},
    {"type": "response.content_part.done", **AT, "part": REFUSED["content"][0]},
    {"type": "response.output_item.done", "output_index": 0, "item": REFUSED},
    {"type": "response.completed", "response": response([REFUSED])},
]


def changed(place, **fields):
    return [*REFUSAL[:place], {**REFUSAL[place], **fields}, *REFUSAL[place + 1 :]]


def test_a_refusal_is_streamed_like_a_text():
    assert stream(*REFUSAL) == []
    early = stream(*changed(3, part={"type": "refusal", "refusal": "No"}))
    assert "frame 4, part.refusal" in where(early)
    other = {**REFUSED, "content": [{"type": "refusal", "refusal": "Yes"}]}
    assert "frame 9, item.content[0].refusal" in where(stream(*changed(8, item=other)))


def test_deltas_that_come_twice_are_told():
    twice = [*REFUSAL[:6], REFUSAL[4], REFUSAL[5], *REFUSAL[6:]]
    assert {one.hint for one in stream(*twice)} == {"the deltas were sent twice"}


def test_what_was_not_streamed_is_told_to_the_depth_of_an_item():
    more = {**REFUSED, "content": [{"type": "refusal", "refusal": "No", "odd": 1}], "more": 2}
    found = stream(*changed(9, response=response([more])))
    assert where(found) == ["frame 10, response.output[0].content[0].odd", "frame 10, response.output[0].more"]
    assert {one.expected for one in found} == {"nothing, as streamed"}


def test_a_message_has_the_parts_that_were_streamed():
    none = [*REFUSAL[:3], *REFUSAL[8:]]
    assert where(stream(*none)) == ["frame 4, item.content"]


def test_arguments_that_were_not_streamed_are_no_function_s():
    call = {"id": "mcp_1", "type": "mcp_call", "name": "g", "server_label": "s", "arguments": "{}"}
    events = [
        *HEAD,
        {"type": "response.output_item.added", "output_index": 0, "item": {**call, "arguments": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": call},
        {"type": "response.completed", "response": response([call])},
    ]
    assert stream(*events) == []


def test_arguments_that_come_twice_are_told():
    call = {"id": "fc_9", "type": "function_call", "call_id": "c", "name": "f", "status": "completed"}
    at = {"item_id": "fc_9", "output_index": 0}
    events = [
        *HEAD,
        {"type": "response.output_item.added", "output_index": 0, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **at, "delta": '{"a":1}'},
        {"type": "response.function_call_arguments.done", **at, "arguments": '{"a":1}{"a":1}', "name": "f"},
    ]
    assert "the arguments were sent twice" in [one.hint for one in stream(*events)]
    events[-1]["arguments"] = '{"a":2}'
    assert "the arguments were sent twice" not in [one.hint for one in stream(*events)]


def test_an_item_that_ends_as_nothing_without_a_beginning():
    done = {"type": "response.output_item.done", "output_index": 0, "item": None}
    found = stream(*HEAD, done, {"type": "response.completed", "response": response([])})
    assert "frame 3, output_index" in where(found)


def test_a_thought_has_a_summary_and_a_content_each_with_a_part_0():
    at = {"item_id": "rs_9", "output_index": 0}
    summary, content = {"type": "summary_text", "text": "s"}, {"type": "reasoning_text", "text": "c"}
    thought = {"id": "rs_9", "type": "reasoning", "summary": [summary], "content": [content]}
    events = [
        *HEAD,
        {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "summary": [], "content": []}},
    ]
    for kind, index, part in (("reasoning_summary", "summary_index", summary), ("reasoning", "content_index", content)):
        place, named = {**at, index: 0}, "reasoning_summary_part" if part is summary else "content_part"
        events += [
            {"type": f"response.{named}.added", **place, "part": {**part, "text": ""}},
            {"type": f"response.{kind}_text.delta", **place, "delta": part["text"]},
            {"type": f"response.{kind}_text.done", **place, "text": part["text"]},
            {"type": f"response.{named}.done", **place, "part": part},
        ]
    events += [
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.completed", "response": response([thought])},
    ]
    assert stream(*events) == []


@pytest.mark.parametrize(("depth", "places"), [(DEPTH - 4, 1), (DEPTH - 3, 0)])
def test_what_is_deeper_than_any_item_goes_unjudged(depth, places):
    def nested(leaf):
        for _ in range(depth):
            leaf = [leaf]
        return {**REFUSED, "odd": leaf}

    streamed = changed(8, item=nested(1))
    assert len(stream(*streamed[:9], {**REFUSAL[9], "response": response([nested(2)])})) == places


@pytest.mark.parametrize(
    ("begun", "deltas", "content"),
    [
        pytest.param([5], 1, [{"type": "refusal", "refusal": "N"}], id="a-part-that-is-no-object-is-written-over"),
        pytest.param([5], 0, [5], id="a-part-that-is-no-object-stays"),
        pytest.param([], 0, REFUSED["content"], id="what-only-done-says"),
        pytest.param("No", 0, REFUSED["content"], id="a-content-that-is-no-list"),
    ],
)
def test_the_content_of_an_item_is_what_its_deltas_say_or_else_its_end(begun, deltas, content):
    added = {**REFUSAL[2], "item": {**REFUSED, "content": begun}}
    end = {**REFUSAL[8], "item": REFUSED}
    events = [Event(one["type"], json.dumps(one)) for one in (added, *REFUSAL[4:5] * deltas, end)]
    assert responses.assemble(events)["output"][0]["content"] == content
