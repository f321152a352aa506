"""Turns made of raw events: the golden vectors, and the traps that a naive reader of the stream falls into."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import turns
from conformance.oracles.turns import Finished, FollowUp, NextEvent, RunTools, ToolCall, ToolResponse, Turn, as_json

TURN_ID = "turn_0123456789ab"


def opening(response_id="r1"):
    response = {"id": response_id, "status": "in_progress"}
    return [{"type": "response.created", "response": response}, {"type": "response.in_progress", "response": response}]


def ending(response_id="r1", *output):
    return [{"type": "response.completed", "response": {"id": response_id, "output": list(output)}}]


def message(text, item_id="msg_1"):
    return {"id": item_id, "type": "message", "content": [{"type": "output_text", "text": text}]}


def call(call_id="c1", arguments='{"q": 1}', name="search"):
    return {
        "id": f"fc_{call_id}",
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def server_call(item_id="fs_1", queries=("weather",)):
    return {"id": item_id, "type": "file_search_call", "queries": list(queries)}


def said(*pieces, index=0, item_id="msg_1"):
    at = {"item_id": item_id, "output_index": index, "content_index": 0}
    added = {**message("", item_id), "content": []}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": added},
        *({"type": "response.output_text.delta", **at, "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", **at, "text": "".join(pieces)},
        {"type": "response.output_item.done", "output_index": index, "item": message("".join(pieces), item_id)},
    ]


def called(call_id="c1", *pieces, index=0, name="search"):
    pieces = pieces or ('{"q"', ": 1}")
    whole = call(call_id, "".join(pieces), name)
    at = {"item_id": whole["id"], "output_index": index}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": {**whole, "arguments": ""}},
        *({"type": "response.function_call_arguments.delta", **at, "delta": piece} for piece in pieces),
        {"type": "response.function_call_arguments.done", **at, "arguments": "".join(pieces)},
        {"type": "response.output_item.done", "output_index": index, "item": whole},
    ]


def searched(item_id="fs_1", index=0):
    return [
        {"type": "response.output_item.added", "output_index": index, "item": server_call(item_id, ())},
        {"type": "response.file_search_call.searching", "output_index": index, "item_id": item_id},
        {"type": "response.output_item.done", "output_index": index, "item": server_call(item_id)},
    ]


def response(*parts, response_id="r1"):
    return [*opening(response_id), *(one for part in parts for one in part), *ending(response_id)]


def made(*streams, client_tools=("search",), run=None):
    return turns.turn_events(streams, "conv_1", client_tools, run=run, turn_id=TURN_ID)


def story(events):
    """The events in a few words each; a result tells its stop reason, or whose tools were run."""
    told = []
    for event in map(as_json, events):
        match event:
            case {"event_type": "step_completed", "result": {"stop_reason": reason, "function_calls": calls}}:
                told.append((reason, *(one["call_id"] for one in calls)))
            case {"event_type": "step_completed", "result": {"tool_calls": calls, "tool_responses": responses}}:
                told.append(("client" if responses else "server", *(one["call_id"] for one in calls)))
            case {"event_type": "turn_completed" | "turn_failed" as kind}:
                told.append(kind)
    return told


def last(events):
    return as_json(events[-1])


DONE = response(said("Done", item_id="msg_9"), response_id="r2")


def test_a_text_turn_event_by_event():
    events = made(response(said("Hel", "", "lo")))
    step = {"step_id": f"{TURN_ID}_step_0", "step_type": "inference", "turn_id": TURN_ID}
    result = {
        "step_id": f"{TURN_ID}_step_0",
        "response_id": "r1",
        "text_content": "Hello",
        "function_calls": [],
        "server_tool_executions": [],
        "stop_reason": "end_of_turn",
    }
    assert [as_json(one) for one in events] == [
        {"turn_id": TURN_ID, "session_id": "conv_1", "event_type": "turn_started"},
        {**step, "metadata": None, "event_type": "step_started"},
        {**step, "delta": {"text": "Hel", "delta_type": "text"}, "event_type": "step_progress"},
        {**step, "delta": {"text": "lo", "delta_type": "text"}, "event_type": "step_progress"},
        {**step, "result": result, "event_type": "step_completed"},
        {
            "turn_id": TURN_ID,
            "session_id": "conv_1",
            "final_text": "Hello",
            "response_ids": ["r1"],
            "num_steps": 1,
            "event_type": "turn_completed",
        },
    ]
    assert turns.grammar(events) == []


@pytest.mark.parametrize(
    ("streams", "steps", "response_ids", "final_text"),
    [
        pytest.param(
            [response(said("I look"), called(index=1)), DONE],
            [("tool_calls", "c1"), ("client", "c1"), ("end_of_turn",)],
            ["r1", "r2"],
            "Done",
            id="one-client-tool",
        ),
        pytest.param(
            [response(searched(), said("Hello", index=1))],
            [("server_tool_call",), ("server", "fs_1"), ("end_of_turn",)],
            ["r1"],
            "Hello",
            id="one-server-tool",
        ),
        pytest.param(
            [response(searched(), called(index=1)), DONE],
            [("server_tool_call",), ("server", "fs_1"), ("tool_calls", "c1"), ("client", "c1"), ("end_of_turn",)],
            ["r1", "r2"],
            "Done",
            id="server-then-client",
        ),
        pytest.param(
            [response(called("c1"), called("c2", index=1)), DONE],
            [("tool_calls", "c1", "c2"), ("client", "c1", "c2"), ("end_of_turn",)],
            ["r1", "r2"],
            "Done",
            id="two-client-tools",
        ),
        pytest.param(
            [response(searched("c1"), searched("c2", index=1), said("Hello", index=2))],
            [("server_tool_call",), ("server", "c1"), ("server", "c2"), ("end_of_turn",)],
            ["r1"],
            "Hello",
            id="two-server-tools",
        ),
        pytest.param(
            [response(called("c1"), searched(index=1), said("Wait", index=2)), DONE],
            [("server_tool_call",), ("server", "fs_1"), ("tool_calls", "c1"), ("client", "c1"), ("end_of_turn",)],
            ["r1", "r2"],
            "Done",
            id="client-then-server",
        ),
        pytest.param(
            [response(called("A"), searched(index=1), called("B", index=2)), DONE],
            [
                ("server_tool_call",),
                ("server", "fs_1"),
                ("tool_calls", "A", "B"),
                ("client", "A", "B"),
                ("end_of_turn",),
            ],
            ["r1", "r2"],
            "Done",
            id="client-server-client",
        ),
        pytest.param(
            [response(said("I look"), searched(index=1))],
            [("server_tool_call",), ("server", "fs_1"), ("end_of_turn",)],
            ["r1"],
            "I look",
            id="server-tool-last",
        ),
        pytest.param(
            [
                response(called("c1")),
                response(called("c2"), response_id="r2"),
                response(said("Done"), response_id="r3"),
            ],
            [("tool_calls", "c1"), ("client", "c1"), ("tool_calls", "c2"), ("client", "c2"), ("end_of_turn",)],
            ["r1", "r2", "r3"],
            "Done",
            id="two-rounds",
        ),
        pytest.param(
            [response(called()) + DONE],
            [("tool_calls", "c1"), ("client", "c1"), ("end_of_turn",)],
            ["r1", "r2"],
            "Done",
            id="one-recording-of-both",
        ),
    ],
)
def test_a_turn_in_steps(streams, steps, response_ids, final_text):
    events = made(*streams)
    assert story(events) == [*steps, "turn_completed"]
    assert turns.grammar(events) == []
    completed = last(events)
    assert completed["num_steps"] == len(steps)
    assert completed["response_ids"] == response_ids
    assert completed["final_text"] == final_text


def test_two_server_tools_at_the_same_time_are_two_steps_each_with_its_own_call():
    first, second = searched("c1"), searched("c2", index=1)
    woven = [one for pair in zip(first, second, strict=True) for one in pair]
    events = made(response(woven, said("Hello", index=2)))
    assert story(events) == [
        ("server_tool_call",),
        ("server", "c1"),
        ("server", "c2"),
        ("end_of_turn",),
        "turn_completed",
    ]
    assert turns.grammar(events) == []


def test_what_is_streamed_meanwhile_waits_for_its_step():
    tool, text = searched(), said("Hel", "lo", index=1)
    events = made(response(tool[:1], text[:2], tool[1:], text[2:]))
    assert story(events) == [("server_tool_call",), ("server", "fs_1"), ("end_of_turn",), "turn_completed"]
    assert turns.grammar(events) == []


def test_a_server_tool_says_what_it_is():
    events = [as_json(one) for one in made(response(searched()))]
    started = [one for one in events if one["event_type"] == "step_started"][1]
    assert started["metadata"] == {"server_side": True, "tool_type": "file_search", "tool_name": "file_search_call"}
    deltas = [one["delta"] for one in events if one["event_type"] == "step_progress"]
    assert deltas == [
        {
            "call_id": "fs_1",
            "tool_type": "file_search",
            "tool_name": "file_search_call",
            "arguments": "",
            "delta_type": "tool_call_issued",
        },
        {"call_id": "fs_1", "arguments_delta": '{"queries": ["weather"]}', "delta_type": "tool_call_delta"},
    ]
    inference = [one["result"] for one in events if one["event_type"] == "step_completed"][-1]
    assert [one["call_id"] for one in inference["server_tool_executions"]] == ["fs_1"]


@pytest.mark.parametrize("name", ["knowledge_search", "file_search", "mcp_weather"])
def test_a_registered_tool_wins_over_the_names_of_servers(name):
    stream = response(called(name=name))
    assert story(made(stream, DONE, client_tools=(name,)))[:2] == [("tool_calls", "c1"), ("client", "c1")]
    assert story(made(stream, client_tools=()))[:2] == [("server_tool_call",), ("server", "c1")]


def test_an_unknown_tool_is_the_clients():
    assert story(made(response(called(name="nobody")), DONE))[:2] == [("tool_calls", "c1"), ("client", "c1")]


def arguments_of(events):
    shown = ""
    for event in map(as_json, events):
        if event["event_type"] == "step_progress":
            shown += event["delta"].get("arguments", "") + event["delta"].get("arguments_delta", "")
        elif event["event_type"] == "step_completed":
            return shown, event["result"]["function_calls"][0]["arguments"]
    return None


ADDED, PIECE, PIECE_2, ARGUED, ITEM = called()


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([ADDED, PIECE, PIECE_2, ARGUED, ITEM], id="standard"),
        pytest.param(
            [ADDED, *({**one, "type": "response.output_item.delta"} for one in (PIECE, PIECE_2)), ITEM], id="other-name"
        ),
        pytest.param(
            [
                ADDED,
                *(
                    {**one, "type": "response.output_item.delta", "delta": {"arguments": one["delta"]}}
                    for one in (PIECE, PIECE_2)
                ),
                ITEM,
            ],
            id="other-name-and-an-object",
        ),
        pytest.param([ADDED, ITEM], id="no-deltas"),
        pytest.param([ADDED, PIECE, ITEM], id="deltas-cut-short"),
        pytest.param([ADDED, ARGUED], id="no-item-done"),
        pytest.param([ITEM], id="only-done"),
        pytest.param([{**ADDED, "item": ITEM["item"]}, PIECE, PIECE_2, ARGUED, ITEM], id="all-when-added"),
        pytest.param([{**ADDED, "item": {"type": "function_call"}}, PIECE, ITEM], id="nameless-when-added"),
    ],
)
def test_arguments_arrive_once_and_whole_however_they_are_spelled(stream):
    events = made(response(stream), DONE)
    assert arguments_of(events) == ('{"q": 1}', '{"q": 1}')
    assert turns.grammar(events) == []


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([*opening(), *said("Hel", "lo"), *ending()], id="standard"),
        pytest.param([opening()[0], *said("Hel", "lo"), *ending()], id="no-in-progress"),
        pytest.param([*said("Hel", "lo"), *ending()], id="no-created"),
        pytest.param([*opening(), *ending("r1", message("Hello"))], id="only-in-the-terminal-event"),
        pytest.param([*opening(), said("Hello")[-1], *ending("r1", message("Hello"))], id="only-in-item-done"),
        pytest.param([*opening(), said("Hello")[0], said("Hello")[-2], *ending()], id="only-in-text-done"),
        pytest.param([*opening(), *said("Hel", "lo")[1:3], *ending("r1", message("Hello"))], id="item-never-added"),
        pytest.param(
            [
                *opening(),
                *({"type": "response.output_text.delta", "delta": piece} for piece in ("Hel", "lo")),
                *ending("r1", message("Hello")),
            ],
            id="deltas-alone",
        ),
    ],
)
def test_text_arrives_once_and_whole_however_it_is_sent(stream):
    events = made(stream)
    assert story(events) == [("end_of_turn",), "turn_completed"]
    assert (last(events)["final_text"], last(events)["num_steps"], last(events)["response_ids"]) == ("Hello", 1, ["r1"])
    assert turns.grammar(events) == []


def test_a_call_that_only_the_terminal_event_has_is_run():
    events = made([*opening(), *ending("r1", message("I look"), call())], DONE)
    assert story(events)[:2] == [("tool_calls", "c1"), ("client", "c1")]


FAILED = {"type": "response.failed", "response": {"id": "r1", "error": {"code": "x", "message": "boom"}}}
INCOMPLETE = {
    "type": "response.incomplete",
    "response": {"id": "r1", "incomplete_details": {"reason": "max_output_tokens"}},
}


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        pytest.param([[]], "The stream was empty", id="empty"),
        pytest.param([], "The stream was empty", id="no-stream"),
        pytest.param([opening()], "The stream ended without a terminal event", id="cut"),
        pytest.param([[*opening(), FAILED]], "boom", id="failed"),
        pytest.param([[*opening(), {"type": "response.failed"}]], "Unknown error", id="failed-without-a-word"),
        pytest.param([[*opening(), INCOMPLETE]], "The response is incomplete: max_output_tokens", id="incomplete"),
        pytest.param([[{"type": "error", "message": "boom"}]], "boom", id="error"),
        pytest.param([[{"type": "error", "error": {"message": "boom"}}]], "boom", id="nested-error"),
        pytest.param(
            [response(called()), opening("r2")], "The stream ended without a terminal event", id="follow-up-cut"
        ),
        pytest.param([response(called()), []], "The stream was empty", id="follow-up-empty"),
        pytest.param(
            [response([{"type": "response.output_item.done", "item": {"id": "x", "type": "computer_call"}}])],
            "The response asks for what this client cannot do: computer_call",
            id="unsupported",
        ),
    ],
)
def test_a_turn_fails_once_and_last(streams, message):
    events = made(*streams)
    assert story(events)[-1] == "turn_failed"
    assert last(events)["error_message"] == message
    assert turns.grammar(events) == []


def test_the_open_step_of_a_failed_turn_stays_open():
    events = [as_json(one)["event_type"] for one in made([*opening(), *said("Hel")[:2], FAILED])]
    assert events == ["turn_started", "step_started", "step_progress", "turn_failed"]


def test_a_limit_of_rounds_ends_in_failure():
    turn = Turn("conv_1", ["search"], max_rounds=1)
    for raw in response(called()):
        turn.feed(raw)
    turn.answer([ToolResponse("c1", "search", "1")])
    events = [event for raw in response(called("c2"), response_id="r2") for event in turn.feed(raw)]
    assert last(events)["error_message"] == "The model asked for tools more than 1 times"


def test_a_turn_says_what_it_wants_next():
    turn = Turn("conv_1", ["search"], turn_id=TURN_ID)
    assert turn.wants == NextEvent()
    with pytest.raises(ValueError, match="no tools are to be run now"):
        turn.answer([])
    for raw in response(called("c1"), called("c2", index=1)):
        turn.feed(raw)
    assert turn.wants == RunTools((ToolCall("c1", "search", '{"q": 1}'), ToolCall("c2", "search", '{"q": 1}')))
    assert turn.feed(opening()[0]) == []
    assert turn.end_of_stream() == []
    with pytest.raises(ValueError, match="in this order: c1, c2"):
        turn.answer([ToolResponse("c2", "search", "2"), ToolResponse("c1", "search", "1")])
    turn.answer([ToolResponse("c1", "search", "1"), ToolResponse("c2", "search", "2")])
    assert turn.wants == FollowUp(
        (
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "function_call_output", "call_id": "c2", "output": "2"},
        )
    )
    for raw in DONE:
        turn.feed(raw)
    assert turn.wants == Finished(failed=False)
    assert turn.response["id"] == "r2"
    assert [turn.feed(raw) for raw in DONE] == [[]] * len(DONE)
    assert turn.fail("too late") == turn.end_of_stream() == []


def test_a_transport_error_fails_the_turn_once():
    turn = Turn("conv_1")
    turn.feed(opening()[0])
    assert last(turn.fail("connection reset"))["error_message"] == "connection reset"
    assert turn.fail("again") == []
    assert turn.wants == Finished(failed=True)


def test_two_turns_share_nothing():
    one, other = Turn("conv_1", ["search"]), Turn("conv_2", ["search"])
    told = []
    for left, right in zip(response(called("c1")), response(said("H", "i"), response_id="r7"), strict=True):
        one.feed(left)
        told += other.feed(right)
    assert isinstance(one.wants, RunTools)
    assert (last(told)["session_id"], last(told)["response_ids"]) == ("conv_2", ["r7"])


RAW = [*response(said("Hel", "lo"), searched(index=1), called(index=2)), FAILED, INCOMPLETE, *called("c2", index=3)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def raw_events(draw):
    event = json.loads(json.dumps(draw(st.sampled_from(RAW))))
    if draw(st.booleans()):
        at = event
        for _ in range(draw(st.integers(0, 2))):
            key = draw(st.sampled_from(sorted(at)))
            at = at[key] if isinstance(at[key], dict) and at[key] else at
        at[draw(st.sampled_from(sorted(at)))] = draw(JSON)
    return event


@given(st.lists(st.lists(raw_events(), max_size=12), max_size=3))
def test_whatever_is_fed_the_grammar_holds(streams):
    events = made(*streams)
    blamed = [one for one in turns.grammar(events) if ".arguments" not in one.where]
    assert blamed == []
