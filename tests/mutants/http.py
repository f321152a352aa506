"""Mutants of area HTTP: envelopes, statuses and bodies that go wrong."""

from __future__ import annotations

from typing import Any

from reference_gateway.backends import http_engine
from reference_gateway.types import BackendFailed
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

NO_ROUTE = "no such route"
BAD_JSON = "Invalid JSON body"


def message_of(answer: Answer) -> str:
    """The message of an error envelope; empty for any other answer."""
    if answer.status < 400 or answer.is_stream or not answer.body:
        return ""
    error = answer.json["error"]
    return str(error["message"]) if isinstance(error, dict) else str(error)


def finds_no_route(answer: Answer) -> bool:
    elsewhere = any(route in answer.path for route in ("/messages", "/invocations", "/responses", "/conversations"))
    return message_of(answer).startswith(NO_ROUTE) and not elsewhere


def refuses_bad_json(answer: Answer) -> bool:
    return answer.is_chat and BAD_JSON in message_of(answer)


def change_error(gateway: Sabotage, part: str, **fields: Any) -> None:
    """Set fields of the errors of the chat route whose message has this part."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and part in message_of(answer):
            answer.json = {"error": {**answer.json["error"], **fields}}


def change_refusal(gateway: Sabotage, status: int, message: str | None = None) -> None:
    """Answer a chat turn that the upstream refused with another status, or another message."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and "context length" in message_of(answer):
            answer.status = status
            answer.json = {"error": {**answer.json["error"], "message": message or message_of(answer)}}


@mutant("HTTP-001")
def plain_answer_is_labelled_as_text(gateway: Sabotage) -> None:
    """The answer is returned as a string, and the framework labels it as text."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_plain_completion:
            answer.headers["content-type"] = "text/plain; charset=utf-8"


@mutant("HTTP-002")
def unknown_path_answers_200(gateway: Sabotage) -> None:
    """A catch-all route answers what it does not know with an empty object."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if finds_no_route(answer):
            answer.status, answer.json = 200, {}


@mutant("HTTP-002")
def get_of_chat_answers_200(gateway: Sabotage) -> None:
    """A GET of the chat route says that the route is alive."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.method == "GET":
            answer.status, answer.json = 200, {"status": "ok"}


@mutant("HTTP-003", bugs=(15,))
def framework_answers_unknown_paths(gateway: Sabotage) -> None:
    """What no route matched is answered in the framework's own words."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if finds_no_route(answer):
            answer.json = {"detail": "Not Found"}


@mutant("HTTP-003")
def wrong_method_has_no_body(gateway: Sabotage) -> None:
    """A wrong method is refused by the router, which sends a status and nothing else."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status == 405:
            answer.body = b""


@mutant("HTTP-004", bugs=(15,))
def bad_json_is_refused_in_the_frameworks_words(gateway: Sabotage) -> None:
    """The framework parses the body, and its validation error is what the client gets."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if refuses_bad_json(answer):
            answer.status, answer.json = 422, {"detail": [{"type": "json_invalid", "loc": ["body", 0]}]}


@mutant("HTTP-004")
def bad_json_is_refused_as_text(gateway: Sabotage) -> None:
    """Bad JSON is refused with a line of text."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if refuses_bad_json(answer):
            answer.body, answer.headers["content-type"] = b"Bad Request", "text/plain"


@mutant("HTTP-004")
def envelope_has_no_type(gateway: Sabotage) -> None:
    """The envelope for bad JSON is put together by hand, without a type."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if refuses_bad_json(answer):
            error = answer.json["error"]
            del error["type"]
            answer.json = {"error": error}


@mutant("HTTP-005")
def null_code_is_dropped(gateway: Sabotage) -> None:
    """Fields that are null are left out when the envelope is serialised."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if refuses_bad_json(answer):
            answer.json = {"error": {name: value for name, value in answer.json["error"].items() if value is not None}}


@mutant("HTTP-005")
def code_is_the_status(gateway: Sabotage) -> None:
    """The status is repeated as a number in `code`."""
    change_error(gateway, BAD_JSON, code=400)


@mutant("HTTP-006")
def refusal_has_the_type_of_a_failure(gateway: Sabotage) -> None:
    """Every error says `server_error`."""
    change_error(gateway, BAD_JSON, type="server_error")


@mutant("HTTP-006")
def failure_has_the_type_of_a_refusal(gateway: Sabotage) -> None:
    """Every error says `invalid_request_error`."""
    change_error(gateway, "HTTP 5", type="invalid_request_error")


@mutant("HTTP-014")
def refusal_shows_the_stack(gateway: Sabotage) -> None:
    """The formatted traceback of the parse error is the message."""
    trace = 'Traceback (most recent call last):\n  File "/srv/gateway/app.py", line 88, in chat\nJSONDecodeError'
    change_error(gateway, BAD_JSON, message=trace)


@mutant("HTTP-014")
def failure_shows_a_source_path(gateway: Sabotage) -> None:
    """The message of an unexpected failure names the place in the source where it was raised."""
    change_error(gateway, "not a completion", message="KeyError at /srv/gateway/backends/vllm.py:88")


def failed_plain_turn(answer: Answer) -> bool:
    """Is this the answer to a plain turn whose engine answered with a 5xx status?"""
    return answer.is_chat and "HTTP 5" in message_of(answer) and not answer.asked.get("stream")


@mutant("HTTP-049")
def failure_of_the_upstream_is_told_in_its_words(gateway: Sabotage) -> None:
    """What is meant for the log is the message."""

    @gateway.wrap(http_engine, "refuse")
    def refuse(original: Any, *args: Any) -> None:
        try:
            original(*args)
        except BackendFailed as error:
            raise BackendFailed(error.detail or str(error), error.status) from error


@mutant("HTTP-015")
def failure_of_the_upstream_is_the_clients_fault(gateway: Sabotage) -> None:
    """Every failure of the engine is answered 400, so no client tries again."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if failed_plain_turn(answer):
            answer.status = 400


@mutant("HTTP-015")
def failure_of_the_upstream_has_no_envelope(gateway: Sabotage) -> None:
    """An exception for the engine's failure is left to the framework, which answers in plain text."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if failed_plain_turn(answer):
            answer.body, answer.headers["content-type"] = b"Internal Server Error", "text/plain"


@mutant("HTTP-015", bugs=(57,))
def failure_of_the_upstream_is_an_empty_answer(gateway: Sabotage) -> None:
    """When the engine fails, the client gets an empty completion."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if failed_plain_turn(answer):
            choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
            head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1_700_000_000, "model": "kit"}
            answer.status, answer.json = 200, {**head, "choices": [choice]}


@mutant("HTTP-016", bugs=(46,))
def refusal_of_the_upstream_is_a_502(gateway: Sabotage) -> None:
    """Whatever the engine answers but 200 becomes a 502, and agents ask again for what can never succeed."""
    change_refusal(gateway, 502)


@mutant("HTTP-016")
def refusal_of_the_upstream_is_a_409(gateway: Sabotage) -> None:
    """The engine's refusal becomes a conflict, which clients retry."""
    change_refusal(gateway, 409)


@mutant("HTTP-017")
def words_of_the_upstream_are_dropped(gateway: Sabotage) -> None:
    """Only the status of the engine's refusal is passed on, so no agent learns that its context is full."""
    change_refusal(gateway, 400, "the engine refused the request: 400 Bad Request")
