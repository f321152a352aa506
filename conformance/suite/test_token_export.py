"""Area TOKEN: the exported trajectories are what the upstream sampled, masked and in order."""

from __future__ import annotations

import pytest

from conformance.upstream.tool_format import CUT_OFF, EMPTY, NO_NAME, SPOILED
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import Trajectories, assistant, function, results, system, user
from conformance.vocabulary.spelling import broken_character, respelled

SEARCH = function("search", query={"type": "string"})
CALL = {"name": "search", "arguments": {"query": "weather"}}


def three_turns(session, upstream, stream):
    """A conversation of three turns with a system prompt."""
    talk = Conversation(session, upstream, stream=stream).as_if(system("Be brief."))
    talk.turn("Hi", "One")
    talk.turn("And then?", "Two apples")
    talk.turn("And after that?", "Three more")


@pytest.mark.requirement(id="TOKEN-001")
def test_mask_has_one_bit_for_each_response_id(session, upstream, streamed):
    """`response_mask` has one entry for each of `response_ids`, and each entry is 0 or 1."""
    three_turns(session, upstream, streamed)

    expect(session.trajectories()).have_masks()


@pytest.mark.requirement(id="TOKEN-002")
def test_single_turn_exports_the_sampled_ids(session, upstream, streamed):
    """`response_ids` of a single turn are the ids that the upstream sampled, the end-of-turn id included."""
    upstream.says("Hello, how can I help?")
    session.chat("Hi", stream=streamed)

    expect(session.trajectories()).have_responses(upstream)


@pytest.mark.requirement(id="TOKEN-003")
@pytest.mark.parametrize("sampled", [respelled, broken_character])
def test_odd_ids_are_exported_as_sampled(session, upstream, sampled):
    """Sampled ids that are not what the tokenizer gives for their text, or whose bytes are not valid UTF-8, are
    exported as they were sampled."""
    upstream.says(ids=sampled(upstream.tokenizer, "wonderful world"))
    session.chat("Hi")

    expect(session.trajectories()).have_responses(upstream)


@pytest.mark.requirement(id="TOKEN-004")
def test_single_turn_has_mask_one_throughout(session, upstream, streamed):
    """The mask of a single turn is 1 throughout."""
    upstream.says("Hello, how can I help?")
    session.chat("Hi", stream=streamed)

    expect(session.trajectories()).have_full_masks()


@pytest.mark.requirement(id="TOKEN-005")
def test_mask_covers_exactly_the_sampled_ids(session, upstream, streamed):
    """In a conversation of several turns mask 1 covers exactly the sampled ids, and mask 0 all that the gateway put
    between them."""
    three_turns(session, upstream, streamed)

    expect(session.trajectories()).are_verbatim(upstream).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-006")
def test_prompt_and_response_before_a_generation_are_its_context(session, upstream, streamed):
    """For each generation, `prompt_ids` followed by the `response_ids` before it is the context that the upstream
    received."""
    three_turns(session, upstream, streamed)

    expect(session.trajectories()).have_true_context(upstream)


@pytest.mark.requirement(id="TOKEN-007")
def test_each_generation_is_trainable_once(session, upstream, streamed):
    """Over all trajectories of a session, the ids with mask 1 are the answered generations, each exactly once."""
    for text in ("A fork", "Left it is", "Right it is", "Elsewhere"):
        upstream.says(text)
    fork = session.chat("Where?", stream=streamed).message
    session.chat("Where?", fork, "Left", stream=streamed)
    session.chat("Where?", fork, "Right", stream=streamed)
    session.chat("Something else", stream=streamed)

    expect(session.trajectories()).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-008")
def test_length_stop_gets_no_end_of_turn(session, upstream, streamed):
    """A generation that stopped for length is exported without an end-of-turn id that was not sampled."""
    upstream.says("Once upon a time", finish="length")
    session.chat("Tell me a story", stream=streamed)

    expect(session.trajectories()).have_responses(upstream)


@pytest.mark.requirement(id="TOKEN-009")
def test_calls_are_exported_in_the_order_of_their_answers(session, upstream, streamed):
    """A gateway with one trajectory a call exports the calls of a session in the order in which they were answered."""
    texts = ("Red", "Green", "Blue", "White")
    for text in texts:
        upstream.says(text)
        session.chat(f"A colour other than {text}", stream=streamed)

    expect(session.trajectories()).have_responses(upstream)


@pytest.mark.requirement(id="TOKEN-028")
def test_streamed_conversation_exports_the_same_tokens(sessions, upstream):
    """A streamed conversation exports the same ids and masks as the same conversation without streaming."""
    exported = []
    for stream in (False, True):
        session = sessions.open()
        upstream.says("Hello, how can I help?")
        upstream.says("Sunny, I hear")
        answer = assistant(session.chat("Hi", stream=stream).text)
        session.chat("Hi", answer, "How is the weather?", stream=stream)
        exported.append(session.trajectories())

    expect(exported[1]).have_ids_and_masks_of(exported[0])


@pytest.mark.requirement(id="TOKEN-029")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(SPOILED, id="not-json"),
        pytest.param(CUT_OFF, id="broken-off"),
        pytest.param(NO_NAME, id="no-name"),
        pytest.param(EMPTY, id="empty"),
    ],
)
def test_turn_with_unparsable_tool_call_is_exported(session, upstream, fault):
    """A turn whose tool call cannot be parsed is exported with the ids that were sampled."""
    upstream.says(ids=upstream.tokenizer.encode(upstream.tool_format.miswritten[fault].text))
    session.chat("Look it up", tools=[SEARCH])

    expect(session.trajectories()).have_responses(upstream)


@pytest.mark.requirement(id="TOKEN-031")
def test_trajectories_stand_in_the_order_of_their_last_turn(session, upstream):
    """Trajectories are exported in the order of their last answered turn."""
    for text in ("Main one", "Aside", "Main two"):
        upstream.says(text)
    answer = session.chat("The main task").message
    session.chat("A detour")
    session.chat("The main task", answer, "Go on")

    expect(session.trajectories()).end_in_order_of(upstream)


@pytest.mark.requirement(id="TOKEN-032")
def test_num_turns_counts_users_and_assistants(session, upstream):
    """`num_turns`, where it is exported, is one more than the number of user and assistant messages of the
    trajectory."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    asked = [system("Be brief."), user("Look it up")]
    called = session.chat(*asked, tools=[SEARCH]).message
    session.chat(*asked, called, *results(called, "It is sunny."), tools=[SEARCH])

    exported = session.trajectories()
    if any(trajectory.num_turns is None for trajectory in exported):
        raise NotApplicable("num_turns is not exported")
    expect(Trajectories(exported[-1:])).have_turns(4)
