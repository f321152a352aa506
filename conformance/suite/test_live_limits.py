"""Area LIVE: what ends the generation of a real model: limits, budgets, contexts that are too long, stop strings, and
clients that hang up."""

from __future__ import annotations

import time

import pytest

from conformance.upstream.ledger import ABORTED, ANSWERED
from conformance.vocabulary.asked import expect_named
from conformance.vocabulary.asked import holds as sent
from conformance.vocabulary.expect import REFUSED, expect, fail
from conformance.vocabulary.live import (
    BRIEF,
    CITIES,
    LIMIT,
    Talk,
    answered,
    endless,
    ends_by_itself,
    expect_sampled,
    holds,
    last_answered,
    recorded,
    require_answer,
)
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.session import ABSENT, user

DEFAULTS = (16, 128)
"""Tokens to which engines cut an answer for which nobody gave a limit."""
SEED = 7310
ROOM = 64
"""Tokens behind a first context that are used up in a few turns."""
FEW = 3
"""Tokens of an answer that is cut."""
LONG = 3000
"""Tokens of an answer on which a client hangs up: more than an engine samples in a second."""
TOO_SHORT = "the model was done before the client hung up"


@pytest.mark.requirement(id="LIVE-030")
def test_answer_without_a_limit_is_not_cut(session, upstream, streamed, target):
    """An answer for which nobody gave a limit is ended by a real model, and not by a default of its engine."""
    Talk(session, target, stream=streamed, max_tokens=ABSENT).about_weather()

    _expect_no_default(upstream)


@pytest.mark.requirement(id="LIVE-031")
def test_limit_of_a_request_is_kept(session, upstream, streamed, target):
    """A generation has no more ids than the request allows; one that reaches the limit ends with `finish_reason`
    `length`, and is exported as far as it came."""
    talk = Talk(session, target, stream=streamed)
    reply = talk.ask(user("Who are you?"), max_tokens=FEW)

    _expect_cut(last_answered(upstream), upstream, reply.finish_reason, "length")
    talk.turn("Thank you")
    calls = answered(upstream)
    expect(session.finalize()).are_verbatim(calls).conserve(calls)


@pytest.mark.requirement(id="LIVE-032")
def test_limit_of_a_message_is_kept(session, upstream):
    """A generation for a message has no more ids than its `max_tokens`, and ends with `stop_reason` `max_tokens` where
    it has as many."""
    reply = require_answer(session.message("Who are you?", max_tokens=FEW))

    _expect_cut(last_answered(upstream), upstream, reply.finish_reason, "max_tokens")


@pytest.mark.requirement(id="LIVE-033")
def test_context_that_is_too_long_is_refused(session, upstream, target):
    """A context that is longer than a real engine takes is refused with a 4xx status and an error envelope, or
    answered with `finish_reason` `length`; it leaves nothing behind, and the next turn is served."""
    length = upstream.max_model_len
    if length is None:
        raise NotTested("the engine does not tell how long its contexts may be")
    reply = session.chat("word " * (length + 100), max_tokens=8)

    if reply.status == 200:
        expect(reply.finish_reason).equals("length", "finish_reason")
        expect(reply.text).equals("", "the content")
    else:
        expect(reply).status(*REFUSED).has_error_envelope()
    expect([call.outcome for call in upstream.calls if call.outcome == ANSWERED]).equals([], "answers of the engine")
    talk = Talk(session, target)
    talk.turn("Hello")
    calls = answered(upstream)
    expect(session.finalize()).have_true_context(calls).conserve(calls)


@pytest.mark.requirement(id="LIVE-034")
def test_budget_holds_for_what_a_model_samples(sessions, upstream, target):
    """A conversation whose lengths are used up by what a real model samples is answered with `finish_reason` `length`,
    and no trajectory of it is longer than they allow."""
    require_answer(sessions.open().chat(BRIEF, user("Hello"), max_tokens=4))
    length = len(last_answered(upstream).context)
    session, allowed = sessions.open(prompt_length=length, response_length=ROOM), length + ROOM
    talk = Talk(session, target)
    for _ in range(12):
        if talk.turn("Hello").finish_reason == "length":
            break

    expect(talk.replies[-1].finish_reason).equals("length", "finish_reason of the last answer")
    longest = max((len(each.prompt_ids) + len(each.response_ids) for each in session.finalize()), default=0)
    expect(longest).satisfies(lambda size: 0 < size <= allowed, f"1 to {allowed}", "ids of the longest trajectory")


@pytest.mark.requirement(id="LIVE-035")
def test_response_of_a_model_is_not_cut(session, upstream):
    """A response for which nobody gave a limit is ended by a real model, and not by a default of its engine."""
    for city in CITIES[:4]:
        require_answer(session.respond(f"How is the weather in {city}?", temperature=1.0))

    _expect_no_default(upstream)


@pytest.mark.requirement(id="LIVE-036")
def test_invocation_of_a_model_is_not_cut(session, upstream):
    """An invocation is ended by a real model, and not by a default of its engine."""
    for city in CITIES[:4]:
        require_answer(session.invoke(f"How is the weather in {city}?", session_id=city))

    _expect_no_default(upstream)


@pytest.mark.requirement(id="LIVE-040")
def test_stop_string_ends_what_a_model_says(session, upstream, streamed):
    """The text of an answer ends before the stop string that a real model came to, and what it sampled is exported as
    the engine told it; or the request is refused and `stop` named."""
    reply = session.chat(BRIEF, user("Who are you?"), stop=["e"], stream=streamed, temperature=1.0, max_tokens=LIMIT)
    if reply.status in REFUSED:
        expect_named(reply, "stop")
        return
    require_answer(reply)

    call = last_answered(upstream)
    expect(reply.text).lacks("e", "the content")
    expect_sampled(reply, upstream, call, stopped=True)
    if "e" in upstream.tokenizer.decode(call.generation, skip_special=True):
        expect(reply.finish_reason).equals("stop", "finish_reason")
    calls = answered(upstream)
    expect(session.finalize()).are_verbatim(calls).have_true_context(calls).conserve(calls)


@pytest.mark.requirement(id="LIVE-050")
def test_hang_up_reaches_the_engine(session, upstream, target, streamed):
    """A client that hangs up ends the generation of its turn at the engine."""
    fields = endless(session, upstream, LONG)
    known = len(upstream.calls)
    request = session.dial(BRIEF, user("Tell me all that you know."), stream=streamed, **fields)
    _wait_for_call(session, upstream, known + 1)
    hung_up = time.monotonic()
    request.hang_up()

    call = _settled(upstream, target)
    if call is None:
        fail("the call of the engine", "aborted", "still answered when the check ended")
    elif call.outcome == ANSWERED and (call.answered or 0.0) <= hung_up:
        raise NotTested(TOO_SHORT)
    else:
        expect(call.outcome).equals(ABORTED, "what became of the call")


@pytest.mark.requirement(id="LIVE-051")
def test_nothing_of_a_turn_that_was_hung_up_is_exported(session, upstream, target, streamed):
    """Of a turn whose client hung up nothing is exported that the engine did not finish, and the conversation goes
    on."""
    talk = Talk(session, target, stream=streamed)
    talk.turn("Hello")
    fields = endless(session, upstream, LONG)
    known = len(upstream.calls)
    request = session.dial(*talk.messages, user("Tell me all that you know."), stream=streamed, **fields)
    _wait_for_call(session, upstream, known + 1)
    request.hang_up()
    call = _settled(upstream, target)
    talk.turn("Thank you")

    finished = answered(upstream)
    exported = session.finalize()
    # An engine that was done before it heard of it has finished the turn, which may then be recorded, or not.
    hung_up = [number for number, other in enumerate(finished) if call is not None and other.index == call.index]
    kept = [n for n in hung_up if any(holds(each.response_ids, finished[n].generation) for each in exported)]
    given_up = [number for number in hung_up if number not in kept]
    expect(exported).are_verbatim(finished).have_true_context(finished).conserve(finished, given_up)


@pytest.mark.requirement(id="LIVE-070")
@pytest.mark.parametrize(
    ("name", "value"), [("seed", SEED), ("temperature", 0.625), ("top_p", 0.875)], ids=["seed", "temperature", "top_p"]
)
def test_sampling_reaches_the_engine(session, upstream, name, value):
    """`seed`, `temperature` and `top_p` of a request reach a real engine as they are, or the request is refused and the
    field named."""
    reply = session.chat(BRIEF, user("Who are you?"), max_tokens=16, **{name: value})
    if reply.status in REFUSED:
        expect_named(reply, name)
        return
    require_answer(reply)

    call = last_answered(upstream)
    if not sent(call.body, value):
        fail("what the engine was sent", f"{name} {value}", call.sampling)


def _expect_no_default(upstream):
    for call in recorded(upstream):
        if call.finish_reason == "length" and len(call.generation) in DEFAULTS:
            fail("a generation without a limit", "an end that the model gave it", f"{len(call.generation)} ids")


def _expect_cut(call, upstream, reason, cut):
    expect(len(call.generation)).satisfies(lambda size: 0 < size <= FEW, f"1 to {FEW}", "sampled ids")
    if not ends_by_itself(call, upstream.tokenizer):
        expect(reason).equals(cut, "the reason of the end")


def _wait_for_call(session, upstream, count):
    try:
        upstream.wait_for_calls(count, session.time_left)
    except TimeoutError as error:
        raise NotTested(f"the ledger shows no call that is under way (record --arrivals does): {error}") from error


def _settled(upstream, target):
    """The call on which the client hung up, once it ended; None where that takes longer than a check may."""
    try:
        return upstream.wait_until_settled(target.recorder.timeout)[-1]
    except TimeoutError:
        return None
