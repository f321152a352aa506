"""Area DLV: what becomes of a push that fails, and what is told of it, in each form of delivery."""

from __future__ import annotations

import pytest

from conformance.vocabulary.demo import SAID, wait_for_posts
from conformance.vocabulary.expect import expect, fail

ANSWER = [("assistant", SAID)]


@pytest.mark.requirement(id="DLV-021")
def test_delivery_is_reported(deliveries):
    """A report says whether the client is included, and by token who was pushed to and who was skipped."""
    deliveries.ask({"channels": ["originating", "phone", "pigeon", "paper"]}, "phone", "paper")

    report = deliveries.report()

    expect(report.get("include_originating")).equals(True, "include_originating")
    expect(report.get("pushed")).equals([deliveries.token("phone")], "pushed")
    expect(report.get("skipped")).equals(["pigeon", "paper"], "skipped")


@pytest.mark.requirement(id="DLV-022")
def test_failed_push_is_reported(deliveries, upstream):
    """A push that fails is reported as failed with the class of the error and its text, and not as skipped or
    pushed."""
    upstream.refuses_posts(when='"to": "phone')

    deliveries.ask({"channels": ["phone", "mail"]}, "phone", "mail")

    report, phone = deliveries.report(), deliveries.token("phone")
    for name in ("pushed", "skipped"):
        expect(report.get(name, [])).lacks(phone, name)
    told = [pair for pair in report.get("failed", []) if isinstance(pair, list) and pair[:1] == [phone]]
    if len(told) != 1 or len(told[0]) != 2 or not all(part.strip() for part in str(told[0][1]).partition(": ")[::2]):
        fail("failed", f"one pair of {phone} and `Class: text`", report.get("failed"))


@pytest.mark.requirement(id="DLV-023")
def test_failed_push_does_not_fall_back(deliveries, upstream):
    """A push that fails does not bring the client in: the answer stays acknowledged, and the other destinations get
    theirs."""
    upstream.refuses_posts(when='"to": "phone')

    reply = deliveries.ask({"channels": ["phone", "mail"]}, "phone", "mail")

    expect(reply.body.decode("utf-8", "replace")).lacks("herring", "the reply")
    expect(deliveries.heard("mail").get("mail")).equals(ANSWER, "what was pushed to the other")


@pytest.mark.requirement(id="DLV-024")
def test_echo_is_reported(deliveries, upstream):
    """A report says by token who got the echo."""
    upstream.refuses_posts(when='"role": "user"')

    deliveries.ask({"channels": ["phone", "mail"]}, "phone", "mail", echo=True)

    expect(deliveries.report().get("echoed")).equals([deliveries.token("mail")], "echoed")


@pytest.mark.requirement(id="DLV-025")
def test_failed_push_is_tried_again(deliveries, upstream):
    """A push that fails is tried again until it succeeds."""
    upstream.refuses_posts(2, when='"to": "phone')

    deliveries.ask({"channels": ["phone"]}, "phone")

    expect(deliveries.heard("phone", least=3)).equals({"phone": ANSWER}, "what was pushed and taken")


@pytest.mark.requirement(id="DLV-026")
def test_push_is_tried_five_times(deliveries, session, upstream):
    """A push that never succeeds is tried five times."""
    upstream.refuses_posts(100, when='"to": "phone')

    deliveries.ask({"channels": ["phone"]}, "phone")

    wait_for_posts(session, upstream, 1, '"task": ')
    expect(len(deliveries.pushed())).equals(5, "attempts until the task has ended")


@pytest.mark.requirement(id="DLV-027")
def test_no_push_is_waited_for(deliveries, session, upstream, streamed):
    """A client is acknowledged at once: no push is waited for."""
    upstream.says(SAID)
    upstream.holds_posts(when='"to": "phone')
    demo = {"target": {"identities": [deliveries.token("phone")]}}
    pending = session.start_invocation("What is silver?", stream=streamed, demo=demo)
    deliveries.pushed("phone")

    expect(pending.reply()).status(*range(200, 300))


@pytest.mark.requirement(id="DLV-028")
def test_echo_is_not_repeated(deliveries, upstream):
    """An echo that was sent is not repeated when the push of its answer is tried again."""
    upstream.refuses_posts(2, when='"role": "assistant"')

    deliveries.ask({"channels": ["phone"]}, "phone", echo=True)

    heard = deliveries.heard("phone", least=4)["phone"]
    expect([role for role, _ in heard]).equals(["user", "assistant"], "the roles of what was pushed and taken")
