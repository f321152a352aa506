"""Area COMMIT: turns in flight, and clients that hang up.

A turn whose client hung up may be recorded or not. So its session has two twins, one that was asked and answered that
turn and one that never was, and must be like one of them.
"""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect


class Twins:
    """Three sessions: one hangs up on a turn, one gets its answer and drops it, one never asks. All go on alike."""

    def __init__(self, sessions, upstream):
        self.upstream = upstream
        self.never, self.whole, self.hung_up = (Conversation(sessions.open(), upstream) for _ in range(3))
        self.all = (self.never, self.whole, self.hung_up)

    def begin(self):
        """A turn that all have in common, and one that is answered and dropped where nobody hangs up."""
        for talk in self.all:
            talk.turn("Hi", "Hello")
        self.upstream.says("Fine")
        self.whole.ask("How are you?")

    def hang_up(self, request):
        """Hang up, and let the gateway notice: it has, once it has answered what it is asked next."""
        request.hang_up()
        for talk in self.all:
            talk.trajectories()

    def go_on(self):
        """The turn is asked again in other words, and answered; then what each exported is compared."""
        for talk in self.all:
            talk.turn("How do you do?", "Well")
            talk.turn("Good.", "Thanks")
        expect(self.hung_up.trajectories()).same_as(
            self.never.trajectories(), self.whole.trajectories(), hint="the turn was recorded in part, or twice"
        )


@pytest.mark.requirement(id="COMMIT-015")
def test_hang_up_on_a_plain_turn_in_flight(sessions, upstream):
    """A client that hangs up while its plain request is in flight leaves that turn recorded as a whole or not at all,
    and the conversation goes on."""
    twins = Twins(sessions, upstream)
    twins.begin()

    answer = upstream.holds("Fine")
    request = twins.hung_up.dial("How are you?")
    twins.hung_up.reach_upstream(5)
    twins.hang_up(request)
    answer.release()

    twins.go_on()


@pytest.mark.requirement(id="COMMIT-016")
@pytest.mark.parametrize("answered", [False, True], ids=["in-flight", "being-answered"])
def test_hang_up_on_a_streamed_turn(sessions, upstream, answered):
    """A client that hangs up while its streamed request is in flight or being answered leaves that turn recorded once
    or not at all, and the conversation goes on."""
    twins = Twins(sessions, upstream)
    twins.begin()

    answer = upstream.holds("Fine")
    request = twins.hung_up.dial("How are you?", stream=True)
    twins.hung_up.reach_upstream(5)
    if answered:
        answer.release()
        request.read_first_byte()
    twins.hang_up(request)
    answer.release()

    twins.go_on()


@pytest.mark.requirement(id="COMMIT-017")
def test_turn_in_flight_is_in_no_trajectory(session, upstream, streamed):
    """A turn in flight is not part of the trajectories that are read while it runs."""
    talk = Conversation(session, upstream, stream=streamed)
    first = upstream.holds("Hello")
    pending = talk.start("Hi")
    talk.reach_upstream(1)
    expect(session.trajectories()).count(0)
    first.release()
    expect(pending.reply()).status(200)

    before = session.trajectories()
    second = upstream.holds("Fine")
    pending = talk.start("How are you?")
    talk.reach_upstream(2)
    expect(session.trajectories()).same_as(before)
    second.release()
    expect(pending.reply()).status(200)


@pytest.mark.requirement(id="COMMIT-018")
def test_stream_that_fails_half_way_leaves_nothing_behind(session, upstream):
    """A stream whose upstream fails after the first text leaves the trajectories as they were."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    before = session.trajectories()

    upstream.says("This is a longer answer, of which half is missing.", truncated=True)
    session.chat(*talk.messages, "How are you?", stream=True)

    expect(session.trajectories()).same_as(before)
