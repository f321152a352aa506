"""The edges of turns that are made of raw events: what the knife left standing."""

from __future__ import annotations

from conformance.oracles import turns
from conformance.oracles.turns import as_json

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
