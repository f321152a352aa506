"""Mutants of area MSG: what is read of a request."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from reference_gateway.session.session import Session
from reference_gateway.wire import anthropic_messages, anthropic_request
from reference_gateway.wire.base import RequestRefused
from tests.mutants.msg_wire import Body, on_body, on_lowered, on_messages, on_turn, over_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import App, Sabotage

KNOWN = {
    *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "stop_sequences", "stream", "metadata"),
    *("temperature", "top_p", "top_k", "thinking"),
}


def _on_read_tools(gateway: Sabotage, change: Any) -> None:
    gateway.wrap(anthropic_messages, "read_tools")(change)


@mutant("MSG-019")
def max_tokens_of_a_message_are_dropped(gateway: Sabotage) -> None:
    """The limit is the gateway's own."""
    on_turn(gateway, lambda body, turn: replace(turn, max_tokens=None))


@mutant("MSG-020")
def temperature_0_of_a_message_is_absent(gateway: Sabotage) -> None:
    """`value or default` takes 0 for absent."""
    on_turn(
        gateway,
        lambda body, turn: replace(turn, sampling={name: value for name, value in turn.sampling.items() if value}),
    )


@mutant("MSG-020")
def top_k_of_a_message_is_unknown(gateway: Sabotage) -> None:
    """The chat wire behind has no `top_k`."""
    on_body(gateway, lambda body: {name: value for name, value in body.items() if name != "top_k"})


@mutant("MSG-021")
def stop_sequences_keep_their_name(gateway: Sabotage) -> None:
    """The engine is not told of `stop_sequences`, and samples on; the gateway cuts what it sends."""
    speaking = over_messages(gateway)

    @gateway.wrap(Session, "_generate")
    async def generate(original: Any, session: Any, context: Any, sampling: Any, *rest: Any) -> Any:
        told = {name: value for name, value in sampling.items() if name != "stop" or not speaking.get()}
        return await original(session, context, told, *rest)


@mutant("MSG-022")
def system_text_is_a_preface_of_the_user(gateway: Sabotage) -> None:
    """Without tools, a system string is put in front of the first message, as for engines without system messages."""

    def preface(body: Body) -> Body:
        system, messages = body.get("system"), body.get("messages")
        if not isinstance(system, str) or not isinstance(messages, list) or body.get("tools"):
            return body
        return {**body, "system": None, "messages": [{"role": "user", "content": system}, *messages]}

    on_body(gateway, preface)


@mutant("MSG-023")
def last_block_of_the_system_is_the_system(gateway: Sabotage) -> None:
    """Only one block of the system is read."""
    on_body(
        gateway,
        lambda body: {**body, "system": body["system"][-1:]} if isinstance(body.get("system"), list) else body,
    )


@mutant("MSG-024")
def each_text_block_is_a_line(gateway: Sabotage) -> None:
    """The texts of a user's blocks are joined with a line end behind each."""

    def user(original: Any, content: Any, *rest: Any) -> Any:
        lowered = original(content, *rest)
        ends = "\n" if isinstance(content, list) else ""
        return [{**each, "content": each["content"] + ends} if each["role"] == "user" else each for each in lowered]

    on_lowered(gateway, "_user", user)


@mutant("MSG-025")
def last_text_block_is_the_text(gateway: Sabotage) -> None:
    """Only one text block of an assistant's message is read."""

    def last(message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) and message.get("role") == "assistant" else None
        if not isinstance(content, list):
            return message
        texts = [each for each in content if isinstance(each, dict) and each.get("type") == "text"]
        return {**message, "content": [each for each in content if each not in texts[:-1]]}

    on_messages(gateway, lambda messages: [*map(last, messages)])


@mutant("MSG-026", also=("MSG-080", "MSG-084"), bugs=(37,))
def description_of_a_tool_is_lost(gateway: Sabotage) -> None:
    """A tool is its name and its schema."""

    def tool(original: Any, *arguments: Any) -> Any:
        found = original(*arguments)
        found["function"].pop("description", None)
        return found

    on_lowered(gateway, "_tool", tool)


@mutant("MSG-026")
def tools_of_a_message_are_sorted(gateway: Sabotage) -> None:
    """The tools are collected by name."""

    def read_tools(original: Any, *arguments: Any) -> Any:
        found = original(*arguments)
        return found and sorted(found, key=lambda tool: str(tool["function"]["name"]))

    _on_read_tools(gateway, read_tools)


@mutant("MSG-027", also=("MSG-130", "MSG-161"))
def any_object_is_a_forced_tool(gateway: Sabotage) -> None:
    """A `tool_choice` that is an object is taken for a named tool, which is not supported."""

    def read_tools(original: Any, tools: Any, choice: Any) -> Any:
        if isinstance(choice, dict) and choice.get("type") == "auto":
            raise RequestRefused("tool_choice as an object is not supported")
        return original(tools, choice)

    _on_read_tools(gateway, read_tools)


@mutant("MSG-027")
def options_of_a_tool_choice_are_refused(gateway: Sabotage) -> None:
    """A `tool_choice` has a type and a name; what else stands in it is not supported."""

    def read_tools(original: Any, tools: Any, choice: Any) -> Any:
        if isinstance(choice, dict) and "disable_parallel_tool_use" in choice:
            raise RequestRefused("disable_parallel_tool_use is not supported")
        return original(tools, choice)

    _on_read_tools(gateway, read_tools)


@mutant("MSG-028", bugs=(66,))
def unknown_fields_of_a_message_are_refused(gateway: Sabotage) -> None:
    """The request model forbids extra fields."""

    def strict(body: Body) -> Body:
        extra = set(body) - KNOWN
        if extra:
            raise RequestRefused(f"extra fields are not permitted: {', '.join(sorted(extra))}")
        return body

    on_body(gateway, strict)


@mutant("MSG-029")
def query_is_part_of_the_path(gateway: Sabotage) -> None:
    """The route of messages is matched with its query."""

    @gateway.middleware
    def around(app: App) -> App:
        async def matched(scope: Any, receive: Any, send: Any) -> None:
            query, path = scope.get("query_string"), scope.get("path", "")
            asked = {**scope, "path": f"{path}?{query.decode()}"} if query and path.endswith("/messages") else scope
            await app(asked, receive, send)

        return matched


@mutant("MSG-030")
def bearer_token_is_not_read(gateway: Sabotage) -> None:
    """The key of a message is looked for in one header."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        if "x-api-key" not in headers:
            raise RequestRefused("x-api-key is missing", status=401)
        return original(body, headers, policy)


@mutant("MSG-030")
def anthropic_client_needs_its_own_header(gateway: Sabotage) -> None:
    """A bearer token is for other clients; one that sends `anthropic-version` has its key in `x-api-key`."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        if "anthropic-version" in headers and "x-api-key" not in headers:
            raise RequestRefused("x-api-key is missing", status=401)
        return original(body, headers, policy)


@mutant("MSG-031")
def null_system_is_refused(gateway: Sabotage) -> None:
    """The presence of the field is tested, not its value."""

    def strict(body: Body) -> Body:
        if "system" in body and body["system"] is None:
            raise RequestRefused("system must be a string or a list")
        return body

    on_body(gateway, strict)


@mutant("MSG-031")
def null_temperature_is_refused(gateway: Sabotage) -> None:
    """A number is a number."""

    def strict(body: Body) -> Body:
        if "temperature" in body and body["temperature"] is None:
            raise RequestRefused("temperature must be a number")
        return body

    on_body(gateway, strict)


@mutant("MSG-032", also=("MSG-039", "MSG-080"))
def tool_result_is_the_users_text(gateway: Sabotage) -> None:
    """A tool's result is what the user says next."""

    def tool_result(original: Any, *arguments: Any) -> Any:
        return [{"role": "user", "content": each["content"]} for each in original(*arguments)]

    on_lowered(gateway, "_tool_result", tool_result)


def _on_content(gateway: Sabotage, change: Any) -> None:
    """Replace the content of each tool result before it is read."""

    def tool_result(original: Any, block: Any, *rest: Any) -> Any:
        return original({**block, "content": change(block.get("content"))}, *rest)

    on_lowered(gateway, "_tool_result", tool_result)


@mutant("MSG-032")
def blocks_of_a_result_are_printed(gateway: Sabotage) -> None:
    """A result in blocks is handed to the template as JSON."""
    _on_content(gateway, lambda content: json.dumps(content) if isinstance(content, list) and content else content)


@mutant("MSG-033")
def result_without_content_says_none(gateway: Sabotage) -> None:
    """What a tool did not return is printed."""
    _on_content(gateway, lambda content: content if content or content == "" else str(content))


@mutant("MSG-034")
def results_are_reversed(gateway: Sabotage) -> None:
    """The results of a message are collected from its end."""

    def user(original: Any, *arguments: Any) -> Any:
        lowered = original(*arguments)
        tools = [each for each in lowered if each["role"] == "tool"]
        return [*tools[::-1], *(each for each in lowered if each["role"] != "tool")]

    on_lowered(gateway, "_user", user)


@mutant("MSG-035")
def failure_of_a_tool_is_not_told(gateway: Sabotage) -> None:
    """`is_error` has no place in a tool message, and is dropped."""
    on_lowered(
        gateway,
        "_tool_result",
        lambda original, block, *rest: original(
            {name: value for name, value in block.items() if name != "is_error"}, *rest
        ),
    )


@mutant("MSG-036")
def unsigned_thinking_is_refused(gateway: Sabotage) -> None:
    """A thinking block must have a signature, which those that come from other models lack."""

    def assistant(original: Any, content: Any, where: str) -> Any:
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature"):
                raise RequestRefused(f"{where}.content: a thinking block needs its signature")
        return original(content, where)

    on_lowered(gateway, "_assistant", assistant)


@mutant("MSG-037")
def reminder_at_the_start_is_lost(gateway: Sabotage) -> None:
    """A reminder is attached to the user message before it; where there is none, it is dropped."""

    def fold(original: Any, between: Any) -> Any:
        while between and between[0]["role"] == "system" and len(between) > 1 and between[1]["role"] == "user":
            between = between[1:]
        return original(between)

    on_lowered(gateway, "_fold", fold)


@mutant("MSG-037", also=("MSG-038", "MSG-039"))
def system_messages_in_the_middle_are_dropped(gateway: Sabotage) -> None:
    """The API's own description knows two roles."""
    on_messages(
        gateway,
        lambda messages: [each for each in messages if not isinstance(each, dict) or each.get("role") != "system"],
    )


@mutant("MSG-038")
def reminder_has_no_tags(gateway: Sabotage) -> None:
    """What the agent reminds of is put among the user's own words."""

    def fold(original: Any, between: Any) -> Any:
        folded = original(between)
        for each in folded:
            for tag in ("<system-reminder>\n", "\n</system-reminder>"):
                each["content"] = each["content"].replace(tag, "")
        return folded

    on_lowered(gateway, "_fold", fold)


@mutant("MSG-039")
def reminder_parts_a_call_from_its_result(gateway: Sabotage) -> None:
    """A reminder becomes a user message in its own place."""

    def fold(original: Any, between: Any) -> Any:
        if len(between) > 1 and between[0]["role"] == "system" and between[1]["role"] == "tool":
            return [*original(between[:1]), *original(between[1:])]
        return original(between)

    on_lowered(gateway, "_fold", fold)


@mutant("MSG-040", also=("MSG-085",), bugs=(17,))
def billing_line_is_rendered(gateway: Sabotage) -> None:
    """The text of the system is passed on as it is."""
    gateway.patch(anthropic_request, "_without_billing", lambda text: text)


@mutant("MSG-040")
def billing_line_is_a_block(gateway: Sabotage) -> None:
    """A block that is the billing line is left out; nothing looks into the others."""

    def without(original: Any, text: str) -> Any:
        return "" if text.lower().startswith("x-anthropic-billing-header") else text

    on_lowered(gateway, "_without_billing", without)
