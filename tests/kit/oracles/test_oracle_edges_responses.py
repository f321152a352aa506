"""The edges of the oracles of Responses, one by one: what the knife left standing."""

from __future__ import annotations

import json

from test_oracle_spoiled import OUTPUT, RAW, numbered, response

from conformance.oracles import Violation, responses
from conformance.oracles.responses_body import MILLISECONDS
from conformance.oracles.responses_stream import SPELLINGS
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
