"""Area RESP: requests for responses that cannot be served."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.responses import call, flat, output
from conformance.vocabulary.expect import expect
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.session import function

WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "input as a number": ("input", {"input": 7}),
    "input as an object": ("input", {"input": {"role": "user", "content": "Hi"}}),
    "item as a number": ("input", {"input": [7]}),
    "item of an unknown type": ("input", {"input": [{"type": "telegram", "content": "Hi"}]}),
    "message of an unknown role": ("role", {"input": [{"role": "wizard", "content": "Hi"}]}),
    "message without content": ("content", {"input": [{"role": "user"}]}),
    "part of an unknown type": ("input", {"input": [{"role": "user", "content": [{"type": "smell"}]}]}),
    "call without a name": ("name", {"input": [{**call("f"), "name": None}]}),
    "call with arguments as an object": ("arguments", {"input": [{**call("f"), "arguments": {}}]}),
    "output without a call_id": ("call_id", {"input": [{**output("x"), "call_id": None}]}),
    "output as a number": ("output", {"input": [output(7)]}),
    "tools as an object": ("tools", {"tools": {}}),
    "tool as a text": ("tools", {"tools": ["search"]}),
    "function without a name": ("name", {"tools": [{"type": "function", "parameters": {}}]}),
    "instructions as a number": ("instructions", {"instructions": 7}),
    "max_output_tokens as a text": ("max_output_tokens", {"max_output_tokens": "many"}),
    "max_output_tokens of zero": ("max_output_tokens", {"max_output_tokens": 0}),
    "metadata as a text": ("metadata", {"metadata": "x"}),
    "previous_response_id as a number": ("previous_response_id", {"previous_response_id": 7}),
}


@pytest.mark.requirement(id="RESP-040")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_refused_by_the_field(session, name):
    """A request with a field of a wrong type or value is refused with 400 or 422, in OpenAI's error envelope with a
    message that names the field."""
    field, fields = WRONG[name]

    reply = session.respond(fields.get("input", "Hi"), **{key: fields[key] for key in fields if key != "input"})

    expect(reply).is_openai_error(400, 422, naming=field)


@pytest.mark.requirement(id="RESP-041")
def test_request_without_input_is_refused(session):
    """A request with neither `input` nor anything to continue is refused."""
    reply = session.send_response({"model": "kit"})

    expect(reply).is_refused()


@pytest.mark.requirement(id="RESP-042")
def test_conversation_and_previous_response_exclude_each_other(session, upstream):
    """A request with both `conversation` and `previous_response_id` is refused with 400."""
    upstream.says("Hello")
    first = session.respond("Hi")

    reply = session.respond("So?", previous_response_id=first.id, conversation="conv_0")

    expect(reply).status(400)


@pytest.mark.requirement(id="RESP-043")
def test_unknown_previous_response_is_refused(session, upstream):
    """A request that continues an unknown response is refused with 400 or 404, and no upstream is called."""
    reply = session.respond("Hi", previous_response_id="resp_0000000000")

    expect(reply).status(400, 404).has_error_envelope()
    expect(len(upstream.calls)).equals(0, "calls of the upstream")


@pytest.mark.requirement(id="RESP-044")
def test_refused_response_stream_is_a_status(session):
    """A streamed request for a response that is refused for its content is answered with the error status and a JSON
    envelope, not with an event stream."""
    wrong = [{"role": "user", "content": [{"type": "smell"}]}]
    if session.respond(wrong).status not in (400, 422):
        raise NotTested("the gateway does not refuse a content part of an unknown type")

    expect(session.respond(wrong, stream=True)).is_refused().has_error_envelope()


@pytest.mark.requirement(id="RESP-045")
@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
def test_format_without_the_capability_is_refused(session, kind):
    """A gateway without response formats refuses a `text.format` other than `text`."""
    schema = {"name": "answer", "schema": {"type": "object"}} if kind == "json_schema" else {}

    reply = session.respond("Hi", text={"format": {"type": kind, **schema}})

    expect(reply).is_refused()


@pytest.mark.requirement(id="RESP-046")
@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "search"}], ids=["required", "named"])
def test_forced_tool_without_the_capability_is_refused(session, choice):
    """A gateway that cannot force a tool call refuses `tool_choice` `required` and a named function."""
    reply = session.respond("Hi", tools=[flat(function("search"))], tool_choice=choice)

    expect(reply).is_refused()


@pytest.mark.requirement(id="RESP-047")
def test_closed_session_makes_no_response(session, upstream):
    """A session that is complete refuses requests for responses with 409, and no upstream is called."""
    session.complete()

    reply = session.respond("Hi")

    expect(reply).status(409).has_error_envelope()
    expect(len(upstream.calls)).equals(0, "calls of the upstream")


@pytest.mark.requirement(id="RESP-048")
def test_failed_response_leaves_nothing(sessions, upstream):
    """A response whose upstream failed leaves no trace: repeated, the request has the trajectory of one that never
    failed."""
    twin, failing = sessions.open(), sessions.open()
    upstream.says("Hello")
    twin.respond("Hi")
    upstream.fails()
    failing.respond("Hi")
    upstream.says("Hello")
    failing.respond("Hi")

    expect(failing.trajectories()).same_as(twin.trajectories())
