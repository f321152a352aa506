"""Area HOOK: the hooks behind the target, which see its answer: of a stream, of a plain reply, of a push."""

from __future__ import annotations

import pytest

from conformance.client.invocations import as_declared
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.demo import SAID, described
from conformance.vocabulary.expect import expect


@pytest.mark.requirement(id="HOOK-018")
@pytest.mark.parametrize("text", ["Thi§ i§ §ilver", "§"], ids=["some", "one"])
def test_update_hook_replaces_a_chunk(session, upstream, target, text):
    """What the update hook returns takes the place of the chunk in the stream."""
    upstream.says(text)

    reply = as_declared(session.invoke("What is silver?", stream=True), target)

    expect(reply.text).equals(text.replace("§", "s"), "the text of all chunks")


@pytest.mark.requirement(id="HOOK-019")
def test_update_hook_is_waited_for(session, upstream, target):
    """An update hook that answers later is waited for."""
    upstream.says("A ¢od")

    reply = as_declared(session.invoke("What is grey?", stream=True), target)

    expect(reply.text).equals("A cod", "the text of all chunks")


@pytest.mark.requirement(id="HOOK-020")
def test_update_hook_drops_a_chunk(session, upstream):
    """A chunk for which the update hook returns nothing is dropped; where all are, the stream is `data: [DONE]` and no
    more."""
    upstream.says("¤¤")

    reply = session.invoke("What is silver?", stream=True)

    expect([(event.event, event.data) for event in reply.events]).equals([("message", "[DONE]")], "the frames")


@pytest.mark.requirement(id="HOOK-021")
def test_failed_update_hook_ends_the_stream(session, upstream):
    """A stream whose update hook fails ends with one frame `event: error` and never has a `[DONE]`."""
    upstream.says("¶")

    reply = session.invoke("What is silver?", stream=True)

    expect([event.event for event in reply.events]).equals(["error"], "the events of the stream")


@pytest.mark.requirement(id="HOOK-022")
def test_update_hook_is_for_streams(session, upstream):
    """The update hook is for streams: a plain answer is what the model said."""
    upstream.says("Thi§ i§ §ilver¤")

    reply = session.invoke("What is silver?")

    expect(reply.text).equals("Thi§ i§ §ilver¤", "response")


@pytest.mark.requirement(id="HOOK-023")
def test_response_hook_replaces_a_plain_answer(session, upstream):
    """The response hook is called with what the model said, and what it returns is the plain answer."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", demo={"describe": True})

    expect(described(reply).get("text")).equals("A herring", "the text that the hook was called with")


@pytest.mark.requirement(id="HOOK-024")
def test_response_hook_is_told_for_whom(session, upstream):
    """For the client that asked, the response hook is told the channel, no destination, that it is the originating one,
    and that it is no echo."""
    upstream.says("A herring")

    told = described(session.invoke("What is silver?", demo={"describe": True}))

    told.pop("text", None)
    expected = {"channel": "invocations", "destination": None, "originating": True, "is_echo": False}
    expect(told).equals(expected, "what the hook was told")


@pytest.mark.requirement(id="HOOK-025")
def test_response_hook_is_waited_for(session, upstream):
    """A response hook that answers later is waited for."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", demo={"describe": "later"})

    expect(described(reply).get("text")).equals("A herring", "the text that the hook was called with")


@pytest.mark.requirement(id="HOOK-026")
def test_response_hook_is_not_for_streams(session, upstream, target):
    """The response hook is not for streams: a streamed answer is what the model said."""
    upstream.says("A herring")

    reply = as_declared(session.invoke("What is silver?", stream=True, demo={"describe": True}), target)

    expect(reply.text).equals("A herring", "the text of all chunks")


@pytest.mark.requirement(id="HOOK-027")
def test_hooked_answer_is_not_kept(sessions, upstream, streamed):
    """What a response hook or an update hook makes of an answer is shown and never kept: the trajectories are those of
    the same conversation without hooks."""
    invoked, chatted = sessions.open(), Conversation(sessions.open(), upstream)
    for number, (asked, answer) in enumerate([("Silver?", "A §ardine"), ("Grey?", "A cod¤")]):
        upstream.says(answer)
        invoked.invoke(asked, "talk", stream=streamed, first=number == 0, demo={"describe": True})
        chatted.turn(asked, answer)

    expect(invoked.trajectories()).same_as(chatted.session.trajectories())


@pytest.mark.requirement(id="HOOK-028")
def test_response_hook_is_called_for_each_destination(deliveries):
    """With several destinations the response hook is called once for each, with what the model said and that
    destination."""
    deliveries.ask({"channels": ["phone", "mail"]}, "phone", "mail", describe=True)

    told = deliveries.descriptions("phone", "mail")

    for channel in ("phone", "mail"):
        description = told.get(f"{channel} assistant", {})
        expect(description.get("text")).equals(SAID, f"the text that the hook was called with for {channel}")
        expect(description.get("destination")).equals(deliveries.token(channel), f"the destination for {channel}")
        expect(description.get("originating")).equals(False, f"whether {channel} is said to be the originating one")
        expect(description.get("is_echo")).equals(False, f"whether the answer for {channel} is said to be an echo")


@pytest.mark.requirement(id="HOOK-029")
def test_response_hook_is_told_of_an_echo(deliveries, upstream):
    """For an echo the response hook is called with the user's message, and told that it is one."""
    deliveries.ask({"channels": ["phone"]}, "phone", describe=True, echo=True)

    told = deliveries.descriptions("phone", least=2).get("phone user", {})

    expect(told.get("is_echo")).equals(True, "whether the hook is told that it is an echo")
    expect(told.get("text")).equals(f"{upstream.nonce} What is silver?", "the text that the hook was called with")
