"""Area MSG: answers that the engine holds to a format, and calls that it forces."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.anthropic import as_tool, results_of
from conformance.vocabulary import constrained
from conformance.vocabulary.asked import expect_named
from conformance.vocabulary.constrained import (
    ALLOWED,
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
from conformance.vocabulary.session import ABSENT, user

TOOLS = [as_tool(definition) for definition in constrained.TOOLS]
NAMED = {"type": "tool", "name": "search"}
ANY = {"type": "any"}
FREE = [ABSENT, {"type": "auto"}, {"type": "none"}]
FORMAT = ("format", "output_config")


def config(form):
    return {"format": form}


@pytest.mark.requirement(id="MSG-180")
def test_message_is_held_to_the_schema(session, upstream, streamed):
    """The first answer of a conversation is held to the schema of `output_config.format`, streamed and not, or the
    request is refused with the field named."""
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.message("Where?", output_config=config(flat_schema()), stream=streamed)

    require_granted(reply, *FORMAT)
    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the text", NOT_HELD)


@pytest.mark.requirement(id="MSG-181")
def test_format_of_a_message_beside_tools_holds(session, upstream, streamed):
    """Beside tools, an answer that uses none of them is held to the schema of `output_config.format`, or the request
    is refused with the field named."""
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.message("Where?", tools=TOOLS, output_config=config(flat_schema()), stream=streamed)

    require_granted(reply, *FORMAT)
    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the text", NOT_HELD)


@pytest.mark.requirement(id="MSG-182")
@pytest.mark.parametrize("text", VERBATIM, ids=["spaces", "no spaces", "lines and escapes"])
def test_formatted_text_of_a_message_is_the_models(session, upstream, streamed, text):
    """The text of a message that was held to a format is what was sampled, to the last character."""
    upstream.says(text)

    reply = session.message("Where?", output_config=config(flat_schema()), stream=streamed)

    require_granted(reply, *FORMAT)
    expect(reply).status(200)
    expect(reply.text).equals(text, "the text")


@pytest.mark.requirement(id="MSG-183")
@pytest.mark.parametrize("more", [{}, {"output_config": {}}], ids=["absent", "empty"])
def test_format_of_a_message_is_for_one_request(session, upstream, more):
    """An `output_config.format` is for its own request: the next one of the conversation that has none leaves the model
    free."""
    upstream.says(PLACE)
    first = session.message("Where?", output_config=config(flat_schema()))
    require_granted(first, *FORMAT)
    upstream.says(PLACE, rather=[HELLO])

    reply = session.message("Where?", first.message, "Hi", **more)

    expect(reply).status(200)
    expect(reply.text).equals("Hello", "the text", STILL_HELD)


@pytest.mark.requirement(id="MSG-184")
@pytest.mark.parametrize(
    "form",
    [{"type": "json_schema"}, {"type": "xml"}, *map(flat_schema, WRONG_SCHEMAS)],
    ids=["no schema", "unknown type", "text", "number", "list"],
)
def test_wrong_format_of_a_message_is_refused(session, upstream, form):
    """An `output_config.format` of an unknown type, or whose schema is no object, is refused, and the refusal names the
    field."""
    upstream.says(PLACE)

    reply = session.message("Where?", output_config=config(form))

    expect(reply).is_refused()
    expect_named(reply, *FORMAT, "schema")


@pytest.mark.requirement(id="MSG-185")
def test_formats_of_messages_do_not_fork(session, upstream):
    """The turns of one conversation over messages are one trajectory, whatever `output_config.format` each of them has,
    and its ids are those that were sampled."""
    history: list[dict[str, Any]] = []
    for asks, more, says in (
        ("A", {"output_config": config(flat_schema())}, apart(upstream, PLACE)),
        ("B", {"output_config": config(flat_schema(OTHER_SCHEMA))}, apart(upstream, OTHER_PLACE)),
        ("C", {}, apart(upstream, "Hello")),
        ("D", {"output_config": config(flat_schema())}, apart(upstream, PLACE)),
    ):
        upstream.says(ids=says)
        reply = session.message(*history, asks, **more)
        require_granted(reply, *FORMAT)
        history += [user(asks), reply.message]

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="MSG-186")
def test_named_tool_is_used(session, upstream, streamed):
    """A tool that `tool_choice` names is used, where the model would sooner say something or use another, and
    `stop_reason` is `tool_use`."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.message("Hi", tools=TOOLS, tool_choice=NAMED, stream=streamed)

    expect(reply).status(200)
    expect([block.get("name") for block in reply.tool_calls]).equals(["search"], "the tools that are used", NOT_HELD)
    expect(reply.finish_reason).equals("tool_use", "stop_reason")


@pytest.mark.requirement(id="MSG-187")
def test_any_tool_may_be_the_one(session, upstream, streamed):
    """A `tool_choice` of the type `any` leaves the model the choice among the tools of the request, and of nothing
    else."""
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO, calling(LOOKS)])

    reply = session.message("Hi", tools=TOOLS, tool_choice=ANY, stream=streamed)

    expect(reply).status(200)
    expect([block.get("name") for block in reply.tool_calls]).equals(["look"], "the tools that are used", NOT_HELD)


@pytest.mark.requirement(id="MSG-188")
@pytest.mark.parametrize("choice", FREE, ids=["absent", "auto", "none"])
def test_forced_use_is_for_one_request(session, upstream, choice):
    """A forced use of a tool is for its own request: the next one, whose `tool_choice` is `auto`, `none` or absent,
    leaves the model free."""
    upstream.says(tool_calls=[SEARCHES])
    first = session.message("Hi", tools=TOOLS, tool_choice=ANY)
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO])

    reply = session.message(
        "Hi", first.message, user(results_of(first.message, "sunny")), tools=TOOLS, tool_choice=choice
    )

    expect(reply).status(200)
    expect(reply.text).equals("Hello", "the text", STILL_HELD)


@pytest.mark.requirement(id="MSG-189")
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "paint"}},
        {"tools": TOOLS[1:], "tool_choice": NAMED},
        {"tool_choice": ANY},
    ],
    ids=["unknown", "another", "any without tools"],
)
def test_use_of_what_is_not_there_is_refused(session, upstream, fields):
    """A `tool_choice` that forces the use of a tool that `tools` does not have is refused, and the refusal names the
    field."""
    upstream.says("Hello")

    reply = session.message("Hi", **fields)

    expect(reply).is_refused()
    expect_named(reply, "tool_choice", "tools")


@pytest.mark.requirement(id="MSG-190")
def test_forced_uses_do_not_fork(session, upstream):
    """The turns of one conversation over messages are one trajectory, whichever of them were forced to use a tool."""
    history = [user("Hi")]
    for choice in (ANY, NAMED, ABSENT):
        upstream.says(tool_calls=[SEARCHES])
        reply = session.message(*history, tools=TOOLS, tool_choice=choice)
        history += [reply.message, user(results_of(reply.message, "sunny"))]
    upstream.says("It is sunny.")
    session.message(*history, tools=TOOLS)

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="MSG-191")
@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_schema_of_a_message_allows_is_free(session, upstream, name):
    """What the schema of `output_config.format` allows is left to the model: what it defines apart, alternatives,
    members that it does not name, and members in its order; or the request is refused with the field named."""
    schema, text = ALLOWED[name]
    upstream.says(IN_PLACE, rather=[{"text": text}])

    reply = session.message("Where?", output_config=config(flat_schema(schema)))

    require_granted(reply, *FORMAT)
    expect(reply).status(200)
    expect(reply.text).equals(text, "the text", STILL_HELD)


@pytest.mark.requirement(id="MSG-192")
@pytest.mark.parametrize("what", ["format", "tool", "any"])
def test_constraint_of_a_message_holds_behind_a_result(session, upstream, what):
    """Behind a `tool_result`, an answer is held to `output_config.format`, or the request is refused with the field
    named, and a tool that is forced is used."""
    upstream.says(tool_calls=[SEARCHES])
    first = session.message("Where?", tools=TOOLS)
    upstream.says(**({"text": PLACE} if what == "format" else {"tool_calls": [SEARCHES]}), rather=[HELLO])
    fields = {"format": {"output_config": config(flat_schema())}, "tool": {"tool_choice": NAMED}}
    history = ("Where?", first.message, user(results_of(first.message, "sunny")))

    reply = session.message(*history, tools=TOOLS, **fields.get(what, {"tool_choice": ANY}))

    if what == "format":
        require_granted(reply, *FORMAT)
    expect(reply).status(200)
    expect(reply.text or "").lacks("Hello", "the text", NOT_HELD)
