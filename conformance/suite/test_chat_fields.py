"""Area CHAT: fields and messages that change what an answer is are honoured, or refused by name."""

from __future__ import annotations

import pytest

from conformance.client.http import at
from conformance.gateway import Capability
from conformance.vocabulary import asked as published
from conformance.vocabulary.asked import SEARCH, expect_heard_or_refused, expect_named, expect_told_or_refused
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, calls_made, expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import assistant, results, system, tool, tool_call, user
from conformance.vocabulary.target import require_capability

CALL = {"name": "search", "arguments": {"q": "weather"}}
TWICE = [CALL, {"name": "search", "arguments": {"q": "news"}}]
GOES_ON = {"continue_final_message": True, "add_generation_prompt": False}
CALLED = [assistant(None, tool_calls=[tool_call("search")]), tool("It is sunny.")]
PARTS = [{"type": "text", "text": part_text} for part_text in ("First part.", "Second part.", "Third part.")]
PART_TEXTS = ("First part.", "Second part.", "Third part.")


@pytest.mark.requirement(id="CHAT-150")
@pytest.mark.parametrize("field", published.CHAT, ids=str)
def test_field_is_honoured_or_refused(session, upstream, target, streamed, field):
    """A field of a chat request whose value changes the answer is honoured, or the request is refused with the field
    named, on the first turn and on later ones, streamed and not."""
    if field.tools:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")
    first = session.chat("Hi")
    for step in field.says:
        upstream.says(**step)

    reply = session.chat("Hi", first.message, "More", stream=streamed, **field.fields)

    expect_heard_or_refused(field, reply, upstream)


@pytest.mark.requirement(id="CHAT-151")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"response_format": {"type": "text"}}, id="response_format"),
        pytest.param({"parallel_tool_calls": True}, id="parallel_tool_calls"),
        pytest.param({"logprobs": False}, id="logprobs"),
        pytest.param({"modalities": ["text"]}, id="modalities"),
        pytest.param({"presence_penalty": 0, "frequency_penalty": 0}, id="penalties"),
    ],
)
def test_documented_default_is_accepted(session, upstream, fields):
    """A field whose value is the default that the API documents (`response_format` of the type `text`,
    `parallel_tool_calls` true, `logprobs` false, `modalities` of text) is accepted."""
    upstream.says("Hello")

    reply = session.chat("Hi", **fields)

    expect(reply).is_answered()


@pytest.mark.requirement(id="CHAT-152")
def test_logprobs_are_told_or_refused(session, upstream, streamed):
    """With `logprobs` true the answer has the engine's log-probability of each sampled token in
    `choices[0].logprobs.content`, or the request is refused with the field named."""
    upstream.says("Hello")
    upstream.says("Fine, thank you")
    first = session.chat("Hi")

    reply = session.chat("Hi", first.message, "How are you?", logprobs=True, stream=streamed)

    if reply.status in REFUSED:
        expect_named(reply, "logprobs")
        return
    told = at(reply.completion, "choices", 0, "logprobs", kind=dict)
    values = [at(entry, "logprob") for entry in at(told, "content", kind=list)]
    reported = calls_made(upstream, 2)[-1].logprobs or []
    # The token that ended the turn is not part of the text, and some leave it out.
    expect(values).is_one_of([reported, reported[:-1]], "log-probabilities in the answer")
    expect(len(values)).satisfies(bool, "at least one entry", "log-probabilities in the answer")


@pytest.mark.requirement(id="CHAT-153")
def test_one_call_is_shown_where_one_is_asked_for(session, upstream, streamed):
    """With `parallel_tool_calls` false an answer has one tool call at most, or the request is refused with the field
    named."""
    upstream.says("Hello")
    upstream.says("I will look.", tool_calls=TWICE)
    first = session.chat("Hi", tools=[SEARCH])

    reply = session.chat("Hi", first.message, "Look it up", tools=[SEARCH], parallel_tool_calls=False, stream=streamed)

    if reply.status in REFUSED:
        expect_named(reply, "parallel_tool_calls")
        return
    expect(reply).status(200)
    arguments = [call["function"]["name"] for call in reply.tool_calls]
    expect(arguments).equals(["search"], "calls of the answer")


@pytest.mark.requirement(id="CHAT-154")
def test_call_that_was_shown_continues(session, upstream):
    """Behind a call of several that was shown alone, the result of that call continues the trajectory, whose ids are
    all that were sampled."""
    upstream.says("I will look.", tool_calls=TWICE)
    first = session.chat("Look it up", tools=[SEARCH], parallel_tool_calls=False)
    if first.status in REFUSED:
        raise NotApplicable("the gateway refuses `parallel_tool_calls: false`")
    upstream.says("It is sunny.")
    history = [user("Look it up"), first.message, *results(first.message, "sunny")]
    session.chat(*history, tools=[SEARCH], parallel_tool_calls=False)

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="CHAT-155")
@pytest.mark.parametrize(
    "before", [[], [assistant("Hello"), user("Count")], [*CALLED]], ids=["first", "later", "behind a result"]
)
def test_last_message_is_gone_on_with(session, upstream, streamed, before):
    """With `continue_final_message` true and `add_generation_prompt` false the context ends with the text of the last
    message, an assistant's, or the request is refused with one of the fields named."""
    upstream.says(" 3, 4")

    reply = session.chat("Count", *before, assistant("1, 2,"), stream=streamed, **GOES_ON)

    if reply.status in REFUSED:
        expect_named(reply, *GOES_ON)
        return
    [call] = calls_made(upstream)
    expect(call.text).satisfies(lambda text: text.endswith("1, 2,"), "one that ends with '1, 2,'", "the context")


@pytest.mark.requirement(id="CHAT-156")
@pytest.mark.parametrize("turns", [0, 1], ids=["first", "later"])
def test_whole_of_what_was_gone_on_with_continues(session, upstream, turns):
    """An echo of the last message and what was sampled behind it, as one message, continues the trajectory."""
    talk = Conversation(session, upstream)
    for _ in range(turns):
        talk.turn("Hi", "Hello")
    upstream.says(" 3, 4")
    reply = session.chat(*talk.messages, "Count", assistant("1, 2,"), **GOES_ON)
    if reply.status in REFUSED:
        raise NotApplicable("the gateway does not go on with the last message")
    whole = assistant("1, 2," + reply.text)
    talk.as_if(*talk.messages, user("Count"), whole).turn("Go on", "5, 6")

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="CHAT-157")
@pytest.mark.parametrize(
    ("messages", "texts", "names"),
    [
        pytest.param(
            [
                {**assistant(None), "function_call": {"name": "look_up", "arguments": '{"place": "Oslo"}'}},
                {"role": "function", "name": "look_up", "content": "It is sunny."},
            ],
            ("look_up", "Oslo", "It is sunny."),
            ("function_call", "function", "role"),
            id="function_call",
        ),
        pytest.param(
            [{**assistant(None), "refusal": "I cannot say."}, user("Why?")],
            ("I cannot say.",),
            ("refusal",),
            id="refusal",
        ),
        pytest.param(
            [assistant([{"type": "refusal", "refusal": "I cannot say."}]), user("Why?")],
            ("I cannot say.",),
            ("refusal", "type", "content"),
            id="refusal part",
        ),
        pytest.param([system(PARTS), user("Hi")], PART_TEXTS, ("content",), id="parts of a system message"),
        pytest.param([user(PARTS)], PART_TEXTS, ("content",), id="parts of a user message"),
        pytest.param([CALLED[0], tool(PARTS)], PART_TEXTS, ("content",), id="parts of a result"),
        pytest.param(
            [{"role": "narrator", "content": "The sun sets."}, user("Hi")], ("The sun sets.",), ("role",), id="narrator"
        ),
    ],
)
def test_what_a_message_says_is_told_or_refused(session, upstream, messages, texts, names):
    """What a message of an accepted request says is in the context, whatever its role, its field or its part says it
    in; otherwise the request is refused with that named."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.chat("Hi")

    reply = session.chat("Hi", first.message, "More", *messages)

    expect_told_or_refused(reply, upstream, texts, *names)


def named_later(session, upstream):
    """A conversation in which a name was put into an echo of an answer that is not the last."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Fine")
    talk.messages[1] |= {"name": "ann"}
    talk.turn("Really?", "Yes")


@pytest.mark.requirement(id="CHAT-158")
def test_added_name_continues(session, upstream):
    """An echo to which a `name` was added continues its trajectory."""
    named_later(session, upstream)

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="CHAT-159")
def test_added_name_starts_a_trajectory(session, upstream):
    """An echo to which a `name` was added starts a trajectory of its own."""
    named_later(session, upstream)

    expect(session.trajectories()).count(2).conserve(upstream)
