"""Area CHAT: tools in the request, calls in the answer."""

from __future__ import annotations

import json

import pytest

from conformance.client.http import at
from conformance.upstream.tool_format import CUT_OFF, NO_NAME, NO_OBJECT, SPOILED
from conformance.vocabulary.calls import TEMPTING
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import ABSENT, assistant, function, tool, tool_call, typed, user

SEARCH = function("search_the_web", q={"type": "string"})
CLOCK = function("read_clock", zone={"type": "string"})
SEARCHED = {"name": "search_the_web", "arguments": {"q": "weather"}}
CLOCKED = {"name": "read_clock", "arguments": {"zone": "UTC"}}


@pytest.mark.requirement(id="CHAT-047")
@pytest.mark.parametrize("choice", [ABSENT, "auto"], ids=["no choice", "auto"])
def test_tools_are_in_the_context(session, upstream, choice):
    """The names of the request's tools are in the context that the upstream receives."""
    if "read_clock" not in upstream.tokenizer.render([user("Hi")], tools=[CLOCK]):
        raise NotApplicable("the chat template has no place for tools")
    upstream.says("Hello")

    session.chat("Hi", tools=[SEARCH, CLOCK], tool_choice=choice)

    [call] = calls_made(upstream)
    named = [name for name in ("search_the_web", "read_clock") if name in call.text]
    expect(named).equals(["search_the_web", "read_clock"], "the names of tools in the context")


@pytest.mark.requirement(id="CHAT-048")
def test_tool_call_comes_back_by_its_name(session, upstream, streamed):
    """A call of a declared tool comes back as an entry of `message.tool_calls` with `type` = `function` and the
    function's name.
    """
    upstream.says(tool_calls=[CLOCKED, SEARCHED])

    message = session.chat("Hi", tools=[SEARCH, CLOCK], stream=streamed).message

    calls = [at(message, "tool_calls", place, kind=dict) for place in (0, 1)]
    actual = {(at(call, "type"), at(call, "function", "name")) for call in calls}
    wanted = {("function", "read_clock"), ("function", "search_the_web")}
    expect(actual).equals(wanted, "type and function.name of the calls")


@pytest.mark.requirement(id="CHAT-049")
def test_tool_call_ids_are_unique_in_a_conversation(session, upstream):
    """Each tool call has a non-empty string `id` that no other call of the conversation has."""
    upstream.says(tool_calls=[SEARCHED, SEARCHED])
    upstream.says(tool_calls=[SEARCHED])

    first = session.chat("Hi", tools=[SEARCH])
    ids = [at(first.message, "tool_calls", place, "id") for place in (0, 1)]
    echo = assistant(None, tool_calls=[tool_call("search_the_web", '{"q": "weather"}', call_id) for call_id in ids])
    second = session.chat("Hi", echo, *[tool("Nothing.", call_id) for call_id in ids], tools=[SEARCH])

    ids.append(at(second.message, "tool_calls", 0, "id"))
    expect(ids).satisfies(
        lambda ids: all(isinstance(call_id, str) and call_id for call_id in ids) and len(set(ids)) == 3,
        "three different non-empty strings",
        "the ids of three calls in two answers",
    )


@pytest.mark.requirement(id="CHAT-050")
def test_tool_call_arguments_are_the_generated_json(session, upstream):
    """`function.arguments` is a string, and its JSON value is that of the generated arguments with their types."""
    arguments = {
        "q": 'Wetter "heute" é\n',
        "count": 3,
        "part": 0.5,
        "exact": True,
        "since": None,
        "places": ["a", {"b": {}}],
        **TEMPTING,
    }
    upstream.says(tool_calls=[{"name": "search_the_web", "arguments": arguments}])

    message = session.chat("Hi", tools=[function("search_the_web", **typed(arguments))]).message

    text = at(message, "tool_calls", 0, "function", "arguments", kind=str)
    expect(_respelled(text)).equals(json.dumps(arguments, sort_keys=True), "function.arguments, as JSON")


@pytest.mark.requirement(id="CHAT-051")
@pytest.mark.parametrize("text", ["", "I will look that up."], ids=["calls", "text and calls"])
def test_finish_reason_is_tool_calls(session, upstream, streamed, text):
    """`finish_reason` is `tool_calls` when the answer has tool calls and was not cut."""
    upstream.says(text, tool_calls=[SEARCHED], finish="stop")

    reply = session.chat("Hi", tools=[SEARCH], stream=streamed)

    expect(reply.finish_reason).equals("tool_calls", "finish_reason")


@pytest.mark.requirement(id="CHAT-052")
def test_text_beside_a_tool_call_stays_content(session, upstream, streamed):
    """Text beside a tool call stays in `message.content`, and nothing of the call's markup does."""
    upstream.says("I will look that up.", tool_calls=[SEARCHED])

    reply = session.chat("Hi", tools=[SEARCH], stream=streamed)

    expect(reply.text.strip()).equals("I will look that up.", "message.content without its outer blanks")


@pytest.mark.requirement(id="CHAT-053")
def test_tool_calls_keep_their_order(session, upstream, streamed):
    """Several calls of one answer come back in the order in which they were generated."""
    upstream.says(tool_calls=[SEARCHED, CLOCKED, SEARCHED, CLOCKED])

    reply = session.chat("Hi", tools=[SEARCH, CLOCK], stream=streamed)

    names = [at(call, "function", "name") for call in reply.tool_calls]
    expect(names).equals(["search_the_web", "read_clock"] * 2, "the names of the calls")


@pytest.mark.requirement(id="CHAT-054")
@pytest.mark.parametrize("fault", [SPOILED, CUT_OFF, NO_OBJECT, NO_NAME])
def test_malformed_tool_call_stays_text(session, upstream, streamed, fault):
    """A call whose markup or JSON is malformed is answered with status 200, its text kept as content."""
    miswritten = upstream.tool_format.miswritten[fault]
    upstream.says(miswritten.text)

    reply = session.chat("Hi", tools=[SEARCH], stream=streamed)

    expect(reply).status(200)
    expect(reply.text).contains(miswritten.kept, "message.content")


@pytest.mark.requirement(id="CHAT-055")
def test_text_like_a_tool_call_stays_content_without_tools(session, upstream, streamed):
    """Without tools in the request, text that looks like a tool call stays content and there are no `tool_calls`."""
    upstream.says(tool_calls=[SEARCHED])

    reply = session.chat("Show me a tool call.", stream=streamed)

    expect(reply.tool_calls).equals([], "message.tool_calls")
    expect(reply.text).contains("search_the_web", "message.content")


@pytest.mark.requirement(id="CHAT-056")
def test_tool_choice_none_gives_no_tool_calls(session, upstream, streamed):
    """With `tool_choice: "none"` an answer has no `tool_calls`, whatever its text looks like."""
    upstream.says(tool_calls=[SEARCHED])

    reply = session.chat("Hi", tools=[SEARCH], tool_choice="none", stream=streamed)

    expect(reply.tool_calls).equals([], "message.tool_calls")


@pytest.mark.requirement(id="CHAT-057")
def test_tool_choice_none_gives_the_context_of_no_tools(sessions, upstream):
    """With `tool_choice: "none"` the context is the one of the same request without tools."""
    for fields in ({}, {"tools": [SEARCH], "tool_choice": "none"}):
        upstream.says("Hello")
        sessions.open().chat("Hi", **fields)

    without, forbidden = calls_made(upstream, 2)

    expect(forbidden.context).equals(without.context, 'the context with `tool_choice: "none"`')


@pytest.mark.requirement(id="CHAT-058")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param('{"q": ', id="cut off"),
        pytest.param("weather", id="no JSON"),
        pytest.param("", id="empty"),
        pytest.param('{"q": "a"}{"q": "b"}', id="two objects"),
    ],
)
def test_history_with_malformed_arguments_is_accepted(session, upstream, arguments):
    """A history in which a tool call's `arguments` is not valid JSON is accepted."""
    upstream.says("Sorry.")
    called = assistant(None, tool_calls=[tool_call("search_the_web", arguments)])

    reply = session.chat("Hi", called, tool("These arguments are not JSON."), tools=[SEARCH])

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-140")
@pytest.mark.parametrize(
    "nulls",
    [
        pytest.param({"function": ("description",)}, id="description"),
        pytest.param({"function": ("strict",)}, id="strict"),
        pytest.param(
            {"message": ("name", "tool_calls", "function_call", "refusal", "audio", "annotations")}, id="echo"
        ),
        pytest.param({"result": ("name",)}, id="result"),
    ],
)
def test_null_in_a_message_or_a_tool_is_absent(sessions, upstream, nulls):
    """null for an optional field of a message or a tool of a chat request is the same as leaving it out."""

    def request(fields):
        bare = {"name": "search_the_web", "parameters": {"type": "object"}, **fields.get("function", {})}
        echo = {"role": "assistant", "content": "Good day", **fields.get("message", {})}
        called = assistant("", tool_calls=[tool_call("search_the_web")])
        result = {**tool("sunny"), **fields.get("result", {})}
        upstream.says("Hello")
        offered = [{"type": "function", "function": bare}]
        sessions.open().chat("Hi", echo, user("Look it up"), called, result, tools=offered)

    request({})
    request({part: dict.fromkeys(names) for part, names in nulls.items()})

    absent, null = calls_made(upstream, 2)
    expect(null.text).equals(absent.text, "the context with null")


def _respelled(text: str) -> str:
    """JSON in one spelling; what is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text
