"""Area BUDGET: turns for which there is no room, and what becomes of their conversations."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.lengths import context_length, open_with_room
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import ControlRefused

LONG = "And now tell me everything that you know. " * 12
"""More than fits behind any conversation of these checks."""
ROOM = 60
"""Ids behind the first prompt: enough for a few short turns, and not for `LONG`."""


def open_small(sessions, upstream, room=ROOM):
    """A session in which there is room for a few short turns behind "Hi"."""
    return open_with_room(sessions, upstream, "Hi", room=room)


def own(upstream):
    """The calls of the session that the check is about, without that of measuring."""
    return upstream.calls[1:]


@pytest.mark.requirement(id="BUDGET-008")
@pytest.mark.parametrize("room", [0, -1], ids=["full", "over"])
def test_context_without_room_is_a_length_stop(sessions, upstream, streamed, room):
    """A context that leaves no room is answered with status 200, empty content and `finish_reason` `length`, without an
    upstream call."""
    session = open_small(sessions, upstream, room)

    reply = session.chat("Hi", stream=streamed)

    expect(reply).status(200)
    expect((reply.text, reply.finish_reason)).equals(("", "length"), "content and finish_reason")
    expect(len(own(upstream))).equals(0, "upstream calls")


@pytest.mark.requirement(id="BUDGET-009")
def test_usage_of_a_length_stop(sessions, upstream):
    """The `usage` of an answer for which there was no room has the length of its context, and no completion tokens."""
    length = context_length(sessions, upstream, "Hi")
    session = sessions.open(prompt_length=length - 1, response_length=1)

    usage = session.chat("Hi").usage

    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    expect(counts).equals([length, 0, length], "prompt, completion and total tokens")


@pytest.mark.requirement(id="BUDGET-010")
def test_prompt_without_room_leaves_no_trajectory(sessions, upstream):
    """A first prompt that leaves no room leaves no trajectory."""
    session = open_small(sessions, upstream, room=0)

    session.chat("Hi")

    expect(session.trajectories()).count(0)


@pytest.mark.requirement(id="BUDGET-011")
def test_conversation_without_room_is_exported_as_it_was(sessions, upstream):
    """A conversation that ran out of room is exported as its last answered turn left it."""
    talk = Conversation(open_small(sessions, upstream), upstream)
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Fine")
    before = talk.trajectories()

    talk.ask(LONG)

    expect(talk.trajectories()).same_as(before)


@pytest.mark.requirement(id="BUDGET-012")
def test_repeat_of_a_full_history_is_a_length_stop(sessions, upstream):
    """A repeat of the whole history of a conversation that is exactly full is answered with `finish_reason` `length`,
    without an upstream call."""
    sampled = len(upstream.tokenizer.encode("Hello")) + 1
    talk = Conversation(open_small(sessions, upstream, room=sampled), upstream)
    talk.turn("Hi", "Hello")

    reply = talk.ask([])

    expect(reply.finish_reason).equals("length", "finish_reason")
    expect(len(own(upstream))).equals(1, "upstream calls")


@pytest.mark.requirement(id="BUDGET-013")
def test_new_conversation_after_one_without_room(sessions, upstream):
    """A new conversation is served after one of its session ran out of room, and is exported behind it."""
    session = open_small(sessions, upstream)
    full, fresh = Conversation(session, upstream), Conversation(session, upstream)
    full.turn("Hi", "Hello")
    full.ask(LONG)

    fresh.turn("Hey", "Good day")

    expect(session.trajectories()).have_responses(own(upstream))


@pytest.mark.requirement(id="BUDGET-014")
def test_other_conversation_goes_on(sessions, upstream):
    """Where one conversation of a session ran out of room, another one of it goes on in its own trajectory."""
    session = open_small(sessions, upstream)
    full, other = Conversation(session, upstream), Conversation(session, upstream)
    full.turn("Hi", "Hello")
    other.turn("Hey", "Good day")
    full.ask(LONG)

    other.turn("How are you?", "Fine")

    expect(session.trajectories()).count(2).conserve(own(upstream))


@pytest.mark.requirement(id="BUDGET-015")
def test_conversation_without_room_is_not_continued(sessions, upstream):
    """The trajectory of a conversation that ran out of room stays as it is, also when the client then asks for less."""
    talk = Conversation(open_small(sessions, upstream), upstream)
    talk.turn("Hi", "Hello")
    talk.ask(LONG)
    before = talk.trajectories()
    expect(before).count(1)

    talk.turn("How are you?", "Fine")

    expect(tokens(talk.trajectories())).contains(*tokens(before), "the trajectories")


def tokens(trajectories):
    return [(trajectory.prompt_ids, trajectory.response_ids, trajectory.response_mask) for trajectory in trajectories]


@pytest.mark.requirement(id="BUDGET-018")
def test_turn_that_does_not_fit_leaves_the_one_in_flight_alone(sessions, upstream):
    """A turn that does not fit behind a conversation whose own turn is in flight does not disturb that turn: it is
    answered, and its conversation goes on."""
    talk = Conversation(open_small(sessions, upstream), upstream)
    talk.turn("Hi", "Hello")

    answer = upstream.holds("Fine")
    pending = talk.start("How are you?")
    talk.reach_upstream(3)
    talk.ask(LONG)
    answer.release()

    reply = pending.reply()
    expect(reply).status(200)
    talk.as_if(*talk.messages, {"role": "user", "content": "How are you?"}, reply.message).turn("Bye", "Goodbye")
    expect(talk.trajectories()).count(1).conserve(own(upstream))


@pytest.mark.requirement(id="BUDGET-019")
def test_abort_discards_what_ran_out_of_room(sessions, upstream):
    """Aborting a session discards the trajectories that ran out of room, too."""
    session = open_small(sessions, upstream)
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.ask(LONG)

    session.abort()

    try:
        left = session.finalize()
    except ControlRefused:
        return
    expect(left).count(0)


@pytest.mark.requirement(id="BUDGET-022")
def test_response_without_room_is_a_length_stop(sessions, upstream):
    """Where `response_length` limits the response, a message behind which no room is left is answered with
    `finish_reason` `length`, without an upstream call."""
    talk = Conversation(sessions.open(response_length=ROOM), upstream)
    talk.turn("Hi", "Hello")

    reply = talk.ask(LONG)

    expect(reply.finish_reason).equals("length", "finish_reason")
    expect(len(upstream.calls)).equals(1, "upstream calls")


@pytest.mark.requirement(id="BUDGET-025")
@pytest.mark.parametrize("first", [True, False], ids=["first-turn", "later-turn"])
def test_length_stop_is_no_error(sessions, upstream, first):
    """A turn for which the lengths leave no room is answered with status 200."""
    talk = Conversation(open_small(sessions, upstream), upstream)
    if not first:
        talk.turn("Hi", "Hello")

    upstream.says("Everything?")

    expect(talk.ask(LONG)).status(200)


@pytest.mark.requirement(id="BUDGET-026")
def test_session_without_room_conserves_its_tokens(sessions, upstream):
    """A session in which turns had no room exports each generation once, behind the context that the upstream received
    for it."""
    session = open_small(sessions, upstream)
    full, other = Conversation(session, upstream), Conversation(session, upstream)
    full.turn("Hi", "Hello")
    full.turn("How are you?", "Fine")
    upstream.says("Everything?", when=LONG)
    full.ask(LONG)
    other.turn("Hey", "Good day")
    other.turn("Bye", "Goodbye")

    expect(session.trajectories()).conserve(own(upstream)).have_true_context(own(upstream))


@pytest.mark.requirement(id="BUDGET-027")
def test_message_without_room_is_no_turn(sessions, upstream):
    """`num_turns` of a conversation that ran out of room, where it is exported, does not count the message for which
    there was none."""
    talk = Conversation(open_small(sessions, upstream), upstream)
    talk.turn("Hi", "Hello")
    talk.ask(LONG)

    exported = talk.trajectories()
    if any(trajectory.num_turns is None for trajectory in exported):
        raise NotApplicable("num_turns is not exported")
    expect(exported).have_turns(3)
