"""Area INV: what is kept between invocations, and that it is one record with what the other wires leave."""

from __future__ import annotations

import pytest

from conformance.upstream.ledger import ABORTED
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect, fail, last_call
from conformance.vocabulary.session import ABSENT


@pytest.mark.requirement(id="INV-020")
def test_invocations_of_one_session_id_are_a_conversation(session, upstream):
    """Invocations with one `session_id` are one conversation: the model sees what was said before."""
    upstream.says("A herring")
    session.invoke("What is silver, and lives in the sea?", "talk")
    upstream.says("A cod")

    session.invoke("And what is grey?", "talk")

    seen = last_call(upstream).text
    expect(seen).contains("What is silver, and lives in the sea?", "what the model sees")
    expect(seen).contains("A herring", "what the model sees")


@pytest.mark.requirement(id="INV-021")
@pytest.mark.parametrize("session_id", [ABSENT, None, ""], ids=["absent", "null", "empty"])
def test_invocation_without_session_id_begins_anew(session, upstream, session_id):
    """An invocation without `session_id`, with null or with an empty one begins anew: the model sees nothing of what
    was said before."""
    upstream.says("A herring")
    session.invoke("What is silver?", session_id)
    upstream.says("A cod")

    session.invoke("And what is grey?", session_id)

    expect(last_call(upstream).text).lacks("silver", "what the model sees")


@pytest.mark.requirement(id="INV-022")
@pytest.mark.parametrize("other", ["Talk", "talk ", "talk2", "tal", "talk#1"])
def test_invocations_of_other_session_ids_are_apart(session, upstream, other):
    """Invocations with different `session_id`s never see each other's conversations."""
    upstream.says("A herring")
    session.invoke("What is silver?", "talk")
    upstream.says("A cod")

    session.invoke("And what is grey?", other)

    expect(last_call(upstream).text).lacks("silver", "what the model sees")


@pytest.mark.requirement(id="INV-023")
def test_failed_invocation_leaves_its_conversation(session, upstream, streamed):
    """An invocation that fails leaves its conversation as it was: the model never sees its message afterwards."""
    upstream.says("A herring")
    session.invoke("What is silver?", "talk")
    upstream.fails()
    session.invoke("What is golden?", "talk", stream=streamed)
    upstream.says("A cod")

    session.invoke("And what is grey?", "talk")

    expect(last_call(upstream).text).lacks("golden", "what the model sees")


@pytest.mark.requirement(id="INV-024")
def test_invocations_leave_the_trajectories_of_chat(sessions, upstream, streamed):
    """A conversation held in invocations leaves the same trajectories, token for token, as the same conversation over
    chat completions."""
    invoked, chatted = sessions.open(), Conversation(sessions.open(), upstream)
    talk = [("Silver?", "A herring"), ("Grey?", "A cod,\r\nor a ling"), ("Thanks", "Any time")]
    for number, (asked, answer) in enumerate(talk):
        upstream.says(answer)
        invoked.invoke(asked, "talk", stream=streamed, first=number == 0)
        chatted.turn(asked, answer)

    expect(invoked.trajectories()).same_as(chatted.session.trajectories())


@pytest.mark.requirement(id="INV-025")
def test_chat_continues_a_conversation_of_invocations(sessions, upstream, streamed):
    """A chat request that goes on from a conversation held in invocations continues its trajectory."""
    mixed, chatted = sessions.open(), Conversation(sessions.open(), upstream)
    upstream.says("A herring")
    mixed.invoke("Silver?", "talk", stream=streamed)
    upstream.says("A cod")
    mixed.chat("Silver?", {"role": "assistant", "content": "A herring"}, "Grey?")

    chatted.turn("Silver?", "A herring")
    chatted.turn("Grey?", "A cod")

    expect(mixed.trajectories()).same_as(chatted.session.trajectories())


@pytest.mark.requirement(id="INV-041")
def test_streamed_turn_is_kept_when_its_stream_ends(session, upstream):
    """A streamed turn is in the conversation when its stream has ended: the model sees it with the next invocation."""
    upstream.says("A herring")
    session.invoke("What is silver?", "talk", stream=True)
    upstream.says("A cod")

    session.invoke("And what is grey?", "talk")

    expect(last_call(upstream).text).contains("A herring", "what the model sees")


@pytest.mark.requirement(id="INV-042")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_hang_up_on_an_invocation(session, upstream, stream):
    """A client that hangs up on an invocation in flight leaves its conversation as it was, or with the whole turn, and
    the conversation goes on."""
    upstream.says("A herring")
    session.invoke("What is silver?", "talk")
    held = upstream.holds("A carp")
    with session.dial_invocation("What is golden?", "talk", stream=stream) as request:
        Conversation(session, upstream).reach_upstream(2)
        request.hang_up()
    session.invoke(ABSENT)  # the gateway has noticed, once it has answered what it is asked next
    held.release()
    upstream.says("A cod", when="grey")

    reply = session.invoke("And what is grey?", "talk")

    expect(reply.text).equals("A cod", "response")
    seen = last_call(upstream).text
    expect("golden" in seen).equals("A carp" in seen, "whether the answer stands with its question")


@pytest.mark.requirement(id="INV-043")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_completed_session_refuses_an_invocation_with_a_status(session, upstream, stream):
    """An invocation that a session refuses as completed is an error status and JSON, also when it asked for a
    stream."""
    session.complete()
    upstream.says("Hello")

    reply = session.invoke("Hi", stream=stream)

    expect(reply).status(400, 404, 409, 410, 422).is_not_streamed().is_json()


@pytest.mark.requirement(id="INV-044")
def test_overlapping_invocations_are_one_conversation(session, upstream):
    """Invocations that overlap at the beginning of a conversation end as one conversation: the model sees both of them
    with the next."""
    held = upstream.holds("A herring", when="silver")
    upstream.says("A cod", when="grey")
    with session.dial_invocation("What is silver?", "talk") as first:
        Conversation(session, upstream).reach_upstream(1)
        with session.dial_invocation("And what is grey?", "talk") as second:
            for _ in range(2):
                session.invoke(ABSENT)  # the gateway has the other one, once it has answered what it is asked next
            held.release()
            second.reply()
        first.reply()
    upstream.says("A carp")

    session.invoke("And what is golden?", "talk")

    seen = last_call(upstream).text
    expect(seen).contains("What is silver?", "what the model sees")
    expect(seen).contains("And what is grey?", "what the model sees")


@pytest.mark.requirement(id="INV-045")
def test_hang_up_ends_the_call_of_the_upstream(session, upstream):
    """A client that hangs up on a streamed invocation ends the upstream's call, too."""
    upstream.holds("A carp")
    with session.dial_invocation("What is golden?", stream=True) as request:
        Conversation(session, upstream).reach_upstream(1)

        request.hang_up()

    try:
        upstream.wait_for_calls(1, session.time_left, outcome=ABORTED)
    except TimeoutError as error:
        fail("the upstream", "a call that the gateway gave up", str(error))
