"""Area RESP: history that comes twice, items that only their maker can read, and bodies as clients send them."""

from __future__ import annotations

import pytest

from conformance.client.responses import flat, item, output, results_of
from conformance.vocabulary.bodies import CODINGS, FALSE, expect_coded_body, expect_false_coding
from conformance.vocabulary.expect import REFUSED, calls_made, expect
from conformance.vocabulary.refusals import RESPONSES
from conformance.vocabulary.session import function

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
CALL = {"name": "search", "arguments": {"q": "lighthouse"}}
ANSWERED = [{"type": "output_text", "text": "Hello", "annotations": []}]
OPAQUE = "b3BhcXVl"
ENCRYPTED = {"type": "reasoning", "id": "rs_0", "summary": [], "encrypted_content": OPAQUE}
HOSTED = {
    "web_search": {"type": "web_search"},
    "code_interpreter": {"type": "code_interpreter", "container": {"type": "auto"}},
    "image_generation": {"type": "image_generation"},
}


def seen(session, upstream, items, **fields):
    """The text of the context that a request for a response leads to. No call, or more than one, is a failure."""
    upstream.says("Hello")
    before = len(upstream.calls)
    session.respond(items, **fields)
    return calls_made(upstream, before + 1)[-1].text


def expect_once(reply, upstream, number, *texts):
    """The request was refused, or each of these texts stands once in the context of call `number`."""
    expect(reply).status(200, *REFUSED)
    if reply.status == 200:
        context_text = calls_made(upstream, number + 1)[number].text
        expect({text: context_text.count(text) for text in texts}).equals(
            dict.fromkeys(texts, 1), "texts in the context"
        )
    else:
        expect(len(upstream.calls)).equals(number, "upstream calls")


@pytest.mark.requirement(id="RESP-140")
@pytest.mark.parametrize("coding", CODINGS)
def test_encoded_request_for_a_response_is_served_or_unsupported(session, upstream, coding):
    """A request for a response whose body is encoded as its `content-encoding` says is served as the request that it
    is, or refused with 415."""
    expect_coded_body(RESPONSES, session, upstream, coding)


@pytest.mark.requirement(id="RESP-141")
@pytest.mark.parametrize("case", FALSE)
def test_request_for_a_response_that_is_not_encoded_as_it_says_is_refused(session, upstream, case):
    """A request for a response whose body is not what its `content-encoding` says, or in a coding that is not known, is
    refused with 400, 415 or 422, and makes no call."""
    expect_false_coding(RESPONSES, session, upstream, case)


@pytest.mark.requirement(id="RESP-142")
@pytest.mark.parametrize(
    "content", [{}, {"content": None}, {"content": [], "status": None}], ids=["absent", "null", "none"]
)
def test_encrypted_reasoning_is_not_shown(sessions, upstream, content):
    """A request whose input has a reasoning item with `encrypted_content` and no text is answered as one without it;
    what is encrypted is not shown to the model."""
    asked, answered, more = item("user", "Hi"), item("assistant", ANSWERED), item("user", "How are you?")
    plain = seen(sessions.open(), upstream, [asked, answered, more])

    encrypted = seen(sessions.open(), upstream, [asked, {**ENCRYPTED, **content}, answered, more])

    expect(encrypted).equals(plain, "the context")


@pytest.mark.requirement(id="RESP-143")
@pytest.mark.parametrize("place", ["message", "call", "output", "tool"])
def test_null_in_an_item_or_a_tool_is_absent(sessions, upstream, place):
    """null for an optional field of an item or a tool of a request for a response is the same as leaving it out."""
    nulls = {
        "message": dict.fromkeys(("id", "status", "type")),
        "call": dict.fromkeys(("id", "status")),
        "output": dict.fromkeys(("id", "status")),
        "tool": dict.fromkeys(("description", "strict")),
    }

    def request(fields):
        call = {"type": "function_call", "call_id": "call_0", "name": "search", "arguments": "{}"}
        items = [
            {"role": "user", "content": "Hi", **fields.get("message", {})},
            {**call, **fields.get("call", {})},
            {**output("sun"), **fields.get("output", {})},
        ]
        tool = {"type": "function", "name": "search", "parameters": {"type": "object"}, **fields.get("tool", {})}
        return seen(sessions.open(), upstream, items, tools=[tool])

    absent, null = request({}), request({place: nulls[place]})

    expect(null).equals(absent, "the context")


@pytest.mark.requirement(id="RESP-144")
def test_output_sent_again_behind_a_response_is_not_doubled(session, upstream):
    """Items of the history that `previous_response_id` brings, sent again under their ids, are refused or stand in the
    context once."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    first = session.respond("Hi", tools=[SEARCH])

    again = [*first.output, *results_of(first, "sun")]
    reply = session.respond(again, previous_response_id=first.id, tools=[SEARCH])

    expect_once(reply, upstream, 1, "lighthouse", "sun")


@pytest.mark.requirement(id="RESP-145")
def test_history_sent_again_behind_a_response_is_not_doubled(session, upstream, streamed):
    """A whole history that `previous_response_id` brings, sent again with what is new, is refused or stands in the
    context once."""
    upstream.says("Lighthouse one.")
    upstream.says("Lighthouse two.")
    upstream.says("Fine")
    asked = item("user", "Harbour?")
    first = session.respond([asked])
    second = session.respond("More", previous_response_id=first.id)

    history = [asked, *first.output, item("user", "More"), *second.output]
    reply = session.respond([*history, item("user", "So?")], previous_response_id=second.id, stream=streamed)

    expect_once(reply, upstream, 2, "Harbour?", "Lighthouse one.", "Lighthouse two.")


@pytest.mark.requirement(id="RESP-146")
def test_items_sent_again_in_a_conversation_are_not_doubled(session, upstream):
    """Items of a conversation that a request in it sends again under their ids are refused or stand in the context
    once, and once among the items of the conversation."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    chain = session.chain("conversation", stream=False, tools=[SEARCH])
    first = chain.ask("Hi")

    reply = chain.ask([*first.output, *results_of(first, "sun")])

    expect_once(reply, upstream, 1, "lighthouse", "sun")
    kept = [entry.get("call_id") for entry in session.items(chain.conversation) if entry.get("type") == "function_call"]
    expect(len(kept)).equals(1, "function calls among the items of the conversation")


@pytest.mark.requirement(id="RESP-147")
@pytest.mark.parametrize("chaining", ["previous_response_id", "conversation"])
def test_call_sent_again_without_its_id_is_not_doubled(session, upstream, chaining):
    """A function call of the kept history that is sent again without an id, under its `call_id`, is refused or stands
    in the context once."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    chain = session.chain(chaining, stream=False, tools=[SEARCH])
    first = chain.ask("Hi")

    calls = [{name: call.get(name) for name in ("type", "call_id", "name", "arguments")} for call in first.tool_calls]
    reply = chain.ask([*calls, *results_of(first, "sun")])

    expect_once(reply, upstream, 1, "lighthouse", "sun")


@pytest.mark.requirement(id="RESP-148")
@pytest.mark.parametrize("kind", HOSTED)
def test_hosted_tool_is_not_offered_as_a_function(session, upstream, kind):
    """A hosted tool that the gateway does not run (`web_search`, `code_interpreter`, `image_generation`) is refused, or
    not offered to the model."""
    upstream.says("Hello")

    reply = session.respond("Hi", tools=[SEARCH, HOSTED[kind]])

    expect(reply).status(200, *REFUSED)
    offered = [call.index for call in upstream.calls if kind in call.text]
    expect(offered).equals([], "calls of the upstream whose context names the tool")
