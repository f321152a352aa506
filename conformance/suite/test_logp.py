"""Area LOGP: the log-probabilities of what was sampled, as the upstream reported them, or none."""

from __future__ import annotations

import pytest

from conformance.gateway import Capability
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import FAILED, expect, together
from conformance.vocabulary.spelling import respelled

FAULTS = [
    pytest.param("missing", id="omitted"),
    pytest.param("short", id="one-too-few"),
    pytest.param([-0.25] * 40, id="too-many"),
]


def open_with_default(sessions, target, logprobs):
    """A session whose turns ask for logprobs by default, or do not; where a gateway has no defaults, requests ask."""
    return sessions.open(**({"sampling_params": {"logprobs": logprobs}} if has_defaults(target) else {}))


def has_defaults(target):
    """A gateway with defaults may refuse `logprobs` of a request, which would have to be in the answer, too."""
    return Capability.SESSION_SAMPLING in target.declaration.capabilities


def talk(sessions, target, **fields):
    """A conversation that asks for logprobs: by the session's default, and where there are none by each request."""
    asked_by_requests = {} if has_defaults(target) else {"logprobs": True}
    return Conversation(open_with_default(sessions, target, True), target.upstream, **asked_by_requests, **fields)


@pytest.mark.requirement(id="LOGP-001")
def test_logprobs_have_one_value_for_each_id(sessions, upstream, target):
    """Where logprobs are asked for, `response_logprobs` has one finite value for each of `response_ids`."""
    conversation = talk(sessions, target)
    conversation.turn("Hi", "Hello, how can I help?")
    conversation.turn("Tell me more.", "About what? I know", finish="length")

    expect(conversation.trajectories()).have_logprobs()


@pytest.mark.requirement(id="LOGP-002")
def test_logprobs_are_as_reported(sessions, upstream, target, streamed):
    """The logprobs of a generation are those that the upstream reported, for every id that it sampled."""
    conversation = talk(sessions, target, stream=streamed)
    conversation.turn("Hi", "Hello, how can I help?")
    conversation.turn("Tell me more.", ids=respelled(upstream.tokenizer, "wonderful world"))
    conversation.turn("And more.", "Once upon a", finish="length")

    expect(conversation.trajectories()).have_reported_logprobs(upstream)


@pytest.mark.requirement(id="LOGP-003")
def test_logprobs_are_zero_between_turns(sessions, upstream, target):
    """The logprobs are exactly 0.0 where the mask is 0."""
    conversation = talk(sessions, target)
    conversation.turn("Hi", "Hello")
    conversation.turn("How are you?", "Fine")

    expect(conversation.trajectories()).have_zero_logprobs_in_gaps()


@pytest.mark.requirement(id="LOGP-004")
def test_branches_have_their_own_logprobs(sessions, upstream, target):
    """In a session with a fork, each trajectory has the logprobs of its own generations."""
    trunk = talk(sessions, target)
    trunk.turn("Where?", "A fork, I see")
    for way, answer in (("Left", "Left it is, and far away"), ("Right", "Right it is")):
        trunk.as_if(*trunk.messages).turn(way, answer)
    trunk.as_if().turn("Something else", "Elsewhere")

    expect(trunk.trajectories()).have_reported_logprobs(upstream)


@pytest.mark.requirement(id="LOGP-005")
def test_empty_turn_leaves_logprobs_aligned(sessions, upstream, target):
    """A turn in which nothing was sampled leaves the logprobs of the others aligned."""
    conversation = talk(sessions, target)
    conversation.turn("Hi", "Hello")
    conversation.turn("Say nothing.", ids=[])
    conversation.turn("How are you?", "Fine")

    expect(conversation.trajectories()).have_reported_logprobs(upstream)


@pytest.mark.requirement(id="LOGP-006")
def test_volunteered_logprobs_are_not_exported(session, upstream):
    """Where nobody asked for logprobs, `response_logprobs` is null, also when the upstream volunteers them."""
    Conversation(session, upstream).turn("Hi", "Hello", logprobs="volunteer")

    expect([trajectory.response_logprobs for trajectory in session.trajectories()]).equals(
        [None], "response_logprobs of each"
    )


@pytest.mark.requirement(id="LOGP-007")
def test_volunteered_logprobs_are_exported(session, upstream):
    """Logprobs that the upstream volunteers are exported although nobody asked for them."""
    Conversation(session, upstream).turn("Hi", "Hello", logprobs="volunteer")

    expect([trajectory.response_logprobs for trajectory in session.trajectories()]).differs_from(
        [None], "response_logprobs of each"
    )


@pytest.mark.requirement(id="LOGP-008")
def test_omitted_logprobs_fail_the_turn(sessions, upstream, target):
    """An upstream answer that omits the logprobs that were asked for fails the turn with a 5xx status and leaves no
    trajectory."""
    conversation = talk(sessions, target)
    upstream.says("Hello", logprobs="missing")

    expect_failed_turn(conversation)


@pytest.mark.requirement(id="LOGP-009")
@pytest.mark.parametrize("logprobs", FAULTS[1:])
def test_misaligned_logprobs_fail_the_turn(sessions, upstream, target, logprobs):
    """An upstream answer with another number of logprobs than ids fails the turn with a 5xx status and leaves no
    trajectory."""
    conversation = talk(sessions, target)
    upstream.says("Hello", logprobs=logprobs)

    expect_failed_turn(conversation)


def expect_failed_turn(conversation):
    reply = conversation.ask("Hi")
    together(lambda: expect(reply).status(*FAILED), lambda: expect(conversation.trajectories()).count(0))


@pytest.mark.requirement(id="LOGP-010")
@pytest.mark.parametrize("logprobs", FAULTS)
def test_turn_that_failed_for_its_logprobs_leaves_nothing_behind(sessions, upstream, target, logprobs):
    """A conversation in which a turn failed for its logprobs and is asked again exports the same trajectories as one
    without the failure."""
    calm, shaken = (talk(sessions, target) for _ in range(2))
    for conversation in (calm, shaken):
        conversation.turn("Hi", "Hello")
    upstream.says("Fine", logprobs=logprobs)
    shaken.ask("How are you?")
    for conversation in (calm, shaken):
        conversation.turn("How are you?", "Fine")

    expect(shaken.trajectories()).same_as(calm.trajectories())


@pytest.mark.requirement(id="LOGP-011")
@pytest.mark.parametrize("logprobs", [*FAULTS, pytest.param("volunteer", id="volunteered")])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first-turn", "second-turn", "last-turn"])
def test_exported_logprobs_are_true_or_null(sessions, upstream, target, logprobs, place):
    """Whatever logprobs the upstream gives or leaves out, those that are exported are aligned and as reported, or
    null."""
    conversation = talk(sessions, target)
    for number in range(3):
        odd = {"logprobs": logprobs} if number == place else {}
        upstream.says(f"Answer {number}", **odd)
        reply = conversation.ask(f"Question {number}")
        if reply.status == 200:
            conversation = conversation.as_if(*conversation.messages, *asked(number), reply.message)

    expect(conversation.trajectories()).have_reported_logprobs_or_none(upstream)


@pytest.mark.requirement(id="LOGP-018")
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 0.5], ids=["nan", "infinite", "above-0"])
def test_what_is_no_logprob_is_not_exported(sessions, upstream, target, odd):
    """A logprob of the upstream that is no logarithm of a probability (NaN, infinite, above 0) is not exported: the
    turn fails with a 5xx status, or its trajectory has null."""
    conversation = talk(sessions, target)
    ids = upstream.tokenizer.encode("Hello")
    upstream.says(ids=ids, logprobs=[odd, *[-0.25] * (len(ids) - 1)])

    reply = conversation.ask("Hi")

    exported = [trajectory.response_logprobs for trajectory in conversation.trajectories()]
    if reply.status == 200:
        expect(exported).equals([None], "response_logprobs of each trajectory")
    else:
        together(
            lambda: expect(reply).status(*FAILED), lambda: expect(exported).equals([], "response_logprobs of each")
        )


def asked(number):
    return [{"role": "user", "content": f"Question {number}"}]


TOGGLED = [
    pytest.param((True, False, True), id="off-and-on"),
    pytest.param((False, True, False), id="on-and-off"),
    pytest.param((True, None, True), id="not-mentioned"),
]


def toggle(sessions, upstream, target, flags, default):
    """A conversation that asks for logprobs by its requests, in some turns; what was refused is asked without."""
    conversation, replies = Conversation(open_with_default(sessions, target, default), upstream), []
    for number, flag in enumerate(flags):
        conversation.fields = {} if flag is None else {"logprobs": flag}
        upstream.says(f"Answer {number}", when=f"Question {number}", logprobs="volunteer" if number == 1 else None)
        reply = conversation.ask(f"Question {number}")
        replies.append(reply)
        if reply.status == 200:
            conversation = conversation.as_if(*conversation.messages, *asked(number), reply.message)
    return conversation, replies


@pytest.mark.requirement(id="LOGP-012")
@pytest.mark.parametrize("flags", TOGGLED)
@pytest.mark.parametrize("default", [True, False], ids=["default-on", "default-off"])
def test_toggled_logprobs_are_no_failure(sessions, upstream, target, flags, default):
    """A conversation that asks for logprobs in some of its turns only is never answered with a 5xx status."""
    _, replies = toggle(sessions, upstream, target, flags, default)

    statuses = [reply.status for reply in replies]
    expect(statuses).satisfies(
        lambda all_: all(status < 500 for status in all_), "each below 500", "statuses of the turns"
    )


@pytest.mark.requirement(id="LOGP-013")
@pytest.mark.parametrize("flags", TOGGLED)
@pytest.mark.parametrize("default", [True, False], ids=["default-on", "default-off"])
def test_toggled_logprobs_are_true_or_null(sessions, upstream, target, flags, default):
    """A conversation that asks for logprobs in some of its turns only is exported with each generation once, and with
    logprobs that are aligned and as reported, or null."""
    conversation, replies = toggle(sessions, upstream, target, flags, default)
    told = [reply.text for reply in replies if reply.status == 200]
    answered = [
        call for call in upstream.calls if any(map(upstream.tokenizer.decode(call.generation).startswith, told))
    ]

    expect(conversation.trajectories()).conserve(answered).have_reported_logprobs_or_none(upstream)
