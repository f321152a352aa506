"""Area MSG: what a message request has that only the provider can read or run, and bodies as clients send them."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool, text, tool_result, tool_use
from conformance.vocabulary.bodies import CODINGS, FALSE, expect_coded_body, expect_false_coding
from conformance.vocabulary.expect import REFUSED, calls_made, expect
from conformance.vocabulary.refusals import MESSAGES
from conformance.vocabulary.session import assistant, function, user

OPAQUE = "b3BhcXVl"
REDACTED = {"type": "redacted_thinking", "data": OPAQUE}
SIGNED = {"type": "thinking", "thinking": "They greet me.", "signature": OPAQUE}
LOOK = function("look", "Look it up.", q={"type": "string"})
USE = tool_use("look", {"q": "tides"})
HOSTED: dict[str, dict[str, object]] = {
    "web_search": {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    "web_fetch": {"type": "web_fetch_20250910", "name": "web_fetch"},
    "code_execution": {"type": "code_execution_20250825", "name": "code_execution"},
}
NOTE = "Low water is at six."
DOCUMENTS = {
    "text": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": NOTE}},
    "content": {"type": "document", "source": {"type": "content", "content": [text(NOTE)]}, "title": "Tides"},
    "search_result": {"type": "search_result", "title": "Tides", "source": "tides.txt", "content": [text(NOTE)]},
}


def seen(session, upstream, *messages, **fields):
    """The text of the context that a message request leads to. No call, or more than one, is a failure."""
    upstream.says("Hello")
    before = len(upstream.calls)
    session.message(*messages, **fields)
    return calls_made(upstream, before + 1)[-1].text


@pytest.mark.requirement(id="MSG-130")
@pytest.mark.parametrize("coding", CODINGS)
def test_encoded_message_request_is_served_or_unsupported(session, upstream, coding):
    """A message request whose body is encoded as its `content-encoding` says is served as the request that it is, or
    refused with 415."""
    expect_coded_body(MESSAGES, session, upstream, coding)


@pytest.mark.requirement(id="MSG-131")
@pytest.mark.parametrize("case", FALSE)
def test_message_request_that_is_not_encoded_as_it_says_is_refused(session, upstream, case):
    """A message request whose body is not what its `content-encoding` says, or in a coding that is not known, is
    refused with 400, 415 or 422, and makes no call."""
    expect_false_coding(MESSAGES, session, upstream, case)


@pytest.mark.requirement(id="MSG-132")
@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param([REDACTED, text("Hello")], id="alone"),
        pytest.param([SIGNED, REDACTED, REDACTED, text("Hello")], id="behind thinking"),
    ],
)
def test_redacted_thinking_is_not_shown(sessions, upstream, blocks):
    """A message request whose history has `redacted_thinking` blocks is answered as one without them; their data is not
    shown to the model."""
    plain = seen(sessions.open(), upstream, "Hi", assistant([text("Hello")]), "How are you?")

    redacted = seen(sessions.open(), upstream, "Hi", assistant(blocks), "How are you?")

    expect(redacted).lacks(OPAQUE, "the context")
    if SIGNED not in blocks:
        expect(redacted).equals(plain, "the context")


@pytest.mark.requirement(id="MSG-133")
def test_redacted_thinking_before_a_call_is_not_shown(sessions, upstream):
    """A history with a `redacted_thinking` block before a `tool_use` is answered as one without it."""
    asked = {"tools": [as_tool(LOOK)]}
    result = user([tool_result("at six")])
    plain = seen(sessions.open(), upstream, "Hi", assistant([USE]), result, **asked)

    redacted = seen(sessions.open(), upstream, "Hi", assistant([REDACTED, USE]), result, **asked)

    expect(redacted).equals(plain, "the context")


@pytest.mark.requirement(id="MSG-134")
def test_redacted_thinking_does_not_split(session, upstream):
    """An echo with a `redacted_thinking` block in front of the answer continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.message("Hi")
    session.message("Hi", assistant([REDACTED, *first.content]), "How are you?")

    calls_made(upstream, 2)
    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="MSG-135")
@pytest.mark.parametrize("kind", HOSTED)
@pytest.mark.parametrize("beside", [[], [as_tool(LOOK)]], ids=["alone", "beside a function"])
def test_tool_of_the_provider_is_not_offered_as_a_function(session, upstream, kind, beside):
    """A tool that the provider runs (`web_search`, `web_fetch`, `code_execution`), and the gateway does not, is
    refused, or not offered to the model."""
    upstream.says("Hello")

    reply = session.message("Hi", tools=[*beside, HOSTED[kind]])

    expect(reply).status(200, *REFUSED)
    offered = [call.index for call in upstream.calls if kind in call.text]
    expect(offered).equals([], "calls of the upstream whose context names the tool")


@pytest.mark.requirement(id="MSG-136")
@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("inside", [False, True], ids=["of the user", "of a tool"])
def test_document_reaches_the_model_or_is_refused(session, upstream, kind, inside):
    """The text of a `document` or a `search_result` block, of the user or in a `tool_result`, reaches the model, or the
    request is refused."""
    upstream.says("Hello")
    block = DOCUMENTS[kind]
    history = ["Hi", assistant([USE]), user([tool_result([block])])] if inside else [user([text("Hi"), block])]

    reply = session.message(*history, tools=[as_tool(LOOK)])

    expect(reply).status(200, *REFUSED)
    if reply.status == 200:
        expect(calls_made(upstream)[0].text).contains(NOTE, "the context")


@pytest.mark.requirement(id="MSG-137")
@pytest.mark.parametrize("place", ["tool", "text", "tool_use", "tool_result"])
def test_null_in_a_block_or_a_tool_is_absent(sessions, upstream, place):
    """null for an optional field of a tool or a content block of a message request is the same as leaving it out."""
    nulls = {
        "tool": dict.fromkeys(("type", "description", "cache_control", "strict")),
        "text": dict.fromkeys(("cache_control", "citations")),
        "tool_use": dict.fromkeys(("cache_control", "caller")),
        "tool_result": dict.fromkeys(("content", "cache_control", "is_error")),
    }

    def request(fields):
        bare = {"name": "look", "input_schema": {"type": "object"}, **fields.get("tool", {})}
        block = text("Hi", **fields.get("text", {}))
        result = {"type": "tool_result", "tool_use_id": "toolu_0", **fields.get("tool_result", {})}
        use = {**USE, **fields.get("tool_use", {})}
        return seen(sessions.open(), upstream, user([block]), assistant([use]), user([result]), tools=[bare])

    absent, null = request({}), request({place: nulls[place]})

    expect(null).equals(absent, "the context")
