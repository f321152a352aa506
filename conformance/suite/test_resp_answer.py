"""Area RESP: what a response says, streamed or not."""

from __future__ import annotations

import json

import pytest

from conformance.client.http import at
from conformance.client.responses import flat, types
from conformance.gateway import Capability
from conformance.vocabulary.calls import TEMPTING
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.session import ABSENT, function, typed
from conformance.vocabulary.target import require_capability

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
CLOCK = flat(function("read_clock", "Read the clock.", zone={"type": "string"}))
ARGUMENTS = {
    "q": 'Wetter "heute" é\n',
    "count": 3,
    "part": 0.5,
    "exact": True,
    "since": None,
    "places": ["a", {"b": {}}],
    **TEMPTING,
}


@pytest.mark.requirement(id="RESP-001")
def test_response_has_its_fields(session, upstream, streamed):
    """A response has all fields that the API requires, each of its type, and so have its items."""
    upstream.says("I will look.", tool_calls=[{"name": "search", "arguments": {"q": "x"}}])

    reply = session.respond("Hi", tools=[SEARCH], stream=streamed)

    expect(reply).is_response()


@pytest.mark.requirement(id="RESP-002")
@pytest.mark.parametrize("sampled", ["Hello", "Grüezi \U0001f600 \u2028 日本", "one\n\ntwo\r\n  three", ""])
def test_output_is_what_the_model_said(session, upstream, streamed, sampled):
    """The output is one message of the assistant whose text is exactly what the model said."""
    upstream.says(sampled)

    reply = session.respond("Hi", stream=streamed)

    expect([(item.get("type"), item.get("role")) for item in reply.output]).equals(
        [("message", "assistant")], "types and roles of the output"
    )
    expect(reply.text).equals(sampled, "the text of the output")


@pytest.mark.requirement(id="RESP-003")
def test_response_ids_are_unique(sessions, upstream):
    """Each response has an id of its own, and so has each item of the outputs."""
    replies = []
    for _ in range(2):
        upstream.says("Hello")
        replies.append(sessions.open().respond("Hi"))

    ids = [reply.id for reply in replies] + [at(reply.output, 0, "id") for reply in replies]

    expect(len(set(ids))).equals(4, "different ids of two responses and their items")


@pytest.mark.requirement(id="RESP-004")
@pytest.mark.parametrize("calls", [None, [{"name": "search", "arguments": {"q": "x"}}]], ids=["text", "call"])
def test_response_is_completed(session, upstream, target, streamed, calls):
    """`status` is `completed` when the model ended its answer."""
    if calls:
        require_capability(target, Capability.TOOLS)
    upstream.says("I will look.", tool_calls=calls)

    reply = session.respond("Hi", tools=[SEARCH] if calls else ABSENT, stream=streamed)

    expect(reply.finish_reason).equals("completed", "status")


@pytest.mark.requirement(id="RESP-005")
def test_response_that_reached_its_limit_is_incomplete(session, upstream, streamed):
    """When the answer was cut off by a limit on its length, `status` is `incomplete` and `incomplete_details.reason` is
    `max_output_tokens`."""
    upstream.says("Hel", finish="length")

    reply = session.respond("Hi", stream=streamed)

    ending = [reply.finish_reason, at(reply.completion, "incomplete_details", "reason")]
    expect(ending).equals(["incomplete", "max_output_tokens"], "status and reason")


@pytest.mark.requirement(id="RESP-006")
def test_usage_counts_what_the_upstream_saw(session, upstream, streamed):
    """`usage` counts the tokens of the context that the upstream received and of what it sampled."""
    upstream.says("Hello there")

    reply = session.respond("Hi", stream=streamed)

    [call] = calls_made(upstream)
    wanted = [len(call.context), len(call.generation), len(call.context) + len(call.generation)]
    counts = [reply.usage.get(f"{part}_tokens") for part in ("input", "output", "total")]
    expect(counts).equals(wanted, "input, output and total tokens")


@pytest.mark.requirement(id="RESP-007")
def test_response_repeats_the_model(session, upstream, streamed):
    """`model` is the one of the request."""
    upstream.says("Hello")

    reply = session.respond("Hi", model="any-name/7b", stream=streamed)

    expect(reply.model).equals("any-name/7b", "model")


@pytest.mark.requirement(id="RESP-008")
def test_response_repeats_its_request(session, upstream):
    """`instructions`, `metadata` and `previous_response_id` come back as the request gave them."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.respond("Hi")
    fields = {"instructions": "Be brief.", "metadata": {"run": "7"}, "previous_response_id": first.id}

    reply = session.respond("How are you?", **fields)

    expect({name: reply.completion.get(name) for name in fields}).equals(fields, "fields of the request")


@pytest.mark.requirement(id="RESP-009")
def test_function_call_has_its_name(session, upstream, streamed):
    """A call of a function of the request is an item of type `function_call` with the function's `name`."""
    upstream.says(tool_calls=[{"name": "read_clock", "arguments": {"zone": "UTC"}}])

    reply = session.respond("Hi", tools=[SEARCH, CLOCK], stream=streamed)

    expect([call.get("name") for call in reply.tool_calls]).equals(["read_clock"], "names of the function calls")


@pytest.mark.requirement(id="RESP-010")
def test_arguments_are_the_generated_json(session, upstream, streamed):
    """`arguments` is a string, and its JSON value is that of the generated arguments with their types."""
    upstream.says(tool_calls=[{"name": "search", "arguments": ARGUMENTS}])

    reply = session.respond("Hi", tools=[flat(function("search", **typed(ARGUMENTS)))], stream=streamed)

    text = at(reply.tool_calls, 0, "arguments", kind=str)
    expect(_respelled(text)).equals(json.dumps(ARGUMENTS, sort_keys=True), "arguments, as JSON")


@pytest.mark.requirement(id="RESP-011")
def test_calls_stand_behind_the_text_in_their_order(session, upstream, streamed):
    """Text beside calls is a message in front of them, and the calls stand in the order in which they were
    generated."""
    searched, clocked = {"name": "search", "arguments": {"q": "x"}}, {"name": "read_clock", "arguments": {"zone": "Z"}}
    upstream.says("I will look.", tool_calls=[searched, clocked, searched])

    reply = session.respond("Hi", tools=[SEARCH, CLOCK], stream=streamed)

    expect(types(reply.output)).equals(["message", *["function_call"] * 3], "types of the output")
    names = [call.get("name") for call in reply.tool_calls]
    expect(names).equals(["search", "read_clock", "search"], "names of the calls")


@pytest.mark.requirement(id="RESP-012")
def test_call_ids_are_unique_in_a_conversation(session, upstream):
    """Each function call has a `call_id` that no other call of its conversation has."""
    call = {"name": "search", "arguments": {"q": "x"}}
    upstream.says(tool_calls=[call, call])
    upstream.says(tool_calls=[call])
    chain = session.chain(stream=False, tools=[SEARCH])
    chain.ask("Hi")
    chain.answer("Nothing.", "Nothing.")

    ids = [call.get("call_id") for reply in chain.replies for call in reply.tool_calls]

    expect(len(set(ids))).equals(3, "different ids of three calls in two responses")


@pytest.mark.requirement(id="RESP-013")
def test_stream_and_body_are_the_same_response(sessions, upstream):
    """A streamed response amounts to the plain one: the same items with the same content."""
    outputs = []
    for stream in (False, True):
        upstream.says("I will look.", tool_calls=[{"name": "search", "arguments": {"q": "x"}}])
        outputs.append(_without_ids(sessions.open().respond("Hi", tools=[SEARCH], stream=stream).output))

    plain, streamed = outputs

    expect(streamed).equals(plain, "the output of the stream, without its ids")


def _without_ids(items):
    return [{name: value for name, value in item.items() if name not in ("id", "call_id")} for item in items]


def _respelled(text):
    """JSON in one spelling; what is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text
