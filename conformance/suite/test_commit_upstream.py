"""Area COMMIT: answers of the upstream that are no generations, and generations that cannot be decoded."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import FAILED, expect, last_call, together
from conformance.vocabulary.outcome import NotApplicable

COMPLETION = b'{"id": "cmpl-0", "object": "text_completion", "model": "kit", "choices": []}'
REPORTED = {"return_token_ids", "return_prompt_token_ids"}
"""Fields of a call with which an engine is asked what its prompt was."""
OUTSIDE = 1_000_003
"""An id that no vocabulary has."""


def expect_failed_turn(reply, session):
    """The turn is answered with a 5xx status and left no trajectory."""
    together(lambda: expect(reply).status(*FAILED), lambda: expect(session.trajectories()).count(0))


@pytest.mark.requirement(id="COMMIT-010")
def test_answer_without_token_ids_fails_the_turn(session, upstream):
    """An upstream answer that has text but no token ids fails the turn with a 5xx status and leaves no trajectory."""
    upstream.says("Hello", token_ids="missing")  # noqa: S106

    reply = session.chat("Hi")

    expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-019")
def test_answer_to_another_prompt_fails_the_turn(session, upstream):
    """An upstream answer that reports another prompt than it was sent fails the turn with a 5xx status and leaves no
    trajectory, where the gateway asks the upstream for that report."""
    upstream.says("Hello", prompt_ids=upstream.tokenizer.encode("Another prompt, of another length"))

    reply = session.chat("Hi")

    if not REPORTED & last_call(upstream).body.keys():
        raise NotApplicable("the gateway does not ask what the prompt was")
    expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-011")
def test_answer_that_breaks_off_fails_the_turn(session, upstream):
    """An upstream answer that breaks off in the middle fails the turn with a 5xx status and leaves no trajectory."""
    upstream.says("Hello", truncated=True)

    reply = session.chat("Hi")

    expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-012")
def test_reset_connection_fails_the_turn(session, upstream):
    """An upstream connection that is reset before any answer fails the turn with a 5xx status and leaves no
    trajectory."""
    upstream.fails(reset=True)

    reply = session.chat("Hi")

    expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-013")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"<html>Welcome</html>", "text/html", id="html"),
        pytest.param(b'{"choices": [', "application/json", id="half-json"),
        pytest.param(b"null", "application/json", id="null"),
        pytest.param(b'{"error": {"message": "boom", "code": 500}}', "application/json", id="error"),
        pytest.param(COMPLETION, "application/json", id="no-choices"),
    ],
)
def test_answer_that_is_no_generation_fails_the_turn(session, upstream, body, content_type):
    """An upstream answer with status 200 that is no generation (not JSON, an `error` object, no choices) fails the turn
    with a 5xx status and leaves no trajectory."""
    upstream.fails(200, body=body, content_type=content_type)

    reply = session.chat("Hi")

    expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-014")
def test_id_outside_of_the_vocabulary(session, upstream):
    """A generation with an id outside of the vocabulary is either answered and exported verbatim, or fails the turn
    with a 5xx status and leaves no trajectory."""
    ids = [*upstream.tokenizer.encode("Hello"), OUTSIDE]
    upstream.says(ids=ids)

    reply = session.chat("Hi")

    if reply.status == 200:
        expect([trajectory.response_ids for trajectory in session.trajectories()]).equals(
            [ids], "response_ids of each trajectory"
        )
    else:
        expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-031")
@pytest.mark.parametrize("odd", [True, 1.5, -1, "5"], ids=["true", "fraction", "negative", "text"])
def test_what_is_no_id_fails_the_turn(session, upstream, odd):
    """An upstream answer in whose token ids stands what is no id (true, a fraction, text, a negative number) fails the
    turn with a 5xx status and leaves no trajectory."""
    upstream.says("Hello", odd_id=odd)

    reply = session.chat("Hi")

    expect_failed_turn(reply, session)


@pytest.mark.requirement(id="COMMIT-032")
@pytest.mark.parametrize("status", [302, 303])
def test_redirect_is_not_followed(session, upstream, status):
    """A redirect of the upstream is not followed: the turn fails with a 5xx status and leaves no trajectory."""
    upstream.fails(status, body=b"", headers={"location": upstream.picture("elsewhere.png")})

    reply = session.chat("Hi")

    together(
        lambda: expect_failed_turn(reply, session),
        lambda: expect(upstream.fetched).equals([], "URLs that were requested"),
    )


@pytest.mark.requirement(id="COMMIT-030")
@pytest.mark.parametrize("answered", [0, 1], ids=["first turn", "later turn"])
def test_aborted_generation_leaves_nothing_behind(sessions, upstream, streamed, answered):
    """A conversation in which the generation of a turn is aborted and asked for again exports the same trajectories as
    one without the abort."""
    calm, shaken = (Conversation(sessions.open(), upstream, stream=streamed) for _ in range(2))
    for talk in (calm, shaken):
        for _ in range(answered):
            talk.turn("Hi", "Hello")
    upstream.says("Half of a", finish="abort")
    shaken.ask("How are you?")
    for talk in (calm, shaken):
        talk.turn("How are you?", "Fine")
        talk.turn("Good", "Yes")

    expect(shaken.trajectories()).same_as(calm.trajectories())
