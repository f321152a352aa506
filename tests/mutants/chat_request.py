"""Mutants of area CHAT: the request's messages and fields."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from reference_gateway.wire import openai_chat, openai_messages
from reference_gateway.wire.base import RequestRefused
from tests.mutants.chat_wire import Body, on_body
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

KNOWN = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "n", "response_format", "stop"),
        *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "logprobs", "top_logprobs"),
        *("presence_penalty", "frequency_penalty", "logit_bias", "seed", "parallel_tool_calls", "metadata", "user"),
        *("store", "chat_template_kwargs", "modalities"),
    }
)


def _on_message(gateway: Sabotage, change: Callable[[Any], Any]) -> None:
    @gateway.wrap(openai_messages, "_message")
    def message(original: Any, each: Any, *where: Any) -> Any:
        return original(change(each), *where)


@mutant("CHAT-019")
def one_message_is_taken_for_a_list(gateway: Sabotage) -> None:
    """A single message in the place of the list is wrapped, and served."""

    def wrap(body: Body) -> Body:
        messages = body.get("messages")
        return {**body, "messages": [messages]} if isinstance(messages, dict) else body

    on_body(gateway, wrap)


@mutant("CHAT-020")
def boolean_is_taken_for_text(gateway: Sabotage) -> None:
    """Content that is a boolean is turned into text."""

    def change(message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        return {**message, "content": str(content)} if isinstance(content, bool) else message

    _on_message(gateway, change)


@mutant("CHAT-020", bugs=(46,))
def missing_role_is_an_internal_error(gateway: Sabotage) -> None:
    """The role is read before anything is validated."""

    def change(message: Any) -> Any:
        if isinstance(message, dict) and "role" not in message:
            raise KeyError("role")
        return message

    _on_message(gateway, change)


@mutant("CHAT-021")
def tool_calls_that_are_no_list_are_dropped(gateway: Sabotage) -> None:
    """A history whose `tool_calls` cannot be read is served without them."""

    def change(message: Any) -> Any:
        if isinstance(message, dict) and not isinstance(message.get("tool_calls", []), list):
            return {name: value for name, value in message.items() if name != "tool_calls"}
        return message

    _on_message(gateway, change)


@mutant("CHAT-021", bugs=(46,))
def call_without_function_is_an_internal_error(gateway: Sabotage) -> None:
    """A call's function is read before anything is validated."""

    @gateway.wrap(openai_messages, "_call")
    def call(original: Any, each: Any, where: str) -> Any:
        each["function"]["name"]
        return original(each, where)


@mutant("CHAT-022")
def content_must_be_there(gateway: Sabotage) -> None:
    """Each message must have the field `content`."""

    def change(message: Any) -> Any:
        if isinstance(message, dict) and message.get("role") == "assistant" and "content" not in message:
            raise RequestRefused("content is required")
        return message

    _on_message(gateway, change)


@mutant("CHAT-023")
def text_part_ends_its_line(gateway: Sabotage) -> None:
    """The text parts of a user message are joined as lines."""

    def change(message: Any) -> Any:
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), list):
            return {**message, "content": [*message["content"], {"type": "text", "text": "\n"}]}
        return message

    _on_message(gateway, change)


def _on_text(gateway: Sabotage, change: Callable[[str], str]) -> None:
    def changed(message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        return {**message, "content": change(content)} if isinstance(content, str) else message

    _on_message(gateway, changed)


@mutant("CHAT-024")
def message_text_is_normalised(gateway: Sabotage) -> None:
    """Message text is brought into Unicode's composed form."""
    _on_text(gateway, lambda text: unicodedata.normalize("NFC", text))


@mutant("CHAT-024")
def message_lines_end_with_lf(gateway: Sabotage) -> None:
    """Line ends of messages are unified."""
    _on_text(gateway, lambda text: text.replace("\r\n", "\n"))


@mutant("CHAT-025")
def unknown_message_field_is_refused(gateway: Sabotage) -> None:
    """The message model forbids fields that its provider does not have."""

    def change(message: Any) -> Any:
        if isinstance(message, dict) and "cache_control" in message:
            raise RequestRefused("cache_control: extra fields are not permitted")
        return message

    _on_message(gateway, change)


@mutant("CHAT-026", bugs=(66,))
def unknown_request_field_is_refused(gateway: Sabotage) -> None:
    """The request model forbids extra fields, and knows those of an early version of the API."""

    def change(body: Body) -> Body:
        for name in body:
            if name not in KNOWN:
                raise RequestRefused(f"{name}: extra fields are not permitted")
        return body

    on_body(gateway, change)


@mutant("CHAT-027")
def null_n_is_refused(gateway: Sabotage) -> None:
    """The gate of `n` tests whether the field is there."""

    def change(body: Body) -> Body:
        if "n" in body and body["n"] != 1:
            raise RequestRefused(f"n={body['n']} is not supported")
        return body

    on_body(gateway, change)


@mutant("CHAT-028", bugs=(54,))
def tool_choice_needs_tools(gateway: Sabotage) -> None:
    """A tool choice is refused where there are no tools, even the choice of none."""

    def change(body: Body) -> Body:
        if body.get("tool_choice") is not None and not body.get("tools"):
            raise RequestRefused("tool_choice is only allowed when tools are given")
        return body

    on_body(gateway, change)


@mutant("CHAT-080")
def late_developer_is_dropped(gateway: Sabotage) -> None:
    """The template knows the roles of a conversation, and a developer who speaks in the middle is none of them."""

    @gateway.wrap(openai_chat, "read_messages")
    def read(original: Any, *given: Any) -> Any:
        messages = original(*given)
        return [one for at, one in enumerate(messages) if one["role"] != "developer" or at < 2]


@mutant("CHAT-081")
def empty_arguments_reach_the_template(gateway: Sabotage) -> None:
    """Arguments that are an empty text are handed to the template as they are."""

    @gateway.wrap(openai_messages, "_arguments")
    def unread(original: Any, function: Any, where: str) -> Any:
        return "" if function.get("arguments") == "" else original(function, where)
