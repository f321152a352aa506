"""Mutants of area INV: the envelope, its refusals, and the route."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from reference_gateway.serving import invocations_plane
from reference_gateway.wire import invocations
from reference_gateway.wire.base import RequestRefused
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def invoked(answer: Answer) -> bool:
    return "/invocations" in answer.path


def of_the_engine(answer: Answer) -> bool:
    """Does the answer, or its stream, say that the engine failed?"""
    return b"BackendFailed" in answer.body


def answered(answer: Answer) -> bool:
    return invoked(answer) and answer.status == 200 and not answer.is_stream


def says(answer: Answer, text: str) -> bool:
    return invoked(answer) and answer.status >= 400 and answer.json == {"error": text}


def declares(gateway: Sabotage, **options: str) -> None:
    """The gateway declares these options, whatever it does."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path == "/capabilities":
            answer.json = {**answer.json, "options": {**answer.json["options"], **options}}


@mutant("INV-001")
def envelope_has_an_id(gateway: Sabotage) -> None:
    """The answer carries the id of the run, too."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answered(answer):
            answer.json = {**answer.json, "id": "run_1"}


@mutant("INV-001")
def envelope_is_html(gateway: Sabotage) -> None:
    """The answer is labelled as a page."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answered(answer):
            answer.headers["content-type"] = "text/html"


@mutant("INV-002")
def reply_is_stripped(gateway: Sabotage) -> None:
    """The reply is trimmed before it is sent."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answered(answer):
            answer.json = {**answer.json, "response": answer.json["response"].strip()}


@mutant("INV-002")
def chunks_are_joined_with_single_spaces(gateway: Sabotage) -> None:
    """Runs of spaces are made one in what is streamed."""

    @gateway.wrap(invocations.Framing, "chunk")
    def chunk(original: Any, self: Any, text: str) -> Any:
        return original(self, text.replace(":  “", ": “"))


@mutant("INV-003")
def empty_session_id_becomes_null(gateway: Sabotage) -> None:
    """An empty id counts as none when it is echoed."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answered(answer):
            answer.json = {**answer.json, "session_id": answer.json["session_id"] or None}


@mutant("INV-003")
def missing_session_id_is_made_up(gateway: Sabotage) -> None:
    """Who gives no id is given one."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answered(answer) and answer.json["session_id"] is None:
            answer.json = {**answer.json, "session_id": "session-1"}


@mutant("INV-004")
def metadata_of_an_invocation_are_texts(gateway: Sabotage) -> None:
    """The `metadata` that go into the log are refused where they are no texts."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        invocation = original(content, flag)
        metadata = invocation.body.get("metadata")
        if isinstance(metadata, dict) and not all(isinstance(each, str) for each in metadata.values()):
            raise RequestRefused("'metadata' must be texts", status=422)
        return invocation


@mutant("INV-004")
def envelope_is_closed(gateway: Sabotage) -> None:
    """Fields that the gateway does not know are refused."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        invocation = original(content, flag)
        if invocation.body.keys() - {"message", "session_id", "stream"}:
            raise RequestRefused("unknown field", status=422)
        return invocation


@mutant("INV-005")
def empty_body_is_an_empty_object(gateway: Sabotage) -> None:
    """A request without a body counts as one without fields."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        return original(content or b"{}", flag)


@mutant("INV-005")
def bad_json_is_unprocessable(gateway: Sabotage) -> None:
    """A body that is no JSON is answered with 422."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if says(answer, "invalid json"):
            answer.status = 422


@mutant("INV-006")
def list_is_a_bad_request(gateway: Sabotage) -> None:
    """A body that is no object is answered like one that is no JSON."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if says(answer, "request body must be an object"):
            answer.status, answer.json = 400, {"error": "invalid json"}


@mutant("INV-007")
def message_is_turned_into_text(gateway: Sabotage) -> None:
    """A list of parts is taken for a message."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        try:
            body = json.loads(content)
        except ValueError:
            return original(content, flag)
        if isinstance(body, dict) and isinstance(body.get("message"), list):
            content = json.dumps({**body, "message": "".join(map(str, body["message"]))}).encode()
        return original(content, flag)


@mutant("INV-007")
def empty_message_has_its_own_words(gateway: Sabotage) -> None:
    """The text of the refusal depends on what is wrong with the message."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if says(answer, "missing or empty 'message'") and (answer.asked or {}).get("message") == "":
            answer.json = {"error": "empty message"}


@mutant("INV-008")
def session_id_is_turned_into_text(gateway: Sabotage) -> None:
    """An id that is a boolean is spelled out."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        return original(content.replace(b'"session_id": false', b'"session_id": "false"'), flag)


@mutant("INV-009")
def session_id_is_checked_first(gateway: Sabotage) -> None:
    """The fields are checked in the order of the alphabet, backwards."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if says(answer, "missing or empty 'message'") and answer.asked.get("session_id") == 7:
            answer.json = {"error": "'session_id' must be a string"}


@mutant("INV-010")
def refusal_is_a_frame(gateway: Sabotage) -> None:
    """A stream is opened for whoever asks for one, and the refusal is sent in it."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        asked = answer.asked if isinstance(answer.asked, dict) else {}
        if invoked(answer) and answer.status == 422 and asked.get("stream") is True:
            text = answer.json["error"]
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = f"event: error\ndata: {text}\n\n".encode()


@mutant("INV-011")
def unknown_session_is_the_frameworks_404(gateway: Sabotage) -> None:
    """What is not found is told in the framework's words."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if invoked(answer) and answer.status == 404:
            answer.json = {"detail": "Not Found"}


@mutant("INV-011")
def refusals_carry_a_code(gateway: Sabotage) -> None:
    """A refused method is told with a code beside the text."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if invoked(answer) and answer.status == 405:
            answer.json = {**answer.json, "code": "method_not_allowed"}


@mutant("INV-012")
def wrong_method_is_not_found(gateway: Sabotage) -> None:
    """Only POST is routed, so every other method ends in the 404 of unknown paths."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if invoked(answer) and answer.status == 405:
            answer.status = 404


@mutant("INV-013")
def unknown_sub_path_is_a_bad_request(gateway: Sabotage) -> None:
    """What stands below the route is taken for a malformed request."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/elsewhere") and answer.status == 404:
            answer.status = 400


@mutant("INV-014")
def both_routes_are_mounted(gateway: Sabotage) -> None:
    """The route of the version before is still there."""

    @gateway.wrap(invocations_plane.InvocationsPlane, "_require_route")
    def require(original: Any, self: Any, path: str, scope: Any) -> Any:
        return original(self, path.removesuffix("/invoke"), scope)


@mutant("INV-015")
def bare_route_is_declared_only(gateway: Sabotage) -> None:
    """The route of the version before is the one that is there, whatever is declared."""
    gateway.configure(invocations_path="/invocations/invoke")
    declares(gateway, invocations_path="bare")


@mutant("INV-016")
def invoke_route_is_declared_only(gateway: Sabotage) -> None:
    """The route is declared, and was never mounted."""
    declares(gateway, invocations_path="invoke")


@mutant("INV-017")
def slash_is_redirected(gateway: Sabotage) -> None:
    """The framework redirects to the path without the slash."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/invocations/"):
            answer.status, answer.body = 307, b""
            answer.headers["location"] = answer.path.rstrip("/")


@mutant("INV-018")
def message_is_stripped(gateway: Sabotage) -> None:
    """The message is trimmed before it is sent."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        invocation = original(content, flag)
        return replace(invocation, message=invocation.message.strip())


@mutant("INV-018")
def blank_message_is_refused(gateway: Sabotage) -> None:
    """A message of white space counts as empty."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        invocation = original(content, flag)
        if not invocation.message.strip():
            raise RequestRefused("missing or empty 'message'", status=422)
        return invocation


@mutant("INV-019")
def failure_is_plain_text(gateway: Sabotage) -> None:
    """An engine's failure is the server's own page."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if invoked(answer) and not answer.is_stream and of_the_engine(answer):
            answer.headers["content-type"] = "text/plain; charset=utf-8"
            answer.body = b"Internal Server Error"


@mutant("INV-019")
def failure_is_a_traceback(gateway: Sabotage) -> None:
    """The traceback of an engine's failure is sent for the client to report."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if invoked(answer) and not answer.is_stream and of_the_engine(answer):
            text = 'Traceback (most recent call last):\n  File "/srv/gateway/app.py", line 7, in run\n'
            answer.json = {"error": text + answer.json["error"]}


@mutant("INV-038")
def anything_true_streams(gateway: Sabotage) -> None:
    """Whatever is true in Python's eyes is taken for a flag."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        return original(content, "truthy")
