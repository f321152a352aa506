"""Area BUDGET: a turn that nobody limits, with an engine that has a limit of its own."""

from __future__ import annotations

import pytest

from conformance.gateway import Capability
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.lengths import LONG
from conformance.vocabulary.session import function, results


@pytest.mark.requirement(id="BUDGET-040")
def test_generation_without_a_limit_is_exported_to_its_end(session, upstream, target, streamed):
    """A generation of a turn without a limit, in a session without lengths, is exported to its end: no default of the
    engine cuts it, at the first turn or a later one, behind a tool result, streamed or not.
    """
    has_tools = Capability.TOOLS in target.declaration.capabilities
    talk = Conversation(
        session,
        upstream,
        stream=streamed,
        **({"tools": [function("count", numbers={"type": "string"})]} if has_tools else {}),
    )
    talk.turn("Count.", LONG, obeys_limits=True)
    if has_tools:
        call = {"name": "count", "arguments": {"numbers": LONG}}
        called = talk.turn("Again.", tool_calls=[call], obeys_limits=True)
        talk.turn(results(called.message, "Go on."), LONG, obeys_limits=True)
    talk.turn("And again.", LONG, obeys_limits=True)

    ended = [call.finish_reason for call in upstream.calls]
    expect(ended).equals(["stop"] * len(ended), "how the engine ended each generation")
    expect(talk.trajectories()).conserve(upstream)


@pytest.mark.requirement(id="BUDGET-041")
@pytest.mark.parametrize("limit", [{}, {"max_output_tokens": None}], ids=["absent", "null"])
def test_response_without_a_limit_is_not_cut(session, upstream, streamed, limit):
    """A response to a request without `max_output_tokens`, or with null, has all that the model says, and is
    `completed`: no default of the engine cuts it.
    """
    upstream.says(LONG, obeys_limits=True)

    reply = session.respond("Count.", stream=streamed, **limit)

    expect(reply.text).equals(LONG, "the text of the response")
    expect(reply.finish_reason).equals("completed", "status")


@pytest.mark.requirement(id="BUDGET-042")
def test_invocation_is_not_cut(session, upstream):
    """An invocation without a limit is answered with all that the model says: no default of the engine cuts it."""
    upstream.says(LONG, obeys_limits=True)

    reply = session.invoke("Count.")

    expect(reply.text).equals(LONG, "the text of the answer")
