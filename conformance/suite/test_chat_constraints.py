"""Area CHAT: answers that the engine holds to a format, and calls that it forces."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.vocabulary.asked import expect_named
from conformance.vocabulary.constrained import (
    ALLOWED,
    HELLO,
    IN_PLACE,
    LOOK,
    LOOKS,
    NOT_HELD,
    OTHER_PLACE,
    OTHER_SCHEMA,
    OUTSIDE,
    PLACE,
    SEARCH,
    SEARCHES,
    STILL_HELD,
    TOOLS,
    VERBATIM,
    WRONG_CALL,
    WRONG_SCHEMAS,
    apart,
    calling,
    json_schema,
    require_granted,
)
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import ABSENT, results, user

NAMED = {"type": "function", "function": {"name": "search"}}
UNKNOWN = {"type": "function", "function": {"name": "paint"}}
FREE = [ABSENT, None, {"type": "text"}]
FREE_IDS = ["absent", "null", "text"]


@pytest.mark.requirement(id="CHAT-170")
def test_stream_is_held_to_the_schema(session, upstream):
    """A streamed answer is held to the schema of `response_format` as a plain one is."""
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.chat("Where?", response_format=json_schema(), stream=True)

    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the content", NOT_HELD)


@pytest.mark.requirement(id="CHAT-171")
def test_format_beside_tools_holds(session, upstream, streamed):
    """Beside tools, an answer that calls none of them is held to the schema of `response_format`, or the request is
    refused with the field named."""
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.chat("Where?", tools=TOOLS, response_format=json_schema(), stream=streamed)

    require_granted(reply, "response_format")
    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the content", NOT_HELD)


@pytest.mark.requirement(id="CHAT-172")
def test_format_leaves_calls_free(session, upstream):
    """A `response_format` beside tools leaves the model free to call one of them."""
    upstream.says(PLACE, rather=[calling(SEARCHES)])

    reply = session.chat("Where?", tools=TOOLS, response_format=json_schema())

    require_granted(reply, "response_format")
    expect(reply).status(200)
    expect([call["function"]["name"] for call in reply.tool_calls]).equals(
        ["search"], "calls of the answer", STILL_HELD
    )


@pytest.mark.requirement(id="CHAT-173")
@pytest.mark.parametrize("text", VERBATIM, ids=["spaces", "no spaces", "lines and escapes"])
def test_formatted_text_is_the_models(session, upstream, streamed, text):
    """The content of an answer that was held to a format is what was sampled, to the last character."""
    upstream.says(text)

    reply = session.chat("Where?", response_format=json_schema(), stream=streamed)

    expect(reply).status(200)
    expect(reply.text).equals(text, "the content")


@pytest.mark.requirement(id="CHAT-174")
@pytest.mark.parametrize("form", FREE, ids=FREE_IDS)
def test_format_is_for_one_request(session, upstream, form):
    """A `response_format` is for its own request: the next one of the conversation that has none, or has the type
    `text`, leaves the model free."""
    upstream.says(PLACE)
    first = session.chat("Where?", response_format=json_schema())
    upstream.says(PLACE, rather=[HELLO])

    reply = session.chat("Where?", first.message, "Hi", response_format=form)

    expect(reply).status(200)
    expect(reply.text).equals("Hello", "the content", STILL_HELD)


@pytest.mark.requirement(id="CHAT-175")
@pytest.mark.parametrize(
    "form",
    [{"type": "json_schema"}, {"type": "xml"}, *map(json_schema, WRONG_SCHEMAS)],
    ids=["no schema", "unknown type", "text", "number", "list"],
)
def test_wrong_format_is_refused(session, upstream, form):
    """A `response_format` of an unknown type, or whose schema is no object, is refused, and the refusal names the
    field."""
    upstream.says(PLACE)

    reply = session.chat("Where?", response_format=form)

    expect(reply).is_refused()
    expect_named(reply, "response_format", "json_schema", "schema")


@pytest.mark.requirement(id="CHAT-176")
def test_formats_do_not_fork(session, upstream):
    """The turns of one conversation are one trajectory, whatever `response_format` each of them has."""
    history: list[dict[str, Any]] = []
    for asks, form, says in (
        ("A", json_schema(), PLACE),
        ("B", json_schema(OTHER_SCHEMA), OTHER_PLACE),
        ("C", ABSENT, "Hello"),
        ("D", json_schema(), PLACE),
    ):
        upstream.says(says)
        reply = session.chat(*history, asks, response_format=form)
        history += [user(asks), reply.message]

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="CHAT-177")
def test_formatted_answer_keeps_its_ids(session, upstream, streamed):
    """The ids of an answer that was held to a format are exported as they were sampled, whatever ids the tokenizer has
    for its text."""
    upstream.says(ids=apart(upstream, PLACE))

    reply = session.chat("Where?", response_format=json_schema(), stream=streamed)

    expect(reply).status(200)
    expect(session.trajectories()).count(1).are_verbatim(upstream)


@pytest.mark.requirement(id="CHAT-178")
def test_named_function_is_called(session, upstream, streamed):
    """A function that `tool_choice` names is called, where the model would sooner say something or call another, and
    `finish_reason` is `tool_calls` or `stop`."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.chat("Hi", tools=TOOLS, tool_choice=NAMED, stream=streamed)

    expect(reply).status(200)
    expect([call["function"]["name"] for call in reply.tool_calls]).equals(["search"], "calls of the answer", NOT_HELD)
    expect(reply.finish_reason).is_one_of(["tool_calls", "stop"], "finish_reason")


@pytest.mark.requirement(id="CHAT-179")
def test_required_call_may_be_of_any_tool(session, upstream, streamed):
    """`tool_choice: "required"` leaves the model the choice among the tools of the request, and of nothing else."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.chat("Hi", tools=TOOLS, tool_choice="required", stream=streamed)

    expect(reply).status(200)
    expect([call["function"]["name"] for call in reply.tool_calls]).equals(["look"], "calls of the answer", NOT_HELD)


@pytest.mark.requirement(id="CHAT-180")
def test_required_call_ends_the_turn_for_calls(session, upstream, streamed):
    """An answer that `tool_choice: "required"` forced has `finish_reason` `tool_calls`, and nothing of how its calls
    are spelled in its content."""
    upstream.says(tool_calls=[SEARCHES])

    reply = session.chat("Hi", tools=[SEARCH], tool_choice="required", stream=streamed)

    expect(reply).status(200)
    expect(reply.finish_reason).equals("tool_calls", "finish_reason")
    expect((reply.text or "").strip()).equals("", "the content")


@pytest.mark.requirement(id="CHAT-181")
@pytest.mark.parametrize("choice", [ABSENT, "auto", "none"], ids=["absent", "auto", "none"])
def test_forced_call_is_for_one_request(session, upstream, choice):
    """A forced call is for its own request: the next one, whose `tool_choice` is `auto`, `none` or absent, leaves the
    model free."""
    upstream.says(tool_calls=[SEARCHES])
    first = session.chat("Hi", tools=TOOLS, tool_choice="required")
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO])

    reply = session.chat("Hi", first.message, *results(first.message, "sunny"), tools=TOOLS, tool_choice=choice)

    expect(reply).status(200)
    expect(reply.text).equals("Hello", "the content", STILL_HELD)


@pytest.mark.requirement(id="CHAT-182")
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": TOOLS, "tool_choice": UNKNOWN},
        {"tools": [LOOK], "tool_choice": NAMED},
        {"tool_choice": NAMED},
        {"tool_choice": "required"},
    ],
    ids=["unknown", "another", "named without tools", "required without tools"],
)
def test_call_of_what_is_not_there_is_refused(session, upstream, fields):
    """A `tool_choice` that forces a call of a function that `tools` does not have is refused, and the refusal names the
    field."""
    upstream.says("Hello")

    reply = session.chat("Hi", **fields)

    expect(reply).is_refused()
    expect_named(reply, "tool_choice", "tools")


@pytest.mark.requirement(id="CHAT-183")
def test_forced_calls_do_not_fork(session, upstream):
    """The turns of one conversation are one trajectory, whichever of them were forced to call."""
    history = [user("Hi")]
    for choice in ("required", NAMED, ABSENT):
        upstream.says(tool_calls=[SEARCHES])
        reply = session.chat(*history, tools=TOOLS, tool_choice=choice)
        history += [reply.message, *results(reply.message, "sunny")]
    upstream.says("It is sunny.")
    session.chat(*history, tools=TOOLS)

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="CHAT-184")
@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_forced_arguments_fit_the_parameters(session, upstream, choice):
    """The arguments of a forced call are held to the `parameters` of its function."""
    upstream.says(tool_calls=[SEARCHES], rather=[calling(WRONG_CALL)])

    reply = session.chat("Hi", tools=TOOLS, tool_choice=choice)

    expect(reply).status(200)
    expect([call["function"]["arguments"] for call in reply.tool_calls]).satisfies(
        lambda arguments: len(arguments) == 1 and "weather" in arguments[0],
        "arguments with the text 'weather'",
        "the calls",
    )


@pytest.mark.requirement(id="CHAT-185")
@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_schema_allows_is_free(session, upstream, name):
    """What the schema of `response_format` allows is left to the model: what it defines apart, alternatives, members
    that it does not name, and members in its order."""
    schema, text = ALLOWED[name]
    upstream.says(IN_PLACE, rather=[{"text": text}])

    reply = session.chat("Where?", response_format=json_schema(schema))

    expect(reply).status(200)
    expect(reply.text).equals(text, "the content", STILL_HELD)


@pytest.mark.requirement(id="CHAT-186")
@pytest.mark.parametrize("what", ["format", "named", "required"])
def test_constraint_holds_behind_a_result(session, upstream, what):
    """Behind the result of a tool, an answer is held to `response_format`, and a forced call is made."""
    upstream.says(tool_calls=[SEARCHES])
    first = session.chat("Where?", tools=TOOLS)
    upstream.says(**({"text": PLACE} if what == "format" else {"tool_calls": [SEARCHES]}), rather=[HELLO])
    fields = {"format": {"response_format": json_schema()}, "named": {"tool_choice": NAMED}}
    history = ("Where?", first.message, *results(first.message, "sunny"))

    reply = session.chat(*history, tools=TOOLS, **fields.get(what, {"tool_choice": "required"}))

    if what == "format":
        require_granted(reply, "response_format")
    expect(reply).status(200)
    expect(reply.text or "").lacks("Hello", "the content", NOT_HELD)
