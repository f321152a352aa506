"""Area CONC: turns of one session that run at the same time.

Barriers and holds of the upstream prove what overlaps: a barrier lets nobody pass before all are there. Where a gateway
may or may not let turns overlap, a hold gives it the occasion, and the check does not depend on whether it is taken:
what was written to a connection is read before a request that is sent after it is answered.
"""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import calls_made, expect, together

ANSWERS = {"stones": "Granite, mostly", "trees": "Oak and ash"}
PARALLEL = 8


def ask_of(subject):
    return f"Tell me about {subject}."


def overlap(session, upstream):
    """Two conversations of a session ask at the same time, the second while the first is held, if it gets that far.
    Returns their replies by subject."""
    held, free = ANSWERS
    answer = upstream.holds(ANSWERS[held], when=ask_of(held))
    upstream.says(ANSWERS[free], when=ask_of(free))
    talk = Conversation(session, upstream)
    first = talk.start(ask_of(held))
    talk.reach_upstream(1)
    second = talk.dial(ask_of(free))
    talk.trajectories()
    answer.release()
    return {held: first.reply(), free: second.reply()}


@pytest.mark.requirement(id="CONC-001")
def test_turns_of_one_session_overlap(session, upstream):
    """Two turns of one session are in the upstream at the same time, and both are answered."""
    upstream.barrier("Hello", "Good day")

    pending = [session.start(question) for question in ("Hi", "Hey")]

    expect([turn.reply().status for turn in pending]).equals([200, 200], "statuses of the two turns")


@pytest.mark.requirement(id="CONC-002")
def test_conversations_go_on_at_the_same_time(session, upstream):
    """Two conversations of a session that are continued at the same time each go on in their own trajectory."""
    talks = [Conversation(session, upstream) for _ in ANSWERS]
    for talk, (subject, answer) in zip(talks, ANSWERS.items(), strict=True):
        talk.turn(ask_of(subject), answer)

    upstream.barrier("More of it", "More of that")
    for pending in [talk.start("Go on.") for talk in talks]:
        expect(pending.reply()).status(200)

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="CONC-003")
@pytest.mark.parametrize("count", [2, 3])
def test_parallel_continuations_take_a_trajectory_each(session, upstream, count):
    """Parallel continuations of equal answers to one request each continue another of them."""
    continue_equal_answers(session, upstream, count, count)

    expect(session.trajectories()).count(count).conserve(upstream)


@pytest.mark.requirement(id="CONC-004")
def test_continuation_without_a_free_trajectory_starts_one(session, upstream):
    """A continuation for which every trajectory that it could continue is taken starts one of its own."""
    replies = continue_equal_answers(session, upstream, 3, 4)

    expect([reply.status for reply in replies]).equals([200] * 4, "statuses of the continuations")
    expect(session.trajectories()).conserve(upstream).have_true_context(upstream)


def continue_equal_answers(session, upstream, answers, continuations):
    """One request is answered several times with the same ids, then continued as often as is said, all at once."""
    for _ in range(answers):
        talk = Conversation(session, upstream)
        talk.turn("Hi", "Hello")
    upstream.barrier(*(f"Answer {number}" for number in range(continuations)))
    return [pending.reply() for pending in [talk.start("Go on.") for _ in range(continuations)]]


@pytest.mark.requirement(id="CONC-005")
def test_overlapping_turns_are_exported_in_the_order_of_their_answers(session, upstream):
    """Trajectories whose last turns overlapped are exported in the order in which the upstream answered them."""
    Conversation(session, upstream).turn("Hi", "Hello")
    slow = upstream.holds("Slow", when="the slow one")
    quick = upstream.holds("Quick", when="the quick one")
    talk = Conversation(session, upstream)
    pending = {}
    for calls, (hold, question) in enumerate(((slow, "Ask the slow one."), (quick, "Ask the quick one.")), 2):
        pending[hold] = talk.start(question)
        talk.reach_upstream(calls)
    for hold in (quick, slow):
        hold.release()
        expect(pending[hold].reply()).status(200)

    expect(session.trajectories()).have_responses(sorted(upstream.calls, key=lambda call: call.answered or 0))


@pytest.mark.requirement(id="CONC-006")
def test_serialised_turns_do_not_overlap(sessions, upstream):
    """Where turns are serialised, the upstream receives the second turn of a session after it has answered the
    first."""
    talk, other = (Conversation(sessions.open(), upstream) for _ in range(2))
    answer = upstream.holds("Granite, mostly", when=ask_of("stones"))
    upstream.says("Oak and ash", when=ask_of("trees"))
    first = talk.start(ask_of("stones"))
    talk.reach_upstream(1)
    second = talk.dial(ask_of("trees"))
    other.turn("Hi", "Hello")
    answer.release()

    together(lambda: expect(first.reply()).status(200), lambda: expect(second.reply()).status(200))
    stones, trees = (next(call for call in upstream.calls if ask_of(subject) in call.text) for subject in ANSWERS)
    expect(trees.arrived >= stones.answered).equals(True, "the second call arrived after the first was answered")


@pytest.mark.requirement(id="CONC-007")
def test_each_of_two_turns_gets_its_own_answer(session, upstream):
    """Of two turns of one session that run at the same time, each is answered with what was sampled for it."""
    replies = overlap(session, upstream)

    expect({subject: reply.text for subject, reply in replies.items()}).equals(ANSWERS, "the answers")


@pytest.mark.requirement(id="CONC-008")
def test_turns_at_the_same_time_conserve_their_tokens(session, upstream):
    """After turns of one session that ran at the same time, each generation is exported once, behind the context that
    the upstream received for it."""
    overlap(session, upstream)

    expect(session.trajectories()).conserve(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="CONC-009")
def test_request_asked_several_times_at_once(session, upstream):
    """A request that is asked several times at once is answered each time, and every answer is exported."""
    talk = Conversation(session, upstream)
    held = upstream.holds("Red")
    first = talk.start("Name a colour.")
    talk.reach_upstream(1)
    others = []
    for colour in ("Green", "Blue"):
        upstream.says(colour)
        others.append(talk.dial("Name a colour."))
    talk.trajectories()
    held.release()

    replies = [first.reply(), *(other.reply() for other in others)]
    expect({reply.text for reply in replies}).equals({"Red", "Green", "Blue"}, "the answers")
    expect(session.trajectories()).conserve(upstream)


@pytest.mark.requirement(id="CONC-010")
def test_many_sessions_at_the_same_time(sessions, upstream):
    """Many sessions that run a turn at the same time each export their own generation."""
    questions = [f"What is {number} times {number}?" for number in range(PARALLEL)]
    opened = [sessions.open() for _ in questions]
    for number, question in enumerate(questions):
        upstream.says(f"It is {number * number}", when=question, barrier=PARALLEL)
    pending = [session.start(question) for session, question in zip(opened, questions, strict=True)]
    for turn in pending:
        expect(turn.reply()).status(200)

    made = calls_made(upstream, PARALLEL)
    own = [[call for call in made if question in call.text] for question in questions]
    together(
        *(
            lambda session=session, calls=calls: expect(session.trajectories()).have_responses(calls)
            for session, calls in zip(opened, own, strict=True)
        )
    )


@pytest.mark.requirement(id="CONC-010")
def test_many_sessions_that_ask_the_same_at_the_same_time(sessions, upstream):
    """Many sessions that run a turn at the same time each export their own generation."""
    answers = [f"Answer {number}" for number in range(PARALLEL)]
    opened = [sessions.open() for _ in answers]
    held = [upstream.holds(answer) for answer in answers]
    pending = [session.start("What is two times two?") for session in opened]
    Conversation(opened[0], upstream).reach_upstream(PARALLEL)
    for waiting in held:
        waiting.release()

    texts = [turn.reply().text for turn in pending]

    expect(sorted(texts)).equals(answers, "the answers")
    made = {call.said["text"]: call for call in calls_made(upstream, PARALLEL) if call.said}
    together(
        *(
            lambda session=session, text=text: expect(session.trajectories()).have_responses([made[text]])
            for session, text in zip(opened, texts, strict=True)
        )
    )


@pytest.mark.requirement(id="CONC-011")
def test_turn_is_asked_again_after_a_hang_up(sessions, upstream):
    """A turn whose client hung up is answered when it is asked again, and the conversation goes on as if one of the two
    had never been."""
    once, twice, hung_up = talks = [Conversation(sessions.open(), upstream) for _ in range(3)]
    for talk in talks:
        talk.turn("Hi", "Hello")
    upstream.says("Fine")
    twice.ask("How are you?")

    answer = upstream.holds("Fine")
    request = hung_up.dial("How are you?")
    hung_up.reach_upstream(5)
    request.hang_up()
    for talk in talks:
        talk.trajectories()
    answer.release()
    for talk in talks:
        talk.turn("How are you?", "Fine")
        talk.turn("Good.", "Thanks")

    expect(hung_up.trajectories()).same_as(once.trajectories(), twice.trajectories())
