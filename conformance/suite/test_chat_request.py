"""Area CHAT: the request's messages, and the fields that must not make a gateway refuse it."""

from __future__ import annotations

import pytest

from conformance.gateway import Capability
from conformance.tokenizer import TokenizerError
from conformance.vocabulary.expect import REFUSED, calls_made, expect, expect_seen, last_call
from conformance.vocabulary.session import ABSENT, assistant, function, system, tool, tool_call, user
from conformance.vocabulary.target import require_capability

SEARCH = function("search", q={"type": "string"})
CALLS = {"tool_calls": [tool_call("search")]}
ODD_TEXT = "\t  Grüße, e\u0301, 日本語, \U0001f469\u200d\U0001f469\u200d\U0001f467\r\n\r\n\u2028 end  \t"


@pytest.mark.requirement(id="CHAT-019")
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(ABSENT, id="missing"),
        pytest.param(None, id="null"),
        pytest.param("Hi", id="text"),
        pytest.param({"role": "user", "content": "Hi"}, id="one message"),
        pytest.param([], id="empty"),
    ],
)
def test_messages_that_are_no_list_are_refused(session, upstream, messages):
    """A request whose `messages` is missing, not a list or empty is refused."""
    upstream.says("Hello")

    reply = session.chat(messages=messages)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-020")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(7, id="no object"),
        pytest.param({"content": "Hi"}, id="no role"),
        pytest.param({"role": None, "content": "Hi"}, id="null role"),
        pytest.param({"role": "", "content": "Hi"}, id="empty role"),
        pytest.param({"role": 7, "content": "Hi"}, id="number as role"),
        pytest.param({"role": "user", "content": 7}, id="number as content"),
        pytest.param({"role": "user", "content": True}, id="boolean as content"),
    ],
)
def test_malformed_message_is_refused(session, upstream, message):
    """A request with a message that is not an object, has no non-empty string `role`, or has a number or a boolean as
    `content`, is refused.
    """
    upstream.says("Hello")

    reply = session.chat(system("Be brief."), message)

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-021")
@pytest.mark.parametrize(
    "tool_calls",
    [
        pytest.param("search", id="text"),
        pytest.param(tool_call("search"), id="one call"),
        pytest.param(["search"], id="list of texts"),
        pytest.param([{"id": "call_0", "type": "function"}], id="no function"),
        pytest.param([{"id": "call_0", "type": "function", "function": "search"}], id="text as function"),
    ],
)
def test_malformed_tool_calls_are_refused(session, upstream, tool_calls):
    """A request with a message whose `tool_calls` is not a list, or has an entry without an object `function`, is
    refused.
    """
    upstream.says("Hello")

    reply = session.chat("Hi", assistant("Wait.", tool_calls=tool_calls), tool("Found"), tools=[SEARCH])

    expect(reply).is_refused()


@pytest.mark.requirement(id="CHAT-022")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"role": "assistant", "content": None}, id="null"),
        pytest.param({"role": "assistant"}, id="absent"),
        pytest.param({"role": "assistant", "content": None, **CALLS}, id="null beside a call"),
        pytest.param({"role": "assistant", **CALLS}, id="absent beside a call"),
    ],
)
def test_assistant_message_without_content_is_accepted(session, upstream, message):
    """An assistant message whose `content` is null or absent is accepted."""
    upstream.says("Hello")
    answer = tool("Found") if "tool_calls" in message else user("Go on.")

    reply = session.chat("Hi", message, answer)

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-023")
def test_text_part_gives_the_context_of_its_string(sessions, upstream):
    """A message whose content is one text part gives the same context as the same text given as a string."""
    strings = [system("Be brief."), user("Hi"), assistant("Hello"), user("More")]
    parts = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in strings]
    for messages in (strings, parts):
        upstream.says("Hello")
        sessions.open().chat(*messages)

    as_strings, as_parts = calls_made(upstream, 2)

    expect(as_parts.context).equals(as_strings.context, "the context of the parts")


@pytest.mark.requirement(id="CHAT-024")
@pytest.mark.parametrize("role", ["system", "user"])
def test_message_text_reaches_the_context_unchanged(session, upstream, role):
    """Message text reaches the context unchanged, with its line ends and non-ASCII characters, and with the blanks
    around it where the chat template keeps them.
    """
    upstream.says("Hello")
    messages = {
        "user": [user("Hi"), assistant("Hello"), user(ODD_TEXT)],
        "system": [user("Hi"), system(ODD_TEXT), user("More")],
    }

    session.chat(*messages[role])

    [call] = calls_made(upstream)
    text = _as_written(upstream.tokenizer, messages[role])
    as_tokenised = upstream.tokenizer.decode(upstream.tokenizer.encode(text))
    expect(call.text).contains(as_tokenised, "the context")


def _as_written(tokenizer, messages):
    """`ODD_TEXT` as the template has it: some leave out the blanks around a text."""
    try:
        kept = ODD_TEXT in tokenizer.render(messages)
    except TokenizerError:  # it refuses what the gateway, in some form of its own, got through it
        kept = True
    return ODD_TEXT if kept else ODD_TEXT.strip()


@pytest.mark.requirement(id="CHAT-025")
@pytest.mark.parametrize(
    "field",
    [
        pytest.param({"refusal": None}, id="refusal"),
        pytest.param({"annotations": []}, id="annotations"),
        pytest.param({"audio": None}, id="audio"),
        pytest.param({"cache_control": {"type": "ephemeral"}}, id="cache_control"),
        pytest.param({"x_made_up": {"a": [1]}}, id="made up"),
    ],
)
def test_unknown_message_field_is_accepted(session, upstream, field):
    """Message fields that the gateway does not know (`refusal`, `annotations`, `audio`, `cache_control`) do not make it
    refuse a request.
    """
    upstream.says("Hello")

    reply = session.chat("Hi", assistant("Hello", **field), {**user("More"), **field})

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-026")
@pytest.mark.parametrize(
    "field",
    [
        {"store": False},
        {"prompt_cache_key": "one"},
        {"prompt_cache_retention": "24h"},
        {"client_metadata": {"agent": "kit"}},
        {"metadata": {"agent": "kit"}},
        {"reasoning": {"effort": "low"}},
        {"reasoning_effort": "low"},
        {"context_management": {"edits": []}},
        {"safety_identifier": "one"},
        {"service_tier": "auto"},
        {"verbosity": "low"},
        {"user": "one"},
        {"x_made_up": {"a": [1]}},
    ],
    ids=lambda field: next(iter(field)),
)
def test_unknown_request_field_is_accepted(session, upstream, field):
    """Request fields that the gateway does not know or may ignore (such as `store`, `prompt_cache_key`,
    `client_metadata`, `reasoning`, `context_management`, `user`) do not make it refuse a request.
    """
    upstream.says("Hello")

    reply = session.chat("Hi", **field)

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-027")
@pytest.mark.parametrize(
    "field", ["n", "max_tokens", "stop", "tool_choice", "tools", "temperature", "top_p", "response_format"]
)
def test_null_field_is_the_same_as_an_absent_one(session, upstream, field):
    """An optional field whose value is null (`n`, `max_tokens`, `stop`, `tool_choice`, `tools`, `temperature`, `top_p`,
    `response_format`) is the same as an absent one.
    """
    upstream.says("Hello")

    reply = session.chat("Hi", **{field: None})

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-028")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"n": 1}, id="n"),
        pytest.param({"tool_choice": "none"}, id="none without tools"),
        pytest.param({"tool_choice": "auto", "tools": [SEARCH]}, id="auto with tools"),
    ],
)
def test_default_value_is_accepted(session, upstream, target, fields):
    """A field that is given its default value (`n: 1`, `tool_choice: "none"` without tools, `tool_choice: "auto"` with
    tools) is accepted.
    """
    if "tools" in fields:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")

    reply = session.chat("Hi", **fields)

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-080")
@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="in front"),
        pytest.param([system("Help.")], id="behind a system message"),
        pytest.param([user("Hi"), assistant("Hello")], id="behind an answer"),
        pytest.param([system("Help."), user("Hi"), assistant("Hello")], id="late"),
    ],
)
def test_developer_message_is_seen(session, upstream, before):
    """The text of a `developer` message is in the context, in front, behind a system message and behind an answer; or
    the request is refused and the refusal names the role."""
    upstream.says("Fine")

    reply = session.chat(*before, {"role": "developer", "content": "Say papaya."}, user("How are you?"))

    expect_seen(
        upstream, reply, "developer", "Say papaya.", *("Help." for message in before if message["role"] == "system")
    )


@pytest.mark.requirement(id="CHAT-081")
@pytest.mark.parametrize("arguments", ["", None], ids=["empty", "null"])
def test_no_arguments_are_an_empty_object(sessions, upstream, arguments):
    """A call in the history whose `arguments` are an empty text, or null, makes the same context as one with `{}`; or
    the request is refused and the refusal names the field."""
    contexts = []
    for spelled in ("{}", arguments):
        upstream.says("Fine")
        called = assistant(None, tool_calls=[tool_call("search", spelled)])
        reply = sessions.open().chat(user("Hi"), called, tool("Nothing."))
        if reply.status in REFUSED and spelled != "{}":
            expect_seen(upstream, reply, "arguments")
            return
        contexts.append(last_call(upstream).text)
    expect(contexts[1]).equals(contexts[0], "the context")
