"""Area DLV: who gets an answer. Each user is on the channels that a check says; the client that asks is on `web`."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.demo import SAID, Deliveries
from conformance.vocabulary.expect import expect

ANSWER = [("assistant", SAID)]


@pytest.mark.requirement(id="DLV-001")
def test_answer_for_the_originating_client(deliveries, streamed):
    """An answer for the originating client goes to it alone: nothing is pushed, whoever is linked."""
    reply = deliveries.ask("originating", "phone", "web", "mail", stream=streamed)

    expect(reply.text).equals(SAID, "the reply")
    expect(deliveries.heard()).equals({}, "what was pushed")


@pytest.mark.requirement(id="DLV-002")
def test_answer_for_nobody(deliveries, streamed):
    """An answer for nobody is pushed to nobody."""
    deliveries.ask("none", "phone", "web", stream=streamed)

    expect(deliveries.heard()).equals({}, "what was pushed")


@pytest.mark.requirement(id="DLV-003")
@pytest.mark.parametrize(
    "recipient",
    ["none", "active", "all_linked", {"channels": ["phone"]}],
    ids=["none", "active", "all-linked", "channel"],
)
def test_answer_for_others_is_acknowledged(deliveries, streamed, recipient):
    """An answer that goes to others only, or to nobody, is acknowledged with a 2xx status, plain and streamed, and the
    client never gets its text."""
    reply = deliveries.ask(recipient, "phone", stream=streamed)

    expect(reply).status(*range(200, 300))
    expect(reply.body.decode("utf-8", "replace")).lacks("herring", "the reply")


@pytest.mark.requirement(id="DLV-004")
def test_answer_for_the_active_channel(deliveries):
    """An answer for the active channel is pushed to the linked identity that was active last."""
    deliveries.ask("active", "mail", "phone", "web")

    expect(deliveries.heard("mail")).equals({"mail": ANSWER}, "what was pushed")


@pytest.mark.requirement(id="DLV-005")
def test_active_channel_of_the_client_itself(deliveries):
    """Where the client itself was active last, it gets the answer, and nothing is pushed."""
    reply = deliveries.ask("active", "web", "phone")

    expect(reply.text).equals(SAID, "the reply")
    expect(deliveries.heard()).equals({}, "what was pushed")


@pytest.mark.requirement(id="DLV-006")
def test_answer_for_a_channel(deliveries):
    """An answer for a channel by its name is pushed to the user's identity on that channel."""
    deliveries.ask({"channels": ["phone"]}, "mail", "phone")

    pushed = [post.body["to"] for post in deliveries.pushed("phone")]
    expect(pushed).equals([deliveries.token("phone")], "who was pushed to")


@pytest.mark.requirement(id="DLV-007")
@pytest.mark.parametrize("name", ["phone", None], ids=["channel", "token"])
def test_pushed_identity_has_its_attributes(deliveries, name):
    """A pushed identity has the attributes with which it was linked."""
    deliveries.ask({"channels": [name or deliveries.token("phone")]}, "phone")

    for post in deliveries.pushed("phone"):
        expect(post.body.get("attributes")).equals({"name": "Al on phone"}, "the identity's attributes")


@pytest.mark.requirement(id="DLV-008")
@pytest.mark.parametrize("name", ["mail", "pigeon", "paper"], ids=["not-linked", "unknown", "cannot-push"])
def test_unreachable_channel_falls_back(deliveries, streamed, name):
    """Where nobody can be reached (the user is not on the channel, there is no such channel, or it cannot push) the
    client that asked gets the answer."""
    reply = deliveries.ask({"channels": [name]}, "phone", "paper", stream=streamed)

    expect(reply.text).equals(SAID, "the reply")


@pytest.mark.requirement(id="DLV-009")
def test_unreachable_channel_beside_others(deliveries):
    """Where some can be reached and some cannot, the former get the answer and the client that asked does not."""
    reply = deliveries.ask({"channels": ["pigeon", "phone", "paper"]}, "phone", "paper")

    expect(deliveries.heard("phone")).equals({"phone": ANSWER}, "what was pushed")
    expect(reply.body.decode("utf-8", "replace")).lacks("herring", "the reply")


@pytest.mark.requirement(id="DLV-010")
def test_token_is_pushed_to(deliveries):
    """A token `channel:id` is pushed to that id, whether it is linked or not."""
    token = f"{deliveries.token('phone')} 99"

    deliveries.ask({"channels": [token]}, "mail")

    expect([post.body["to"] for post in deliveries.pushed("phone")]).equals([token], "who was pushed to")


@pytest.mark.requirement(id="DLV-011")
def test_originating_beside_others(deliveries, streamed):
    """The name `originating` in a list brings in the client that asked, beside the others."""
    reply = deliveries.ask({"channels": ["originating", "mail"]}, "mail", stream=streamed)

    expect(deliveries.heard("mail")).equals({"mail": ANSWER}, "what was pushed")
    expect(reply.text).equals(SAID, "the reply")


@pytest.mark.requirement(id="DLV-012")
@pytest.mark.parametrize("kind", ["channels", "identities"])
def test_identity_of_the_client_is_not_pushed_to(deliveries, kind):
    """An identity that is the client that asked gets the answer as its reply, and is not pushed to."""
    tokens = [deliveries.token("web"), deliveries.token("mail")]

    reply = deliveries.ask({kind: tokens}, "web", "mail")

    expect(deliveries.heard("mail")).equals({"mail": ANSWER}, "what was pushed")
    expect(reply.text).equals(SAID, "the reply")


@pytest.mark.requirement(id="DLV-013")
def test_identity_that_is_named_twice(deliveries):
    """An identity that a list names twice, by channel and by token, is pushed to once."""
    deliveries.ask({"channels": ["phone", deliveries.token("phone"), "mail"]}, "phone", "mail")

    expect(deliveries.heard("phone", "mail")).equals({"phone": ANSWER, "mail": ANSWER}, "what was pushed")


@pytest.mark.requirement(id="DLV-014")
def test_answer_for_all_linked(deliveries):
    """An answer for all linked channels is pushed to each of them but the client's own."""
    deliveries.ask("all_linked", "web", "phone", "mail")

    expect(deliveries.heard("phone", "mail")).equals({"phone": ANSWER, "mail": ANSWER}, "what was pushed")


@pytest.mark.requirement(id="DLV-015")
@pytest.mark.parametrize("linked", [[], ["web"]], ids=["none", "own"])
def test_answer_for_all_linked_of_a_user_without_any(deliveries, streamed, linked):
    """An answer for all linked channels of a user who has no other goes to the client that asked."""
    reply = deliveries.ask("all_linked", *linked, stream=streamed)

    expect(reply.text).equals(SAID, "the reply")


@pytest.mark.requirement(id="DLV-016")
def test_answer_for_identities(deliveries):
    """An answer for identities is pushed to each of them."""
    deliveries.ask({"identities": [deliveries.token("phone"), deliveries.token("mail")]})

    expect(deliveries.heard("phone", "mail")).equals({"phone": ANSWER, "mail": ANSWER}, "what was pushed")


@pytest.mark.requirement(id="DLV-017")
def test_echo_comes_before_the_answer(deliveries, upstream):
    """With an echo each destination gets the user's message, as the user's, and then the answer, as the assistant's."""
    deliveries.ask("all_linked", "phone", "mail", echo=True)

    both = [("user", f"{upstream.nonce} What is silver?"), *ANSWER]
    expect(deliveries.heard("phone", "mail", least=2)).equals({"phone": both, "mail": both}, "what was pushed")


@pytest.mark.requirement(id="DLV-018")
def test_no_echo_unless_it_is_asked_for(deliveries):
    """Without an echo a destination gets the answer alone."""
    deliveries.ask({"channels": ["phone"]}, "phone", echo=False)

    expect(deliveries.heard("phone")).equals({"phone": ANSWER}, "what was pushed")


@pytest.mark.requirement(id="DLV-019")
def test_failed_echo_keeps_nothing_back(deliveries, upstream):
    """An echo that fails does not keep the answer back."""
    upstream.refuses_posts(when='"role": "user"')

    deliveries.ask({"channels": ["phone"]}, "phone", echo=True)

    expect(deliveries.heard("phone", least=2).get("phone", [])).contains(*ANSWER, "what was pushed")


@pytest.mark.requirement(id="DLV-020")
def test_delivered_answer_is_kept(sessions, upstream, target):
    """An answer that goes elsewhere is kept like any other: its conversation goes on, and its trajectories are those of
    the same conversation answered to the client."""
    delivered, chatted = sessions.open(), Conversation(sessions.open(), upstream)
    demo = {"target": {"identities": [Deliveries(delivered, upstream, target).token("phone")]}}
    for number, (asked, answer) in enumerate([("Silver?", "A herring"), ("Grey?", "A cod")]):
        upstream.says(answer)
        delivered.invoke(asked, "talk", first=number == 0, demo=demo)
        chatted.turn(asked, answer)

    expect(delivered.trajectories()).same_as(chatted.session.trajectories())
