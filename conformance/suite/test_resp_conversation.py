"""Area RESP: conversations, whose items the gateway keeps."""

from __future__ import annotations

import json

import pytest

from conformance.client.http import at
from conformance.client.responses import flat, item, types
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.exported import context
from conformance.vocabulary.session import assistant, function, user

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
CALL = {"name": "search", "arguments": {"q": "x"}}


@pytest.mark.requirement(id="RESP-060")
def test_conversation_has_its_fields(session):
    """`POST /conversations` answers with a conversation: its own non-empty `id`, `object` = `conversation`, the time
    and the metadata."""
    first, second = (session.send({"metadata": {"runName": "demo"}}, path="/conversations") for _ in range(2))

    expect(first).status(200, 201).is_conversation()
    expect(at(first.json(), "id")).differs_from(at(second.json(), "id"), "the id of another conversation")
    expect(at(first.json(), "metadata")).equals({"runName": "demo"}, "metadata")


@pytest.mark.requirement(id="RESP-061")
def test_new_conversation_can_be_read(session):
    """A conversation can be read before its first response, and has no items."""
    conversation = session.converse()

    reply = session.send(path=f"/conversations/{conversation}", method="GET")

    expect(reply).status(200)
    expect(at(reply.json(), "id")).equals(conversation, "id")
    expect(session.items(conversation)).equals([], "items")


@pytest.mark.requirement(id="RESP-062")
def test_conversation_is_echoed(session, upstream, streamed):
    """A response of a conversation carries `conversation` with its id."""
    upstream.says("Hello")
    conversation = session.converse()

    reply = session.respond("Hi", conversation=conversation, stream=streamed)

    expect(at(reply.completion, "conversation", "id")).equals(conversation, "conversation.id")


@pytest.mark.requirement(id="RESP-063")
def test_conversation_brings_its_history(session, upstream):
    """In a conversation, the model sees the inputs and outputs of all its responses, and then the input."""
    upstream.says("One")
    upstream.says("Two")
    upstream.says("Three")
    chain = session.chain("conversation", stream=False)
    chain.ask("A")
    chain.ask("B")

    chain.ask("C")

    history = [assistant("One"), user("B"), assistant("Two"), user("C")]
    context(upstream, 2).reads_as_rendered([*session.messages("A"), *history])


@pytest.mark.requirement(id="RESP-064")
def test_conversation_begins_with_its_items(session, upstream):
    """A conversation that was created with items begins with them."""
    upstream.says("Fine")
    items = [item("user", "Hi"), item("assistant", [{"type": "output_text", "text": "Hello", "annotations": []}])]
    conversation = session.converse(*items)

    session.respond("So?", conversation=conversation)

    context(upstream, 0).reads_as_rendered([*session.messages("Hi"), assistant("Hello"), user("So?")])


@pytest.mark.requirement(id="RESP-065")
def test_items_of_a_conversation_are_all_that_was_said(session, upstream):
    """The items of a conversation are its inputs, messages, function calls and their outputs, in the order in which
    they came."""
    upstream.says("I will look.", tool_calls=[CALL, CALL])
    upstream.says("Sunny")
    chain = session.chain("conversation", tools=[SEARCH])
    chain.ask("Hi")
    chain.answer("sun", "rain")

    items = session.items(chain.conversation)

    wanted = ["message", "message", *["function_call"] * 2, *["function_call_output"] * 2, "message"]
    expect(types(items)).equals(wanted, "types of the items")
    outputs = [entry.get("output") for entry in items if entry.get("type") == "function_call_output"]
    expect(outputs).equals(["sun", "rain"], "outputs")


@pytest.mark.requirement(id="RESP-066")
def test_items_have_ids_of_their_own(session, upstream):
    """Each item of a conversation has an id that no other one has; the list names the first and the last."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    chain = session.chain("conversation", tools=[SEARCH])
    chain.ask("Hi")
    chain.answer("sun")

    listed = session.send(path=f"/conversations/{chain.conversation}/items?order=asc", method="GET")

    expect(listed).is_item_list()


@pytest.mark.requirement(id="RESP-067")
def test_unknown_conversation_is_refused(session, upstream):
    """A request in an unknown conversation is refused with 400 or 404, and reading one is answered with 404."""
    expect(session.respond("Hi", conversation="conv_0000000000")).status(400, 404).has_error_envelope()
    expect(session.send(path="/conversations/conv_0000000000", method="GET")).status(404)
    expect(len(upstream.calls)).equals(0, "calls of the upstream")


@pytest.mark.requirement(id="RESP-068")
def test_conversations_never_mix(session, upstream):
    """Two conversations of one session that take turns each see their own history only."""
    for text in ("One", "Two", "Three", "Four"):
        upstream.says(text)
    first, second = session.chain("conversation"), session.chain("conversation")
    first.ask("A")
    second.ask("B")
    first.ask("C")

    second.ask("D")

    context(upstream, 3).reads_as_rendered([*session.messages("B"), assistant("Two"), user("D")])


@pytest.mark.requirement(id="RESP-069")
def test_overlapping_responses_of_a_conversation_lose_nothing(sessions, upstream):
    """Of two responses of one conversation in flight at the same time, the second waits or is refused with 409; the
    conversation has the items of each that was answered, and none in between."""
    held = upstream.holds("One", when="first")
    upstream.says("Two", when="second")
    session, other = sessions.open(), sessions.open()
    conversation = session.converse()
    first = session.start_request(session.response_body("first", conversation=conversation), path="/responses")
    Conversation(session, upstream).reach_upstream(1)
    body = json.dumps(session.response_body("second", conversation=conversation)).encode()
    second = session.connect().begin("/responses", content_length=str(len(body))).write(body)
    # These begin when the second request is there, and go all the way: a gateway that lets it pass has done so by then.
    for text in ("Three", "Four"):
        upstream.says(text, when="Meanwhile")
        other.respond("Meanwhile")
    held.release()

    statuses = [first.reply().status, second.reply().status]

    expect(statuses).is_one_of([[200, 200], [200, 409]], "statuses of the two")
    answered = statuses.count(200)
    roles = [entry.get("role") for entry in session.items(conversation)]
    expect(roles).equals(["user", "assistant"] * answered, "roles of the items")


@pytest.mark.requirement(id="RESP-070")
def test_failed_response_adds_nothing_to_its_conversation(session, upstream):
    """A response that failed adds no item to its conversation."""
    upstream.says("One")
    upstream.fails()
    chain = session.chain("conversation", stream=False)
    chain.ask("A")
    chain.ask("B")

    expect(types(session.items(chain.conversation))).equals(["message", "message"], "types of the items")


@pytest.mark.requirement(id="RESP-071")
def test_conversation_is_of_its_session(sessions, upstream):
    """A conversation of one session is unknown in another."""
    conversation = sessions.open().converse()

    reply = sessions.open().respond("Hi", conversation=conversation)

    expect(reply).status(400, 404)


@pytest.mark.requirement(id="RESP-072")
def test_items_come_in_pages(session):
    """The items of a conversation come newest first unless `order` is `asc`; `limit` and `after` page through them, and
    `has_more` says whether there are more."""
    conversation = session.converse(*(item("user", str(number)) for number in range(3)))

    def page(query):
        return session.send(path=f"/conversations/{conversation}/items?{query}", method="GET").json()

    first = page("order=asc&limit=2")
    rest = page(f"order=asc&after={at(first, 'last_id')}")
    newest = page("limit=1")
    actual = [len(at(listing, "data", kind=list)) for listing in (first, rest, newest)]
    actual += [at(listing, "has_more") for listing in (first, rest, newest)]
    expect(actual).equals([2, 1, 1, True, False, True], "sizes of three pages, and has_more of each")
    expect(at(newest, "first_id")).equals(at(rest, "last_id"), "id of the newest item")
