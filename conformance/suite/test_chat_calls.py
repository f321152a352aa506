"""Area CHAT: what a model writes beside, behind and in several calls."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.http import at
from conformance.vocabulary.calls import (
    BROKEN,
    SEVERAL,
    WHOLE,
    before_broken,
    behind_broken,
    expect_unique,
    nothing_lost_nothing_invented,
    value_of,
)
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import function, results, tool

SEARCH = function("search_the_web", q={"type": "string"})


def written(reply: Any) -> list[tuple[Any, Any]]:
    """The names and the arguments of the calls."""
    functions = [at(call, "function", kind=dict) for call in reply.tool_calls]
    return [(at(called, "name"), value_of(at(called, "arguments"))) for called in functions]


@pytest.mark.requirement(id="CHAT-100")
@pytest.mark.parametrize("place", [behind_broken, before_broken], ids=["behind", "before"])
@pytest.mark.parametrize("broken", BROKEN)
def test_nothing_is_lost_or_invented_beside_a_malformed_call(session, upstream, streamed, broken, place):
    """Beside a malformed call nothing is lost and nothing invented: a call that comes back is one that was written
    whole, with its arguments, and all that is no call is content."""
    upstream.says(place(broken))

    reply = session.chat("Hi", tools=[SEARCH], stream=streamed)

    nothing_lost_nothing_invented(reply.text, written(reply), broken)


@pytest.mark.requirement(id="CHAT-101")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_call_behind_a_malformed_one_is_a_call(session, upstream, streamed, broken):
    """A call that is whole is a call also behind one that is malformed."""
    upstream.says(behind_broken(broken))

    reply = session.chat("Hi", tools=[SEARCH], stream=streamed)

    expect(written(reply)).equals([WHOLE], "the calls")


@pytest.mark.requirement(id="CHAT-103")
def test_ids_of_calls_are_unique_over_many_turns(session, upstream, streamed):
    """No two tool calls of a conversation of five turns, of two calls each, have the same `id`."""
    talk = Conversation(session, upstream, tools=[SEARCH], stream=streamed)
    said: Any = "Hi"
    ids: list[Any] = []
    for _ in range(5):
        reply = talk.turn(said, tool_calls=SEVERAL[:2])
        ids += [at(call, "id", kind=str) for call in reply.tool_calls]
        said = results(reply.message, "Nothing.", "Nothing.")

    expect_unique(ids, 10)


@pytest.mark.requirement(id="CHAT-102")
def test_each_call_has_its_own_arguments(session, upstream, streamed):
    """Each of several calls of one tool has the arguments that were generated for it, in later turns, too."""
    upstream.says(tool_calls=SEVERAL[:1])
    upstream.says("Now all.", tool_calls=SEVERAL)
    first = session.chat("Hi", tools=[SEARCH], stream=streamed)
    result = tool("Nothing.", at(first.message, "tool_calls", 0, "id"))

    reply = session.chat("Hi", first.message, result, tools=[SEARCH], stream=streamed)

    expect([arguments for _, arguments in written(reply)]).equals(
        [call["arguments"] for call in SEVERAL], "the arguments of the calls"
    )
