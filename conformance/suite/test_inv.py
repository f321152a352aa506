"""Area INV: the envelope, its refusals, and the route."""

from __future__ import annotations

import pytest

from conformance.client.http import at
from conformance.client.invocations import as_declared
from conformance.oracles import invocations
from conformance.vocabulary.expect import FAILED, REFUSED, expect, fail, last_call, together
from conformance.vocabulary.session import ABSENT

TEXT = "Certainly:  “naïve” — done. "


@pytest.mark.requirement(id="INV-001")
def test_invocation_is_answered_in_its_envelope(session, upstream):
    """An invocation is answered with status 200 and a JSON object of exactly `response`, a string, and `session_id`."""
    upstream.says("Hello")

    reply = session.invoke("Hi")

    expect(reply).status(200).is_json().has_none_of(invocations.envelope(reply.json()))


@pytest.mark.requirement(id="INV-002")
def test_invocation_answers_with_the_models_text(session, upstream, streamed, target):
    """The text of the answer is what the model said, verbatim, as `response` and as the chunks of a stream."""
    upstream.says(TEXT)

    reply = as_declared(session.invoke("Hi", stream=streamed), target)

    expect(reply.text).equals(TEXT, "the text")


@pytest.mark.requirement(id="INV-003")
@pytest.mark.parametrize(
    ("session_id", "echo"),
    [
        pytest.param("room 7 / é", "room 7 / é", id="text"),
        pytest.param("", "", id="empty"),
        pytest.param(None, None, id="null"),
        pytest.param(ABSENT, None, id="absent"),
    ],
)
def test_session_id_is_echoed(session, upstream, session_id, echo):
    """`session_id` is echoed as it was given, also when it is empty, and is null when it was null or absent."""
    upstream.says("Hello")

    reply = session.invoke("Hi", session_id)

    expect(at(reply.json(), "session_id")).equals(echo, "session_id")


@pytest.mark.requirement(id="INV-004")
def test_other_fields_of_an_invocation_are_ignored(session, upstream, target):
    """An invocation with other fields beside `message`, `session_id` and `stream` is served as without them."""
    upstream.says("Hello")

    reply = session.invoke("Hi", metadata={"trace": 7}, response="no", model=None)

    expect(reply).says("Hello", target)


@pytest.mark.requirement(id="INV-005")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b'{"message": "Hi"', id="cut"),
        pytest.param(b'{"message": "\xff"}', id="no-utf-8"),
    ],
)
def test_invocation_that_is_no_json_is_refused(session, content):
    """A body that is no JSON, the empty one included, is refused with 400 and `{"error": "invalid json"}`."""
    reply = session.send_invocation(content=content)

    expect(reply).has_flat_error(invocations.INVALID_JSON)


@pytest.mark.requirement(id="INV-006")
@pytest.mark.parametrize("body", [[{"message": "Hi"}], [], "Hi", 7, True], ids=repr)
def test_invocation_that_is_no_object_is_refused(session, body):
    """A JSON body that is no object is refused with 422 and `{"error": "request body must be an object"}`."""
    reply = session.send_invocation(body)

    expect(reply).has_flat_error(invocations.NOT_AN_OBJECT)


@pytest.mark.requirement(id="INV-007")
@pytest.mark.parametrize("message", [ABSENT, None, "", 7, True, ["Hi"], {"text": "Hi"}], ids=repr)
def test_invocation_without_a_message_is_refused(session, message):
    """A `message` that is missing, empty or not a string is refused with 422 and `{"error": "missing or empty
    'message'"}`."""
    reply = session.invoke(message)

    expect(reply).has_flat_error(invocations.NO_MESSAGE)


@pytest.mark.requirement(id="INV-008")
@pytest.mark.parametrize("session_id", [7, 0, False, ["a"], {"id": "a"}], ids=repr)
def test_session_id_that_is_no_string_is_refused(session, session_id):
    """A `session_id` that is neither a string nor null is refused with 422 and `{"error": "'session_id' must be a
    string"}`."""
    reply = session.invoke("Hi", session_id)

    expect(reply).has_flat_error(invocations.SESSION_ID_TYPE)


@pytest.mark.requirement(id="INV-009")
@pytest.mark.parametrize("message", [ABSENT, 7], ids=repr)
def test_a_bad_message_is_told_before_a_bad_session_id(session, message):
    """Where `message` and `session_id` are both bad, the refusal is the one for `message`."""
    reply = session.invoke(message, 7)

    expect(at(reply.json(), "error")).equals(invocations.NO_MESSAGE[1], "error")


@pytest.mark.requirement(id="INV-010")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_refused_invocation_never_reaches_the_upstream(session, upstream, stream):
    """An invocation that is refused for its body never calls the upstream, and is a status and JSON also when it asked
    for a stream."""
    flag = {"stream": True} if stream else {}
    bad = [[7], {**flag}, {**flag, "message": ""}, {**flag, **session.invocation("Hi", 7)}]

    replies = [session.send_invocation(body) for body in bad]

    for reply in replies:
        expect(reply).status(*REFUSED).is_not_streamed()
    expect(len(upstream.calls)).equals(0, "calls of the upstream")


@pytest.mark.requirement(id="INV-011")
def test_refusals_of_invocations_are_flat(session, sessions):
    """Whatever is refused at the route of invocations is answered with `{"error": text}`, flat and with nothing beside
    it."""
    refused = [
        session.send_invocation(content=b"{"),
        session.invoke(ABSENT),
        session.send_invocation(method="GET"),
        session.send_invocation({"message": "Hi"}, under="/elsewhere"),
        sessions.unknown().invoke("Hi"),
    ]

    together(*(expect(reply).status(*REFUSED).has_flat_error for reply in refused))


@pytest.mark.requirement(id="INV-012")
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_method_on_invocations_is_not_allowed(session, method):
    """Another method than POST at the route of invocations is answered with 405."""
    reply = session.send_invocation(method=method)

    expect(reply).status(405)


@pytest.mark.requirement(id="INV-013")
def test_path_below_invocations_does_not_exist(session):
    """A path below the route of invocations that does not exist is answered with 404."""
    reply = session.send_invocation(session.invocation("Hi"), under="/elsewhere")

    expect(reply).status(404)


@pytest.mark.requirement(id="INV-014")
def test_one_route_takes_invocations(session, upstream):
    """Exactly one of the routes `/invocations` and `/invocations/invoke` takes invocations."""
    upstream.says("Hello")
    upstream.says("Hello again")

    answered = [
        path
        for path in ("/invocations", "/invocations/invoke")
        if session.send(session.invocation("Hi"), path=path).status in range(200, 300)
    ]

    if len(answered) != 1:
        fail("routes that take invocations", "one", answered)


@pytest.mark.requirement(id="INV-015")
def test_bare_route_takes_invocations(session, upstream):
    """A gateway with the bare route takes invocations at `/invocations`."""
    upstream.says("Hello")

    reply = session.send(session.invocation("Hi"), path="/invocations")

    expect(reply).status(200)


@pytest.mark.requirement(id="INV-016")
def test_invoke_route_takes_invocations(session, upstream):
    """A gateway with the route `invoke` takes invocations at `/invocations/invoke`."""
    upstream.says("Hello")

    reply = session.send(session.invocation("Hi"), path="/invocations/invoke")

    expect(reply).status(200)


@pytest.mark.requirement(id="INV-017")
def test_slash_at_the_end_of_the_route_is_accepted(session, upstream, target):
    """A slash at the end of the route is accepted: the invocation is answered, not redirected."""
    upstream.says("Hello")

    reply = session.send_invocation(session.invocation("Hi"), under="/")

    expect(reply).says("Hello", target)


@pytest.mark.requirement(id="INV-018")
def test_message_of_white_space_reaches_the_model(session, upstream):
    """A message of white space only is accepted and reaches the model verbatim."""
    upstream.says("Hello")
    session.invoke("Hi", "talk")
    upstream.says("Yes?")

    reply = session.invoke(" \t \n ", "talk", first=False)

    expect(reply).status(200)
    expect(last_call(upstream).text).contains(" \t \n ", "what the model sees")


@pytest.mark.requirement(id="INV-019")
@pytest.mark.parametrize(
    "failure", [pytest.param({"status": 500}, id="500"), pytest.param({"reset": True}, id="reset")]
)
def test_failed_invocation_is_told_in_json(session, upstream, failure):
    """An invocation whose upstream fails is answered with a 5xx status and a JSON object `{"error": text}` without a
    stack trace."""
    upstream.fails(**failure)

    reply = session.invoke("Hi")

    expect(reply).status(*FAILED).has_flat_error()


@pytest.mark.requirement(id="INV-038")
@pytest.mark.parametrize("value", ["true", "no", "", 1, 0, [], {}], ids=repr)
def test_strict_stream_refuses_what_is_no_boolean(session, upstream, value):
    """A gateway with a strict `stream` refuses one that is neither a boolean nor null with 422."""
    upstream.says("Hello")

    reply = session.send_invocation({**session.invocation("Hi"), "stream": value})

    expect(reply).status(422)
