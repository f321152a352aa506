"""Area SPLIT: what makes two histories the same, where good gateways differ and where they do not."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import assistant, function, results, tool, tool_call, user

SEARCH = function("search", "Search the web.", query={"type": "string"})
CALL = {"name": "search", "arguments": {"query": "weather"}}
OUTER_BLANKS = [
    pytest.param(" Hello \n", "Hello", id="stripped"),
    pytest.param("Hello", "Hello\n", id="newline-added"),
    pytest.param("Hello", "  Hello", id="blanks-added"),
]


def searched(session, upstream):
    """A conversation in which two tool calls were made and answered."""
    talk = Conversation(session, upstream, tools=[SEARCH])
    called = talk.turn("Look it up twice", tool_calls=[CALL, CALL]).message
    talk.turn(results(called, "It is sunny.", "It rains."), "Sunny, then rain")
    return talk


def echoed(session, upstream, answer, **changes):
    """A conversation that goes on from an echo of the first answer with these changes."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", answer)
    talk.messages[-1] |= changes
    talk.turn("How are you?", "Fine")
    return talk


def echoed_later(session, upstream, answer, **changes):
    """A conversation whose first answer is echoed with these changes once a later one was given. Neither of them is
    rewritten by that: the last answer is echoed as it was."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", answer)
    talk.turn("How are you?", "Fine")
    talk.messages[1] |= changes
    talk.turn("Really?", "Yes")


@pytest.mark.requirement(id="SPLIT-034")
@pytest.mark.parametrize(
    ("calls", "answers"),
    [
        pytest.param(("a", "b"), ("a", "b"), id="renamed"),
        pytest.param(("a", "b"), ("b", "a"), id="swapped"),
        pytest.param(("a", "b"), ("c", "d"), id="unrelated"),
    ],
)
def test_ids_that_change_later_start_no_trajectory(session, upstream, calls, answers):
    """Tool call ids that are renamed or swapped later in a conversation, in calls and results, start no trajectory."""
    talk = searched(session, upstream)
    for call, name in zip(talk.messages[1].get("tool_calls") or [], calls, strict=False):
        call["id"] = name
    for result, name in zip(talk.messages[2:4], answers, strict=True):
        result["tool_call_id"] = name
    talk.turn("Thanks", "You are welcome")

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-035")
def test_renamed_ids_start_a_trajectory(session, upstream):
    """An echo in which the client renamed the tool call ids starts a trajectory of its own."""
    talk = searched(session, upstream)
    for call in talk.messages[1].get("tool_calls") or []:
        call["id"] += "-renamed"
    talk.turn("Thanks", "You are welcome")

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-036")
def test_tool_call_echoed_as_received_continues(session, upstream, target):
    """A tool call that is echoed as it was received, and answered under its id, continues its trajectory."""
    if target.declaration.options.get("trajectory") == "call":
        raise NotApplicable("with one trajectory a call, none is continued")
    searched(session, upstream).turn("Thanks", "You are welcome")

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-037")
def test_added_reasoning_continues(session, upstream):
    """An echo to which `reasoning_content` was added continues its trajectory."""
    echoed(session, upstream, "Hello", reasoning_content="I should greet.")

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-038")
def test_added_reasoning_starts_a_trajectory(session, upstream):
    """An echo to which `reasoning_content` was added starts a trajectory of its own."""
    echoed_later(session, upstream, "Hello", reasoning_content="I should greet.")

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-039")
@pytest.mark.parametrize("reasoning", ["I should greet.", "", None])
def test_reasoning_loses_no_token(session, upstream, reasoning):
    """A conversation in which an echo has `reasoning_content` is answered, and no sampled token is lost."""
    echoed(session, upstream, "Hello", reasoning_content=reasoning).turn("Really?", "Yes")

    expect(session.trajectories()).account_for(upstream, session.superseded())


@pytest.mark.requirement(id="SPLIT-040")
@pytest.mark.parametrize(("answer", "echo"), OUTER_BLANKS)
def test_other_outer_white_space_continues(session, upstream, answer, echo):
    """An echo whose outer white space was changed continues its trajectory."""
    echoed(session, upstream, answer, content=echo)

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-041")
@pytest.mark.parametrize(("answer", "echo"), OUTER_BLANKS)
def test_other_outer_white_space_starts_a_trajectory(session, upstream, answer, echo):
    """An echo whose outer white space was changed starts a trajectory of its own."""
    echoed_later(session, upstream, answer, content=echo)

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-042")
@pytest.mark.parametrize(("answer", "echo"), OUTER_BLANKS)
def test_other_outer_white_space_loses_no_token(session, upstream, answer, echo):
    """A conversation in which an echo has other white space is answered, and no sampled token is lost."""
    echoed(session, upstream, answer, content=echo).turn("Really?", "Yes")

    expect(session.trajectories()).account_for(upstream, session.superseded())


@pytest.mark.requirement(id="SPLIT-043")
@pytest.mark.parametrize(
    ("place", "changed"),
    [
        pytest.param(1, assistant("", tool_calls=[tool_call("fetch", '{"query": "weather"}')]), id="name"),
        pytest.param(1, assistant("", tool_calls=[tool_call("search", '{"query": "weathen"}')]), id="value"),
        pytest.param(1, assistant("", tool_calls=[tool_call("search", '{"queri": "weather"}')]), id="key"),
        pytest.param(1, assistant("", tool_calls=[tool_call("search", '{"query": "weather"')]), id="no-json"),
        pytest.param(2, tool("It is funny."), id="result"),
        pytest.param(2, user("It is sunny."), id="role"),
    ],
)
def test_history_with_another_tool_call_starts_a_trajectory(session, upstream, place, changed):
    """A history with another tool call name, other arguments or another tool result starts a trajectory of its own."""
    talk = Conversation(session, upstream, tools=[SEARCH])
    called = talk.turn("Look it up", tool_calls=[CALL]).message
    talk.turn(results(called, "It is sunny."), "Sunny")
    talk.turn("Is it?", "Yes")
    if place == 2 and changed["role"] == "tool":
        changed = {**changed, "tool_call_id": talk.messages[2].get("tool_call_id")}
    talk.messages[place] = changed
    talk.turn("Thanks", "You are welcome")

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="SPLIT-044")
@pytest.mark.parametrize("arguments", ['{"query": "weather"', "weather", ""])
def test_arguments_that_are_no_json_continue(session, upstream, arguments):
    """Arguments of a tool call that are no JSON, echoed as they were, continue the trajectory."""
    call = assistant("", tool_calls=[tool_call("search", arguments)])
    talk = Conversation(session, upstream, tools=[SEARCH]).as_if(user("Look it up"), call)
    talk.turn(tool("It is sunny."), "Sunny")
    talk.turn("Thanks", "You are welcome")

    expect(session.trajectories()).count(1).conserve(upstream)
