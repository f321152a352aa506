"""Area SPLIT: branches of a session, which of them a request goes on with, and histories that were made elsewhere."""

from __future__ import annotations

import re

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect, fail
from conformance.vocabulary.exported import context
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import Trajectories, assistant, function, results, system, tool, tool_call, user
from conformance.vocabulary.spelling import respelled

SEARCH = function("search", "Search the web.", query={"type": "string"})
FETCH = function("fetch", "Get a page.", url={"type": "string"})


@pytest.mark.requirement(id="SPLIT-001")
@pytest.mark.parametrize("picked", [0, 1, 2])
def test_conversation_goes_on_with_the_picked_answer(session, upstream, picked):
    """Of several answers to one request, the conversation goes on with the one that it echoes, also when a later one
    exists."""
    answers = ("Long", "Short", "Empty")
    talks = [Conversation(session, upstream) for _ in answers]
    for talk, answer in zip(talks, answers, strict=True):
        talk.turn("A title?", answer)
    talks[picked].turn("I take this one", "Welcome")

    exported = session.trajectories()
    expect(exported).count(3)
    expect(holding(exported, upstream, "Welcome")).count(1).say(upstream.tokenizer, answers[picked])


@pytest.mark.requirement(id="SPLIT-002")
def test_conversation_goes_on_with_the_latest_of_equal_answers(session, upstream):
    """Of several equal answers to one request, the conversation goes on with the latest."""
    tokenizer = upstream.tokenizer
    Conversation(session, upstream).turn("A title?", "wonderful world")
    talk = Conversation(session, upstream)
    talk.turn("A title?", ids=[*respelled(tokenizer, "wonderful world"), tokenizer.end_of_turn])
    talk.turn("I take this one", "Welcome")

    context(upstream, 2).holds_generation_of(upstream.calls[1])


@pytest.mark.requirement(id="SPLIT-003")
def test_request_goes_on_from_the_longest_history(session, upstream):
    """A request goes on from the longest recorded history that it extends."""
    tokenizer = upstream.tokenizer
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", ids=[*respelled(tokenizer, "wonderful world"), tokenizer.end_of_turn])
    Conversation(session, upstream).turn("Hi", "Hello")
    talk.turn("Really?", "Yes")

    context(upstream, 3).holds_generation_of(upstream.calls[1])


@pytest.mark.requirement(id="SPLIT-004")
def test_request_that_ends_with_the_answer_goes_on_with_it(session, upstream):
    """A request that ends with the recorded answer goes on with that answer: nothing is put between the two
    generations."""
    talk = Conversation(session, upstream)
    talk.turn("Count to six", "One, two, three", finish="length")
    talk.turn([], "four, five, six")

    context(upstream, 1).goes_on_directly()


@pytest.mark.requirement(id="SPLIT-005")
@pytest.mark.parametrize(
    "left_for",
    [
        pytest.param([system("Be verbose."), user("Hi")], id="system"),
        pytest.param([system("Be brief."), user("A summary of it all")], id="summary"),
    ],
)
def test_conversation_that_was_left_is_taken_up_again(session, upstream, left_for):
    """A conversation that was left for one with a changed history can be taken up again, and goes on with its own
    trajectory."""
    talk = Conversation(session, upstream).as_if(system("Be brief."))
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Fine")
    talk.as_if(*left_for[:-1]).turn(left_for[-1], "Something else")
    talk.turn("Really?", "Indeed")

    exported = session.trajectories()
    expect(exported).count(2)
    expect(holding(exported, upstream, "Indeed")).count(1).say(upstream.tokenizer, "Fine")


@pytest.mark.requirement(id="SPLIT-006")
def test_agents_that_take_turns_have_one_trajectory_each(session, upstream):
    """Agents that take turns in one session, each with a history of its own, have one trajectory each, with none of the
    other's tokens."""
    planner = Conversation(session, upstream).as_if(system("You plan."))
    coder = Conversation(session, upstream).as_if(system("You code."))
    planner.turn("Build it", "Apple")
    coder.turn("The parser", "Mango")
    planner.turn("It is done", "Banana")
    coder.turn("The printer", "Papaya")
    planner.turn("It is done", "Cherry")

    exported = session.trajectories()
    expect(exported).count(2)
    expect(holding(exported, upstream, "Apple", "Banana", "Cherry")).count(1).leave_out(upstream.tokenizer, "Mango")
    expect(holding(exported, upstream, "Mango", "Papaya")).count(1).leave_out(upstream.tokenizer, "Apple")


@pytest.mark.requirement(id="SPLIT-007")
@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(lambda messages: [messages[0], user("A summary of what was said")], id="recap"),
        pytest.param(lambda messages: [messages[0], messages[1], *messages[4:]], id="splice"),
        pytest.param(
            lambda messages: [messages[0], user("A summary of what was said"), *messages[4:]], id="summary-and-rest"
        ),
    ],
)
def test_compacted_history_loses_no_token(session, upstream, kept):
    """A history whose middle was left out or replaced by a summary loses no sampled token: what was said before it is
    exported once."""
    talk = Conversation(session, upstream).as_if(system("Be brief."))
    answers = ("Apple", "Mango", "Banana", "Papaya", "Cherry")
    for number, answer in enumerate(answers[:3]):
        talk.turn(f"Question {number}", answer)
    compacted = talk.as_if(*kept(talk.messages))
    compacted.turn("Go on", answers[3])
    compacted.turn("And on", answers[4])

    expect(session.trajectories()).say(upstream.tokenizer, *answers)


@pytest.mark.requirement(id="SPLIT-008")
@pytest.mark.parametrize(
    "imported",
    [
        pytest.param([user("Hi"), assistant("Hello")], id="answer"),
        pytest.param([user("Hi"), assistant("Hello"), user("Well?"), assistant("Fine")], id="answers"),
        pytest.param(
            [user("Look"), assistant("", tool_calls=[tool_call("search")]), tool("Sun"), assistant("It is")],
            id="tool-call",
        ),
    ],
)
def test_imported_answers_are_prompt(session, upstream, imported):
    """Answers in a history that the session never gave are prompt: no token of them has mask 1."""
    talk = Conversation(session, upstream).as_if(*imported)
    talk.turn("Go on", "Apple")
    talk.turn("And on", "Mango")

    expect(session.trajectories()).are_verbatim(upstream)


@pytest.mark.requirement(id="SPLIT-009")
@pytest.mark.parametrize(
    "tools", [pytest.param([SEARCH, FETCH], id="more"), pytest.param([FETCH], id="other"), pytest.param([], id="none")]
)
def test_change_of_tools_loses_no_token(session, upstream, tools):
    """A change of tools in the course of a conversation loses no token that was sampled before it."""
    talk = Conversation(session, upstream, tools=[SEARCH])
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Fine")
    Conversation(session, upstream, tools=tools).as_if(*talk.messages).turn("Really?", "Yes")

    expect(session.trajectories()).train_on(upstream, 0, 1, 2)


@pytest.mark.requirement(id="SPLIT-010")
def test_one_open_trajectory_is_closed_by_the_next(session, upstream):
    """A gateway with one open trajectory closes it when a request does not extend it; each is exported, in order, and
    none is taken up again."""
    talk = Conversation(session, upstream)
    talk.turn("The main task", "Apple")
    Conversation(session, upstream).turn("A detour", "Mango")
    talk.turn("Go on", "Cherry")

    expect(session.trajectories()).count(3).end_in_order_of(upstream)


@pytest.mark.requirement(id="SPLIT-011")
def test_chain_ids_count_from_one(session, upstream):
    """`active_chain_ids` of the session's state, where it has them, number its conversations from 1 in the order of
    their first answer; one that failed takes no number."""
    seen = []
    talk = Conversation(session, upstream)
    talk.turn("The main task", "Apple")
    seen.append(in_state(session, "active_chain_ids"))
    Conversation(session, upstream).fails("A detour that fails")
    seen.append(in_state(session, "active_chain_ids"))
    Conversation(session, upstream).turn("A detour", "Cherry")
    seen.append(in_state(session, "active_chain_ids"))

    expect(seen).equals([[1], [1], [1, 2]], "`active_chain_ids` after each conversation")


@pytest.mark.requirement(id="SPLIT-012")
def test_tip_hashes_change_with_their_own_turns(session, upstream):
    """`active_chain_tip_hashes` of the session's state, where it has them, are 64 lower-case hexadecimal digits each,
    and a conversation's changes with its own turns and no other."""
    talk = Conversation(session, upstream)
    talk.turn("The main task", "Apple")
    first = tips(session, 1)
    Conversation(session, upstream).turn("A detour", "Mango")
    second = tips(session, 2)
    talk.turn("Go on", "Cherry")
    third = tips(session, 2)

    for tip in (*first, *second, *third):
        if not re.fullmatch("[0-9a-f]{64}", tip):
            fail("a tip hash", "64 lower-case hexadecimal digits", tip)
    expect(second[0]).equals(first[0], "the tip of the first conversation after a turn of the second")
    expect(third[0]).differs_from(second[0], "the tip of the first conversation after its own turn")
    expect(third[1]).equals(second[1], "the tip of the second conversation after a turn of the first")


FOREIGN = [
    pytest.param([user("Then?"), assistant("Then"), user("And?")], id="between-users"),
    pytest.param([assistant("Besides"), user("And?")], id="behind-the-answer"),
    pytest.param([user("Look"), assistant("", tool_calls=[tool_call("search")]), *results({}, "Sun")], id="tool-call"),
]


@pytest.mark.requirement(id="SPLIT-013")
@pytest.mark.parametrize("added", [*FOREIGN, pytest.param([user("Then?"), assistant("Then")], id="at-the-end")])
def test_request_with_a_foreign_answer_is_answered(session, upstream, added):
    """A request whose new messages contain an answer that the gateway never gave is answered."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    upstream.says("Fine")

    expect(talk.ask(added)).status(200)


@pytest.mark.requirement(id="SPLIT-014")
@pytest.mark.parametrize("added", FOREIGN)
def test_context_with_a_foreign_answer_reads_as_rendered(session, upstream, added):
    """The context of a request with an answer that the gateway never gave reads as the chat template's render of its
    messages."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    upstream.says("Fine")
    talk.ask(added)

    context(upstream, 1).reads_as_rendered(session.messages(*talk.messages, *added))


@pytest.mark.requirement(id="SPLIT-015")
@pytest.mark.parametrize("added", FOREIGN)
def test_foreign_answer_has_mask_zero(session, upstream, added):
    """An answer that the gateway never gave has mask 0, also behind answers that it gave."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.turn(added, "Fine")

    expect(session.trajectories()).are_verbatim(upstream)


def holding(exported, upstream, *texts):
    """The trajectories in whose responses all of these texts stand."""
    decoded = [upstream.tokenizer.decode(trajectory.response_ids) for trajectory in exported]
    return Trajectories(
        trajectory
        for trajectory, text in zip(exported, decoded, strict=True)
        if all(wanted in text for wanted in texts)
    )


def in_state(session, name):
    """A field of the session's state that a gateway may leave out."""
    state = session.state()
    if name not in state:
        raise NotApplicable(f"the state has no {name}")
    return state[name]


def tips(session, count):
    """The tip hashes of the session's state; a failure when there are not that many."""
    hashes = in_state(session, "active_chain_tip_hashes")
    if not isinstance(hashes, list) or len(hashes) != count or not all(isinstance(tip, str) for tip in hashes):
        fail("`active_chain_tip_hashes`", f"{count} texts", hashes)
    return hashes
