"""Area CHAT: what would change the meaning of the answer is honoured or refused, never ignored."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.http import at
from conformance.vocabulary.asked import SEARCH
from conformance.vocabulary.constrained import HELLO, NOT_HELD, OUTSIDE, PLACE, SEARCHES, json_schema
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.session import ABSENT

NAMED = {"type": "function", "function": {"name": "search"}}


@pytest.mark.requirement(id="CHAT-037")
def test_n_of_2_is_refused(session, upstream):
    """A gateway without `n` refuses a request with `n` of 2."""
    upstream.says("Hello")

    reply = session.chat("Hi", n=2)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-038")
def test_n_of_2_gives_two_choices(session, upstream, streamed):
    """A gateway that declares `n` answers a request with `n` of 2 with two choices, whose `index` is 0 and 1."""
    upstream.says("One")
    upstream.says("Two")

    reply = session.chat("Hi", n=2, stream=streamed)

    choices = at(reply.completion, "choices", kind=list)
    expect([at(choices, place, "index") for place in range(len(choices))]).equals([0, 1], "the indexes of the choices")


@pytest.mark.requirement(id="CHAT-039")
@pytest.mark.parametrize("form", [{"type": "json_object"}, json_schema()], ids=["json_object", "json_schema"])
def test_response_format_is_refused(session, upstream, form):
    """A gateway without response formats refuses a `response_format` of `json_object` or `json_schema`."""
    upstream.says('{"city": "Paris"}')

    reply = session.chat("Answer in JSON.", response_format=form)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-040")
def test_response_format_reaches_the_upstream(session, upstream):
    """A gateway that declares response formats passes the schema of `response_format` on to the upstream, as it is or
    as a constraint on what is sampled.
    """
    upstream.says(PLACE, rather=OUTSIDE)

    reply = session.chat("Answer in JSON.", response_format=json_schema())

    expect(reply).status(200)
    expect(reply.text).equals(PLACE, "the content", NOT_HELD)


@pytest.mark.requirement(id="CHAT-041")
@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_forced_tool_choice_is_refused(session, upstream, choice):
    """A gateway without forced tool choice refuses a `tool_choice` of `required` or of a named function."""
    upstream.says("Hello")

    reply = session.chat("Hi", tools=[SEARCH], tool_choice=choice)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-042")
def test_forced_tool_choice_reaches_the_upstream(session, upstream):
    """A gateway that declares forced tool choice passes `tool_choice: "required"` on to the upstream, as it is or as a
    constraint on what is sampled.
    """
    upstream.says(tool_calls=[SEARCHES], rather=[HELLO])

    reply = session.chat("Hi", tools=[SEARCH], tool_choice="required")

    expect(reply).status(200)
    expect([call["function"]["name"] for call in reply.tool_calls]).equals(["search"], "the calls", NOT_HELD)


@pytest.mark.requirement(id="CHAT-043")
@pytest.mark.parametrize("choice", ["sometimes", "", 7, True, ["auto"]], ids=repr)
def test_unknown_tool_choice_is_refused(session, upstream, choice):
    """A `tool_choice` that is neither an object nor one of `none`, `auto` and `required` is refused."""
    upstream.says("Hello")

    reply = session.chat("Hi", tools=[SEARCH], tool_choice=choice)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-044")
@pytest.mark.parametrize(
    "tools", [{}, SEARCH, "search", 7, True], ids=["empty object", "one tool", "text", "7", "true"]
)
def test_tools_that_are_no_list_are_refused(session, upstream, tools):
    """A `tools` that is neither a list nor null is refused."""
    upstream.says("Hello")

    reply = session.chat("Hi", tools=tools)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-045")
def test_empty_tools_give_the_context_of_no_tools(sessions, upstream):
    """`tools: []` gives the same context as no `tools`."""
    absent_then_empty: list[Any] = [ABSENT, []]
    for tools in absent_then_empty:
        upstream.says("Hello")
        sessions.open().chat("Hi", tools=tools)

    without, empty = calls_made(upstream, 2)

    expect(empty.context).equals(without.context, "the context with `tools: []`")


@pytest.mark.requirement(id="CHAT-046")
def test_template_settings_of_a_request_do_not_change_the_context(sessions, upstream):
    """`chat_template_kwargs` of a request does not change the context of a gateway that takes template settings from
    its configuration.
    """
    settings = {"enable_thinking": False, "add_generation_prompt": False}
    for kwargs in (ABSENT, settings):
        upstream.says("Hello")
        sessions.open().chat("Hi", chat_template_kwargs=kwargs)

    without, *refused_or_served = upstream.calls or calls_made(upstream)

    for call in refused_or_served:
        expect(call.context).equals(without.context, "the context with `chat_template_kwargs`")
