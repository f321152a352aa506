"""Area SPLIT: a request that goes on otherwise than with the answer that was given replaces it, or leaves it alone."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.exported import context
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import assistant, system, tool, tool_call, user

REWRITES = [
    pytest.param([user("That was wrong.")], id="error"),
    pytest.param([assistant("Edited"), user("Go on")], id="edited"),
    pytest.param([assistant("A longer answer, and a better one"), user("Go on")], id="longer"),
    pytest.param([assistant("", tool_calls=[tool_call("search")]), tool("Sun")], id="tool-call"),
    pytest.param([user("And"), user("another thing")], id="two-users"),
]


def two_turns(session, upstream, **fields):
    """A conversation of two turns: the last answer can be rewritten, and is not the first."""
    talk = Conversation(session, upstream, **fields)
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Wrong")
    return talk


@pytest.mark.requirement(id="SPLIT-016")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_rewrite_of_an_answer_that_went_on_directly_is_answered(session, upstream, rewritten):
    """A request that rewrites an answer which went on directly from the answer before it is answered."""
    talk = Conversation(session, upstream)
    talk.turn("Count to six", "One, two, three", finish="length")
    upstream.says("four, five, six")
    talk.ask([])
    upstream.says("Sorry")

    expect(talk.ask(rewritten)).status(200)


@pytest.mark.requirement(id="SPLIT-017")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_rewrite_goes_on_in_the_same_trajectory(session, upstream, rewritten):
    """A request that goes on otherwise than with the last answer, and not the first, replaces that answer in its
    trajectory: one is exported."""
    two_turns(session, upstream).back().turn(rewritten, "Sorry")

    expect(session.trajectories()).count(1).train_on(upstream, 0, 2)


@pytest.mark.requirement(id="SPLIT-018")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_replaced_answer_is_not_exported_as_sampled(session, upstream, rewritten):
    """An answer that was replaced is not exported as sampled, and all others are."""
    two_turns(session, upstream).back().turn(rewritten, "Sorry")

    expect(session.trajectories()).train_on(upstream, 0, 2)


@pytest.mark.requirement(id="SPLIT-019")
def test_replaced_answers_are_reported(session, upstream):
    """The session's state reports each replaced answer in `rollback_count`, and its sampled ids in
    `rollback_dropped_trainable_tokens_total`."""
    talk = two_turns(session, upstream).back()
    talk.turn("That was wrong.", "Wrong again")
    talk.back().turn("That too.", "Sorry")

    dropped = sum(len(call.generation) for call in upstream.calls[1:3])
    reported = session.superseded()
    expect([reported.generations, reported.tokens]).equals([2, dropped], "answers and ids reported as given up")


@pytest.mark.requirement(id="SPLIT-020")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_context_of_a_rewrite_reads_as_rendered(session, upstream, rewritten):
    """The context of a request that rewrites the last answer reads as the chat template's render of its messages."""
    talk = two_turns(session, upstream).back()
    upstream.says("Sorry")
    talk.ask(rewritten)

    context(upstream, 2).reads_as_rendered(session.messages(*talk.messages, *rewritten))


@pytest.mark.requirement(id="SPLIT-021")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_context_of_a_first_rewrite_reads_as_rendered(session, upstream, rewritten):
    """The context of a request that rewrites the first answer reads as the chat template's render of its messages."""
    talk = Conversation(session, upstream).as_if(system("Be brief."))
    talk.turn("Hi", "Wrong")
    upstream.says("Sorry")
    talk.back().ask(rewritten)

    context(upstream, 1).reads_as_rendered(session.messages(*talk.back().messages, *rewritten))


@pytest.mark.requirement(id="SPLIT-054")
@pytest.mark.parametrize("echoed", ["A herring, or a sprat", "A herring and more", "A her", "A"])
def test_answer_that_begins_with_the_recorded_one_is_another(session, upstream, echoed):
    """An answer in a history that only begins with the recorded one, or is the beginning of it, reads in the context as
    the client sent it, and mask 1 covers what was sampled and nothing else."""
    Conversation(session, upstream).turn("Silver?", "A herring")
    upstream.says("A cod")
    messages = ["Silver?", assistant(echoed), "Grey?"]
    session.chat(*messages)

    context(upstream, 1).reads_as_rendered(session.messages(*messages))
    given_up = session.superseded().generations
    expect(session.trajectories()).conserve(upstream, given_up)


@pytest.mark.requirement(id="SPLIT-022")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 500}, id="error"),
        pytest.param({"status": 400, "message": "too long"}, id="refused"),
        pytest.param({"reset": True}, id="reset"),
        pytest.param({"body": "{}"}, id="no-generation"),
    ],
)
def test_failed_rewrite_leaves_the_answer(sessions, upstream, fault):
    """A rewrite that fails leaves the answer in place: the conversation goes on from it, and the export is that of a
    session without the failure."""
    harmed, twin = (two_turns(sessions.open(), upstream) for _ in range(2))
    harmed.back().fails("That was wrong.", **fault)
    for talk in (harmed, twin):
        talk.turn("Really?", "Yes")

    expect(harmed.trajectories()).same_as(twin.trajectories())


@pytest.mark.requirement(id="SPLIT-023")
def test_failed_rewrite_is_not_counted(session, upstream):
    """A rewrite that fails is not counted in `rollback_count`."""
    two_turns(session, upstream).back().fails("That was wrong.")

    expect(session.state().get("rollback_count")).equals(0, "`rollback_count`")


@pytest.mark.requirement(id="SPLIT-024")
@pytest.mark.parametrize(
    "history",
    [
        pytest.param(lambda messages: [*messages[:2], user("How is he?")], id="question"),
        pytest.param(lambda messages: [user("Ho"), *messages[1:3]], id="beginning"),
        pytest.param(lambda messages: [messages[0], assistant("Edited"), messages[2]], id="earlier-answer"),
    ],
)
def test_change_before_the_last_question_gives_up_nothing(session, upstream, history):
    """A request that changes what stands before the last answer's question gives up no answer."""
    talk = two_turns(session, upstream)
    talk.as_if(*history(talk.messages)).turn("Go on", "Good")

    expect(session.trajectories()).train_on(upstream, 0, 1, 2)


@pytest.mark.requirement(id="SPLIT-025")
def test_rewrite_between_two_answers_gives_up_neither(session, upstream):
    """A rewrite between two answers to one request gives up neither: it has a trajectory of its own."""
    talk = two_turns(session, upstream)
    talk.back(2).turn("How are you?", "Worse")
    talk.back().turn("That was wrong.", "Sorry")

    expect(session.trajectories()).count(3).train_on(upstream, 0, 1, 2, 3)


@pytest.mark.requirement(id="SPLIT-026")
def test_rewrite_replaces_the_answer_of_the_longest_history(session, upstream, target):
    """A rewrite replaces the answer of the longest history that it shares, whatever shorter history it extends."""
    if target.declares("idempotent_retry", "true"):
        raise NotApplicable("no two answers to one request are equal (SPLIT-046)")
    talk = two_turns(session, upstream)
    Conversation(session, upstream).turn("Hi", "Hello")
    talk.back().turn("That was wrong.", "Sorry")

    expect(session.trajectories()).count(2).train_on(upstream, 0, 2, 3)


@pytest.mark.requirement(id="SPLIT-027")
def test_rewrite_under_a_turn_in_flight_gives_up_nothing(session, upstream):
    """A rewrite of an answer from which a turn in flight goes on gives up nothing."""
    talk = two_turns(session, upstream)
    hold = upstream.holds("Later", when="Really?")
    later = talk.start("Really?")
    talk.reach_upstream(3)
    talk.back().turn("That was wrong.", "Sorry")
    hold.release()
    later.reply()

    expect(session.trajectories()).say(upstream.tokenizer, "Hello", "Wrong", "Sorry", "Later")


@pytest.mark.requirement(id="SPLIT-028")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_logprobs_after_a_rewrite_are_of_what_is_left(sessions, upstream, rewritten):
    """Log-probabilities of a trajectory in which an answer was replaced are those of the ids that are left."""
    session = sessions.open(sampling_params={"logprobs": True})
    two_turns(session, upstream).back().turn(rewritten, "Sorry")

    expect(session.trajectories()).have_reported_logprobs(upstream)


@pytest.mark.requirement(id="SPLIT-029")
def test_rewrite_without_room_leaves_nothing_unsent(sessions, upstream):
    """A rewrite for which there is no room closes the trajectory behind the answer before it: nothing that was not sent
    to the model is exported."""
    session = sessions.open(prompt_length=200, response_length=100)
    two_turns(session, upstream).back().ask("Too long to be sent. " * 300)

    tokenizer = upstream.tokenizer
    expect(session.trajectories()).say(tokenizer, "Hello").leave_out(tokenizer, "Wrong", "Too long")


@pytest.mark.requirement(id="SPLIT-030")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_rewrite_starts_a_trajectory(session, upstream, rewritten):
    """A request that rewrites the last answer starts a trajectory of its own, and the answer stays exported."""
    two_turns(session, upstream).back().turn(rewritten, "Sorry")

    expect(session.trajectories()).count(2).train_on(upstream, 0, 1, 2)


@pytest.mark.requirement(id="SPLIT-031")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_first_rewrite_starts_a_trajectory(session, upstream, rewritten):
    """A request that rewrites the first answer starts a trajectory of its own, and the answer stays exported."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Wrong")
    talk.back().turn(rewritten, "Sorry")

    expect(session.trajectories()).count(2).train_on(upstream, 0, 1)


@pytest.mark.requirement(id="SPLIT-032")
@pytest.mark.parametrize("rewritten", REWRITES)
def test_first_rewrite_replaces_the_answer(session, upstream, rewritten):
    """A request that rewrites the first answer replaces it: one trajectory is exported, without that answer."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Wrong")
    talk.back().turn(rewritten, "Sorry")

    tokenizer = upstream.tokenizer
    expect(session.trajectories()).count(1).say(tokenizer, "Sorry").leave_out(tokenizer, "Wrong")


@pytest.mark.requirement(id="SPLIT-033")
def test_first_rewrite_without_room_leaves_no_trajectory(sessions, upstream):
    """A rewrite of the first answer for which there is no room leaves no trajectory that is all prompt."""
    session = sessions.open(prompt_length=200, response_length=100)
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Wrong")
    talk.back().ask("That was wrong. " * 300)

    expect(session.trajectories()).count(0)
