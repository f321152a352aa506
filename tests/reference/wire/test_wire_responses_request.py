"""Requests of the Responses wire: what is read, what is ignored, what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_gateway.tools.server_tools import FunctionTool
from reference_gateway.types import Answer
from reference_gateway.wire import openai_responses
from reference_gateway.wire.base import Policy, RequestRefused
from reference_gateway.wire.openai_responses import body_of, failure_of
from reference_gateway.wire.responses_body import events, frames
from reference_gateway.wire.responses_items import called, generated, lower

FIELDS = [
    "type",
    "role",
    "content",
    "text",
    "id",
    "call_id",
    "name",
    "arguments",
    "output",
    "summary",
    "queries",
    "results",
    "error",
    "refusal",
    "parameters",
    "function",
]
REQUEST_FIELDS = [
    "instructions",
    "conversation",
    "previous_response_id",
    "tools",
    "tool_choice",
    "stream",
    "store",
    "metadata",
    "text",
    "include",
    "max_output_tokens",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "model",
    "background",
]
FUNCTION = {"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object"}, "strict": True}


def clock(zone: str, exact: bool = False) -> str:
    """The time."""
    return zone


def parse(served=(), **body):
    return openai_responses.parse({"input": "Hi", **body}, {}, Policy(), served, lambda item_id: None)


def test_a_function_is_the_function_of_the_chat_wire():
    tools = parse(tools=[FUNCTION]).tools
    wanted = {"name": "f", "description": "F.", "parameters": {"type": "object"}}
    assert tools.definitions == ({"type": "function", "function": wanted},)
    assert tools.echo == (FUNCTION,)


def test_tools_that_the_gateway_runs_are_offered_where_they_are_asked_for():
    served = [FunctionTool(clock)]
    assert parse(served).tools.served == {}
    asked = parse(served, tools=[{"type": "mcp", "server_label": "gateway"}]).tools
    assert [one["function"]["name"] for one in asked.definitions] == ["clock"]
    assert asked.definitions[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"zone": {"type": "string"}, "exact": {"type": "boolean"}},
        "required": ["zone"],
    }
    restricted = parse(served, tools=[{"type": "mcp", "server_label": "gateway", "allowed_tools": ["other"]}])
    assert restricted.tools.definitions == ()


def test_the_clients_tool_wins_over_one_of_the_gateway():
    own = {**FUNCTION, "name": "clock"}
    tools = parse([FunctionTool(clock)], tools=[{"type": "mcp", "server_label": "gateway"}, own]).tools
    assert [one["function"]["description"] for one in tools.definitions] == ["F."]
    assert tools.served == {}


def test_calls_of_the_gateways_own_tools_are_not_counted():
    assert parse(tools=[FUNCTION], max_tool_calls=2)
    with pytest.raises(RequestRefused, match="max_tool_calls"):
        parse([FunctionTool(clock)], tools=[{"type": "mcp", "server_label": "gateway"}], max_tool_calls=2)


def test_a_hosted_tool_that_is_not_there_is_not_claimed():
    request = parse(tools=[{"type": "web_search"}, FUNCTION])
    assert request.echo["tools"] == [FUNCTION]


def test_no_tools_are_offered_where_none_may_be_called():
    request = parse(tools=[FUNCTION], tool_choice="none")
    assert request.tools.definitions == ()
    assert request.echo["tool_choice"] == "none"


def test_null_is_the_default():
    names = ("instructions", "tools", "tool_choice", "store", "stream", "include", "metadata", "text", "conversation")
    plain, nulled = parse(), parse(**dict.fromkeys(names))
    assert plain == nulled
    assert plain.store
    assert not plain.stream


@pytest.mark.parametrize("value", ["true", 1, "no", []])
def test_only_true_streams(value):
    assert not parse(stream=value).stream


def test_fields_of_real_agents_are_ignored():
    parse(
        prompt_cache_key="k", client_metadata={}, reasoning={"effort": "low"}, include=["reasoning.encrypted_content"]
    )
    parse(service_tier="auto", text={"verbosity": "low"}, truncation="disabled", top_logprobs=0, max_tool_calls=None)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("input", None, "input"),
        ("input", [], "input"),
        ("input", {}, "input"),
        ("instructions", 7, "instructions"),
        ("conversation", 7, "conversation"),
        ("conversation", {"id": ""}, "conversation"),
        ("previous_response_id", ["resp"], "previous_response_id"),
        ("tools", {}, "tools"),
        ("tools", [7], "tools[0]"),
        ("tools", [{"type": "function"}], "tools[0].name"),
        ("tools", [{**FUNCTION, "parameters": []}], "tools[0].parameters"),
        ("tools", [{**FUNCTION, "description": 7}], "tools[0].description"),
        ("tool_choice", "required", "tool_choice"),
        ("tool_choice", {"type": "function", "name": "f"}, "tool_choice"),
        ("max_output_tokens", 0, "max_output_tokens"),
        ("max_output_tokens", "7", "max_output_tokens"),
        ("max_output_tokens", True, "max_output_tokens"),
        ("metadata", "x", "metadata"),
        ("store", "yes", "store"),
        ("parallel_tool_calls", 1, "parallel_tool_calls"),
        ("include", "x", "include"),
        ("background", True, "background"),
        ("prompt", {"id": "pmpt"}, "prompt"),
        ("text", "plain", "text"),
        ("text", {"format": {"type": "json_object"}}, "text.format"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(field, value, named):
    with pytest.raises(RequestRefused) as refusal:
        parse(**{field: value})
    assert str(refusal.value).startswith(named)


def test_a_conversation_and_a_previous_response_exclude_each_other():
    with pytest.raises(RequestRefused, match="exclude each other"):
        parse(conversation="conv_1", previous_response_id="resp_1")


def answered(reason="stop", **fields):
    message = {"role": "assistant", "content": "Hello\r\n\u2028you", **fields}
    kept = generated(message, "resp_1/1", "incomplete" if reason == "length" else "completed")
    kept += [called(call, "resp_1/1") for call in fields.get("tool_calls", ())]
    return body_of(parse(), "resp_1", 1, [each.item for each in kept], [Answer(message, reason, 18, 2)])


def test_status_says_whether_the_answer_is_whole():
    assert answered()["status"] == "completed"
    cut_short = answered("length")
    assert (cut_short["status"], cut_short["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    failed = body_of(parse(), "resp_1", 1, [], [], failure=failure_of(503, "boom"))
    assert (failed["status"], failed["error"]) == ("failed", {"code": "server_error", "message": "boom"})


def test_usage_is_that_of_all_generations():
    answers = [Answer({"role": "assistant", "content": ""}, "stop", given, 2) for given in (10, 20)]
    usage = body_of(parse(), "resp_1", 1, [], answers)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (30, 4, 34)


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_stream_ends_with_the_body(reason):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    body = answered(reason, reasoning_content="Hm.", tool_calls=[call])
    made = [frame.decode() for frame in frames(body)]
    parsed = [json.loads(frame.split("data: ", 1)[1]) for frame in made]
    assert all(frame.startswith(f"event: {one['type']}\ndata: ") for frame, one in zip(made, parsed, strict=True))
    assert [one["sequence_number"] for one in parsed] == list(range(len(parsed)))
    assert parsed[-1]["response"] == body
    done = [one["item"] for one in parsed if one["type"] == "response.output_item.done"]
    assert done == body["output"]
    assert (
        "".join(one["delta"] for one in parsed if one["type"] == "response.output_text.delta") == "Hello\r\n\u2028you"
    )


def test_nothing_is_said_before_it_is_added():
    first, second, added = list(events(answered()))[:3]
    assert (first["response"]["output"], second["response"]["status"]) == ([], "in_progress")
    assert added["item"]["content"] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), child, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["message", "function_call", "function_call_output", "reasoning", "file_search_call", "mcp_call", "item_reference"]
)
ITEM = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6) | st.builds(
    lambda kind, fields: {**fields, "type": kind}, KINDS, st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6)
)


@given(body=st.dictionaries(st.sampled_from(REQUEST_FIELDS), JSON, max_size=6), items=st.lists(ITEM, max_size=3) | JSON)
def test_any_request_is_read_or_refused(body, items):
    try:
        request = parse([FunctionTool(clock)], **{**body, "input": items})
    except RequestRefused:
        return
    messages = lower(request.items, lambda item_id: None)
    assert all(isinstance(message["content"], str) for message in messages)
    json.dumps([messages, request.tools.definitions, dict(request.echo)])
