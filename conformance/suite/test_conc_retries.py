"""Area CONC: requests that a client sends again, as the stock SDKs do by themselves."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import Pending

KEY = {"idempotency-key": "turn-1"}
SDK = {"x-stainless-retry-count": "1"}
BOTH = {**KEY, **SDK}
FIRST = "Red, I think"
SECOND = "Green, rather"


def ask(session, headers=None):
    return session.send(session.body("Name a colour."), headers=headers or {})


def expect_same_answer(upstream, first, again):
    """The retry is answered as the first attempt was, and the upstream was called once."""
    expect(again.text).equals(first.text, "the content of the retry's answer")
    expect(len(upstream.calls)).equals(1, "upstream calls")


@pytest.mark.requirement(id="CONC-016")
@pytest.mark.parametrize("headers", [KEY, BOTH], ids=["key", "key-and-count"])
def test_retry_under_a_key_gets_the_same_answer(session, upstream, headers):
    """An answered request that is sent again under its `Idempotency-Key` gets the same answer, without an upstream
    call."""
    upstream.says(FIRST)
    upstream.says(SECOND)

    first = ask(session, KEY)
    again = ask(session, headers)

    expect_same_answer(upstream, first, again)


@pytest.mark.requirement(id="CONC-017")
def test_retry_of_an_sdk_gets_the_same_answer(session, upstream):
    """An answered request that an SDK repeats (`x-stainless-retry-count`) gets the same answer, without an upstream
    call."""
    upstream.says(FIRST)
    upstream.says(SECOND)

    first = ask(session, {"x-stainless-retry-count": "0"})
    again = ask(session, SDK)

    expect_same_answer(upstream, first, again)


@pytest.mark.requirement(id="CONC-018")
@pytest.mark.parametrize("headers", [KEY, SDK], ids=["key", "count"])
def test_retry_waits_for_its_first_attempt(sessions, upstream, headers):
    """A retry that meets its first attempt still in flight gets that attempt's answer, without an upstream call of its
    own."""
    session, other = sessions.open(), sessions.open()
    session.open()  # so that both attempts share it
    answer = upstream.holds(FIRST)
    first = Pending(lambda: ask(session, KEY if headers is KEY else None), session.time_left)
    Conversation(session, upstream).reach_upstream(1)
    again = Pending(lambda: ask(session, headers), session.time_left)
    other.trajectories()
    upstream.says(SECOND)
    answer.release()

    expect_same_answer(upstream, first.reply(), again.reply())


@pytest.mark.requirement(id="CONC-019")
@pytest.mark.parametrize("headers", [KEY, SDK], ids=["key", "count"])
def test_retry_of_a_failed_turn_is_sampled(session, upstream, headers):
    """A retry of a turn that failed is a turn of its own."""
    upstream.fails()
    upstream.says(FIRST)

    ask(session, KEY if headers is KEY else None)

    expect(ask(session, headers).text).equals(FIRST, "the content of the retry's answer")


@pytest.mark.requirement(id="CONC-020")
@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param({}, {}, id="no-headers"),
        pytest.param(KEY, {"idempotency-key": "turn-2"}, id="another-key"),
        pytest.param({"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "0"}, id="count-of-0"),
    ],
)
def test_repeat_that_is_no_retry_is_sampled(session, upstream, first, then):
    """A repeated request that is no retry (another `Idempotency-Key`, or no header of that kind) is a turn of its
    own."""
    upstream.says(FIRST)
    upstream.says(SECOND)

    ask(session, first)

    expect(ask(session, then).text).equals(SECOND, "the content of the second answer")


@pytest.mark.requirement(id="CONC-020")
def test_repeats_at_once_that_are_no_retries_are_sampled(session, upstream):
    """A repeated request that is no retry (another `Idempotency-Key`, or no header of that kind) is a turn of its
    own."""
    talk = Conversation(session, upstream)
    held = upstream.holds(FIRST)
    first = talk.start("Name a colour.")
    talk.reach_upstream(1)
    upstream.says(SECOND)
    again = talk.dial("Name a colour.")
    talk.trajectories()  # by then the repeat has arrived
    held.release()

    expect({first.reply().text, again.reply().text}).equals({FIRST, SECOND}, "the answers")


@pytest.mark.requirement(id="CONC-021")
@pytest.mark.parametrize("headers", [KEY, SDK], ids=["key", "count"])
def test_retry_is_a_turn_of_its_own(session, upstream, headers):
    """Where retries are turns of their own, each is sampled and exported."""
    upstream.says(FIRST)
    upstream.says(SECOND)

    ask(session, KEY if headers is KEY else None)
    ask(session, headers)

    expect(len(upstream.calls)).equals(2, "upstream calls")
    expect(session.trajectories()).have_responses(upstream)


@pytest.mark.requirement(id="CONC-022")
@pytest.mark.parametrize("headers", [KEY, SDK, BOTH], ids=["key", "count", "both"])
def test_retry_conserves_tokens(session, upstream, headers):
    """After a retry each generation is exported once or reported as given up, and the client was told no other."""
    upstream.says(FIRST)
    upstream.says(SECOND)

    replies = [ask(session, KEY if "idempotency-key" in headers else None), ask(session, headers)]

    told, sampled = {reply.text for reply in replies}, [FIRST, SECOND][: len(upstream.calls)]
    expect(told).equals(set(sampled), "the answers that the client was told")
    expect(session.trajectories()).account_for(upstream, session.superseded())
