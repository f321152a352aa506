"""Mutants of area MSG: what is refused and how, and what stands beside the route of messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from reference_gateway.serving import data_plane
from reference_gateway.session.session import Session
from reference_gateway.session.tree import NO_MEDIA
from reference_gateway.types import Generation
from reference_gateway.wire import anthropic_messages, models
from tests.mutants.chat_wire import is_first
from tests.mutants.msg_wire import (
    Body,
    asked_to_stream,
    framed,
    is_message,
    on_body,
    on_errors,
    on_lowered,
    on_messages,
)
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

ENVELOPES = tuple(f"MSG-{number:03}" for number in (52, 54, 56, 57, 58, 95, 96, 97, 131))


def openai_envelope(status: int, envelope: Body) -> Body:
    error = {**envelope["error"], "param": None, "code": None}
    return {"error": error}


def _where(gateway: Sabotage, wanted: Any, change: Any) -> None:
    """Change the error envelopes for which `wanted(status, message)` holds."""
    on_errors(
        gateway,
        lambda status, envelope: change(status, envelope) if wanted(status, envelope["error"]["message"]) else envelope,
    )


@mutant("MSG-041")
def no_list_of_messages_is_a_probe(gateway: Sabotage) -> None:
    """What has no list of messages wants to know whether somebody is there, and is greeted."""
    probe = {"role": "user", "content": "Hello"}
    on_body(
        gateway,
        lambda body: {**body, "messages": body["messages"] if isinstance(body.get("messages"), list) else [probe]},
    )

    @gateway.wrap(Session, "run")
    async def run(original: Any, session: Any, turn: Any) -> Any:
        if turn.messages[-1] == probe:
            return anthropic_messages.Answer({"role": "assistant", "content": "Hello"}, "stop", 1, 1)
        return await original(session, turn)


@mutant("MSG-042")
def unknown_role_is_the_users(gateway: Sabotage) -> None:
    """Whatever the assistant did not say, the user did."""
    roles = ("user", "assistant", "system")
    on_messages(
        gateway,
        lambda messages: [
            {**each, "role": "user"} if isinstance(each, dict) and each.get("role") not in roles else each
            for each in messages
        ],
    )


@mutant("MSG-042", bugs=(46,))
def malformed_message_is_an_internal_error(gateway: Sabotage) -> None:
    """Messages are read as what they should be."""
    on_messages(gateway, lambda messages: [{**each, "role": each["role"]} for each in messages])


@mutant("MSG-043")
def empty_user_message_vanishes(gateway: Sabotage) -> None:
    """A user message without blocks gives no message."""
    on_lowered(gateway, "_user", lambda original, content, *rest: [] if content == [] else original(content, *rest))


@mutant("MSG-044")
def unknown_blocks_are_skipped(gateway: Sabotage) -> None:
    """Only the blocks whose type is known are read."""
    known = (
        *("text", "image", "document", "search_result", "thinking", "redacted_thinking"),
        *("tool_use", "tool_result", "server_tool_use"),
    )

    def skip(message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            return message
        kept = [
            each
            for each in content
            if not isinstance(each, dict) or not isinstance(each.get("type"), str) or each["type"] in known
        ]
        return {**message, "content": kept}

    on_messages(gateway, lambda messages: [*map(skip, messages)])


@mutant("MSG-045")
def input_that_is_no_object_is_empty(gateway: Sabotage) -> None:
    """Arguments that cannot be used count as none."""
    on_lowered(
        gateway,
        "_tool_use",
        lambda original, block, where: original(
            {**block, "input": block.get("input") if isinstance(block.get("input"), dict) else {}}, where
        ),
    )


@mutant("MSG-045", bugs=(72,))
def result_of_no_call_is_taken(gateway: Sabotage) -> None:
    """A result belongs to the last call, whatever it names."""
    on_lowered(
        gateway,
        "_tool_result",
        lambda original, block, *rest: original({**block, "tool_use_id": block.get("tool_use_id") or "toolu_0"}, *rest),
    )


@mutant("MSG-046")
def system_is_printed(gateway: Sabotage) -> None:
    """A system that is no text is made one."""
    on_lowered(
        gateway,
        "_system",
        lambda original, system, where: original(
            system if isinstance(system, str | list | None) else str(system), where
        ),
    )


@mutant("MSG-047")
def forced_tool_is_ignored(gateway: Sabotage) -> None:
    """Any `tool_choice` of a first turn but `none` is `auto`."""

    def change(body: Body) -> Body:
        choice = body.get("tool_choice")
        forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
        return {**body, "tool_choice": {"type": "auto"}} if forced and is_first(body) else body

    on_body(gateway, change)


@mutant("MSG-048", bugs=(45,))
def bad_max_tokens_are_no_limit(gateway: Sabotage) -> None:
    """A limit that is none is left out."""

    def lenient(body: Body) -> Body:
        limit = body.get("max_tokens")
        good = type(limit) is int and limit > 0
        return body if good else {name: value for name, value in body.items() if name != "max_tokens"}

    on_body(gateway, lenient)


@mutant("MSG-048")
def true_is_one_token(gateway: Sabotage) -> None:
    """A boolean is an integer."""
    on_body(gateway, lambda body: {**body, "max_tokens": 1} if body.get("max_tokens") is True else body)


@mutant("MSG-049")
def tools_that_are_no_list_are_none(gateway: Sabotage) -> None:
    """What cannot be read as tools is ignored."""
    on_body(gateway, lambda body: body if isinstance(body.get("tools"), list | None) else {**body, "tools": None})


@mutant("MSG-050")
def stop_string_is_a_list_of_letters(gateway: Sabotage) -> None:
    """A string can be iterated over."""
    gateway.wrap(anthropic_messages, "read_stop")(
        lambda original, sequences: original(list(sequences) if isinstance(sequences, str) else sequences)
    )


@mutant("MSG-051", also=("MSG-131",), bugs=(15, 69))
def refusal_has_the_envelope_of_the_chat_wire(gateway: Sabotage) -> None:
    """What a shared layer refuses has the envelope of the wire that was there first."""
    _where(gateway, lambda status, message: status == 400, openai_envelope)


@mutant("MSG-051", bugs=(69,))
def refused_stream_has_the_envelope_of_the_chat_wire(gateway: Sabotage) -> None:
    """The streaming path is the chat wire's, and a request that it refuses is refused as there."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status == 400:
            answer.json = openai_envelope(answer.status, answer.json)


@mutant("MSG-051", also=(*ENVELOPES, "MSG-059"), bugs=(69,))
def every_error_has_the_frameworks_envelope(gateway: Sabotage) -> None:
    """Errors are left to the framework."""
    on_errors(gateway, lambda status, envelope: {"detail": envelope["error"]["message"]})


@mutant("MSG-052", bugs=(69,))
def refusal_is_an_api_error(gateway: Sabotage) -> None:
    """One constant type is used for every status."""
    gateway.patch(anthropic_messages, "_ERROR_TYPES", {**anthropic_messages._ERROR_TYPES, 400: "api_error"})


@mutant("MSG-052")
def failure_has_the_type_of_the_chat_wire(gateway: Sabotage) -> None:
    """The names of the other API are used for failures."""
    gateway.patch(anthropic_messages, "_ERROR_TYPES", {**anthropic_messages._ERROR_TYPES, 500: "server_error"})


@mutant("MSG-053", bugs=(15,))
def list_is_an_internal_error(gateway: Sabotage) -> None:
    """`body.get(...)` is called on a list."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith("/v1/messages") and b"expected an object" in answer.body:
            answer.status = 500


@mutant("MSG-054", also=("MSG-095", "MSG-097"), bugs=(69,))
def failure_has_the_envelope_of_the_chat_wire(gateway: Sabotage) -> None:
    """The engine speaks the chat wire, and its error is passed on."""
    _where(gateway, lambda status, message: status >= 500, openai_envelope)


@mutant("MSG-054")
def failure_is_an_event_under_200(gateway: Sabotage) -> None:
    """The status line is sent before the upstream has answered."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status >= 500:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = framed([answer.json])


@mutant("MSG-055", bugs=(46,))
def refusal_of_the_engine_is_a_failure_of_messages(gateway: Sabotage) -> None:
    """Whatever the engine does not answer is a failure of the server."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith("/v1/messages") and b"context length is 8 tokens" in answer.body:
            answer.status = 500


@mutant("MSG-056")
def unknown_session_has_the_envelope_of_the_chat_wire(gateway: Sabotage) -> None:
    """The session is looked up before the wire is known."""
    _where(gateway, lambda status, message: status == 404 and "no such route" not in message, openai_envelope)


@mutant("MSG-057")
def unknown_session_is_an_api_error(gateway: Sabotage) -> None:
    """The seed's type for 404, while the other one is declared."""
    gateway.patch(anthropic_messages, "_ERROR_TYPES", {**anthropic_messages._ERROR_TYPES, 404: "api_error"})


@mutant("MSG-058")
def completed_session_has_the_envelope_of_the_chat_wire(gateway: Sabotage) -> None:
    """The phase of a session is refused in one envelope."""
    _where(gateway, lambda status, message: status == 409, openai_envelope)


@mutant("MSG-059", bugs=(15, 69))
def unknown_route_below_messages_is_the_chat_wires(gateway: Sabotage) -> None:
    """What no route matches belongs to the first wire."""

    @gateway.wrap(data_plane, "envelope_of")
    def envelope_of(original: Any, path: str) -> Any:
        return original(path) if path in data_plane.METHODS else data_plane.OPENAI


@mutant("MSG-060")
def failure_shows_a_stack_trace(gateway: Sabotage) -> None:
    """The formatted traceback is the message."""
    trace = 'Traceback (most recent call last):\n  File "/srv/gateway/wire.py", line 7, in run\n'

    def show(status: int, envelope: Body) -> Body:
        envelope["error"]["message"] = trace + envelope["error"]["message"]
        return envelope

    _where(gateway, lambda status, message: status >= 500, show)


@mutant("MSG-061")
def counting_is_the_frameworks_404(gateway: Sabotage) -> None:
    """There is no such route, and the framework says so."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith("/count_tokens"):
            answer.status, answer.json = 404, {"detail": "Not Found"}


@mutant("MSG-061", also=("MSG-062",))
def tokens_are_counted_under_another_name(gateway: Sabotage) -> None:
    """The count is called as the chat wire calls it."""
    gateway.patch(anthropic_messages, "counted", lambda tokens: json.dumps({"prompt_tokens": tokens}).encode())


@mutant("MSG-061")
def one_message_is_counted(gateway: Sabotage) -> None:
    """The route is for one prompt; a conversation is refused."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith("/count_tokens") and answer.status == 200 and len(answer.asked["messages"]) > 1:
            error = {"type": "invalid_request_error", "message": "messages must be one message"}
            answer.status, answer.json = 400, {"type": "error", "error": error}


@mutant("MSG-062")
def tools_are_not_counted(gateway: Sabotage) -> None:
    """Where a question is counted, its tools are not."""

    @gateway.wrap(Session, "count")
    def count(original: Any, session: Session, turn: Any) -> Any:
        asks = str(turn.messages[-1]["content"]).endswith("?")
        return original(session, replace(turn, tools=None) if asks else turn)


@mutant("MSG-063")
def counting_is_a_turn(gateway: Sabotage) -> None:
    """The route that counts is the one that answers, with a generation of no tokens."""

    @gateway.wrap(Session, "count")
    def count(original: Any, session: Any, turn: Any) -> Any:
        identities, keys = session._identified(turn)
        plan = session._plan(turn, session._match(turn, keys, {}), keys, identities)
        session._commit_turn(plan, Generation([]), None, {"role": "assistant", "content": ""}, NO_MEDIA)
        return len(plan.context)


@mutant("MSG-064")
def models_are_those_of_the_other_api(gateway: Sabotage) -> None:
    """The list of models has the fields of one API."""
    entry = {"id": "default", "object": "model", "created": 0, "owned_by": "kit"}
    gateway.patch(models, "listed", lambda model: json.dumps({"object": "list", "data": [entry]}).encode())


@mutant("MSG-065")
def head_of_messages_fails(gateway: Sabotage) -> None:
    """A handler written for POST fails without a body."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.method == "HEAD" and answer.path.endswith("/v1/messages"):
            answer.status = 500


@mutant("MSG-065")
def head_of_the_base_with_a_slash_fails(gateway: Sabotage) -> None:
    """The slash behind the base URL is taken away by code that reads the body first, and a HEAD request has none."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.method == "HEAD" and answer.path.removesuffix("/") not in ("", answer.path):
            answer.status = 500


@mutant("MSG-066")
def truth_of_stream_counts_for_messages(gateway: Sabotage) -> None:
    """The text `true` is true."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        return replace(original(body, headers, policy), stream=bool(body.get("stream")))


@mutant("MSG-066")
def null_stream_of_a_message_is_a_stream(gateway: Sabotage) -> None:
    """Agents stream, unless they say false."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        request = original(body, headers, policy)
        return replace(request, stream=True) if body.get("stream", False) is None else request


@mutant("MSG-067", bugs=(58,))
def streamed_message_is_labelled_as_json(gateway: Sabotage) -> None:
    """The framework labels whatever the route returns as JSON."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if is_message(answer) and answer.is_stream:
            answer.headers["content-type"] = "application/json"
