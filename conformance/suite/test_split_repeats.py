"""Area SPLIT: requests that are sent again, and what holds whatever a gateway makes of branches."""

from __future__ import annotations

import pytest

from conformance.gateway import GATEWAY_WIDE
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import assistant, user

RETRIES = [
    pytest.param({"idempotency-key": "k1"}, {"idempotency-key": "k1"}, id="key"),
    pytest.param({"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}, id="counter"),
    pytest.param({"idempotency-key": "k1"}, {"idempotency-key": "k1", "x-stainless-retry-count": "2"}, id="both"),
]


def sent(session, headers, *messages):
    """The answer to a request with these headers."""
    return session.send(session.body(*messages), headers=headers)


@pytest.mark.requirement(id="SPLIT-045")
def test_repeat_replaces_the_answer(session, upstream):
    """A request that is repeated replaces the answer that it was given: one trajectory is exported, with the last
    answer."""
    for answer in ("Red", "Green", "Blue"):
        upstream.says(answer)
        session.chat("A colour?")

    tokenizer = upstream.tokenizer
    expect(session.trajectories()).count(1).say(tokenizer, "Blue").leave_out(tokenizer, "Red", "Green")


@pytest.mark.requirement(id="SPLIT-046")
def test_same_text_again_is_exported_once(session, upstream):
    """A repeated request that is given the same text again is exported once."""
    for _ in range(2):
        upstream.says("Red")
        session.chat("A colour?")

    expect(session.trajectories()).count(1)


@pytest.mark.requirement(id="SPLIT-047")
def test_another_request_with_the_same_key_is_answered(session, upstream):
    """Another request with the `Idempotency-Key` of an answered one is answered by the upstream."""
    upstream.says("Red")
    sent(session, {"idempotency-key": "k1"}, "A colour?")
    upstream.says("Three")

    expect(sent(session, {"idempotency-key": "k1"}, "A number?").text).equals("Three", "the answer")


@pytest.mark.requirement(id="SPLIT-048")
def test_conversations_that_take_turns_lose_no_token(session, upstream):
    """Conversations that take turns are answered, and each sampled token is exported once where the model saw its
    context, or reported as given up."""
    talks = [Conversation(session, upstream) for _ in range(2)]
    for turn in range(3):
        for number, talk in enumerate(talks):
            talk.turn(f"Question {turn} of agent {number}", f"Answer {turn}")

    expect(session.trajectories()).account_for(upstream, session.superseded())


@pytest.mark.requirement(id="SPLIT-049")
@pytest.mark.parametrize("turns", [0, 1])
def test_first_rewrite_loses_no_token(session, upstream, turns):
    """A rewrite of the first answer is answered, and each sampled token is exported once where the model saw its
    context, or reported as given up."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    for turn in range(turns):
        talk.turn(f"Question {turn}", "Fine")
    rewritten = talk.as_if(talk.messages[0])
    rewritten.turn([assistant("Edited"), user("Go on")], "Sorry")
    rewritten.turn("Really?", "Yes")

    expect(session.trajectories()).account_for(upstream, session.superseded())


@pytest.mark.requirement(id="SPLIT-050")
@pytest.mark.parametrize("directly", [False, True], ids=["turn", "directly"])
def test_last_rewrite_loses_no_token(session, upstream, directly):
    """A rewrite of the last answer is answered, and each sampled token is exported once where the model saw its
    context, or reported as given up."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.turn([] if directly else "How are you?", "Wrong")
    rewritten = talk.back()
    rewritten.turn("That was wrong.", "Sorry")
    rewritten.turn("Really?", "Yes")
    talk.turn("No, go on", "Well")

    expect(session.trajectories()).account_for(upstream, session.superseded())


@pytest.mark.requirement(id="SPLIT-051")
def test_repeat_loses_no_token(session, upstream, target):
    """A repeated request is answered, and each sampled token is exported once where the model saw its context, or
    reported as given up."""
    again = "Blue" if target.declares("idempotent_retry", "true") else "Green"  # the same is exported once: SPLIT-046
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    for answer in ("Red", "Green", again):
        talk.back(0).turn("A colour?", answer)
    talk.as_if(*talk.messages, user("A colour?"), assistant("Green")).turn("Really?", "Yes")

    expect(session.trajectories()).account_for(upstream, session.superseded())


@pytest.mark.requirement(id="SPLIT-052")
@pytest.mark.parametrize("value", [pytest.param("perhaps", id="text"), pytest.param(1, id="number"), None])
def test_value_that_an_option_does_not_take_is_refused(sessions, target, value):
    """A session that is to have a value that an option does not take is refused, by an error that names the option."""
    option = next((name for name in target.declaration.options if name not in GATEWAY_WIDE), None)
    if option is None:
        raise NotApplicable("no option is declared that a session could choose")
    refusal = sessions.open(options={option: value}).attempt()
    answer = str(refusal) if refusal is not None and refusal.status in REFUSED else "no refusal"

    expect(answer).contains(option, f"the answer to a session with {option}={value!r}")
