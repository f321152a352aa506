"""Area MSG: what a message request may hold, and what of it reaches the upstream."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool, text, tool_result, tool_use
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.session import ABSENT, assistant, function, system, tool, tool_call, user

SEARCH = function("search", "Search the web.", q={"type": "string"}, limit={"type": "integer"})
CLOCK = function("read_clock", "Read the clock.", zone={"type": "string"})
ASKED = {"q": "weather", "limit": 3}


def twins(sessions, upstream, chat, message):
    """The calls that a chat request and a message request lead to, each in a session of its own."""
    for _ in range(2):
        upstream.says("Hello")
    sessions.open().send({"model": "kit", **chat})
    sessions.open().send_message({"model": "kit", "max_tokens": 512, **message})
    return calls_made(upstream, 2)


def expect_answered(reply, target):
    """The request was served: what the upstream said came back."""
    expect(reply).status(200).says("Hello", target)


def expect_in_order(upstream, *texts):
    """These texts stand in the context of the one call, in this order."""
    [call] = calls_made(upstream)
    ordered = sorted((part for part in texts if part in call.text), key=call.text.index)
    expect(ordered).equals(list(texts), "texts in the context, in their order")


@pytest.mark.requirement(id="MSG-019")
def test_max_tokens_of_a_message_reach_the_upstream(session, upstream):
    """`max_tokens` of a message request reaches the upstream as the limit of the generation."""
    upstream.says("Hello")

    session.message("Hi", max_tokens=77)

    [call] = calls_made(upstream)
    expect(call.max_tokens).equals(77, "the limit that the upstream received")


@pytest.mark.requirement(id="MSG-020")
@pytest.mark.parametrize(("name", "value"), [("temperature", 0), ("temperature", 0.25), ("top_p", 0.5), ("top_k", 7)])
def test_sampling_of_a_message_reaches_the_upstream(session, upstream, name, value):
    """`temperature`, `top_p` and `top_k` of a message request reach the upstream unchanged, also 0."""
    upstream.says("Hello")

    session.message("Hi", **{name: value})

    [call] = calls_made(upstream)
    expect(call.sampling.get(name)).equals(value, f"{name} that the upstream received")


@pytest.mark.requirement(id="MSG-021")
def test_stop_sequences_reach_the_upstream(session, upstream):
    """`stop_sequences` of a message request reach the upstream as its stop strings."""
    upstream.says("Hello")

    session.message("Hi", stop_sequences=["END", "\n\n"])

    [call] = calls_made(upstream)
    expect(call.sampling.get("stop")).equals(["END", "\n\n"], "stop strings that the upstream received")


@pytest.mark.requirement(id="MSG-022")
def test_system_text_is_the_system_message(sessions, upstream):
    """A `system` string gives the context of the chat request with that system message."""
    brief, hi = f"{upstream.nonce} Be brief.", user("Hi")

    chat, message = twins(sessions, upstream, {"messages": [system(brief), hi]}, {"messages": [hi], "system": brief})

    expect(message.text).equals(chat.text, "the context of the message request")


@pytest.mark.requirement(id="MSG-023")
def test_every_block_of_the_system_reaches_the_context(session, upstream):
    """The text of every block of a `system` list reaches the context, in their order and before the messages."""
    upstream.says("Hello")

    said = ["You are a clerk.", "Be brief.", "Use no jargon.", "Answer in French."]
    marked = text(said[1], cache_control={"type": "ephemeral"})

    session.message("Good day", system=[text(said[0]), marked, *map(text, said[2:])])

    expect_in_order(upstream, *said, "Good day")


@pytest.mark.requirement(id="MSG-024")
def test_one_text_block_is_the_same_as_a_string(sessions, upstream):
    """A message whose content is one text block gives the same context as the same text given as a string."""
    for content in ("Hi\n there ", [text("Hi\n there ")]):
        upstream.says("Hello")
        sessions.open().message(user(content))

    string, block = calls_made(upstream, 2)

    expect(block.context).equals(string.context, "the context of the text block")


@pytest.mark.requirement(id="MSG-025")
def test_every_text_block_reaches_the_context(session, upstream):
    """The text of every block of a message reaches the context, in their order."""
    upstream.says("Hello")
    answer = assistant([text("First answer."), text("Second answer.")])

    session.message(user([text("First question."), text("Second question.")]), answer, "Third question.")

    expect_in_order(
        upstream, "First question.", "Second question.", "First answer.", "Second answer.", "Third question."
    )


@pytest.mark.requirement(id="MSG-026")
def test_tools_are_those_of_the_chat_request(sessions, upstream):
    """`tools` of a message request give the context of the chat request with the same functions."""
    messages = [user(f"{upstream.nonce} Hi")]

    chat, message = twins(
        sessions,
        upstream,
        {"messages": messages, "tools": [SEARCH, CLOCK]},
        {"messages": messages, "tools": [as_tool(SEARCH), as_tool(CLOCK)]},
    )

    expect(message.text).equals(chat.text, "the context of the message request")


@pytest.mark.requirement(id="MSG-027")
@pytest.mark.parametrize("fields", [{}, {"disable_parallel_tool_use": False}], ids=["alone", "with its option"])
def test_tool_choice_auto_is_served(session, upstream, target, fields):
    """A `tool_choice` of `auto` is accepted."""
    upstream.says("Hello")

    reply = session.message("Hi", tools=[as_tool(SEARCH)], tool_choice={"type": "auto", **fields})

    expect_answered(reply, target)


@pytest.mark.requirement(id="MSG-028")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"metadata": {"user_id": "user_1_account__session_2"}}, id="metadata"),
        pytest.param({"thinking": {"type": "enabled", "budget_tokens": 1024}}, id="thinking"),
        pytest.param({"thinking": {"type": "adaptive"}}, id="adaptive thinking"),
        pytest.param({"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}, id="context_management"),
        pytest.param({"output_config": {"effort": "high"}}, id="output_config"),
        pytest.param({"service_tier": "auto", "inference_geo": "eu"}, id="service_tier"),
        pytest.param(
            {"system": [text("Brief.", cache_control={"type": "ephemeral", "ttl": "1h"})]}, id="cache_control"
        ),
        pytest.param({"no_such_field": [1, {"deep": True}]}, id="unknown"),
    ],
)
def test_fields_of_agents_do_not_refuse_a_message(session, upstream, target, fields):
    """Request fields that the gateway does not know or may ignore (such as `metadata`, `thinking`,
    `context_management`, `output_config`, `service_tier`, `cache_control`) do not make it refuse a message request."""
    upstream.says("Hello")

    reply = session.message("Hi", **fields)

    expect_answered(reply, target)


@pytest.mark.requirement(id="MSG-029")
def test_query_string_is_ignored(session, upstream, target):
    """A query string such as `?beta=true` on the messages route, and an `anthropic-beta` header, are accepted."""
    upstream.says("Hello")

    reply = session.send_message(
        session.message_body("Hi"),
        path="/v1/messages?beta=true",
        headers={"anthropic-beta": "a-2025-01-01,b-2026-01-01"},
    )

    expect_answered(reply, target)


@pytest.mark.requirement(id="MSG-030")
@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
def test_key_is_taken_from_either_header(session, upstream, target, name):
    """The session's key is accepted in `x-api-key`, and in `authorization` as a bearer token."""
    upstream.says("Hello")
    key = session.handle.api_key
    headers = {"x-api-key": ABSENT, "authorization": ABSENT}

    reply = session.send_message(
        session.message_body("Hi"), headers={**headers, name: key if name == "x-api-key" else f"Bearer {key}"}
    )

    expect_answered(reply, target)


@pytest.mark.requirement(id="MSG-031")
@pytest.mark.parametrize(
    "name", ["system", "stop_sequences", "temperature", "top_k", "tools", "tool_choice", "metadata"]
)
def test_null_is_the_same_as_absent(session, upstream, target, name):
    """An optional field of a message request whose value is null is the same as an absent one."""
    upstream.says("Hello")

    reply = session.send_message({**session.message_body("Hi"), name: None})

    expect_answered(reply, target)


@pytest.mark.requirement(id="MSG-032")
@pytest.mark.parametrize("content", ["It is sunny.", [text("It is sunny.")]], ids=["string", "block"])
def test_tool_result_is_the_tool_message(sessions, upstream, content):
    """A call and its `tool_result` give the context of the chat request with that call and that tool message."""
    called = assistant("I will look.", tool_calls=[tool_call("search", '{"q": "weather", "limit": 3}', "toolu_0")])
    used = assistant([text("I will look."), tool_use("search", ASKED)])
    hi = user(f"{upstream.nonce} Hi")

    chat, message = twins(
        sessions,
        upstream,
        {"messages": [hi, called, tool("It is sunny.", "toolu_0")]},
        {"messages": [hi, used, user([tool_result(content)])]},
    )

    expect(message.text).equals(chat.text, "the context of the message request")


@pytest.mark.requirement(id="MSG-033")
@pytest.mark.parametrize("content", [ABSENT, None, []], ids=["absent", "null", "empty"])
def test_tool_result_without_content_is_empty(sessions, upstream, content):
    """A `tool_result` whose `content` is absent, null or an empty list gives the context of one with an empty text."""
    for result_content in ("", content):
        upstream.says("Hello")
        result = {name: value for name, value in tool_result(result_content).items() if value is not ABSENT}
        used = assistant([tool_use("search", ASKED)])
        sessions.open().message("Hi", used, user([result]), tools=[as_tool(SEARCH)])

    empty, without = calls_made(upstream, 2)

    expect(without.context).equals(empty.context, "the context without content")


@pytest.mark.requirement(id="MSG-034")
def test_several_tool_results_reach_the_context_in_order(session, upstream):
    """Several `tool_result` blocks of one message, and the text behind them, reach the context in their order."""
    upstream.says("Hello")
    used = assistant([tool_use("search", ASKED, "toolu_0"), tool_use("search", ASKED, "toolu_1")])
    results = [tool_result("It is sunny.", "toolu_0"), tool_result("It rains.", "toolu_1"), text("Which is it?")]

    session.message("Hi", used, user(results), tools=[as_tool(SEARCH)])

    expect_in_order(upstream, "It is sunny.", "It rains.", "Which is it?")


@pytest.mark.requirement(id="MSG-035")
def test_failed_tool_looks_failed(sessions, upstream):
    """A `tool_result` with `is_error` true gives another context than one without, or is refused."""
    used = assistant([tool_use("search", ASKED)])
    for result in (tool_result("No such file."), tool_result("No such file.", is_error=True)):
        upstream.says("Hello")
        sessions.open().message("Hi", used, user([result]), tools=[as_tool(SEARCH)])

    worked, *failed = upstream.calls or calls_made(upstream)

    for call in failed:
        expect(call.context).differs_from(worked.context, "the context with `is_error`")


@pytest.mark.requirement(id="MSG-036")
@pytest.mark.parametrize("signature", [{"signature": "c2lnbmVk"}, {"signature": ""}], ids=["signed", "unsigned"])
def test_thinking_in_the_history_is_accepted(session, upstream, target, signature):
    """A `thinking` block in an assistant message of the history does not make the gateway refuse the request."""
    upstream.says("Hello")
    thought = {"type": "thinking", "thinking": "They greet me.", **signature}

    reply = session.message("Hi", assistant([thought, text("Hello")]), "How are you?")

    expect_answered(reply, target)


@pytest.mark.requirement(id="MSG-037")
@pytest.mark.parametrize("place", [0, 1, 3], ids=["first", "behind the user", "last"])
def test_system_message_in_the_middle_reaches_the_context(session, upstream, place):
    """The text of a message with the role `system` among `messages` reaches the context."""
    upstream.says("Hello")
    messages = [user("Hi"), assistant("Hello"), user("How are you?")]
    messages.insert(place, system("The build is red."))

    session.message(*messages)

    expect_in_order(upstream, "The build is red.")


@pytest.mark.requirement(id="MSG-038")
def test_system_message_in_the_middle_is_a_reminder_of_the_user(session, upstream):
    """A message with the role `system` among `messages` reaches the context in a user's turn, between
    `<system-reminder>` tags."""
    upstream.says("Hello")

    session.message("Hi", system("The build is red."))

    [call] = calls_made(upstream)
    question, reminder = f"{upstream.nonce} Hi", "<system-reminder>\nThe build is red.\n</system-reminder>"
    render = upstream.tokenizer.render
    allowed = [render([user(f"{question}\n{reminder}")]), render([user(question), user(reminder)])]
    expect(call.text).is_one_of(allowed, "the context")


@pytest.mark.requirement(id="MSG-039")
def test_reminder_stands_behind_the_tool_result(session, upstream):
    """A `system` message between a call and its `tool_result` stands behind the result in the context."""
    upstream.says("Hello")
    used = assistant([tool_use("search", ASKED)])

    session.message(
        "Hi", used, system("The build is red."), user([tool_result("It is sunny.")]), tools=[as_tool(SEARCH)]
    )

    expect_in_order(upstream, "It is sunny.", "The build is red.")


@pytest.mark.requirement(id="MSG-040")
def test_billing_line_does_not_reach_the_context(session, upstream):
    """A line `x-anthropic-billing-header: ...` of the `system` text does not reach the context, and the lines around it
    do."""
    upstream.says("Hello")
    billing = "x-anthropic-billing-header: cc_version=2.1.0.abc; cch=0a1b2;"

    session.message("Hi", system=[text(billing), text(f"You are a clerk.\n{billing}\nBe brief.")])

    [call] = calls_made(upstream)
    expect(call.text).lacks("cc_version", "the context")
    expect_in_order(upstream, "You are a clerk.", "Be brief.")
