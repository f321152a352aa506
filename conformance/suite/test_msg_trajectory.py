"""Area MSG: a conversation over messages is recorded like any other, and other wires can go on with it."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool, results_of, text, tool_result, tool_use
from conformance.client.http import at
from conformance.gateway import Capability
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.session import assistant, function, results, system, user
from conformance.vocabulary.target import require_capability

FUNCTION = function("search", "Search the web.", q={"type": "string"}, limit={"type": "integer"})
SEARCH = as_tool(FUNCTION)
CALL = {"name": "search", "arguments": {"q": "weather in Zürich", "limit": 3}}
CACHED = {"cache_control": {"type": "ephemeral"}}
THOUGHT = {"type": "thinking", "thinking": "They greet me.", "signature": "c2lnbmVk"}
REMINDER = system("The build is red.")


def expect_one(session, upstream, turns):
    """All of these turns were served, and are one trajectory."""
    calls_made(upstream, turns)
    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="MSG-080")
def test_messages_and_chat_leave_the_same_trajectories(sessions, upstream):
    """A conversation with a tool call over messages leaves the trajectories, token for token, that the same
    conversation leaves over chat completions."""
    for _ in range(2):
        upstream.says("Hello")
        upstream.says("I will look.", tool_calls=[CALL])
        upstream.says("It is sunny.")
    chat, messages = sessions.open(), sessions.open()

    history = [system(f"{upstream.nonce} Be brief."), user("Hi")]
    history += [chat.send({"messages": history, "tools": [FUNCTION]}).message, user("Look it up")]
    called = chat.send({"messages": history, "tools": [FUNCTION]}).message
    chat.send({"messages": [*history, called, *results(called, "sunny")], "tools": [FUNCTION]})

    fields = {"model": "kit", "max_tokens": 512, "system": f"{upstream.nonce} Be brief.", "tools": [SEARCH]}
    history = [user("Hi")]
    history += [messages.send_message({**fields, "messages": history}).message, user("Look it up")]
    called = messages.send_message({**fields, "messages": history}).message
    messages.send_message({**fields, "messages": [*history, called, user(results_of(called, "sunny"))]})

    expect(messages.trajectories()).have_ids_and_masks_of(chat.trajectories())


@pytest.mark.requirement(id="MSG-081")
def test_messages_are_recorded_token_for_token(session, upstream):
    """What a session exports of messages is what the upstream received and sampled, id by id."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.message("Hi", system="Be brief.")
    session.message("Hi", first.message, "How are you?", system="Be brief.")

    expect(session.trajectories()).are_verbatim(upstream).have_true_context(upstream).conserve(upstream)


@pytest.mark.requirement(id="MSG-082")
@pytest.mark.parametrize("sampled", ["Hello", " \n Hello,\n\n  you  \n", "Grüezi \U0001f600 \u2028 日本", ""])
def test_extended_conversation_of_messages_continues(session, upstream, streamed, sampled):
    """A message request that extends the conversation by the answer, as it was received, and a new message continues
    its trajectory."""
    upstream.says(sampled)
    upstream.says("Fine")
    first = session.message("Hi", stream=streamed)
    session.message("Hi", first.message, "How are you?", stream=streamed)

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-083")
def test_tool_result_continues_the_trajectory(session, upstream, streamed):
    """A message request with the `tool_result` of the answer's `tool_use` continues the trajectory."""
    upstream.says(tool_calls=[CALL])
    upstream.says("It is sunny.")
    called = session.message("Look it up", tools=[SEARCH], stream=streamed).message
    session.message("Look it up", called, user(results_of(called, [text("sunny")])), tools=[SEARCH])

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-084")
def test_conversation_goes_on_over_messages(session, upstream):
    """A conversation that was begun over one of chat completions and messages, and goes on over the other, continues
    its trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.chat("Hi", max_tokens=512)
    session.message("Hi", assistant(first.text), "How are you?")

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-084")
def test_conversation_goes_on_over_chat(session, upstream):
    """A conversation that was begun over one of chat completions and messages, and goes on over the other, continues
    its trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.message("Hi")
    session.chat("Hi", assistant(first.text), "How are you?")

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-084")
def test_call_over_chat_is_answered_over_messages(session, upstream, target):
    """A conversation that was begun over one of chat completions and messages, and goes on over the other, continues
    its trajectory."""
    require_capability(target, Capability.TOOLS)
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("It is sunny.")
    called = session.chat("Look it up", tools=[FUNCTION])
    call_id = at(called.message, "tool_calls", 0, "id", kind=str)
    used = assistant([text(called.text), tool_use("search", CALL["arguments"], call_id)])
    session.message("Look it up", used, user([tool_result("sunny", call_id)]), tools=[SEARCH])

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-085")
@pytest.mark.parametrize("later", ["x-anthropic-billing-header: cch=2;", "X-Anthropic-Billing-Header: cch=2;", None])
def test_billing_line_does_not_split(session, upstream, later):
    """A change of the line `x-anthropic-billing-header: ...` in the `system` text continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    billing = "x-anthropic-billing-header: cc_version=2.1; cch=1;"
    first = session.message("Hi", system=[text(billing), text("Be brief.", **CACHED)])
    changed = [text("Be brief.", **CACHED)] if later is None else [text(later), text("Be brief.", **CACHED)]
    session.message("Hi", first.message, "How are you?", system=changed)

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-086")
def test_cache_control_does_not_split(session, upstream):
    """A `cache_control` that moves from block to block as the conversation grows continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.message(user([text("Hi", **CACHED)]), system=[text("Be brief.", **CACHED)], tools=[SEARCH])
    blocks = [{**block, **CACHED} for block in first.content]
    session.message(
        user([text("Hi")]),
        assistant(blocks),
        user([text("How are you?", **CACHED)]),
        system=[text("Be brief.")],
        tools=[{**SEARCH, **CACHED}],
    )

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-087")
def test_thinking_does_not_split(session, upstream):
    """An echo with a `thinking` block in front of the answer continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.message("Hi")
    session.message("Hi", assistant([THOUGHT, *first.content]), "How are you?")

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-087")
def test_thinking_beside_a_call_does_not_split(session, upstream):
    """An echo with a `thinking` block in front of the answer continues the trajectory."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("It is sunny.")
    first = session.message("Look it up", tools=[SEARCH])
    thought = assistant([THOUGHT, *first.content])
    session.message("Look it up", thought, user(results_of(first.message, "sunny")), tools=[SEARCH])

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-088")
@pytest.mark.parametrize("place", [0, 1], ids=["before the result", "behind the result"])
def test_reminder_at_a_tool_result_does_not_split(session, upstream, place):
    """A `system` message that comes with a `tool_result`, before or behind it, continues the trajectory."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("It is sunny.")
    called = session.message("Look it up", tools=[SEARCH]).message
    new = [user(results_of(called, "sunny"))]
    new.insert(place, REMINDER)
    session.message("Look it up", called, *new, tools=[SEARCH])

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-089")
def test_reminder_stays_where_it_was(session, upstream):
    """A conversation whose history has a `system` message continues its trajectory with each request."""
    for answer in ("Hello", "Fine", "Bye"):
        upstream.says(answer)
    history = [user("Hi"), REMINDER]
    for question in ("How are you?", "Bye"):
        history += [session.message(*history).message, user(question)]
    session.message(*history)

    expect_one(session, upstream, turns=3)


@pytest.mark.requirement(id="MSG-090")
@pytest.mark.parametrize(
    "arguments", ['"weather"', "[1, 2]", "7", '"{\\"q\\": "'], ids=["text", "list", "number", "cut off"]
)
def test_arguments_that_are_no_object_do_not_split(session, upstream, arguments):
    """An answer with a call whose arguments are no JSON object, echoed as it was received, continues its trajectory."""
    upstream.says(tool_calls=[{"name": "search", "arguments": arguments}])
    upstream.says("It is sunny.")
    first = session.message("Look it up", tools=[SEARCH])
    answered = results_of(first.message, "No such arguments.") or [text("Try again.")]
    session.message("Look it up", first.message, user(answered), tools=[SEARCH])

    expect_one(session, upstream, turns=2)


@pytest.mark.requirement(id="MSG-091")
def test_failed_message_leaves_no_trajectory(session, upstream, streamed):
    """A message whose upstream fails leaves no trajectory."""
    upstream.fails(500)

    session.message("Hi", stream=streamed)

    expect(session.trajectories()).count(0)
