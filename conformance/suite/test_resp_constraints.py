"""Area RESP: responses that the engine holds to a format, and calls that it forces."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.responses import FILE_SEARCH, flat, results_of, types
from conformance.vocabulary import constrained
from conformance.vocabulary.asked import SCHEMA, expect_named
from conformance.vocabulary.constrained import (
    HELLO,
    IN_PLACE,
    LOOKS,
    NOT_HELD,
    OTHER_PLACE,
    OTHER_SCHEMA,
    OUTSIDE,
    PLACE,
    SEARCHES,
    STILL_HELD,
    VERBATIM,
    WRONG_SCHEMAS,
    apart,
    calling,
    flat_schema,
    require_granted,
)
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import ABSENT

TOOLS = [flat(definition) for definition in constrained.TOOLS]
FINDS = {"name": "file_search", "arguments": {"query": "lighthouse"}}
NAMED = {"type": "function", "name": "search"}
ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [NAMED]}
FREE = [ABSENT, {"format": {"type": "text"}}]


def place(schema=SCHEMA):
    return {"format": flat_schema(schema, name="place")}


@pytest.mark.requirement(id="RESP-180")
def test_response_is_held_to_the_schema(session, upstream, streamed):
    """The first response of a conversation is held to the schema of `text.format`, streamed and not."""
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.respond("Where?", text=place(), stream=streamed)

    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the text", NOT_HELD)


@pytest.mark.requirement(id="RESP-181")
def test_format_of_a_response_beside_tools_holds(session, upstream, streamed):
    """Beside tools, a response that calls none of them is held to the schema of `text.format`, or the request is
    refused with the field named."""
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.respond("Where?", tools=TOOLS, text=place(), stream=streamed)

    require_granted(reply, "text", "format")
    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the text", NOT_HELD)


@pytest.mark.requirement(id="RESP-182")
@pytest.mark.parametrize("text", VERBATIM, ids=["spaces", "no spaces", "lines and escapes"])
def test_formatted_text_of_a_response_is_the_models(session, upstream, streamed, text):
    """The text of a response that was held to a format is what was sampled, to the last character."""
    upstream.says(text)

    reply = session.respond("Where?", text=place(), stream=streamed)

    expect(reply).status(200)
    expect(reply.text).equals(text, "the text")


@pytest.mark.requirement(id="RESP-183")
@pytest.mark.parametrize("form", FREE, ids=["absent", "text"])
def test_format_of_a_response_is_for_one_request(session, upstream, form):
    """A `text.format` is for its own request: the next one that continues it with `previous_response_id`, and has none
    or the type `text`, leaves the model free."""
    upstream.says(PLACE)
    first = session.respond("Where?", text=place())
    upstream.says(PLACE, rather=[HELLO])

    reply = session.respond("Hi", previous_response_id=first.id, text=form)

    expect(reply).status(200)
    expect(reply.text).equals("Hello", "the text", STILL_HELD)


@pytest.mark.requirement(id="RESP-184")
@pytest.mark.parametrize(
    "form",
    [{"type": "json_schema", "name": "place"}, {"type": "xml"}, *map(flat_schema, WRONG_SCHEMAS)],
    ids=["no schema", "unknown type", "text", "number", "list"],
)
def test_wrong_format_of_a_response_is_refused(session, upstream, form):
    """A `text.format` of an unknown type, or whose schema is no object, is refused, and the refusal names the field."""
    upstream.says(PLACE)

    reply = session.respond("Where?", text={"format": form})

    expect(reply).is_refused()
    expect_named(reply, "text", "format", "schema")


@pytest.mark.requirement(id="RESP-185")
def test_formats_of_responses_do_not_fork(session, upstream):
    """The responses of one conversation are one trajectory, whatever `text.format` each of them has, and its ids are
    those that were sampled."""
    previous = ABSENT
    for asks, form, says in (
        ("A", place(), PLACE),
        ("B", place(OTHER_SCHEMA), OTHER_PLACE),
        ("C", ABSENT, "Hello"),
        ("D", place(), PLACE),
    ):
        upstream.says(ids=apart(upstream, says))
        more = {} if previous is ABSENT else {"previous_response_id": previous}
        previous = session.respond(asks, text=form, **more).id

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="RESP-186")
def test_named_function_of_a_response_is_called(session, upstream, streamed):
    """A function that `tool_choice` of a request for a response names is called, where the model would sooner say
    something or call another, and the response is completed."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.respond("Hi", tools=TOOLS, tool_choice=NAMED, stream=streamed)

    expect(reply).status(200)
    expect([call.get("name") for call in reply.tool_calls]).equals(["search"], "calls of the response", NOT_HELD)
    expect(reply.finish_reason).equals("completed", "status of the response")


@pytest.mark.requirement(id="RESP-187")
def test_required_call_of_a_response_may_be_of_any_tool(session, upstream, streamed):
    """`tool_choice: "required"` of a request for a response leaves the model the choice among its tools, and of nothing
    else."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.respond("Hi", tools=TOOLS, tool_choice="required", stream=streamed)

    expect(reply).status(200)
    expect([call.get("name") for call in reply.tool_calls]).equals(["look"], "calls of the response", NOT_HELD)


@pytest.mark.requirement(id="RESP-188")
@pytest.mark.parametrize("choice", [ABSENT, "auto", "none"], ids=["absent", "auto", "none"])
def test_forced_call_of_a_response_is_for_one_request(session, upstream, choice):
    """A forced call is for its own response: the next one, whose `tool_choice` is `auto`, `none` or absent, leaves the
    model free."""
    upstream.says(tool_calls=[SEARCHES])
    first = session.respond("Hi", tools=TOOLS, tool_choice="required")
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO])

    reply = session.respond(results_of(first, "sunny"), previous_response_id=first.id, tools=TOOLS, tool_choice=choice)

    expect(reply).status(200)
    expect(reply.text).equals("Hello", "the text", STILL_HELD)


@pytest.mark.requirement(id="RESP-189")
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": TOOLS, "tool_choice": {"type": "function", "name": "paint"}},
        {"tools": TOOLS[1:], "tool_choice": NAMED},
        {"tool_choice": "required"},
    ],
    ids=["unknown", "another", "required without tools"],
)
def test_call_of_what_a_response_has_not_is_refused(session, upstream, fields):
    """A `tool_choice` of a request for a response that forces a call of a function that `tools` does not have is
    refused, and the refusal names the field."""
    upstream.says("Hello")

    reply = session.respond("Hi", **fields)

    expect(reply).is_refused()
    expect_named(reply, "tool_choice", "tools")


@pytest.mark.requirement(id="RESP-190")
def test_allowed_tools_are_called(session, upstream):
    """With a `tool_choice` of the type `allowed_tools` and the mode `required`, one of the named functions is called,
    or the request is refused with the field named."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.respond("Hi", tools=TOOLS, tool_choice=ALLOWED)

    require_granted(reply, "tool_choice", "allowed_tools")
    expect(reply).status(200)
    expect([call.get("name") for call in reply.tool_calls]).equals(["search"], "calls of the response", NOT_HELD)


@pytest.mark.requirement(id="RESP-191")
def test_forced_calls_of_responses_do_not_fork(session, upstream):
    """The responses of one conversation are one trajectory, whichever of them were forced to call."""
    response_input: Any = "Hi"
    previous: dict[str, Any] = {}
    for choice in ("required", NAMED, ABSENT):
        upstream.says(tool_calls=[SEARCHES])
        reply = session.respond(response_input, tools=TOOLS, tool_choice=choice, **previous)
        response_input, previous = results_of(reply, "sunny"), {"previous_response_id": reply.id}
    upstream.says("It is sunny.")
    session.respond(response_input, tools=TOOLS, **previous)

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="RESP-192")
def test_format_is_repeated_in_the_response(session, upstream, streamed):
    """`text.format` of a response is that of its request: the type and the schema."""
    upstream.says(PLACE)

    reply = session.respond("Where?", text=place(), stream=streamed)

    told = (reply.completion.get("text") or {}).get("format") or {}
    expect({name: told.get(name) for name in ("type", "schema")}).equals(flat_schema(), "`text.format`")


@pytest.mark.requirement(id="RESP-193")
def test_tool_of_the_gateway_is_forced_by_its_type(session, upstream, streamed):
    """A tool of the gateway's own that `tool_choice` of a request for a response names by its type, whose settings
    stand in `tools` only, is called, or the request is refused with the field named."""
    upstream.says(tool_calls=[FINDS], rather=[HELLO, calling(SEARCHES)])
    upstream.says("It is red and white.")
    tools = [*TOOLS, {**FILE_SEARCH, "max_num_results": 3}]

    reply = session.respond("Hi", tools=tools, tool_choice={"type": "file_search"}, stream=streamed)

    require_granted(reply, "tool_choice", "file_search")
    expect(reply).status(200)
    expect(types(reply.output)).equals(["file_search_call", "message"], "types of the output", NOT_HELD)


@pytest.mark.requirement(id="RESP-194")
@pytest.mark.parametrize("name", constrained.ALLOWED)
def test_what_the_schema_of_a_response_allows_is_free(session, upstream, name):
    """What the schema of `text.format` allows is left to the model: what it defines apart, alternatives, members that
    it does not name, and members in its order."""
    schema, text = constrained.ALLOWED[name]
    upstream.says(IN_PLACE, rather=[{"text": text}])

    reply = session.respond("Where?", text=place(schema))

    expect(reply).status(200)
    expect(reply.text).equals(text, "the text", STILL_HELD)


@pytest.mark.requirement(id="RESP-195")
@pytest.mark.parametrize("what", ["format", "named", "required"])
def test_constraint_of_a_response_holds_behind_an_output(session, upstream, what):
    """Behind the output of a client's tool, a response is held to `text.format`, and a forced call is made."""
    upstream.says(tool_calls=[SEARCHES])
    first = session.respond("Where?", tools=TOOLS)
    upstream.says(**({"text": PLACE} if what == "format" else {"tool_calls": [SEARCHES]}), rather=[HELLO])
    fields = {"format": {"text": place()}, "named": {"tool_choice": NAMED}}.get(what, {"tool_choice": "required"})

    reply = session.respond(results_of(first, "sunny"), previous_response_id=first.id, tools=TOOLS, **fields)

    if what == "format":
        require_granted(reply, "text", "format")
    expect(reply).status(200)
    expect(reply.text).lacks("Hello", "the text", NOT_HELD)
