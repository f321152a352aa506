"""Area COMMIT: a turn that fails or is refused leaves everything as it was.

Most checks are twins: the same conversation with and without the fault exports the same trajectories.
"""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, expect, last_call
from conformance.vocabulary.outcome import NotTested

MALFORMED = (
    {"messages": "Hello"},
    {"messages": [{"content": "Hello"}]},
    {"messages": [{"role": "user", "content": 7}]},
    {"tools": "hammer"},
    {"max_tokens": -1},
)


@pytest.mark.requirement(id="COMMIT-001")
def test_failed_first_turn_leaves_no_trajectory(session, upstream):
    """A first turn whose upstream call fails leaves no trajectory."""
    Conversation(session, upstream).fails("Hi")

    expect(session.trajectories()).count(0)


@pytest.mark.requirement(id="COMMIT-002")
def test_failed_later_turn_leaves_nothing_behind(sessions, upstream):
    """A conversation in which a later turn fails and is asked again exports the same trajectories as one without the
    failure."""
    calm, shaken = Conversation(sessions.open(), upstream), Conversation(sessions.open(), upstream)
    for talk in (calm, shaken):
        talk.turn("Hi", "Hello")
    shaken.fails("How are you?")
    for talk in (calm, shaken):
        talk.turn("How are you?", "Fine")

    expect(shaken.trajectories()).same_as(calm.trajectories())


@pytest.mark.requirement(id="COMMIT-003")
def test_dropped_message_of_a_failed_turn_is_gone(session, upstream):
    """A message of a failed turn that the client does not send again is in no later context and in no trajectory."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.fails("Forget the zebra.")
    talk.turn("How are you?", "Fine")

    expect(last_call(upstream).text).lacks("zebra", "the context of the next turn")
    expect(session.trajectories()).leave_out(upstream.tokenizer, "zebra")


@pytest.mark.requirement(id="COMMIT-004")
@pytest.mark.parametrize("fault", [{"status": 500}, {"reset": True}], ids=["error", "reset"])
def test_failed_second_conversation_leaves_the_first(sessions, upstream, fault):
    """The failed start of a second conversation leaves the first one exported and continuable as before."""
    calm, shaken = Conversation(sessions.open(), upstream), Conversation(sessions.open(), upstream)
    for talk in (calm, shaken):
        talk.turn("Hi", "Hello")
    Conversation(shaken.session, upstream).fails("Something else", **fault)

    expect(shaken.trajectories()).same_as(calm.trajectories(), hint="the first conversation is not exported as before")
    for talk in (calm, shaken):
        talk.turn("How are you?", "Fine")
    expect(shaken.trajectories()).same_as(calm.trajectories(), hint="the first conversation is not continued as before")


@pytest.mark.requirement(id="COMMIT-005")
def test_turn_that_the_upstream_refuses_leaves_nothing_behind(session, upstream):
    """A turn that the upstream refuses with status 400 leaves the trajectories as they were."""
    talk = Conversation(session, upstream)
    talk.fails("Hi", status=400, message="too long")
    expect(session.trajectories()).count(0)

    talk.turn("Hi", "Hello")
    before = session.trajectories()
    talk.fails("How are you?", status=400, message="too long")
    expect(session.trajectories()).same_as(before)


@pytest.mark.requirement(id="COMMIT-006")
def test_refused_request_causes_no_call_and_leaves_nothing_behind(session, upstream):
    """A request that the gateway refuses for its content causes no upstream call and leaves the trajectories as they
    were."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    before = session.trajectories()

    refused = False
    for fields in MALFORMED:
        called = len(upstream.calls)
        if session.chat(*talk.messages, "How are you?", **fields).status in REFUSED:
            refused = True
            expect(len(upstream.calls)).equals(called, "upstream calls")
            expect(session.trajectories()).same_as(before)
    if not refused:
        raise NotTested("the gateway refuses none of the malformed requests")


@pytest.mark.requirement(id="COMMIT-007")
def test_failed_and_refused_turns_leave_the_state(session, upstream):
    """A refused request and a failed turn leave the session's state as it was, apart from times."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    before = untimed(session.state())

    session.chat(messages=[])
    expect(untimed(session.state())).equals(before, "the state after a refused request")
    talk.fails("How are you?")
    expect(untimed(session.state())).equals(before, "the state after a failed turn")


def untimed(state):
    return {name: value for name, value in state.items() if not name.endswith("_at")}


@pytest.mark.requirement(id="COMMIT-008")
def test_failed_streamed_turn_leaves_nothing_behind(session, upstream):
    """A streamed turn whose upstream call fails leaves the trajectories as they were."""
    talk = Conversation(session, upstream, stream=True)
    talk.turn("Hi", "Hello")
    before = session.trajectories()
    talk.fails("How are you?")
    expect(session.trajectories()).same_as(before)


@pytest.mark.requirement(id="COMMIT-009")
def test_failure_stays_in_its_session(sessions, upstream):
    """A failure in one session leaves the turn in flight and the trajectories of another session as they are."""
    calm, other = Conversation(sessions.open(), upstream), Conversation(sessions.open(), upstream)
    for talk in (calm, other):
        talk.turn("Hi", "Hello")
    calm.turn("How are you?", "Fine")

    answer = upstream.holds("Fine")
    pending = other.start("How are you?")
    other.reach_upstream(4)
    Conversation(sessions.open(), upstream).fails("Hi")
    answer.release()

    expect(pending.reply()).status(200)
    expect(other.trajectories()).same_as(calm.trajectories())
