"""Area RESP: what a model writes beside, behind and in several calls."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.http import at
from conformance.client.responses import flat
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
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import function

SEARCH = flat(function("search_the_web", q={"type": "string"}))


def written(reply: Any) -> list[tuple[Any, Any]]:
    """The names and the arguments of the calls."""
    return [(at(call, "name"), value_of(at(call, "arguments"))) for call in reply.tool_calls]


@pytest.mark.requirement(id="RESP-120")
@pytest.mark.parametrize("place", [behind_broken, before_broken], ids=["behind", "before"])
@pytest.mark.parametrize("broken", BROKEN)
def test_nothing_is_lost_or_invented_beside_a_malformed_item(session, upstream, streamed, broken, place):
    """Beside a malformed call nothing is lost and nothing invented: a `function_call` item is a call that was written
    whole, with its arguments, and all that is no call is text."""
    upstream.says(place(broken))

    reply = session.respond("Hi", tools=[SEARCH], stream=streamed)

    nothing_lost_nothing_invented(reply.text, written(reply), broken)


@pytest.mark.requirement(id="RESP-121")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_call_behind_a_malformed_one_is_an_item(session, upstream, streamed, broken):
    """A call that is whole is a `function_call` item also behind one that is malformed."""
    upstream.says(behind_broken(broken))

    reply = session.respond("Hi", tools=[SEARCH], stream=streamed)

    expect(written(reply)).equals([WHOLE], "the calls")


@pytest.mark.requirement(id="RESP-123")
def test_ids_of_items_are_unique_over_many_turns(session, upstream, streamed):
    """No two `function_call` items of five responses that continue each other, of two calls each, have the same
    `call_id`."""
    for _ in range(5):
        upstream.says(tool_calls=SEVERAL[:2])
    chain = session.chain(stream=streamed, tools=[SEARCH])
    chain.ask("Hi")
    for _ in range(4):
        chain.answer("Nothing.", "Nothing.")

    expect_unique([at(call, "call_id", kind=str) for reply in chain.replies for call in reply.tool_calls], 10)


@pytest.mark.requirement(id="RESP-122")
def test_each_item_has_its_own_arguments(session, upstream, streamed):
    """Each of several calls of one tool in a response has the arguments that were generated for it, in later turns,
    too."""
    upstream.says(tool_calls=SEVERAL[:1])
    upstream.says("Now all.", tool_calls=SEVERAL)
    chain = session.chain(stream=streamed, tools=[SEARCH])
    chain.ask("Hi")
    chain.answer("Nothing.")

    expect([arguments for _, arguments in written(chain.replies[-1])]).equals(
        [call["arguments"] for call in SEVERAL], "the arguments of the calls"
    )
