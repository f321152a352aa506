"""Area LIFE: what a session is created with and what is attached to it: sampling defaults and rewards."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest

from conformance.client.http import at
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.session import ControlRefused, send


@pytest.mark.requirement(id="LIFE-020")
def test_session_sampling_reaches_the_upstream(sessions, upstream):
    """Default sampling values of a session reach the upstream where the request has none."""
    upstream.says("Hello")

    sessions.open(sampling_params={"temperature": 0.25, "top_p": 0.5}).chat("Hi", temperature=0.75)

    sent = [call.sampling for call in upstream.calls]
    expect(at(sent, 0, "top_p")).equals(0.5, "top_p of the upstream call")


@pytest.mark.requirement(id="LIFE-021")
def test_request_sampling_takes_precedence(sessions, upstream):
    """A sampling value of the request takes precedence over the session's default."""
    upstream.says("Hello")

    sessions.open(sampling_params={"temperature": 0.25}).chat("Hi", temperature=0.75)

    sent = [call.sampling for call in upstream.calls]
    expect(at(sent, 0, "temperature")).equals(0.75, "temperature of the upstream call")


@pytest.mark.requirement(id="LIFE-022")
def test_session_sampling_is_the_session_s_own(sessions, upstream):
    """Neither a request nor another session changes a session's default sampling values."""
    session, other = (sessions.open(sampling_params={"temperature": value}) for value in (0.25, 0.5))
    for opened, fields in ((session, {"temperature": 0.75}), (other, {}), (session, {})):
        upstream.says("Hello")
        opened.chat("Hi", **fields)

    sent = [call.sampling for call in upstream.calls]
    expect(at(sent, 1, "temperature")).equals(0.5, "temperature of the other session's call")
    expect(at(sent, 2, "temperature")).equals(0.25, "temperature of the session's call after that of its request")


@pytest.mark.requirement(id="LIFE-023")
@pytest.mark.parametrize("value", [0, -1, 1.5, "12", True], ids=["zero", "negative", "fraction", "text", "boolean"])
def test_bad_default_max_tokens_never_reaches_the_upstream(sessions, upstream, value):
    """A default `max_tokens` of a session that is not a positive integer is refused at creation or on the first turn,
    and never reaches the upstream."""
    session = sessions.open(sampling_params={"max_tokens": value})
    upstream.says("Hello")

    refusal = session.attempt() or session.chat("Hi")

    expect(refusal.status).is_one_of(REFUSED, "the status of the creation or the first turn")
    expect(len(upstream.calls)).equals(0, "upstream calls")


@pytest.mark.requirement(id="LIFE-024")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="no-json"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'{"sampling_params": [1]}', id="sampling-params-list"),
        pytest.param(b'{"sampling_params": "hot"}', id="sampling-params-text"),
    ],
)
def test_malformed_creation_is_refused(target, body):
    """Creating a session with a body that is not a JSON object, or with a `sampling_params` that is not one, is refused
    with a 4xx status and an error envelope."""
    headers = {"content-type": "application/json"}

    reply = send(target.http, httpx.Request("POST", f"{target.driver.url}/sessions", headers=headers, content=body))

    expect(reply).status(*REFUSED)
    at(reply.json(), "error", "message", kind=str)


@pytest.mark.requirement(id="LIFE-025")
def test_reward_leaves_the_session_open(session, upstream, streamed):
    """Posting a reward is accepted and leaves the session open."""
    session.reward({"score": 1})

    upstream.says("Hello")
    expect(session.chat("Hi", stream=streamed)).status(200)


@pytest.mark.requirement(id="LIFE-026")
def test_reward_is_on_every_trajectory(session, upstream, streamed):
    """A posted reward is on every trajectory that the session exports."""
    for subject in ("stones", "trees"):
        Conversation(session, upstream, stream=streamed).turn(f"Tell me about {subject}.", f"About {subject}")

    session.reward({"score": 0.5})

    expect([trajectory.reward_info for trajectory in session.trajectories()]).equals(
        [{"score": 0.5}] * 2, "reward_info of each"
    )


@pytest.mark.requirement(id="LIFE-027")
def test_reward_is_on_no_other_session(sessions, upstream):
    """A posted reward is on no trajectory of another session."""
    rewarded, other = sessions.open(), sessions.open()
    Conversation(rewarded, upstream).turn("Hi", "Hello")
    Conversation(other, upstream).turn("Good morning", "Good evening")

    rewarded.reward({"score": 0.5})

    expect([trajectory.reward_info or {} for trajectory in other.trajectories()]).equals(
        [{}], "reward_info in the other session"
    )


@pytest.mark.requirement(id="LIFE-028")
def test_later_reward_replaces_the_earlier(session, upstream):
    """A later reward replaces the earlier one as a whole."""
    Conversation(session, upstream).turn("Hi", "Hello")

    session.reward({"score": 0.5, "reason": "first"})
    session.reward({"score": 1})

    expect([trajectory.reward_info for trajectory in session.trajectories()]).equals(
        [{"score": 1}], "reward_info of each"
    )


@pytest.mark.requirement(id="LIFE-029")
@pytest.mark.parametrize("value", [["score", 1], "good", 1, True], ids=["list", "text", "number", "boolean"])
def test_reward_that_is_no_object_is_refused(session, value):
    """A reward that is not a JSON object is refused with status 400 or 422."""
    expect(lambda: session.reward(value)).is_refused("the reward", 400, 422)


@pytest.mark.requirement(id="LIFE-030")
def test_reward_for_a_finalized_session_is_refused(session, upstream):
    """A reward for a finalized session is refused with status 404, 409 or 410."""
    Conversation(session, upstream).turn("Hi", "Hello")
    session.finalize()

    expect(lambda: session.reward({"score": 1})).is_refused("the reward", 404, 409, 410)


@pytest.mark.requirement(id="LIFE-038")
def test_reward_is_on_trajectories_that_were_left_before_it(session, upstream):
    """A reward that is posted when the agent has left a trajectory for another, and rewritten an answer, is on every
    trajectory that finalize gives."""
    talk = Conversation(session, upstream)
    talk.turn("Tell me about stones.", "About stones")
    talk.as_if().turn("Tell me about trees.", "About trees")
    talk.turn("And fish?", "About fish")
    talk.back().turn("And birds?", "About birds")
    session.reward({"score": 0.5})

    rewards = [trajectory.reward_info for trajectory in session.finalize()]

    expect(len(rewards)).satisfies(lambda count: count > 1, "more than one", "trajectories")
    expect(rewards).equals([{"score": 0.5}] * len(rewards), "reward_info of each")


@pytest.mark.requirement(id="LIFE-039")
def test_completing_twice_changes_nothing(sessions, upstream):
    """Completing a completed session without a reward is accepted or refused, and its trajectories and their reward
    stay what they were."""
    session = sessions.open()
    Conversation(session, upstream).turn("Hi", "Hello")
    session.complete({"score": 0.5})
    before = session.trajectories()

    with suppress(ControlRefused):
        session.complete()

    exported = session.finalize()
    expect(exported).same_as(before)
    expect([trajectory.reward_info for trajectory in exported]).equals([{"score": 0.5}], "reward_info of each")


@pytest.mark.requirement(id="LIFE-031")
def test_reward_given_with_complete_is_exported(session, upstream):
    """A reward given with `complete` is on the exported trajectories."""
    Conversation(session, upstream).turn("Hi", "Hello")

    session.complete({"score": 0.5})

    expect([trajectory.reward_info for trajectory in session.trajectories()]).equals(
        [{"score": 0.5}], "reward_info of each"
    )
