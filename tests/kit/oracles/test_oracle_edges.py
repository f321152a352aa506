"""The edges of the oracles, one by one: what the knife left standing."""

from __future__ import annotations

import json

import pytest

from conformance.gateway import Trajectory
from conformance.oracles import Violation, alignment, anthropic, chat, envelope, invocations, responses
from conformance.oracles.arguments import arguments
from conformance.oracles.evidence import Evidence
from conformance.oracles.logprobs import logprob_truth
from conformance.oracles.sse import Event, SSEParser, framing
from conformance.oracles.stream_check import check
from conformance.oracles.stream_position import frame_at, position_in
from conformance.oracles.token_truth import Generation, conservation, context_truth, verbatim


def events(*data, named=False):
    return [
        Event(
            one["type"] if named and isinstance(one, dict) else "message",
            one if isinstance(one, str) else json.dumps(one),
        )
        for one in data
    ]


def piece(delta, finish=None, index=0):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


START = {"type": "message_start", "message": {}}
STOP = {"type": "message_stop"}


def where(violations):
    return [one.where for one in violations]


def test_done_is_no_event_of_the_messages_stream_and_behind_its_end_it_is_told_once():
    inside = anthropic.stream(events(START, "[DONE]", STOP, named=True))
    assert any(one.expected == "an event of the Messages stream" for one in inside)
    behind = [one for one in anthropic.stream(events(START, STOP, "[DONE]", named=True)) if one.where == "frame 3"]
    assert [one.expected for one in behind] == ["nothing after the message_stop of frame 2"]


def test_empty_ids_are_no_ids_that_two_share():
    body = {"content": [{"type": "tool_use", "id": "", "name": "f", "input": {}}] * 2}
    assert not any(one.expected == "an id of its own" for one in anthropic.message(body))
    call = {"id": "", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    assert not any(one.expected == "an id of its own" for one in chat.completion(body))


def test_only_a_tool_s_id_must_be_its_own():
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", "id": "x"}}
    stop = {"type": "content_block_stop", "index": 0}
    found = anthropic.stream(events(START, block, stop, {**block, "index": 1}, {**stop, "index": 1}, STOP, named=True))
    assert not any("an id of its own" in one.expected for one in found)


def test_arguments_that_are_encoded_twice_are_told_from_others():
    assert [one.hint for one in arguments((), '"{}"')] == ["the arguments were encoded as JSON twice"]
    assert [one.hint for one in arguments((), "[]")] == [""]


def test_milliseconds_begin_where_seconds_are_thousands_of_years_ahead():
    assert "created" in where(chat.completion({"created": chat.MILLISECONDS}))
    assert "created" not in where(chat.completion({"created": chat.MILLISECONDS - 1}))
    assert where(responses.conversation(5)) == ["body"]
    conversation = {"id": "c", "object": "conversation", "metadata": {}}
    assert where(responses.conversation({**conversation, "created_at": 1_700_000_000_000})) == ["created_at"]
    assert responses.conversation({**conversation, "created_at": 1_700_000_000}) == []


def test_two_streamed_calls_have_ids_of_their_own():
    calls = [
        piece({"role": "assistant", "tool_calls": [{"index": index, "id": "c", "function": {"name": "f"}}]})
        for index in (0, 1)
    ]
    found = chat.stream(events(*calls, piece({}, "tool_calls"), "[DONE]"))
    assert "frame 2, choices[0].delta.tool_calls[0].id" in where(found)


def test_each_choice_that_was_asked_for_is_there():
    found = chat.stream(events(piece({"role": "assistant"}, "stop"), "[DONE]"), choices=2)
    assert [one for one in found if one.expected == "2 choices"] == [Violation("frame 2", "2 choices", "1")]
    whole = [piece({"role": "assistant"}, "stop", index) for index in (0, 1)]
    assert not any(one.expected == "2 choices" for one in chat.stream(events(*whole, "[DONE]"), choices=2))
    assert not any(one.expected == "2 choices" for one in chat.stream(events("[DONE]"), choices=2))


def test_the_last_usage_counts_and_null_is_none():
    found = chat.assemble(events({"usage": {"a": 1}}, {"usage": None}, {"usage": {"a": 2}}, {"usage": None}))
    assert found["usage"] == {"a": 2}
    assert "usage" not in chat.assemble(events({"usage": None}))


def test_an_index_of_any_kind_is_a_choice():
    found = chat.assemble(
        events(piece({"content": "a"}, index=[]), piece({"content": "b"}, index=[]), piece({}, index=1))
    )
    assert [(one["index"], one["message"]["content"]) for one in found["choices"]] == [(1, ""), ([], "ab")]


def test_what_came_as_null_first_is_what_comes_then():
    found = chat.assemble(events(piece({"audio": None}), piece({"audio": {"id": "a"}}), piece({"audio": None})))
    assert found["choices"][0]["message"]["audio"] == {"id": "a"}


def test_an_error_has_the_status_of_an_error():
    error = {"type": "error", "error": {"type": "api_error", "message": "boom"}}
    assert envelope.anthropic_error(error, 200) == [Violation("status", "4xx or 5xx for an error", "200")]
    assert envelope.anthropic_error(error, 500) == []
    bad = {"type": "error", "error": {"type": "odd", "message": "boom"}}
    assert where(envelope.anthropic_error(bad, 400)) == ["error.type"]
    assert where(
        envelope.openai_error({"error": {"message": "m", "type": "odd", "param": None, "code": None}}, 400)
    ) == ["error.type"]


def test_a_model_that_says_done_is_told_from_an_error_that_goes_on():
    (behind,) = invocations.frames(b"event: error\ndata: x\n\ndata: y\n\n")
    assert behind.hint == ""
    (behind,) = invocations.frames(b"data: [DONE]\n\ndata: y\n\n")
    assert "[DONE]" in behind.hint


def test_a_chunk_is_its_text_unless_chunks_are_encoded():
    body = b'data: "a"\n\ndata: [DONE]\n\n'
    assert invocations.chunks(body) == ['"a"']
    assert invocations.chunks(body, encoded=True) == ["a"]


def test_a_lost_chunk_is_told_from_one_that_was_taken_for_the_end():
    (cut,) = invocations.round_trip(["a", "[DONE]", "b"], b"data: a\n\ndata: [DONE]\n\n")
    assert cut.hint == "the text [DONE] was taken for the end of the stream"
    (lost,) = invocations.round_trip(["a", "b"], b"data: a\n\ndata: [DONE]\n\n")
    assert lost.hint == ""
    (more,) = invocations.round_trip(["a"], b"data: a\n\ndata: b\n\ndata: [DONE]\n\n")
    assert more.hint == ""


ADDED = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}
NOTE = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0}


def test_annotations_are_gathered():
    found = responses.assemble(
        events(
            ADDED, {**NOTE, "annotation": 1}, {**NOTE, "annotation": 2}, {**NOTE, "output_index": 5, "annotation": 3}
        )
    )
    assert [part["annotations"] for item in found["output"] for part in item["content"]] == [[1, 2]]


def test_one_false_logprob_is_not_shifted():
    call = Generation([1], [2], [-0.5])
    (found,) = logprob_truth([Trajectory([1], [2], [1], [-0.75])], [call])
    assert found.hint == ""


def test_a_generation_is_the_call_s_whose_context_it_has():
    calls = [Generation([1], [2], [-0.5]), Generation([9], [2], [-4.0])]
    assert logprob_truth([Trajectory([9], [2], [1], [-4.0])], calls) == []
    assert len(logprob_truth([Trajectory([9], [2], [1], [-0.5])], calls)) == 1


def test_ids_and_masks_begin_at_zero():
    assert alignment.alignment([Trajectory([0], [0], [0], [0.0])]) == []
    (odd,) = alignment.alignment([Trajectory([0, -1], [], [])])
    assert (odd.where, odd.actual) == ("trajectory 0, prompt_ids[1]", "integer -1")


def test_shifted_logprobs_are_told_from_others():
    def hint(*logprobs):
        (found,) = alignment.alignment([Trajectory([1], [1, 2, 3, 4], [0, 0, 0, 1], list(logprobs))])
        return found.hint

    assert hint(0.0, 0.0, -1.0, -1.0) == "the logprobs are shifted against the mask"
    assert hint(-1.0, 0.0, 0.0, -1.0) == ""
    (first,) = alignment.alignment([Trajectory([1], [1, 2], [1, 0], [-1.0, -1.0])])
    assert first.hint == "the logprobs are shifted against the mask"


def test_too_few_logprobs_are_told_from_too_many():
    def hint(*logprobs):
        (found,) = alignment.alignment([Trajectory([1], [1, 2], [1, 1], list(logprobs))])
        return found.hint

    assert hint(-1.0) == "a turn without logprobs was appended to turns that have them"
    assert hint(-1.0, -1.0, -1.0) == ""


def test_two_generations_in_one_run_are_found():
    """Turn 2 continued turn 1 with nothing between, so one run of mask 1 holds both."""
    calls = [Generation([1], [2, 3], None), Generation([1, 2, 3], [4], None)]
    evidence = Evidence([Trajectory([1], [2, 3, 4], [1, 1, 1])], calls)
    ((_, segments),) = evidence.segments
    assert [(one.start, one.end) for one in segments] == [(1, 3), (3, 4)]


def test_a_retry_of_eighteen_digits_is_a_number():
    for digits, retry in ((18, int("9" * 18)), (19, None)):
        parser = SSEParser()
        parser.feed(b"retry: " + b"9" * digits + b"\n\n")
        assert parser.retry == retry


def test_crlf_is_counted():
    (once,) = framing(b"data: 1\r\n\n")
    (twice,) = framing(b"data: 1\r\n\r\n")
    assert (once.actual, twice.actual) == ("CRLF", "CRLF, 2 times")


def test_a_name_without_data_is_no_frame():
    (found,) = framing(b"event: x\n\nevent: y\ndata: 1\n\n", named=True)
    assert (found.where, found.expected, found.actual) == ("frame 1 (line 1)", "a `data:` line", "a name alone")


def test_places_in_a_frame():
    frame = frame_at(['data: {"a": [1,', 'data:  {"b c": 2}], "d": "x"}', ""], 1)
    assert frame.pieces == ((1, 7, '{"a": [1,'), (2, 7, ' {"b c": 2}], "d": "x"}'))
    assert position_in(frame, 1, "a[0]") == (1, 14)
    assert position_in(frame, 1, 'a[1]["b c"]') == (2, 16)
    assert position_in(frame, 1, "d") == (2, 26)
    assert position_in(frame, 1, "d.e") == (2, 26)
    assert position_in(frame, 1, "") == (1, 7)
    assert frame.place(9) == (1, 16)
    assert frame.place(10) == (2, 7)
    assert frame_at(["data:x"], 1).pieces == ((1, 6, "x"),)
    assert position_in(frame_at(["event: x", ""], 1), 1, "a") == (1, 1)


def test_places_of_what_is_wrong_in_a_recording():
    def places(body, wire="openai"):
        return [(one.line, one.column) for one in check(body, wire)]

    assert places(b"") == [(1, 1)] * len(places(b""))
    assert places(b'{"event_type": "odd"}\n', "turns")[0] == (1, 16)
    done = b'event: turn_started\ndata: {"event_type": "odd"}\n\ndata: [DONE]\n\n'
    assert len(places(done, "turns")) == len(places(done.removesuffix(b"data: [DONE]\n\n"), "turns"))
    assert not any("choices" in one.violation.expected for one in check(b'data: {"choices": 5}\n\n', "openai"))


def disordered(trajectory, *calls):
    """Where generations stand in another order than they were returned in."""
    hint = "the generations stand in another order"
    return [one.where for one in verbatim([trajectory], list(calls)) if one.hint == hint]


def test_one_generation_does_not_stand_twice_in_a_trajectory():
    once = Generation([1], [3, 4], None)
    assert disordered(Trajectory([1], [3, 4, 9, 3, 4], [1, 1, 0, 1, 1]), once) == ["trajectory 0, response_ids[3:5]"]


def test_of_equal_generations_the_one_with_the_context_counts_for_the_order():
    twin, later, first = Generation([8], [3], None), Generation([1, 3, 9], [4], None), Generation([1], [3], None)
    trajectory = Trajectory([1], [3, 9, 4], [1, 0, 1])
    assert disordered(trajectory, twin, later, first) == ["trajectory 0, response_ids[2:3]"]
    assert disordered(trajectory, twin, first, later) == []


def test_a_generation_that_came_too_early_is_not_the_one_that_counts():
    early, first = Generation([1, 3, 9], [3], None), Generation([1], [3], None)
    other, late = Generation([5], [4], None), Generation([7], [3], None)
    trajectory = Trajectory([1], [3, 9, 3, 9, 4], [1, 0, 1, 0, 1])
    assert disordered(trajectory, early, first, other, late) == ["trajectory 0, response_ids[4:5]"]


def test_a_turn_that_sampled_nothing_may_end_a_trajectory():
    silent, said = Generation([1, 2, 9], [], None), Generation([1, 2, 9], [5], None)
    spoken = Generation([1], [2], None)
    trajectory = Trajectory([1], [2, 9], [1, 0])

    def behind(*calls):
        return [one for one in context_truth([trajectory], list(calls)) if one.expected.startswith("nothing behind")]

    assert behind(spoken, silent) == []
    assert len(behind(spoken)) == 1
    assert len(behind(spoken, said)) == 1
    assert len(behind(spoken, Generation([7], [], None))) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_logprob_is_finite(value):
    (found,) = alignment.alignment([Trajectory([1], [2, 3], [1, 1], [-1.0, value])])
    assert (found.where, found.expected) == ("trajectory 0, response_logprobs[1]", "a finite number")


def test_logprobs_that_end_before_the_mask_are_judged_as_far_as_they_go():
    found = alignment.alignment([Trajectory([1], [2, 3, 4], [1, 0, 0], [-1.0, -2.0])])
    assert where(found) == ["trajectory 0, response_logprobs", "trajectory 0, response_logprobs[1]"]


def test_of_equal_generations_the_one_with_the_context_is_claimed():
    calls = [Generation([1], [3], None), Generation([2], [3], None)]
    twice, lost = conservation([Trajectory([1], [3], [1])] * 2, calls)
    assert twice.actual == "2 times: trajectory 0, response_ids[0:1]; trajectory 1, response_ids[0:1]"
    assert lost.actual == "none: it is in no trajectory"
    assert conservation([Trajectory([1], [3], [1]), Trajectory([2], [3], [1])], calls) == []


def test_contexts_that_part_at_two_places_are_told_twice():
    calls = [Generation([7, 2], [3], None), Generation([1, 2, 3, 9], [5], None)]
    found = context_truth([Trajectory([1, 2], [3, 8, 5], [1, 0, 1])], calls)
    assert where(found) == ["trajectory 0, response_ids[0:1], context", "trajectory 0, response_ids[2:3], context"]


def test_a_delta_of_no_block_is_any_that_is_known():
    def said(delta):
        found = anthropic.stream(events(START, {"type": "content_block_delta", "delta": delta}, STOP, named=True))
        return [one.expected for one in found if one.where == "frame 2, delta.type"]

    assert said({"type": "odd"}) == ["a known delta"]
    assert said({"type": "text_delta", "text": "a"}) == []


def test_logprobs_beside_the_mask_are_shifted_and_others_are_not():
    def hint(*logprobs):
        (found,) = alignment.alignment([Trajectory([1], [2, 3, 4, 5, 6], [1, 0, 0, 0, 1], list(logprobs))])
        return found.hint

    assert hint(-1.0, 0.0, -1.0, 0.0, -1.0) == ""
    for behind, before in ((-1.0, 0.0), (0.0, -1.0)):
        assert hint(-1.0, behind, 0.0, before, -1.0) == "the logprobs are shifted against the mask"
