"""Area BUDGET: how much a turn may sample, by what the upstream was told."""

from __future__ import annotations

import pytest

from conformance.gateway import Capability
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, calls_made, expect, last_call
from conformance.vocabulary.lengths import context_length, open_with_room
from conformance.vocabulary.session import ControlRefused, function, results
from conformance.vocabulary.target import require_capability

SEARCH = function("search", q={"type": "string"})


def expect_max_tokens(upstream, expected):
    expect(last_call(upstream).max_tokens).equals(expected, "max_tokens of the upstream call")


def expect_no_budget(sessions, upstream, asked, **lengths):
    for settings in ({}, lengths):
        upstream.says("Hello")
        sessions.open(**settings).chat("Hi", **asked)

    free, with_lengths = calls_made(upstream, 2)
    expect(with_lengths.max_tokens).equals(free.max_tokens, "max_tokens of the upstream call")


@pytest.mark.requirement(id="BUDGET-001")
def test_turn_without_max_tokens_gets_what_is_left(sessions, upstream):
    """A turn without `max_tokens` is sent upstream with all that both lengths together leave behind its context."""
    session = open_with_room(sessions, upstream, "Hi", room=10)

    upstream.says("Hello")
    session.chat("Hi")

    expect_max_tokens(upstream, 10)


@pytest.mark.requirement(id="BUDGET-002")
@pytest.mark.parametrize("asked", [11, 5000])
def test_turn_that_asks_for_too_much_gets_what_is_left(sessions, upstream, asked):
    """A turn that asks for more than the lengths leave is sent upstream with what they leave."""
    session = open_with_room(sessions, upstream, "Hi", room=10)

    upstream.says("Hello")
    session.chat("Hi", max_tokens=asked)

    expect_max_tokens(upstream, 10)


@pytest.mark.requirement(id="BUDGET-003")
def test_turn_that_asks_for_less_gets_what_it_asks(sessions, upstream):
    """A turn that asks for less than the lengths leave is sent upstream as it asks."""
    session = open_with_room(sessions, upstream, "Hi", room=10)

    upstream.says("Hello")
    session.chat("Hi", max_tokens=5)

    expect_max_tokens(upstream, 5)


@pytest.mark.requirement(id="BUDGET-004")
def test_default_max_tokens_is_cut_to_what_is_left(sessions, upstream):
    """A default `max_tokens` of the session is cut to what the lengths leave, like that of a request."""
    session = open_with_room(sessions, upstream, "Hi", room=10, sampling_params={"max_tokens": 500})

    upstream.says("Hello")
    session.chat("Hi")

    expect_max_tokens(upstream, 10)


@pytest.mark.requirement(id="BUDGET-005")
def test_response_may_use_what_the_prompt_left(sessions, upstream):
    """What a prompt leaves of `prompt_length` may be used by the response."""
    length = context_length(sessions, upstream, "Hi")
    session = sessions.open(prompt_length=length + 100, response_length=10)

    upstream.says("Hello")
    session.chat("Hi", max_tokens=60)

    expect_max_tokens(upstream, 60)


@pytest.mark.requirement(id="BUDGET-006")
def test_later_turn_gets_what_its_context_leaves(sessions, upstream):
    """A later turn is given what the lengths leave behind the whole of its context."""
    session = open_with_room(sessions, upstream, "Hi", room=100)
    lengths = len(last_call(upstream).context) + 100

    talk = Conversation(session, upstream, max_tokens=500)
    for number in range(3):
        talk.turn("Hi" if number == 0 else f"Question {number}", f"Answer {number}")

        expect_max_tokens(upstream, lengths - len(last_call(upstream).context))


@pytest.mark.requirement(id="BUDGET-006")
def test_turn_behind_several_results_gets_what_its_context_leaves(sessions, upstream, target):
    """A later turn is given what the lengths leave behind the whole of its context."""
    require_capability(target, Capability.TOOLS)
    session = sessions.open(prompt_length=100, response_length=700)
    talk = Conversation(session, upstream, max_tokens=750, tools=[SEARCH])
    called = talk.turn("Hi", tool_calls=[{"name": "search", "arguments": {"q": str(number)}} for number in range(3)])

    talk.turn(results(called.message, "One", "Two and more", "Three"), "Fine")

    expect_max_tokens(upstream, 800 - len(last_call(upstream).context))


@pytest.mark.requirement(id="BUDGET-007")
def test_room_for_one_id_is_room(sessions, upstream):
    """A context behind which one id is left is sent upstream with `max_tokens` 1."""
    session = open_with_room(sessions, upstream, "Hi", room=1)

    upstream.says("H", finish="length")
    session.chat("Hi", max_tokens=500)

    expect(len(upstream.calls)).equals(2, "upstream calls, that of measuring included")
    expect_max_tokens(upstream, 1)


@pytest.mark.requirement(id="BUDGET-016")
@pytest.mark.parametrize("length", ["prompt_length", "response_length"])
@pytest.mark.parametrize("asked", [{}, {"max_tokens": 500}], ids=["asks-nothing", "asks-500"])
def test_one_length_alone_is_no_limit(sessions, upstream, length, asked):
    """One of the two lengths alone is no limit: a turn is sent upstream with the `max_tokens` that it has in a session
    without lengths.
    """
    expect_no_budget(sessions, upstream, asked, **{length: 1})


@pytest.mark.requirement(id="BUDGET-017")
@pytest.mark.parametrize("length", ["prompt_length", "response_length"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "12", True], ids=["zero", "negative", "fraction", "text", "boolean"])
def test_length_that_is_no_count_is_refused(sessions, length, value):
    """Creating a session with a length that is not a positive integer is refused with a 4xx status, and the message
    names the field."""
    lengths = {"prompt_length": 100, "response_length": 100, length: value}

    with pytest.raises(ControlRefused) as refused:
        expect(sessions.open(**lengths).id).equals(None, "the session, which should not be there")
    expect(refused.value.status).is_one_of(REFUSED, "the status of the refusal")
    expect(str(refused.value)).contains(length, "the message of the refusal")


@pytest.mark.requirement(id="BUDGET-020")
def test_prompt_does_not_count_for_the_response(sessions, upstream):
    """Where `response_length` limits the response, the prompt does not count: a first turn may sample that many ids."""
    upstream.says("Hello")
    sessions.open(response_length=3).chat("How are you, my friend?", max_tokens=500)

    expect_max_tokens(upstream, 3)


@pytest.mark.requirement(id="BUDGET-021")
def test_all_behind_the_prompt_counts_for_the_response(sessions, upstream):
    """Where `response_length` limits the response, all ids behind the prompt count, sampled or not."""
    talk = Conversation(sessions.open(response_length=100), upstream, max_tokens=500)
    talk.turn("Hi", "Hello, how can I help?")
    talk.turn("Tell me more.", "About what?")

    first, second = calls_made(upstream, 2)
    expect(second.max_tokens).equals(100 - (len(second.context) - len(first.context)), "max_tokens of the second call")


@pytest.mark.requirement(id="BUDGET-021")
@pytest.mark.parametrize("rewritten", [False, True], ids=["goes-on", "rewritten"])
def test_all_behind_the_prompt_of_a_branch_counts(sessions, upstream, rewritten):
    """Where `response_length` limits the response, all ids behind the prompt count, sampled or not."""
    talk = Conversation(sessions.open(response_length=100), upstream, max_tokens=500)
    talk.turn("Hi", "Hello, how can I help?")
    talk.turn("Tell me more.", "About what?")
    branch = talk.back(2)
    branch.turn("Never mind.", "As you like.")
    if rewritten:  # all but its answer, which the client did not like
        branch = branch.back(1)
    branch.turn("Goodbye.", "Bye.")

    last = calls_made(upstream, 4)[-1]
    tracks = [track for track in talk.trajectories() if _holds(track, last)]
    expect(len(tracks)).equals(1, "the trajectories that hold the last turn")
    behind = len(last.context) - len(tracks[0].prompt_ids)
    expect(last.max_tokens).equals(100 - behind, "max_tokens of the last call")


def _holds(trajectory, call):
    ids = [*trajectory.prompt_ids, *trajectory.response_ids]
    return len(ids) > len(call.context) and ids[: len(call.context)] == list(call.context)


@pytest.mark.requirement(id="BUDGET-023")
@pytest.mark.parametrize("asked", [{}, {"max_tokens": 500}], ids=["asks-nothing", "asks-500"])
def test_lengths_that_are_no_budget_limit_nothing(sessions, upstream, asked):
    """Where the lengths are no budget, a turn is sent upstream with the `max_tokens` that it has in a session without
    lengths.
    """
    expect_no_budget(sessions, upstream, asked, prompt_length=1, response_length=1)


@pytest.mark.requirement(id="BUDGET-024")
@pytest.mark.parametrize("room", [1, 0, -1, -5])
def test_max_tokens_is_never_below_one(sessions, upstream, room):
    """No upstream call of a session with lengths has a `max_tokens` below 1."""
    session = open_with_room(sessions, upstream, "Hi", room=room)

    upstream.says("H", finish="length")
    upstream.says("H", finish="length")
    session.chat("Hi")
    session.chat("Hi, how are you?", max_tokens=5)

    sent = [call.max_tokens for call in upstream.calls]
    expect(sent).satisfies(
        lambda all_: all(limit is None or limit >= 1 for limit in all_), "each 1 or more", "max_tokens"
    )
