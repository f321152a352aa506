"""Area RESP: what a request for a response makes the model see."""

from __future__ import annotations

import pytest

from conformance.client.responses import call, flat, item, output
from conformance.vocabulary.expect import calls_made, expect, expect_seen
from conformance.vocabulary.exported import context
from conformance.vocabulary.session import assistant, function, system, tool, tool_call, user

FUNCTION = function("search", "Search the web.", q={"type": "string"})
SEARCH = flat(FUNCTION)
PARTS = [{"type": "input_text", "text": "one "}, {"type": "input_text", "text": "two"}]
ANSWERED = [{"type": "output_text", "text": "Hello", "annotations": []}]
THOUGHT = {"type": "reasoning", "id": "rs_0", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
OF_AGENTS = {
    "prompt_cache_key": "k",
    "client_metadata": {"a": "b"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "service_tier": "auto",
    "include": ["reasoning.encrypted_content"],
    "user": "someone",
    "safety_identifier": "s",
}
MAY_BE_NULL = ("instructions", "tools", "tool_choice", "max_output_tokens", "temperature", "metadata", "reasoning")


@pytest.mark.requirement(id="RESP-014")
@pytest.mark.parametrize("text", ["Hi", "  two\n\nlines \U0001f600 \t", '[{"role": "system"}]'])
def test_text_input_is_a_message_of_the_user(session, upstream, text):
    """An `input` that is a string is one message of the user with that text."""
    upstream.says("Hello")

    session.respond(text)

    context(upstream, 0).reads_as_rendered(session.messages(user(text)))


@pytest.mark.requirement(id="RESP-015")
@pytest.mark.parametrize(
    ("items", "messages"),
    [
        pytest.param([{"role": "user", "content": "Hi"}], [user("Hi")], id="without type"),
        pytest.param([item("user", PARTS)], [user("one two")], id="parts"),
        pytest.param([item("system", "Help."), item("user", "Hi")], [system("Help."), user("Hi")], id="system"),
        pytest.param(
            [item("user", "Hi"), item("assistant", ANSWERED), item("user", "So?")],
            [user("Hi"), assistant("Hello"), user("So?")],
            id="answered",
        ),
    ],
)
def test_message_items_are_messages(session, upstream, items, messages):
    """Message items of the input, with text or with text parts, are the messages that the model sees, in their
    order."""
    upstream.says("Hello")

    session.respond(items)

    context(upstream, 0).reads_as_rendered(session.messages(*messages))


@pytest.mark.requirement(id="RESP-016")
def test_instructions_are_the_first_message(session, upstream):
    """`instructions` are a system message in front of the input."""
    upstream.says("Hello")

    session.respond("Hi", instructions="Be brief.")

    [user_message] = session.messages(user("Hi"))
    context(upstream, 0).reads_as_rendered([system("Be brief."), user_message])


@pytest.mark.requirement(id="RESP-017")
def test_instructions_are_of_one_response(session, upstream):
    """The `instructions` of a response are not in the context of the one that continues it."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.respond("Hi", instructions="Answer like a pirate.")

    session.respond("How are you?", previous_response_id=first.id, instructions="Answer like a monk.")

    context(upstream, 1).reads_as_rendered(
        [system("Answer like a monk."), *session.messages("Hi"), assistant("Hello"), user("How are you?")]
    )


@pytest.mark.requirement(id="RESP-018")
def test_calls_and_outputs_are_those_of_a_chat(session, upstream):
    """Function calls of the input and their outputs are what the tool calls and tool messages of a chat are; a message
    and the calls behind it are one answer."""
    upstream.says("Sunny")
    items = [item("user", "Hi"), item("assistant", "I will look."), call("search", '{"q": "x"}', "call_1")]
    items += [call("search", '{"q": "y"}', "call_2"), output("sun", "call_1"), output("rain", "call_2")]

    session.respond(items, tools=[SEARCH])

    calls = [tool_call("search", {"q": value}, call_id) for value, call_id in (("x", "call_1"), ("y", "call_2"))]
    called = assistant("I will look.", tool_calls=calls)
    chat = session.messages(user("Hi"), called, tool("sun", "call_1"), tool("rain", "call_2"))
    context(upstream, 0).reads_as_rendered(chat, tools=[FUNCTION])


@pytest.mark.requirement(id="RESP-019")
def test_function_is_offered_as_in_a_chat(session, upstream):
    """A function of `tools` is offered to the model as the same function of a chat completion is."""
    upstream.says("Hello")

    session.respond("Hi", tools=[{**SEARCH, "strict": False}])

    context(upstream, 0).reads_as_rendered(session.messages("Hi"), tools=[FUNCTION])


@pytest.mark.requirement(id="RESP-020")
def test_tool_choice_none_offers_no_tools(session, upstream):
    """With `tool_choice: "none"` the model sees no tools, and the output has no function call."""
    upstream.says(tool_calls=[{"name": "search", "arguments": {"q": "weather"}}])

    reply = session.respond("Hi", tools=[SEARCH], tool_choice="none")

    context(upstream, 0).reads_as_rendered(session.messages("Hi"))
    expect(reply.tool_calls).equals([], "function calls")


@pytest.mark.requirement(id="RESP-021")
def test_reasoning_items_are_accepted(session, upstream):
    """A request whose input has the reasoning items of earlier responses is answered."""
    upstream.says("Fine")

    reply = session.respond([item("user", "Hi"), THOUGHT, item("assistant", ANSWERED), item("user", "How are you?")])

    expect(reply).has_output()


@pytest.mark.requirement(id="RESP-022")
@pytest.mark.parametrize("field", OF_AGENTS)
def test_fields_of_real_agents_are_accepted(session, upstream, field):
    """Fields that agents send and that change nothing about the answer are accepted, known or not."""
    upstream.says("Hello")

    reply = session.respond("Hi", **{field: OF_AGENTS[field]})

    expect(reply).has_output()


@pytest.mark.requirement(id="RESP-023")
@pytest.mark.parametrize("field", MAY_BE_NULL)
def test_null_is_the_default(session, upstream, field):
    """null for an optional field means its default."""
    upstream.says("Hello")

    reply = session.respond("Hi", **{field: None})

    expect(reply).has_output()


@pytest.mark.requirement(id="RESP-024")
def test_max_output_tokens_reaches_the_upstream(session, upstream):
    """The upstream is asked for no more tokens than `max_output_tokens`."""
    upstream.says("Hello")

    session.respond("Hi", max_output_tokens=7)

    [made] = calls_made(upstream)
    expect(made.max_tokens).satisfies(
        lambda limit: type(limit) is int and limit <= 7, "a number up to 7", "max_tokens of the upstream call"
    )


@pytest.mark.requirement(id="RESP-025")
def test_temperature_reaches_the_upstream(session, upstream):
    """`temperature` and `top_p` reach the upstream as the request has them."""
    upstream.says("Hello")

    session.respond("Hi", temperature=0.25, top_p=0.5)

    [made] = calls_made(upstream)
    sampling = [made.sampling.get(name) for name in ("temperature", "top_p")]
    expect(sampling).equals([0.25, 0.5], "temperature and top_p of the upstream call")


@pytest.mark.requirement(id="RESP-090")
def test_instructions_and_a_developer_are_both_seen(session, upstream):
    """With `instructions` and a message of the `developer`, the texts of both are in the context; or the request is
    refused and the refusal names the role."""
    upstream.says("Hello")

    items = [item("developer", [{"type": "input_text", "text": "Say papaya."}]), item("user", "Hi")]
    reply = session.respond(items, instructions="Be brief.")

    expect_seen(upstream, reply, "developer", "Be brief.", "Say papaya.")
