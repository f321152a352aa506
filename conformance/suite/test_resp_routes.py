"""Area RESP: the whole response object, and the routes around responses and conversations.

A route that a gateway does not have is answered with 404 or 405; what it has does what it says.
"""

from __future__ import annotations

import pytest

from conformance.client.http import at
from conformance.client.responses import flat, item
from conformance.vocabulary.expect import REFUSED, calls_made, expect
from conformance.vocabulary.session import function

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
NOT_THERE = (404, 405)


def has(reply):
    """Whether there is such a route: it answered with 200, or says with 404 or 405 that there is none."""
    expect(reply).status(200, *NOT_THERE)
    return reply.status == 200


def texts(items):
    """The text of the first part of each message."""
    return [at(entry, "content", 0, "text", kind=str) for entry in items if entry.get("type") == "message"]


@pytest.mark.requirement(id="RESP-149")
@pytest.mark.parametrize(
    "fields", [{}, {"tools": [SEARCH], "reasoning": {"effort": "low"}}], ids=["bare", "with tools"]
)
def test_response_has_all_of_its_fields(session, upstream, streamed, fields):
    """A response has all the fields that the OpenResponses specification requires, numbers where it requires
    numbers."""
    upstream.says("Hello")

    reply = session.respond("Hi", stream=streamed, **fields)

    expect(reply).status(200).is_response(strict=True)


@pytest.mark.requirement(id="RESP-150")
def test_counted_tokens_are_those_of_the_context(session, upstream):
    """`POST /responses/input_tokens` answers with as many tokens as the context of the same request for a response has,
    and makes no response; or there is no such route."""
    upstream.says("Hello")
    body = session.response_body("Hi", tools=[SEARCH], instructions="Be brief.")

    counted = session.send(body, path="/responses/input_tokens")

    expect(len(upstream.calls)).equals(0, "calls of the upstream")
    if has(counted):
        session.send_response(body)
        expect(at(counted.json(), "input_tokens")).equals(len(calls_made(upstream)[0].context), "input_tokens")


@pytest.mark.requirement(id="RESP-151")
def test_deleted_response_is_gone(session, upstream):
    """A response that `DELETE /responses/{id}` says is deleted can neither be read nor continued; or there is no such
    route."""
    upstream.repeats("Hello", 2)
    made = session.respond("Hi")

    deleted = session.send(path=f"/responses/{made.id}", method="DELETE")

    if has(deleted):
        expect(session.send_response(path=f"/responses/{made.id}", method="GET")).status(404)
        expect(session.respond("So?", previous_response_id=made.id)).status(*REFUSED)


@pytest.mark.requirement(id="RESP-152")
def test_input_of_a_response_can_be_read(session, upstream):
    """`GET /responses/{id}/input_items` lists the items that the response was asked for with, each with an id of its
    own; or there is no such route."""
    upstream.says("Hello")
    items = [item("user", "Good day"), item("user", "Who is there?")]
    made = session.respond(items)

    listed = session.send(path=f"/responses/{made.id}/input_items?order=asc", method="GET")

    if has(listed):
        expect(listed).is_item_list()
        listed_texts = texts(at(listed.json(), "data", kind=list))
        expect(listed_texts).equals([f"{upstream.nonce} Good day", "Who is there?"], "texts of the items")


@pytest.mark.requirement(id="RESP-153")
def test_response_that_is_done_is_not_cancelled(session, upstream, target):
    """`POST /responses/{id}/cancel` of a response that was answered is refused or answers with it, and it can be read
    as before."""
    upstream.says("Hello")
    made = session.respond("Hi")

    session.send({}, path=f"/responses/{made.id}/cancel")

    read = session.send_response(path=f"/responses/{made.id}", method="GET")
    expect(read).says("Hello", target)
    expect([read.finish_reason, read.text]).equals([made.finish_reason, made.text], "status and text")


@pytest.mark.requirement(id="RESP-154")
def test_metadata_of_a_conversation_are_replaced(session):
    """`POST /conversations/{id}` gives a conversation the metadata of the request; or there is no such route."""
    conversation = session.converse(item("user", "Good day"), metadata={"runName": "first"})

    changed = session.send({"metadata": {"runName": "second"}}, path=f"/conversations/{conversation}")

    if has(changed):
        read = session.send(path=f"/conversations/{conversation}", method="GET")
        told = [at(reply.json(), "metadata") for reply in (changed, read)]
        expect(told).equals([{"runName": "second"}] * 2, "metadata, as answered and as read")


@pytest.mark.requirement(id="RESP-155")
def test_deleted_conversation_is_gone(session, upstream):
    """A conversation that `DELETE /conversations/{id}` says is deleted takes no response and cannot be read; or there
    is no such route."""
    upstream.repeats("Hello", 2)
    conversation = session.converse()
    session.respond("Hi", conversation=conversation)

    deleted = session.send(path=f"/conversations/{conversation}", method="DELETE")

    if has(deleted):
        expect(session.send(path=f"/conversations/{conversation}", method="GET")).status(404)
        expect(session.respond("So?", conversation=conversation)).status(400, 404)


@pytest.mark.requirement(id="RESP-156")
def test_items_can_be_added_to_a_conversation(session, upstream):
    """Items that `POST /conversations/{id}/items` adds are listed behind those before, and the model sees them; or
    there is no such route."""
    upstream.says("Hello")
    conversation = session.converse(item("user", "Good day"))

    added = session.send({"items": [item("user", "The lamp is lit.")]}, path=f"/conversations/{conversation}/items")

    if has(added):
        expect(texts(session.items(conversation))[-1:]).equals(["The lamp is lit."], "text of the last item")
        session.respond("Well?", conversation=conversation, tools=[SEARCH])
        context_text = calls_made(upstream)[0].text
        expect(context_text.count("The lamp is lit.")).equals(1, "how often the text of the item stands in the context")


@pytest.mark.requirement(id="RESP-157")
def test_item_can_be_taken_out_of_a_conversation(session, upstream):
    """An item that `DELETE /conversations/{id}/items/{item_id}` takes out of a conversation is not listed any more, and
    the model does not see it; or there is no such route."""
    upstream.says("Hello")
    conversation = session.converse(item("user", "Good day"), item("user", "The lamp is lit."), item("user", "Bye"))
    doomed = at(session.items(conversation), 1, "id", kind=str)

    deleted = session.send(path=f"/conversations/{conversation}/items/{doomed}", method="DELETE")

    if has(deleted):
        kept = [entry.get("id") for entry in session.items(conversation)]
        expect([len(kept), doomed in kept]).equals([2, False], "how many items there are, and whether it is one")
        session.respond("Well?", conversation=conversation, tools=[SEARCH])
        expect(calls_made(upstream)[0].text).lacks("The lamp is lit.", "the context")


@pytest.mark.requirement(id="RESP-158")
def test_item_of_a_conversation_can_be_read(session):
    """`GET /conversations/{id}/items/{item_id}` answers with the item as it is listed; or there is no such route."""
    conversation = session.converse(item("user", "Good day"), item("user", "Bye"))
    [first, second] = session.items(conversation)

    replies = [
        session.send(path=f"/conversations/{conversation}/items/{entry['id']}", method="GET")
        for entry in (first, second)
    ]

    if all(map(has, replies)):
        expect([reply.json() for reply in replies]).equals([first, second], "the items")
