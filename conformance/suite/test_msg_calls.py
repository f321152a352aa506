"""Area MSG: what a model writes beside, behind and in several calls."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.anthropic import as_tool, results_of
from conformance.client.http import at
from conformance.vocabulary.calls import (
    BROKEN,
    SEVERAL,
    WHOLE,
    before_broken,
    behind_broken,
    expect_unique,
    nothing_lost_nothing_invented,
)
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import function, user

SEARCH = as_tool(function("search_the_web", q={"type": "string"}))


def written(reply: Any) -> list[tuple[Any, Any]]:
    """The names and the inputs of the calls."""
    return [(at(block, "name"), at(block, "input")) for block in reply.tool_calls]


@pytest.mark.requirement(id="MSG-150")
@pytest.mark.parametrize("place", [behind_broken, before_broken], ids=["behind", "before"])
@pytest.mark.parametrize("broken", BROKEN)
def test_nothing_is_lost_or_invented_beside_a_malformed_block(session, upstream, streamed, broken, place):
    """Beside a malformed call nothing is lost and nothing invented: a `tool_use` block is a call that was written
    whole, with its arguments, and all that is no call is text."""
    upstream.says(place(broken))

    reply = session.message("Hi", tools=[SEARCH], stream=streamed)

    nothing_lost_nothing_invented(reply.text, written(reply), broken)


@pytest.mark.requirement(id="MSG-151")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_call_behind_a_malformed_one_is_a_block(session, upstream, streamed, broken):
    """A call that is whole is a `tool_use` block also behind one that is malformed."""
    upstream.says(behind_broken(broken))

    reply = session.message("Hi", tools=[SEARCH], stream=streamed)

    expect(written(reply)).equals([WHOLE], "the calls")


@pytest.mark.requirement(id="MSG-153")
def test_ids_of_blocks_are_unique_over_many_turns(session, upstream, streamed):
    """No two `tool_use` blocks of a conversation of five turns, of two blocks each, have the same `id`."""
    history: list[Any] = ["Hi"]
    ids: list[Any] = []
    for _ in range(5):
        upstream.says(tool_calls=SEVERAL[:2])
        reply = session.message(*history, tools=[SEARCH], stream=streamed)
        ids += [at(block, "id", kind=str) for block in reply.tool_calls]
        history += [reply.message, user(results_of(reply.message, "Nothing.", "Nothing."))]

    expect_unique(ids, 10)


@pytest.mark.requirement(id="MSG-152")
def test_each_block_has_its_own_input(session, upstream, streamed):
    """Each of several `tool_use` blocks of one tool has the input that was generated for it, in later turns, too."""
    upstream.says(tool_calls=SEVERAL[:1])
    upstream.says("Now all.", tool_calls=SEVERAL)
    first = session.message("Hi", tools=[SEARCH], stream=streamed)
    results = user(results_of(first.message, "Nothing."))

    reply = session.message("Hi", first.message, results, tools=[SEARCH], stream=streamed)

    expect([arguments for _, arguments in written(reply)]).equals(
        [call["arguments"] for call in SEVERAL], "the inputs of the blocks"
    )
