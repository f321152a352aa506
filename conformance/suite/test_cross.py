"""Area CROSS: one session, spoken to over several wires, and kept for several users."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.client.anthropic import as_tool
from conformance.client.http import at
from conformance.client.invocations import keys
from conformance.client.responses import call, flat, item, output
from conformance.gateway import Capability
from conformance.vocabulary import refusals
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect, last_call
from conformance.vocabulary.session import assistant, function, user
from conformance.vocabulary.target import require_capability

SEARCH = function("search", query={"type": "string"})
CALL = {"name": "search", "arguments": {"query": "weather"}}
TALK = [("Silver?", "A herring"), ("Grey?", "A cod"), ("Red?", "A carp"), ("Thanks", "Any time")]
ALICE, BOB = keys("alice"), keys("bob")


@dataclass(frozen=True)
class Wire:
    """How a conversation is held over it: `body` makes the request that says what was said so far, in turns of the user
    and the assistant."""

    base: refusals.Wire
    body: Callable[..., dict[str, Any]]
    needs: Capability | None = None

    def say(self, session, *texts, stream=False, headers=None):
        body = self.body(session, *texts)
        how = {"keys": headers or {}} if self is INVOCATIONS else {"headers": headers}
        reply = self.base.send(session, {**body, "stream": True} if stream else body, **how)
        expect(reply).status(200)
        return reply


def as_messages(*texts):
    """What was said as messages of the chat wire, which are those of the messages wire, too."""
    return [assistant(text) if place % 2 else user(text) for place, text in enumerate(texts)]


def as_items(*texts):
    return [item("assistant" if place % 2 else "user", text) for place, text in enumerate(texts)]


CHAT = Wire(refusals.CHAT, lambda session, *texts: session.body(*as_messages(*texts)))
MESSAGES = Wire(
    refusals.MESSAGES,
    lambda session, *texts: session.message_body(*as_messages(*texts)),
    Capability.ANTHROPIC_MESSAGES,
)
RESPONSES = Wire(
    refusals.RESPONSES, lambda session, *texts: session.response_body(as_items(*texts)), Capability.OPENAI_RESPONSES
)
INVOCATIONS = Wire(
    refusals.INVOCATIONS,
    lambda session, *texts: session.invocation(texts[-1], "talk", first=len(texts) == 1),
    Capability.INVOCATIONS,
)


def held_over(session, upstream, *wires, stream=False):
    """Hold the conversation, each turn over the next of these wires."""
    history: list[str] = []
    for number, (asked, answer) in enumerate(TALK):
        upstream.says(answer)
        wires[number % len(wires)].say(session, *history, asked, stream=stream)
        history += [asked, answer]
    return session


@pytest.mark.requirement(id="CROSS-001")
def test_same_conversation_over_four_wires(sessions, upstream, streamed):
    """One conversation over chat completions, messages, responses and invocations, each in a session of its own, leaves
    the same trajectories, token for token, on each."""
    chatted = held_over(sessions.open(), upstream, CHAT).trajectories()

    for wire in (MESSAGES, RESPONSES, INVOCATIONS):
        held = held_over(sessions.open(), upstream, wire, stream=streamed)

        expect(held.trajectories()).same_as(chatted, hint=f"the wire of {wire.needs} leaves something else than chat")


@pytest.mark.requirement(id="CROSS-002")
@pytest.mark.parametrize("first", range(3), ids=["chat first", "messages second", "responses third"])
def test_conversation_from_wire_to_wire(sessions, upstream, first):
    """A conversation that goes from wire to wire, turn by turn, leaves the trajectory that it leaves over chat
    completions alone."""
    chatted = held_over(sessions.open(), upstream, CHAT).trajectories()
    others = [CHAT, MESSAGES, RESPONSES]

    mixed = held_over(sessions.open(), upstream, INVOCATIONS, *others[first:], *others[:first])

    expect(mixed.trajectories()).same_as(chatted)


@pytest.mark.requirement(id="CROSS-003")
def test_call_of_a_message_is_answered_over_responses(session, upstream):
    """A tool call that was issued over messages and is answered over responses continues its trajectory."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("Sunny")
    [issued] = session.message("Hi", tools=[as_tool(SEARCH)]).tool_calls
    called = call("search", json.dumps(CALL["arguments"]), issued.get("id"))

    session.respond([*as_items("Hi", "I will look."), called, output("sun", issued.get("id"))], tools=[flat(SEARCH)])

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="CROSS-004")
@pytest.mark.parametrize("wire", [CHAT, MESSAGES, RESPONSES, INVOCATIONS], ids=lambda wire: str(wire.needs or "chat"))
def test_reward_is_on_the_trajectories_of_every_wire(session, upstream, target, wire):
    """A posted reward is on every trajectory that finalize gives, whichever wire its turns came over, and whether they
    came before the reward or after it."""
    if wire.needs is not None:
        require_capability(target, wire.needs)
    upstream.says("A herring")
    wire.say(session, "Silver?")
    session.reward({"score": 0.5})
    upstream.says("A cod")
    CHAT.say(session, "Grey?")

    trajectories = session.finalize()

    rewards = [trajectory.reward_info for trajectory in trajectories]
    expect(rewards).equals([{"score": 0.5}] * len(rewards), "reward_info of each")
    expect(trajectories).conserve(upstream)


@pytest.mark.requirement(id="CROSS-005")
def test_session_id_of_a_user_in_two_sessions(sessions, upstream):
    """One `session_id` of one user in two sessions is two conversations."""
    session, other = sessions.open(), sessions.open()
    upstream.says("I keep herring")
    session.invoke("My word is herring", "talk", keys=ALICE)
    upstream.says("Nothing")

    other.invoke("What was it?", "talk", keys=ALICE)

    expect(last_call(upstream).text).lacks("herring", "what the model sees in the other session")


@pytest.mark.requirement(id="CROSS-006")
@pytest.mark.parametrize("other", [BOB, {}], ids=["bob", "nobody"])
def test_response_of_another_user_is_unknown(session, upstream, other):
    """A response that was made for one user is unknown to another: it is neither read nor continued."""
    upstream.says("I keep herring")
    made = RESPONSES.say(session, "My word is herring", headers=ALICE).id
    upstream.says("Nothing")

    body = session.response_body("What was it?", previous_response_id=made)
    continued = session.send_response(body, headers=other)
    read = session.send_response(path=f"/responses/{made}", method="GET", headers=other)

    expect(continued).status(400, 404)
    expect(read).status(404)


@pytest.mark.requirement(id="CROSS-007")
@pytest.mark.parametrize("other", [BOB, {}], ids=["bob", "nobody"])
def test_conversation_of_another_user_is_unknown(session, upstream, other):
    """A conversation that was opened for one user is unknown to another: it is neither read, nor listed, nor
    continued."""
    made = at(session.send({}, path="/conversations", headers=ALICE).json(), "id", kind=str)
    upstream.says("Nothing")

    continued = session.send_response(session.response_body("Who is there?", conversation=made), headers=other)
    read = [session.send(path=f"/conversations/{made}{below}", method="GET", headers=other) for below in ("", "/items")]

    expect(continued).status(400, 404)
    for reply in read:
        expect(reply).status(404)


def hang_up(wire, sessions, upstream, stream):
    """A session in which a turn was given up leaves what one leaves that never asked it, or that dropped its answer."""
    never, whole, given_up = (sessions.open() for _ in range(3))
    for session in (never, whole, given_up):
        upstream.says("A herring")
        wire.say(session, "Silver?")
    upstream.says("Gold")
    wire.say(whole, "Silver?", "A herring", "Golden?", stream=stream)
    held = upstream.holds("Gold")
    body = wire.body(given_up, "Silver?", "A herring", "Golden?")
    content = json.dumps({**body, "stream": stream}).encode()

    with given_up.connect(wire.base.url(given_up)) as request:
        request.begin("", content_length=str(len(content))).write(content)
        Conversation(given_up, upstream).reach_upstream(5)
        request.hang_up()
    given_up.trajectories()  # the gateway has noticed, once it has answered what it is asked next
    held.release()
    for session in (never, whole, given_up):
        upstream.says("A cod")
        wire.say(session, "Silver?", "A herring", "Grey?")

    expect(given_up.trajectories()).same_as(
        never.trajectories(), whole.trajectories(), hint="the turn was recorded in part"
    )


@pytest.mark.requirement(id="CROSS-008")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_hang_up_on_a_message(sessions, upstream, stream):
    """A client that hangs up on a message in flight leaves that turn recorded as a whole or not at all, and the
    conversation goes on."""
    hang_up(MESSAGES, sessions, upstream, stream)


@pytest.mark.requirement(id="CROSS-009")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_hang_up_on_a_response(sessions, upstream, stream):
    """A client that hangs up on a response in flight leaves that turn recorded as a whole or not at all, and the
    conversation goes on."""
    hang_up(RESPONSES, sessions, upstream, stream)
