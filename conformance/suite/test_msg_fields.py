"""Area MSG: fields and messages that change what an answer is are honoured, or refused by name."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool, results_of, text, tool_result, tool_use
from conformance.gateway import Capability
from conformance.vocabulary import asked as published
from conformance.vocabulary.asked import expect_heard_or_refused, expect_named, expect_told_or_refused
from conformance.vocabulary.expect import REFUSED, calls_made, expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import assistant, user
from conformance.vocabulary.target import require_capability

SEARCH = as_tool(published.SEARCH)
TWICE = [{"name": "search", "arguments": {"q": "weather"}}, {"name": "search", "arguments": {"q": "news"}}]
ONE = {"type": "auto", "disable_parallel_tool_use": True}
USED = assistant([tool_use("search", {"q": "weather"})])
CALLED = [USED, user([tool_result("It is sunny.")])]
PART_TEXTS = ("First part.", "Second part.", "Third part.")
PARTS = [text(part_text) for part_text in PART_TEXTS]
NOTE = "The build is red."
PLAIN_TEXT = {"type": "text", "media_type": "text/plain", "data": NOTE}


@pytest.mark.requirement(id="MSG-160")
@pytest.mark.parametrize("field", published.MESSAGES, ids=str)
def test_field_of_a_message_is_honoured_or_refused(session, upstream, target, streamed, field):
    """A field of a message request whose value changes the answer is honoured, or the request is refused with the
    field named, on the first turn and on later ones, streamed and not."""
    if field.tools:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")
    first = session.message("Hi")
    for step in field.says:
        upstream.says(**step)

    reply = session.message("Hi", first.message, "More", stream=streamed, **field.fields)

    expect_heard_or_refused(field, reply, upstream)


@pytest.mark.requirement(id="MSG-161")
def test_one_use_is_shown_where_one_is_asked_for(session, upstream, streamed):
    """With `disable_parallel_tool_use` true an answer has one `tool_use` at most, or the request is refused with the
    field named."""
    upstream.says("Hello")
    upstream.says("I will look.", tool_calls=TWICE)
    first = session.message("Hi", tools=[SEARCH])

    reply = session.message("Hi", first.message, "Look it up", tools=[SEARCH], tool_choice=ONE, stream=streamed)

    if reply.status in REFUSED:
        expect_named(reply, "disable_parallel_tool_use")
        return
    expect(reply).status(200)
    expect([block.get("input") for block in reply.tool_calls]).equals([{"q": "weather"}], "calls of the answer")


@pytest.mark.requirement(id="MSG-162")
def test_use_that_was_shown_continues(session, upstream):
    """Behind a `tool_use` of several that was shown alone, its result continues the trajectory, whose ids are all that
    were sampled."""
    fields = {"tools": [SEARCH], "tool_choice": ONE}
    upstream.says("I will look.", tool_calls=TWICE)
    first = session.message("Look it up", **fields)
    if first.status in REFUSED:
        raise NotApplicable("the gateway refuses `disable_parallel_tool_use`")
    upstream.says("It is sunny.")
    session.message("Look it up", first.message, user(results_of(first.message, "sunny")), **fields)

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="MSG-163")
@pytest.mark.parametrize(
    "before", [[], [assistant("Hello"), user("Count")], [*CALLED]], ids=["first", "later", "behind a result"]
)
@pytest.mark.parametrize("last", ["1, 2,", [text("1, 2,")]], ids=["text", "block"])
def test_prefill_is_gone_on_with(session, upstream, streamed, before, last):
    """Where an assistant's message is the last of a message request, the context ends with its text, or the request is
    refused."""
    upstream.says(" 3, 4")

    reply = session.message("Count", *before, assistant(last), stream=streamed)

    if reply.status in REFUSED:
        return
    [call] = calls_made(upstream)
    expect(call.text).satisfies(lambda context: context.endswith("1, 2,"), "one that ends with '1, 2,'", "the context")


@pytest.mark.requirement(id="MSG-164")
@pytest.mark.parametrize("turns", [0, 1], ids=["first", "later"])
def test_whole_of_a_prefilled_answer_continues(session, upstream, turns):
    """An echo of the prefill and what was sampled behind it, as one message, continues the trajectory."""
    history = [user("Hi"), assistant("Hello")] if turns else []
    if turns:
        upstream.says("Hello")
        session.message("Hi")
    upstream.says(" 3, 4")
    reply = session.message(*history, "Count", assistant("1, 2,"))
    if reply.status in REFUSED:
        raise NotApplicable("the gateway does not go on with the last message")
    upstream.says("5, 6")
    session.message(*history, "Count", assistant("1, 2," + reply.text), "Go on")

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="MSG-165")
@pytest.mark.parametrize(
    ("messages", "texts", "names"),
    [
        pytest.param([user(PARTS)], PART_TEXTS, ("content",), id="blocks of a user"),
        pytest.param([USED, user([tool_result(PARTS)])], PART_TEXTS, ("content",), id="blocks of a result"),
        pytest.param(
            [user([{"type": "document", "source": PLAIN_TEXT}, text("Hi")])],
            (NOTE,),
            ("type", "document", "content"),
            id="document",
        ),
        pytest.param(
            [USED, user([tool_result([{"type": "document", "source": PLAIN_TEXT}])])],
            (NOTE,),
            ("type", "document", "content"),
            id="document of a result",
        ),
        pytest.param(
            [user([{"type": "search_result", "source": "x", "title": "News", "content": [text(NOTE)]}])],
            (NOTE,),
            ("type", "search_result", "content"),
            id="search_result",
        ),
        pytest.param(
            [
                assistant(
                    [{"type": "server_tool_use", "id": "srvtoolu_0", "name": "web_search", "input": {"q": NOTE}}]
                ),
                user("So?"),
            ],
            (NOTE,),
            ("type", "server_tool_use", "content"),
            id="server_tool_use",
        ),
    ],
)
def test_what_a_block_says_is_told_or_refused(session, upstream, messages, texts, names):
    """What a block of an accepted message request says is in the context, whatever its type; otherwise the request is
    refused with that named."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.message("Hi")

    reply = session.message("Hi", first.message, *messages)

    expect_told_or_refused(reply, upstream, texts, *names)
