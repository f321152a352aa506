"""Mutants of area WIRE: what a gateway makes of requests that are wrong in one place."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.serving import responses
from reference_gateway.wire import (
    anthropic_messages,
    invocations,
    openai_chat,
    openai_messages,
    openai_responses,
    responses_items,
)
from tests.mutants.msg_wire import on_turn
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import on_parse
from tests.mutants.sabotage import Answer, App, Sabotage, Scope

CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"
RESPONSES, CONVERSATIONS, INVOCATIONS = "/v1/responses", "/v1/conversations", "/v1/invocations"

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def refused_by_the_framework(gateway: Sabotage, path: str, status: int, text: str = "") -> None:
    """Refusals with this status, and with `text` in them, come in the framework's own envelope."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        said = answer.body.decode()
        if answer.path.endswith(path) and answer.status == status and text in said:
            answer.json = {"detail": [{"loc": ["body"], "msg": said}]}


def refused_in_one_sentence(gateway: Sabotage, path: str, about: str = "") -> None:
    """Whatever is wrong with a request, or with what `about` names, the refusal says the same."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith(path) and answer.status == 400:
            document = answer.json
            if about in document["error"]["message"]:
                document["error"]["message"] = "invalid request"
                answer.json = document


def run_before_it_is_refused(gateway: Sabotage, path: str, *fields: str, only: str = "", **other: Any) -> None:
    """A request is run for these of its fields and the `other` ones, and refused then for another; where it has the
    field `only`, and repeats nothing that was said."""

    @gateway.middleware
    def running(app: App) -> App:
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope.get("path", "").endswith(path) or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            whole, sent = await receive(), list[Any]()
            await app(scope, once(whole, receive), keep_in(sent))
            body = read(whole)
            refused = (
                sent
                and sent[0]["status"] in (400, 422)
                and not any(b"Duplicate" in message.get("body", b"") for message in sent)
            )
            if refused and only in ("", *body):
                kept = {name: body[name] for name in fields if name in body} | other
                await app(scope, once({**whole, "body": json.dumps(kept).encode()}, receive), keep_in([]))
            for message in sent:
                await send(message)

        return run


def once(first: Any, then: Receive) -> Receive:
    """Receives this message, and then what comes."""
    waiting = [first]

    async def receive() -> Any:
        return waiting.pop() if waiting else await then()

    return receive


def keep_in(sent: list[Any]) -> Send:
    async def send(message: Any) -> None:
        sent.append(message)

    return send


def read(message: Any) -> dict[str, Any]:
    try:
        body = json.loads(message.get("body", b""))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


# chat completions -----------------------------------------------------------------------------------------------------


@mutant("WIRE-001")
def stream_options_are_read_before_their_type_is_known(gateway: Sabotage) -> None:
    """`stream_options` that are a list are asked for a key, which is an internal error."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: dict[str, Any], *rest: Any) -> Any:
        (body.get("stream_options") or {}).get("include_usage")
        return original(body, *rest)


@mutant("WIRE-001")
def roles_are_validated_by_the_framework(gateway: Sabotage) -> None:
    """A message without a role is refused in the framework's envelope."""
    refused_by_the_framework(gateway, CHAT, 400, "].role must be")


@mutant("WIRE-001")
def deep_metadata_closes_the_connection(gateway: Sabotage) -> None:
    """A worker dies of nested metadata, and its connection with it."""

    @gateway.middleware
    def dying(app: App) -> App:
        async def die(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope.get("path", "").endswith(CHAT):
                await app(scope, receive, send)
                return
            whole = await receive()
            if isinstance(read(whole).get("metadata"), list):
                raise ConnectionAbortedError
            await app(scope, once(whole, receive), send)

        return die


@mutant("WIRE-002")
def refusals_of_tools_say_one_thing(gateway: Sabotage) -> None:
    """Whatever is wrong with a tool of a chat request, the refusal says the same."""
    refused_in_one_sentence(gateway, CHAT, "tools[")


@mutant("WIRE-003")
def chat_is_run_before_its_tools_are_looked_at(gateway: Sabotage) -> None:
    """A chat request with `stream_options` is run, and then refused for another of its fields."""
    run_before_it_is_refused(gateway, CHAT, "model", "messages", only="stream_options")


# messages -------------------------------------------------------------------------------------------------------------


@mutant("WIRE-004")
def tool_choice_of_a_message_is_read_before_its_type_is_known(gateway: Sabotage) -> None:
    """A `tool_choice` that is a text is asked for its type, which is an internal error."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: dict[str, Any], *rest: Any) -> Any:
        (body.get("tool_choice") or {}).get("type")
        return original(body, *rest)


@mutant("WIRE-004")
def counting_is_validated_by_the_framework(gateway: Sabotage) -> None:
    """A request to count tokens is refused in the framework's envelope."""
    refused_by_the_framework(gateway, COUNT, 400)


@mutant("WIRE-005")
def refusals_of_messages_say_one_thing(gateway: Sabotage) -> None:
    """Whatever is wrong with a message request, the refusal says the same."""
    refused_in_one_sentence(gateway, MESSAGES)


@mutant("WIRE-006")
def message_is_run_before_its_tools_are_looked_at(gateway: Sabotage) -> None:
    """A message request is run, and then refused for another of its fields."""
    run_before_it_is_refused(gateway, MESSAGES, "model", "max_tokens", "messages")


# responses ------------------------------------------------------------------------------------------------------------


@mutant("WIRE-007")
def text_of_a_response_is_read_before_its_type_is_known(gateway: Sabotage) -> None:
    """A `reasoning` that is a text is asked for its effort, which is an internal error."""

    @gateway.wrap(responses, "parse")
    def parse(original: Any, body: dict[str, Any], *rest: Any) -> Any:
        (body.get("reasoning") or {}).get("effort")
        return original(body, *rest)


@mutant("WIRE-007")
def items_are_validated_by_the_framework(gateway: Sabotage) -> None:
    """An item without a `call_id` is refused in the framework's envelope."""
    refused_by_the_framework(gateway, RESPONSES, 400, ".call_id must be")


@mutant("WIRE-008")
def refusals_of_formats_say_one_thing(gateway: Sabotage) -> None:
    """Whatever is wrong with the `text` of a request for a response, the refusal says the same."""
    refused_in_one_sentence(gateway, RESPONSES, "text.format")


@mutant("WIRE-009")
def response_is_made_before_its_tools_are_looked_at(gateway: Sabotage) -> None:
    """A request for a response is run, and then refused for another of its fields."""
    run_before_it_is_refused(gateway, RESPONSES, "model", "input", "instructions")


@mutant("WIRE-010")
def conversation_has_the_input_of_refused_requests(gateway: Sabotage) -> None:
    """The input is put into the conversation before the rest of the request is looked at."""
    run_before_it_is_refused(gateway, RESPONSES, "model", "conversation", only="conversation", input="And now?")


@mutant("WIRE-011")
def metadata_of_a_conversation_is_read_before_its_type_is_known(gateway: Sabotage) -> None:
    """The `metadata` of a conversation that is a text is asked for its items, which is an internal error."""

    @gateway.wrap(openai_responses, "_metadata")
    def metadata(original: Any, body: dict[str, Any]) -> Any:
        if "input" not in body:
            dict((body.get("metadata") or {}).items())
        return original(body)


@mutant("WIRE-012")
def items_of_a_conversation_are_refused_as_input(gateway: Sabotage) -> None:
    """The refusal of a conversation speaks of `input`, which the request does not have."""

    @gateway.wrap(openai_responses, "read_input")
    def read_input(original: Any, given: Any, known: Any, *rest: Any) -> Any:
        return responses_items.read_input(given, known, *rest[:1])


# invocations ----------------------------------------------------------------------------------------------------------


@mutant("WIRE-013")
def session_id_is_hashed_before_its_type_is_known(gateway: Sabotage) -> None:
    """A `session_id` that is a list is looked up, which is an internal error."""

    @gateway.wrap(invocations, "parse")
    def parse(original: Any, content: bytes, *rest: Any) -> Any:
        {}.get(read({"body": content}).get("session_id"))
        return original(content, *rest)


@mutant("WIRE-013")
def stream_flag_is_validated_by_the_framework(gateway: Sabotage) -> None:
    """A `stream` that is no boolean is refused in the framework's envelope."""
    refused_by_the_framework(gateway, INVOCATIONS, 422, "'stream'")


@mutant("WIRE-014")
def invocation_is_run_before_its_flag_is_looked_at(gateway: Sabotage) -> None:
    """An invocation is run, and then refused for its `stream`."""
    run_before_it_is_refused(gateway, INVOCATIONS, "message", "session_id")


# parts and answers ----------------------------------------------------------------------------------------------------


@mutant("WIRE-040")
def tool_of_the_provider_is_offered(gateway: Sabotage) -> None:
    """A call of a search that the model was not offered is the client's to answer."""
    asked: ContextVar[bool] = ContextVar("asked", default=False)

    def note(body: dict[str, Any], turn: Any) -> Any:
        asked.set(_has_search(body.get("tools")))
        return turn

    on_turn(gateway, note)
    _hand_on_searches(gateway, asked)


@mutant("WIRE-041")
def hosted_tool_is_offered(gateway: Sabotage) -> None:
    """A call of a search that the model was not offered is the client's to answer."""
    asked: ContextVar[bool] = ContextVar("asked", default=False)

    def note(body: dict[str, Any]) -> dict[str, Any]:
        asked.set(_has_search(body.get("tools")))
        return body

    on_parse(gateway, note)
    _hand_on_searches(gateway, asked)


def _has_search(tools: Any) -> bool:
    return isinstance(tools, list) and any(
        isinstance(tool, dict) and str(tool.get("type")).startswith("web_search") for tool in tools
    )


def _hand_on_searches(gateway: Sabotage, asked: ContextVar[bool]) -> None:
    """Calls of `web_search` are found in what is sampled, where it was asked for, whatever the model was offered."""

    @gateway.wrap(TemplateCodec, "decode")
    def decode(original: Any, codec: Any, ids: Any, tools: Any, **how: Any) -> Any:
        search = [{"type": "function", "function": {"name": "web_search"}}]
        return original(codec, ids, [*(tools or ()), *search] if asked.get() else tools, **how)


@mutant("WIRE-026")
def unknown_parts_are_left_out(gateway: Sabotage) -> None:
    """Of a message's parts those of an unknown type are left out."""

    @gateway.wrap(openai_messages, "_content")
    def content(original: Any, found: Any, *rest: Any) -> Any:
        if isinstance(found, list):
            found = [part for part in found if not isinstance(part, dict) or part.get("type") != "hologram"]
        return original(found, *rest)


def told_with_its_place(answer: Answer, text: str) -> str:
    return f'{text} (File "/srv/gateway/app.py", line 88, in {answer.path.rpartition("/")[2]})'


@mutant("WIRE-027")
def refusal_of_a_response_tells_its_place(gateway: Sabotage) -> None:
    """The message of a refusal names the place in the source where it was raised."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith(RESPONSES) and answer.status == 400:
            document = answer.json
            document["error"]["message"] = told_with_its_place(answer, document["error"]["message"])
            answer.json = document


@mutant("WIRE-027")
def failure_of_a_response_tells_its_place(gateway: Sabotage) -> None:
    """The message of a failure names the place in the source where it was raised."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith(RESPONSES) and answer.status >= 500:
            document = answer.json
            document["error"]["message"] = told_with_its_place(answer, document["error"]["message"])
            answer.json = document
