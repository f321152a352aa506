"""The edges of turns that are made of raw events: what the knife left standing."""

from __future__ import annotations

import json

import pytest

from conformance.oracles import turns
from conformance.oracles.turns import ToolResponse, Turn, as_json

OPEN = {"type": "response.created", "response": {"id": "r1"}}
DONE = {"type": "response.completed", "response": {"id": "r1", "output": []}}


def made(*events, output=(), client_tools=("search",)):
    end = {"type": "response.completed", "response": {"id": "r1", "output": list(output)}}
    recorded = turns.turn_events([[OPEN, *events, end]], "conv_1", client_tools, turn_id="turn_0123456789ab")
    return [as_json(one) for one in recorded]


def texts(events):
    return [one["delta"]["text"] for one in events if one.get("delta", {}).get("delta_type") == "text"]


def issued(events):
    return [one["delta"] for one in events if one.get("delta", {}).get("delta_type") == "tool_call_issued"]


def calls(events):
    return [one for each in events for one in each.get("result", {}).get("tool_calls", ())]


def text(delta, **place):
    return {"type": "response.output_text.delta", "delta": delta, **place}


def added(index, **item):
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index, **item):
    return {"type": "response.output_item.done", "output_index": index, "item": item}


MESSAGE = {"type": "message", "id": "m1", "content": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "search", "arguments": ""}


def test_what_waits_behind_an_open_item_is_told_at_the_end():
    events = made(added(0, **MESSAGE), text("a", item_id="m1", output_index=0), text("b", item_id="m2", output_index=1))
    assert texts(events) == ["a", "b"]
    assert texts(made(text("a", item_id="m1"), text("b", item_id="m2"), text("c", item_id="m1"))) == ["a", "b", "c"]


def test_a_function_is_called_when_its_name_and_its_id_are_known():
    late = made(added(0, **{**CALL, "name": ""}), done(0, **{**CALL, "arguments": "{}"}))
    assert [(one["call_id"], one["tool_name"]) for one in issued(late)] == [("c1", "search")]
    nameless = made(added(0, **{**CALL, "call_id": ""}), done(0, **{**CALL, "arguments": "{}"}))
    assert [one["call_id"] for one in issued(nameless)] == ["c1"]
    whole = made(done(0, **{**CALL, "call_id": "", "name": "", "arguments": "{}"}))
    assert [(one["call_id"], one["tool_name"]) for one in issued(whole)] == [("fc_1", "unnamed")]


def test_whose_tool_it_is():
    def types(client_tools, name):
        events = made(added(0, **{**CALL, "name": name}), done(0, **{**CALL, "name": name}), client_tools=client_tools)
        return [one["tool_type"] for one in issued(events)]

    assert types(("search",), "search") == ["function"]
    assert types((), "mcp_x") == ["function"]
    assert types((), "file_search") != ["function"]
    assert types(("file_search",), "file_search") == ["function"]


def test_an_item_is_known_by_its_index_where_it_has_no_id():
    anonymous = {**MESSAGE, "id": ""}
    events = made(added(0, **anonymous), text("a", output_index=0), done(0, **anonymous))
    assert texts(events) == ["a"]
    told = {**anonymous, "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "text": "no"}, 5]}
    assert texts(made(added(0, **anonymous), text("a", output_index=0), done(0, **told))) == ["a"]
    other = made(added(0, **MESSAGE), text("x", output_index=0, item_id="m9"), done(0, **MESSAGE))
    assert texts(other) == ["x"]


def test_a_whole_text_adds_what_was_not_streamed_and_nothing_that_contradicts_it():
    def whole(said):
        place = {"item_id": "m1", "output_index": 0}
        end = {"type": "response.output_text.done", **place, "text": said}
        return texts(made(added(0, **MESSAGE), text("ab", **place), end, done(0, **MESSAGE)))

    assert whole("abc") == ["ab", "c"]
    assert whole("ab") == ["ab"]
    assert whole("xyz") == ["ab"]


def test_parts_of_a_text_are_told_apart():
    place = {"item_id": "m1", "output_index": 0}
    content = [{"type": "output_text", "text": "ab"}, {"type": "output_text", "text": "cd"}]
    events = [added(0, **MESSAGE), text("a", **place, content_index=0), text("c", **place, content_index=1)]
    assert texts(made(*events, done(0, **{**MESSAGE, "content": content}))) == ["a", "c", "b", "d"]
    assert texts(made(*events[:2], text("b", **place, content_index=None), done(0, **MESSAGE))) == ["a", "b"]


def test_arguments_of_other_servers():
    place = {"item_id": "fc_1", "output_index": 0}
    kind = "response.function_call_arguments.delta"
    wrapped = [{"type": kind, **place, "delta": {"arguments": piece}} for piece in ('{"a"', ": 1}")]
    assert [one["arguments"] for one in calls(made(added(0, **CALL), *wrapped, done(0, **CALL)))] == ['{"a": 1}']
    given = {**CALL, "arguments": '{"b": 2}'}
    plain = [{"type": kind, **place, "delta": piece} for piece in ('{"b"', ": 2}")]
    assert [one["arguments"] for one in calls(made(added(0, **given), *plain, done(0, **given)))] == ['{"b": 2}']


def test_items_that_a_server_ran_spell_their_arguments_in_their_own_way():
    def arguments(**item):
        events = made(done(0, id="x_1", **item))
        return [one["arguments"] for one in calls(events)]

    assert arguments(type="web_search_call", action={"query": "é"}) == ['{"query": "é"}']
    assert arguments(type="file_search_call", queries=["q"]) == ['{"queries": ["q"]}']
    assert arguments(type="file_search_call", queries=[]) == [""]


def test_what_the_client_cannot_run_is_no_call():
    other = {"type": "computer_call", "id": "x_1", "call_id": "c9"}
    assert issued(made(added(0, **other), done(0, **other), output=[other])) == []


def told(*events):
    """What each of these events of a response brings by itself."""
    turn = Turn("conv_1", ("search",), turn_id="turn_0123456789ab")
    return [[as_json(one) for one in turn.feed(raw)] for raw in (OPEN, *events)][1:]


def test_a_step_begins_when_the_response_is_in_progress():
    (begun,) = told({"type": "response.in_progress", "response": {"id": "r1"}})
    assert [(one["event_type"], one["step_type"]) for one in begun] == [("step_started", "inference")]


def test_what_waits_is_told_as_soon_as_nothing_is_open_before_it():
    later = [text("b", item_id="m2", output_index=1), text("c", item_id="m3", output_index=2)]
    assert [texts(one) for one in told(added(0, **MESSAGE), *later, done(0, **MESSAGE))] == [[], [], [], ["b", "c"]]


def test_texts_of_items_that_were_never_added_are_told_apart():
    whole = [
        {"type": "message", "id": f"m{n}", "content": [{"type": "output_text", "text": f"text {n}"}]} for n in (1, 2)
    ]
    assert texts(made(text("text 1", item_id="m1"), text("text 2", item_id="m2"), output=whole)) == ["text 1", "text 2"]


def test_arguments_that_begin_when_a_call_is_added_go_on_in_its_deltas():
    place = {"item_id": "fc_1", "output_index": 0}
    rest = [{"type": "response.function_call_arguments.delta", **place, "delta": piece} for piece in (": ", "1}")]
    events = made(added(0, **{**CALL, "arguments": '{"a"'}), *rest, done(0, **CALL))
    assert [one["arguments"] for one in issued(events)] == ['{"a"']
    assert [one["delta"]["arguments_delta"] for one in events if "arguments_delta" in one.get("delta", {})] == [
        ": ",
        "1}",
    ]
    assert [one["arguments"] for one in calls(events)] == ['{"a": 1}']


def test_what_a_server_searches_for_is_known_when_it_has_searched():
    search = {"type": "web_search_call", "id": "ws_1"}
    asked = {"type": "search", "query": "weather"}
    events = made(added(0, **search, action={"type": "search", "query": ""}), done(0, **search, action=asked))
    assert [one["arguments"] for one in issued(events)] == [""]
    assert [json.loads(one["arguments"]) for one in calls(events)] == [asked]
    assert turns.grammar(events) == []


def test_what_a_server_ran_stands_in_the_last_inference_of_the_response():
    searches = [done(index, type="file_search_call", id=f"fs_{index}", queries=["q"]) for index in (0, 2)]
    events = made(searches[0], text("and", item_id="m1", output_index=1), searches[1])
    inferred = [one["result"] for one in events if "server_tool_executions" in one.get("result", {})]
    assert [one["stop_reason"] for one in inferred] == ["server_tool_call", "server_tool_call", "end_of_turn"]
    assert [[each["call_id"] for each in one["server_tool_executions"]] for one in inferred] == [
        [],
        [],
        ["fs_0", "fs_2"],
    ]


@pytest.mark.parametrize("response_id", ["", 5, None])
def test_a_response_without_an_id_is_none_of_the_turn_s(response_id):
    response = {"id": response_id, "output": []}
    (*_, completed) = turns.turn_events([[{**OPEN, "response": response}, {**DONE, "response": response}]], "conv_1")
    assert as_json(completed)["response_ids"] == []


def test_a_recorded_turn_is_told_what_its_tools_say():
    asked = {"type": "response.completed", "response": {"id": "r1", "output": [{**CALL, "arguments": "{}"}]}}

    def answers(**options):
        events = turns.turn_events([[asked], [OPEN, DONE]], "conv_1", ("search",), **options)
        return [each.content for one in events for each in getattr(getattr(one, "result", None), "tool_responses", ())]

    assert answers(run=lambda call: ToolResponse(call.call_id, call.tool_name, "sunny")) == ["sunny"]
    assert answers() == [""]


def test_a_cause_that_is_no_text_is_told_as_none():
    def failed(**event):
        return as_json(turns.turn_events([[OPEN, event]], "conv_1")[-1])["error_message"]

    assert failed(type="error", message=5, error={"message": ["boom"]}) == "Unknown error"
    incomplete = {"incomplete_details": {"reason": 5}}
    assert failed(type="response.incomplete", response=incomplete) == "The response is incomplete: no reason given"


def test_of_items_that_the_client_cannot_run_the_first_is_told():
    other = [done(index, type=kind, id=f"x_{index}") for index, kind in enumerate(("computer_call", "shell_call"))]
    assert made(*other)[-1]["error_message"] == "The response asks for what this client cannot do: computer_call"
