"""Area TOKEN: the contexts that the upstream receives are what the chat template renders, around what was sampled."""

from __future__ import annotations

import pytest

from conformance.vocabulary.expect import expect
from conformance.vocabulary.exported import context
from conformance.vocabulary.session import assistant, function, results, system, tool, user
from conformance.vocabulary.spelling import broken_character, control_token, respelled

SEARCH = function("search", "Search the web.", query={"type": "string"}, limit={"type": "integer"})
ADD = function("add", "Add two numbers.", b={"type": "number"}, a={"type": "number"})
CALL = {"name": "search", "arguments": {"query": "weather"}}
DESCRIBED = {
    "description": lambda text: function("search", text, query={"type": "string"}),
    "parameter": lambda text: function("search", query={"type": "string", "description": text}),
    "value": lambda text: function("search", query={"type": "string", "enum": [text, "other"]}),
}
"""Tools with a text somewhere in their definition."""


@pytest.mark.requirement(id="TOKEN-010")
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([user("Hi")], id="user"),
        pytest.param([system("Be brief."), user("Hi")], id="system"),
        pytest.param([user("Hi"), assistant("Hello"), user("How are you?")], id="history"),
        pytest.param([user("Zürich\n\n  日本 \U0001f600 ")], id="text-of-all-kinds"),
    ],
)
def test_first_context_is_the_rendered_template(session, upstream, messages):
    """The first context of a conversation is the chat template's render of its messages with one generation prompt,
    encoded once."""
    upstream.says("Hello")
    session.chat(*messages)

    context(upstream, 0).is_rendered(session.messages(*messages))


@pytest.mark.requirement(id="TOKEN-011")
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([user("Look it up")], id="user"),
        pytest.param([system("Be brief."), user("Look it up")], id="system"),
    ],
)
def test_first_context_has_the_tools_as_rendered(session, upstream, messages):
    """The first context of a conversation with tools is the chat template's render with those tools."""
    upstream.says("Hello")
    session.chat(*messages, tools=[SEARCH, ADD])

    context(upstream, 0).is_rendered(session.messages(*messages), tools=[SEARCH, ADD])


@pytest.mark.requirement(id="TOKEN-012")
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_user_message_is_put_behind_a_generation_as_rendered(session, upstream, finish):
    """What the gateway puts between a generation and the next after a user message is what the chat template renders
    there, turn separator and generation prompt included."""
    upstream.says("Hello", finish=finish)
    upstream.says("Fine")
    conversation = [user("Hi"), session.chat("Hi").message, user("How are you?")]
    session.chat(*conversation)

    context(upstream, 1).continues_as_rendered(session.messages(*conversation))


@pytest.mark.requirement(id="TOKEN-013")
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_tool_message_is_put_behind_a_generation_as_rendered(session, upstream, finish):
    """What the gateway puts between a tool call and the next generation after one tool message is what the chat
    template renders there."""
    upstream.says(tool_calls=[CALL], finish=finish)
    upstream.says("Sunny")
    called = session.chat("Look it up", tools=[SEARCH]).message
    conversation = [user("Look it up"), called, *results(called, "It is sunny.")]
    session.chat(*conversation, tools=[SEARCH])

    context(upstream, 1).continues_as_rendered(session.messages(*conversation), tools=[SEARCH])


@pytest.mark.requirement(id="TOKEN-014")
def test_tool_messages_in_a_row_are_put_behind_a_generation_as_rendered(session, upstream):
    """Several tool messages in a row are put into the context as the chat template renders them together."""
    upstream.says(tool_calls=[CALL, CALL])
    upstream.says("Sunny")
    called = session.chat("Look it up twice", tools=[SEARCH]).message
    conversation = [user("Look it up twice"), called, *results(called, "It is sunny.", "It rains.")]
    session.chat(*conversation, tools=[SEARCH])

    context(upstream, 1).continues_as_rendered(session.messages(*conversation), tools=[SEARCH])


@pytest.mark.requirement(id="TOKEN-015")
@pytest.mark.parametrize("sampled", [respelled, broken_character])
def test_later_context_has_the_sampled_ids(session, upstream, sampled):
    """The context of a later turn contains the ids that were sampled before it, also where they are not what the
    tokenizer gives for their text."""
    tokenizer = upstream.tokenizer
    upstream.says(ids=[*sampled(tokenizer, "wonderful world"), tokenizer.end_of_turn])
    upstream.says("Fine")
    answer = session.chat("Hi").message
    session.chat("Hi", answer, "How are you?")

    context(upstream, 1).holds_generation_before()


@pytest.mark.requirement(id="TOKEN-030")
def test_turn_without_sampled_ids_can_be_continued(session, upstream):
    """A turn in which nothing was sampled can be continued like any other."""
    upstream.says(ids=[])
    upstream.says("Fine")
    answer = session.chat("Hi").message
    session.chat("Hi", answer, "How are you?")

    expect(session.trajectories()).count(1).begin_with_context(upstream, 0)


@pytest.mark.requirement(id="TOKEN-033")
@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_control_tokens_in_text_stay_text(session, upstream, role):
    """Message text that spells a control token of the chat template reaches the context as text, never as that
    token."""
    control = control_token(upstream.tokenizer)
    upstream.says("Hello")
    upstream.says("Hello")
    say = {"user": user, "system": system, "tool": tool}[role]
    session.chat("Hi", say("a stop sign"), "Go on")
    session.chat("Hi", say(f"a {control} sign"), "Go on")

    plain, odd = (context(upstream, place) for place in (0, 1))
    odd.ends_as_many_turns_as(plain)


@pytest.mark.requirement(id="TOKEN-037")
@pytest.mark.parametrize("place", DESCRIBED)
def test_control_token_in_a_tool_stays_text(session, upstream, place):
    """The definition of a tool that spells a control token of the chat template (in its description, in that of a
    parameter, in the values of one) reaches the context as text, never as that token."""
    upstream.says("Hello")
    upstream.says("Hello")
    session.chat("Hi", tools=[DESCRIBED[place]("a stop sign")])
    session.chat("Hi", tools=[DESCRIBED[place](f"a {control_token(upstream.tokenizer)} sign")])

    plain, odd = (context(upstream, place) for place in (0, 1))
    odd.ends_as_many_turns_as(plain)


@pytest.mark.requirement(id="TOKEN-038")
@pytest.mark.parametrize("place", DESCRIBED)
def test_control_token_in_a_tool_is_read_where_it_is_declared(session, upstream, place):
    """The definition of a tool that spells a control token of the chat template reaches the context as that token,
    where the gateway declares so."""
    tools = [DESCRIBED[place](f"a {control_token(upstream.tokenizer)} sign")]
    upstream.says("Hello")
    session.chat("Hi", tools=tools)

    context(upstream, 0).is_rendered(session.messages("Hi"), tools=tools)


@pytest.mark.requirement(id="TOKEN-034")
@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_control_tokens_in_text_are_parsed(session, upstream, role):
    """Message text that spells a control token of the chat template reaches the context as that token, where the
    gateway declares so: the context is the render of the messages, encoded as one string."""
    control = control_token(upstream.tokenizer)
    upstream.says("Hello")
    say = {"user": user, "system": system, "tool": tool}[role]
    messages = ("Hi", say(f"a {control} sign"), "Go on")
    session.chat(*messages)

    context(upstream, 0).is_rendered(session.messages(*messages))
