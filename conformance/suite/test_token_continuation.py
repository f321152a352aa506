"""Area TOKEN: which requests continue a trajectory, and which start one of their own."""

from __future__ import annotations

import json

import pytest

from conformance.gateway import Capability
from conformance.vocabulary.expect import expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import ABSENT, Trajectories, assistant, function, results, system, user
from conformance.vocabulary.target import require_capability

SEARCH = function("search", "Search the web.", query={"type": "string"}, limit={"type": "integer"})
FETCH = function("fetch", "Get a page.", url={"type": "string"})
CALL = {"name": "search", "arguments": {"query": "weather in Zürich", "limit": 3}}


@pytest.mark.requirement(id="TOKEN-016")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Hello", id="word"),
        pytest.param(" \n Hello,\n\n  you  \n", id="white-space"),
        pytest.param("Grüezi \U0001f600 \u2028 日本", id="unicode"),
        pytest.param('{"query": [1, 2.0]}', id="json"),
    ],
)
def test_extended_conversation_continues_its_trajectory(session, upstream, text):
    """A request that extends the conversation by the answer and a new message continues its trajectory: one trajectory
    is exported."""
    upstream.says(text)
    upstream.says("Fine")
    answer = session.chat("Hi").message
    session.chat("Hi", answer, "How are you?")

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-017")
def test_tool_call_with_null_content_continues_its_trajectory(session, upstream):
    """An echo of the assistant's tool call with `content: null`, followed by its tool message, continues the
    trajectory."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    called = session.chat("Look it up", tools=[SEARCH]).message
    echo = {**called, "content": None}
    session.chat("Look it up", echo, *results(echo, "It is sunny."), tools=[SEARCH])

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-018")
def test_renamed_tool_call_ids_continue_the_trajectory(session, upstream):
    """An echo in which the client renamed the tool call ids continues the trajectory."""
    upstream.says(tool_calls=[CALL, CALL])
    upstream.says("Sunny")
    called = session.chat("Look it up", tools=[SEARCH]).message
    calls = [{**call, "id": f"renamed-{place}"} for place, call in enumerate(called.get("tool_calls") or [])]
    echo = {**called, "tool_calls": calls}
    session.chat("Look it up", echo, *results(echo, "It is sunny.", "It rains."), tools=[SEARCH])

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-019")
@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param({"separators": (",", ":")}, id="no-blanks"),
        pytest.param({"indent": 2}, id="indented"),
        pytest.param({"sort_keys": True}, id="other-order"),
        pytest.param({"ensure_ascii": True}, id="escaped"),
    ],
)
def test_respelled_arguments_continue_the_trajectory(session, upstream, spelling):
    """An echo whose tool call arguments are the same JSON in another spelling (blanks, order of keys) continues the
    trajectory."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    called = session.chat("Look it up", tools=[SEARCH]).message
    respelled = json.dumps(CALL["arguments"], **{"ensure_ascii": False, **spelling})
    calls = [
        {**call, "function": {"name": "search", "arguments": respelled}} for call in called.get("tool_calls") or []
    ]
    session.chat("Look it up", {**called, "tool_calls": calls}, *results(called, "It is sunny."), tools=[SEARCH])

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-050")
@pytest.mark.parametrize("spelling", ["", None], ids=["empty", "null"])
def test_no_arguments_in_another_spelling_continue_the_trajectory(session, upstream, spelling):
    """An echo whose tool call had no arguments, spelled as an empty text or as null in place of `{}`, continues the
    trajectory."""
    upstream.says(tool_calls=[{"name": "fetch", "arguments": {}}])
    upstream.says("Sunny")
    called = session.chat("Look it up", tools=[FETCH]).message
    calls = [{**call, "function": {"name": "fetch", "arguments": spelling}} for call in called.get("tool_calls") or []]
    session.chat("Look it up", {**called, "tool_calls": calls}, *results(called, "It is sunny."), tools=[FETCH])

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-020")
def test_content_as_text_part_continues_the_trajectory(session, upstream):
    """An echo whose content is one text part in place of a string continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    answer = session.chat("Hi")
    echo = {**answer.message, "content": [{"type": "text", "text": answer.text}]}
    session.chat("Hi", echo, "How are you?")

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-021")
@pytest.mark.parametrize(
    "added",
    [
        pytest.param({"refusal": None}, id="refusal"),
        pytest.param({"audio": None}, id="audio"),
        pytest.param({"function_call": None}, id="function_call"),
        pytest.param({"annotations": []}, id="annotations-empty"),
        pytest.param({"annotations": None}, id="annotations-null"),
        pytest.param({"tool_calls": None}, id="tool_calls-null"),
        pytest.param({"tool_calls": []}, id="tool_calls-empty"),
    ],
)
def test_fields_that_sdks_add_continue_the_trajectory(session, upstream, added):
    """An echo with the fields that an SDK adds (`refusal`, `audio`, `function_call`, `annotations`, `tool_calls`, null
    or empty) continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    answer = session.chat("Hi").message
    session.chat("Hi", {**answer, **added}, "How are you?")

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-022")
@pytest.mark.parametrize(
    ("first", "later"),
    [pytest.param(ABSENT, [], id="absent-then-empty"), pytest.param([], ABSENT, id="empty-then-absent")],
)
def test_empty_and_absent_tools_are_the_same_conversation(session, upstream, first, later):
    """A change between no `tools` and `tools: []` in the course of a conversation continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    answer = session.chat("Hi", tools=first).message
    session.chat("Hi", answer, "How are you?", tools=later)

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-023")
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"model": "another"}, id="model"),
        pytest.param({"temperature": 0.25}, id="temperature"),
        pytest.param({"top_p": 0.5}, id="top_p"),
        pytest.param({"max_tokens": 64}, id="max_tokens"),
    ],
)
def test_other_sampling_continues_the_trajectory(session, upstream, changed):
    """A change of `model` or of sampling values in the course of a conversation continues the trajectory."""
    upstream.says("Hello")
    upstream.says("Fine")
    answer = session.chat("Hi").message
    session.chat("Hi", answer, "How are you?", **changed)

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-024")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({0: system("Be verbose.")}, id="system"),
        pytest.param({1: user("Hj")}, id="user"),
        pytest.param({1: user("Hi there, again")}, id="longer-user"),
        pytest.param({2: assistant("Holla")}, id="assistant"),
        pytest.param({1: user("A summary"), 2: assistant("Good")}, id="compacted"),
    ],
)
def test_changed_history_starts_a_trajectory(session, upstream, changes):
    """A request whose earlier messages differ from the recorded ones starts a trajectory of its own, and the earlier
    trajectory is still exported."""
    for text in ("Hello", "Fine", "Again"):
        upstream.says(text)
    conversation = [system("Be brief."), user("Hi")]
    conversation += [session.chat(*conversation).message, user("How are you?")]
    conversation += [session.chat(*conversation).message, user("Really?")]
    session.chat(*(changes.get(place, message) for place, message in enumerate(conversation)))

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-025")
@pytest.mark.parametrize(
    ("first", "later"),
    [
        pytest.param([SEARCH], [SEARCH, FETCH], id="one-more"),
        pytest.param([SEARCH], [FETCH], id="another"),
        pytest.param([SEARCH], ABSENT, id="none-any-more"),
        pytest.param(ABSENT, [SEARCH], id="first-ones"),
    ],
)
def test_other_tools_start_a_trajectory(session, upstream, first, later):
    """A request with other tools starts a trajectory of its own."""
    upstream.says("Hello")
    upstream.says("Fine")
    answer = session.chat("Hi", tools=first).message
    session.chat("Hi", answer, "How are you?", tools=later)

    expect(session.trajectories()).count(2).conserve(upstream)


@pytest.mark.requirement(id="TOKEN-026")
@pytest.mark.parametrize("tools", [ABSENT, [SEARCH]], ids=["no tools", "tools"])
def test_conversation_is_resumed_after_a_detour(session, upstream, target, tools):
    """A conversation that is resumed after a detour to another one continues its own trajectory, which holds no token
    of the detour."""
    if tools is not ABSENT:
        require_capability(target, Capability.TOOLS)
    upstream.says("Apple")
    upstream.says("Mango")
    upstream.says("Cherry")
    answer = session.chat("The main task").message
    session.chat("A papaya detour", tools=tools)
    session.chat("The main task", answer, "Go on")

    exported = session.trajectories()
    expect(exported).count(2).conserve(upstream)
    resumed = Trajectories(
        trajectory for trajectory in exported if "Cherry" in upstream.tokenizer.decode(trajectory.response_ids)
    )
    expect(resumed).count(1).leave_out(upstream.tokenizer, "papaya", "Mango")


@pytest.mark.requirement(id="TOKEN-027")
@pytest.mark.parametrize(
    "answers",
    [pytest.param(("Red", "Green", "Blue"), id="other-answers"), pytest.param(("Red",) * 3, id="same-answers")],
)
def test_each_repeat_is_a_trajectory(session, upstream, target, answers):
    """Each repeat of a request that was answered is exported as a trajectory of its own."""
    if len(set(answers)) == 1 and target.declares("idempotent_retry", "true"):
        raise NotApplicable("the same answer again is exported once (SPLIT-046)")
    for text in answers:
        upstream.says(text)
        session.chat("A colour?")

    expect(session.trajectories()).count(len(answers))
