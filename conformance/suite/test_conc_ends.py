"""Area CONC: a session ends while one of its turns is in flight. A hold of the upstream keeps it there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect

CLOSED = (404, 409, 410)


def begin(session, upstream, **fields):
    """A conversation with an answered turn and one in flight, into whose request `fields` go: the conversation, the
    hold and the request."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    answer = upstream.holds("Fine")
    pending = talk.start("How are you?", **fields)
    talk.reach_upstream(2)
    return talk, answer, pending


def expect_answered_and_exported_or_neither(upstream, reply, exported):
    """What the client was told and what was exported agree about the turn that was in flight. A stream may have begun
    before it was refused: then it says so by its end."""
    broken_off = reply.is_stream and any("error" in chunk for chunk in reply.chunks)
    answered = reply.status == 200 and not broken_off
    expect(exported).conserve(upstream.calls[: 2 if answered else 1])
    if not answered and not broken_off:
        expect(reply).status(*CLOSED)


@pytest.mark.requirement(id="CONC-012")
def test_turn_in_flight_at_finalize_is_answered_and_exported_or_neither(sessions, upstream, streamed):
    """A turn in flight when its session is finalized is answered and exported, or is refused and not exported."""
    session, other = sessions.open(), sessions.open()
    _, answer, pending = begin(session, upstream, stream=streamed)

    # Some gateways wait here for the turn in flight, and others do not: both get the occasion.
    with ThreadPoolExecutor(1) as background:
        finalized = background.submit(session.finalize)
        other.trajectories()
        answer.release()
        exported = finalized.result()

    expect_answered_and_exported_or_neither(upstream, pending.reply(), exported)


@pytest.mark.requirement(id="CONC-013")
def test_finalize_does_not_wait(session, upstream):
    """Finalizing a session does not wait for its turns in flight, which are then refused with status 404, 409 or
    410."""
    _, answer, pending = begin(session, upstream)

    session.finalize()
    answer.release()

    expect(pending.reply()).status(*CLOSED)


@pytest.mark.requirement(id="CONC-014")
def test_turn_in_flight_at_abort_is_refused(session, upstream):
    """A turn in flight when its session is aborted is refused with status 404, 409 or 410, and the abort does not wait
    for it."""
    _, answer, pending = begin(session, upstream)

    session.abort()
    answer.release()

    expect(pending.reply()).status(*CLOSED)


@pytest.mark.requirement(id="CONC-015")
def test_turn_in_flight_at_completion_is_answered_and_exported_or_neither(sessions, upstream):
    """A turn in flight when its session is completed is answered and exported, or is refused and not exported."""
    session, other = sessions.open(), sessions.open()
    _, answer, pending = begin(session, upstream)

    with ThreadPoolExecutor(1) as background:
        completed = background.submit(session.complete)
        other.trajectories()
        answer.release()
        completed.result()

    expect_answered_and_exported_or_neither(upstream, pending.reply(), session.trajectories())
