from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation, turns

TURN_ID = "turn_0123456789ab"
LOST = "a call that was issued is neither in function_calls nor answered"
NOTHING = "nothing: the field is missing"


class Written:
    """Writes the events of a turn, as JSON."""

    def __init__(self):
        self.events = [{"event_type": "turn_started", "turn_id": TURN_ID, "session_id": "conv_1"}]
        self.steps = 0

    def put(self, kind, **fields):
        self.events.append({"event_type": kind, "turn_id": TURN_ID, **fields})
        return self

    def step(self, step_type, result, *deltas, metadata=None):
        at = {"step_id": f"{TURN_ID}_step_{self.steps}", "step_type": step_type}
        self.steps += 1
        self.put("step_started", **at, metadata=metadata)
        for delta in deltas:
            self.put("step_progress", **at, delta=delta)
        return self.put("step_completed", **at, result={"step_id": at["step_id"], **result})

    def infer(self, stop_reason, text="", *issued, calls=(), response_id="r1"):
        result = {
            "response_id": response_id,
            "text_content": text,
            "function_calls": [call(one) for one in calls],
            "server_tool_executions": [],
            "stop_reason": stop_reason,
        }
        said = [{"delta_type": "text", "text": text}] if text else []
        return self.step("inference", result, *said, *(issue for one in issued for issue in issues(one)))

    def server(self, call_id="s1", **changes):
        metadata = {"server_side": True, "tool_type": "file_search", "tool_name": "file_search_call"}
        result = {"tool_calls": [call(call_id)], "tool_responses": [], **changes}
        return self.step("tool_execution", result, *issues(call_id), metadata=metadata)

    def client(self, *call_ids, answered=None):
        answers = [
            {"call_id": one, "tool_name": "search", "content": "1", "metadata": {}}
            for one in (call_ids if answered is None else answered)
        ]
        result = {"tool_calls": [call(one) for one in call_ids], "tool_responses": answers}
        return self.step("tool_execution", result, metadata={"server_side": False})

    def completed(self, text="Done", response_ids=("r1",), num_steps=None):
        steps = self.steps if num_steps is None else num_steps
        ids = list(response_ids)
        return self.put("turn_completed", session_id="conv_1", final_text=text, response_ids=ids, num_steps=steps)

    def failed(self, message="boom"):
        return self.put("turn_failed", session_id="conv_1", error_message=message)

    def changed(self, position, **changes):
        self.events[position] = {**self.events[position], **changes}
        return self

    def without(self, position):
        del self.events[position]
        return self


def call(call_id, arguments="{}"):
    return {"call_id": call_id, "tool_name": "search", "arguments": arguments}


def issues(call_id):
    issued = {"delta_type": "tool_call_issued", "tool_type": "function", **call(call_id, "")}
    return [issued, {"delta_type": "tool_call_delta", "call_id": call_id, "arguments_delta": "{}"}]


def text_turn():
    return Written().infer("end_of_turn", "Done").completed()


def tool_turn():
    turn = Written().infer("tool_calls", "I look", "c1", calls=["c1"]).client("c1")
    return turn.infer("end_of_turn", "Done", response_id="r2").completed(response_ids=["r1", "r2"])


@pytest.mark.parametrize(
    "turn",
    [
        text_turn(),
        tool_turn(),
        Written().infer("server_tool_call").server().infer("end_of_turn", "Done").completed(),
        Written().infer("server_tool_call", "Wait. ").server("s1").server("s2").completed("Wait. "),
        Written()
        .infer("server_tool_call", "", "c1")
        .server()
        .infer("tool_calls", "", "c2", calls=["c1", "c2"])
        .failed(),
        Written().failed(),
        Written().put("step_started", step_id=f"{TURN_ID}_step_0", step_type="inference", metadata=None).failed(),
        Written().infer("end_of_turn", "One", response_id=None).completed("One", []),
    ],
    ids=["text", "tool", "server", "server-last", "failed-later", "failed", "failed-in-a-step", "no-response-id"],
)
def test_a_turn_conforms(turn):
    assert turns.grammar(turn.events) == []


@pytest.mark.parametrize(
    ("turn", "violations"),
    [
        pytest.param(
            text_turn().without(0),
            ["event 1: expected turn_started as the first event, got step_started"],
            id="no-start",
        ),
        pytest.param(
            text_turn().without(4),
            ["end of turn: expected turn_completed or turn_failed as the last event, got none"],
            id="no-end",
        ),
        pytest.param(
            text_turn().failed(),
            [
                "event 6: expected nothing after the turn_completed of event 5, got "
                '{"event_type": "turn_failed", "turn_id": "turn_ ... session_id": "conv_1", "error_message": "boom"}',
            ],
            id="two-terminals",
        ),
        pytest.param(
            text_turn().without(3),
            [f"event 4: expected step_completed of {TURN_ID}_step_0 first, got turn_completed"],
            id="step-left-open",
        ),
        pytest.param(
            text_turn().without(1),
            [
                "event 2: expected an event of an open step, got step_progress while no step is open",
                "event 3: expected an event of an open step, got step_completed while no step is open",
                "event 4: expected at least one inference step, got none",
                "event 4, num_steps: expected 0, the steps that were started, got 1",
            ],
            id="step-never-started",
        ),
        pytest.param(
            Written().infer("server_tool_call").server("s1").server("s2").completed("").without(6),
            [f"event 7: expected step_completed of {TURN_ID}_step_1 first, got another step_started"],
            id="steps-nest",
        ),
        pytest.param(
            text_turn().changed(1, step_id=f"{TURN_ID}_step_1"),
            [
                f'event 2, step_id: expected "{TURN_ID}_step_0", the next step, got "{TURN_ID}_step_1"',
                f'event 3, step_id: expected "{TURN_ID}_step_1", the open step, got "{TURN_ID}_step_0"',
                f'event 4, step_id: expected "{TURN_ID}_step_1", the open step, got "{TURN_ID}_step_0"',
                f'event 4, result.step_id: expected "{TURN_ID}_step_1", the step\'s, got "{TURN_ID}_step_0"',
            ],
            id="numbered-from-one",
        ),
        pytest.param(
            text_turn().changed(0, turn_id="t"),
            [
                'event 1, turn_id: expected turn_ and 12 hexadecimal digits, got "t"',
                *(f'event {n}, turn_id: expected "t", as in the first event, got "{TURN_ID}"' for n in (2,)),
                f'event 2, step_id: expected "t_step_0", the next step, got "{TURN_ID}_step_0"',
                *(f'event {n}, turn_id: expected "t", as in the first event, got "{TURN_ID}"' for n in (3, 4, 5)),
            ],
            id="turn-id",
        ),
        pytest.param(
            text_turn().changed(2, delta={"delta_type": "text", "text": ""}),
            [
                'event 3, delta.text: expected a non-empty string, got string ""',
                'event 4, result.text_content: expected "", its text deltas joined, got "Done"',
                'event 5, final_text: expected "", the text of the last response, got "Done"',
            ],
            id="empty-delta",
        ),
        pytest.param(
            text_turn().changed(2, delta={"delta_type": "tool_call_completed"}),
            [
                "event 3, delta.delta_type: expected one of text, tool_call_issued, tool_call_delta, got "
                'string "tool_call_completed"',
                'event 4, result.text_content: expected "", its text deltas joined, got "Done"',
                'event 5, final_text: expected "", the text of the last response, got "Done"',
            ],
            id="delta-type",
        ),
        pytest.param(
            Written().infer("end_of_turn", "Done").completed("Stale", ["r1", "r2"], 2),
            [
                'event 5, final_text: expected "Done", the text of the last response, got "Stale"',
                'event 5, response_ids: expected ["r1"], those of the inference steps, got ["r1", "r2"]',
                "event 5, num_steps: expected 1, the steps that were started, got 2",
            ],
            id="summary",
        ),
        pytest.param(
            Written().infer("tool_calls", "", "c1", calls=["c1"]).completed(""),
            [
                "event 6: expected tool_execution of the client after an inference that ended with tool_calls, got "
                "turn_completed"
            ],
            id="calls-never-run",
        ),
        pytest.param(
            Written().infer("tool_calls", "", "c1", calls=["c1"]).infer("end_of_turn", "Done").completed("Done"),
            [
                "event 6, step_type: expected tool_execution of the client after an inference that ended with "
                "tool_calls, got inference",
                'event 8, result.stop_reason: expected "tool_calls", as the response issued calls of the client, got '
                '"end_of_turn"',
            ],
            id="calls-passed-over",
        ),
        pytest.param(
            Written().infer("end_of_turn", "", "c1").infer("end_of_turn", "Done").completed("Done"),
            [
                'event 5, result.stop_reason: expected "tool_calls", as the response issued calls of the client, got '
                '"end_of_turn"',
                "event 6, step_type: expected the end of the turn after an inference that ended with end_of_turn, got "
                "inference",
            ],
            id="goes-on-behind-the-end-without-its-calls",
        ),
        pytest.param(
            Written().infer("server_tool_call", "", "A").server().infer("tool_calls", "", "B", calls=["B"]).failed(),
            ['event 13, result.function_calls: expected the calls ["A", "B"], as issued, got ["B"]'],
            id="a-call-lost",
        ),
        pytest.param(
            Written().infer("server_tool_call", "", "A", calls=["A"]).server().infer("end_of_turn", "Done").completed(),
            [
                'event 5, result.function_calls: expected none, as the stop_reason is server_tool_call, got ["A"]',
                'event 12, result.stop_reason: expected "tool_calls", as the response issued calls of the client, got '
                '"end_of_turn"',
            ],
            id="a-call-in-the-wrong-step",
        ),
        pytest.param(
            Written().infer("tool_calls", "", "c1", "c2", calls=["c1", "c2"]).client("c2", "c1").failed(),
            ['event 9, result.tool_calls: expected the calls ["c1", "c2"] of the response, got ["c2", "c1"]'],
            id="run-in-another-order",
        ),
        pytest.param(
            Written()
            .infer("tool_calls", "", "c1", "c2", calls=["c1", "c2"])
            .client("c1", "c2", answered=["c2"])
            .failed(),
            ['event 9, result.tool_responses: expected one for each call, in this order: ["c1", "c2"], got ["c2"]'],
            id="not-answered",
        ),
        pytest.param(
            Written().infer("server_tool_call").server("s1", tool_calls=[call("s2")]).completed(""),
            ['event 7, result.tool_calls: expected the call ["s1"] that the step issued, got ["s2"]'],
            id="the-call-of-another-step",
        ),
        pytest.param(
            Written().infer("server_tool_call").server("s1", tool_calls=[call("s1", '{"q": 2}')]).completed(""),
            ['event 7, result.tool_calls[0].arguments: expected "{}", as streamed, got "{\\"q\\": 2}"'],
            id="other-arguments",
        ),
        pytest.param(
            Written().infer("server_tool_call").server().changed(3, metadata=None).completed(""),
            [
                "event 4, metadata.server_side: expected whether the tool is run by the server, true or false, "
                "got nothing",
            ],
            id="whose-tool",
        ),
        pytest.param(
            Written().server().completed("", []),
            ["event 2, step_type: expected inference, as the first step, got tool_execution of the server"],
            id="begins-with-a-tool",
        ),
        pytest.param(
            text_turn().changed(3, result={"step_id": f"{TURN_ID}_step_0", "stop_reason": "stop"}),
            [
                'event 4, result.stop_reason: expected one of "end_of_turn", "tool_calls", "server_tool_call", got '
                'string "stop"',
                f"event 4, result.response_id: expected a string or null, got {NOTHING}",
                f"event 4, result.text_content: expected a string, got {NOTHING}",
                f"event 4, result.function_calls: expected an array, got {NOTHING}",
                f"event 4, result.server_tool_executions: expected an array, got {NOTHING}",
                'event 5, response_ids: expected [], those of the inference steps, got ["r1"]',
            ],
            id="result",
        ),
    ],
)
def test_grammar_names(turn, violations):
    assert [str(one) for one in turns.grammar(turn.events)] == violations


def test_a_lost_call_has_its_hint():
    turn = Written().infer("end_of_turn", "Done", "c1").completed()
    assert turns.grammar(turn.events) == [
        Violation(
            "event 6, result.stop_reason",
            '"tool_calls", as the response issued calls of the client',
            '"end_of_turn"',
            LOST,
        )
    ]


def test_several_turns_only_where_they_are_allowed():
    events = text_turn().events + tool_turn().events
    assert turns.grammar(events, several=True) == []
    assert {one.expected for one in turns.grammar(events)} == {"nothing after the turn_completed of event 5"}


def test_the_places_of_the_events_are_named():
    found = turns.grammar(text_turn().without(0).events, places=["line 7"])
    assert [one.where for one in found] == ["line 7"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def events_with_junk(draw):
    events = [dict(one) for one in draw(st.sampled_from([text_turn(), tool_turn()])).events]
    for _ in range(draw(st.integers(1, 4))):
        event = draw(st.sampled_from(events))
        key = draw(st.sampled_from(sorted(event)))
        if isinstance(event[key], dict) and event[key] and draw(st.booleans()):
            event[key] = {**event[key], draw(st.sampled_from(sorted(event[key]))): draw(JSON)}
        else:
            event[key] = draw(JSON)
    return draw(st.permutations(events)) if draw(st.booleans()) else events


@given(events_with_junk() | st.lists(JSON, max_size=5), st.booleans())
def test_the_grammar_never_raises(events, several):
    for one in turns.grammar(events, several=several):
        assert str(one).encode()


def test_the_arguments_of_a_call_are_those_that_an_earlier_step_streamed():
    turn = Written().infer("server_tool_call", "", "c1").server().infer("tool_calls", "", calls=["c1"]).client("c1")
    turn = turn.infer("end_of_turn", "Done", response_id="r2").completed(response_ids=["r1", "r2"])
    assert turns.grammar(turn.events) == []
    inferred, ran = (
        place
        for place, one in enumerate(turn.events)
        if one.get("result", {}).get("function_calls") or one.get("result", {}).get("tool_responses")
    )
    other = {"call_id": "c1", "tool_name": "search", "arguments": "[]"}
    turn.events[inferred]["result"]["function_calls"] = [other]
    turn.events[ran]["result"]["tool_calls"] = [other]
    assert [str(one) for one in turns.grammar(turn.events)] == [
        f'event {inferred + 1}, result.function_calls[0].arguments: expected "{{}}", as streamed, got "[]"',
        f'event {ran + 1}, result.tool_calls[0].arguments: expected "{{}}", as streamed, got "[]"',
    ]


def test_what_the_server_ran_is_listed_as_calls():
    turn = text_turn()
    result = next(one["result"] for one in turn.events if "result" in one)
    result["server_tool_executions"] = [call("s1")]
    assert turns.grammar(turn.events) == []
    result["server_tool_executions"] = [{"call_id": "", "tool_name": "f"}, 5]
    assert [one.where.partition("executions")[2] for one in turns.grammar(turn.events)] == [
        "[0].call_id",
        "[0].arguments",
        "[1]",
    ]


def test_a_turn_does_not_end_behind_a_server_tool_while_calls_of_the_client_wait():
    turn = Written().infer("server_tool_call", "", "c1").server().completed("")
    (found,) = turns.grammar(turn.events)
    assert found.expected == 'an inference with the calls that were issued, "c1"'
    assert found.hint == LOST
    assert turns.grammar(Written().infer("server_tool_call").server().completed("").events) == []


def test_a_tool_says_no_text():
    turn = Written().infer("server_tool_call").server().infer("end_of_turn", "Done").completed()
    place = next(at for at, one in enumerate(turn.events) if one.get("metadata"))
    step = {key: turn.events[place][key] for key in ("turn_id", "step_id", "step_type")}
    delta = {"event_type": "step_progress", **step, "delta": {"delta_type": "text", "text": "x"}}
    turn.events.insert(place + 1, delta)
    assert [one.expected for one in turns.grammar(turn.events)] == ["a delta of a call, in tool_execution"]


def test_a_call_that_ends_a_turn_is_told_once():
    lost = Written().infer("end_of_turn", "", "c1").completed("")
    assert [one.hint for one in turns.grammar(lost.events)] == [LOST]
    kept = Written().infer("end_of_turn", "", "c1", calls=["c1"]).completed("")
    assert [one.hint for one in turns.grammar(kept.events)] == [""]


@pytest.mark.parametrize("call_id", [["c1"], {}, None, 5])
def test_a_call_whose_id_is_no_text_is_told_as_such(call_id):
    turn = Written().infer("tool_calls", "", "c1", calls=["c1"]).failed()
    result = next(one["result"] for one in turn.events if "result" in one)
    result["function_calls"][0]["call_id"] = call_id
    assert "event 5, result.function_calls[0].call_id" in [one.where for one in turns.grammar(turn.events)]
