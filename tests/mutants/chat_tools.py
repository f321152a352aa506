"""Mutants of area CHAT: tools and tool calls."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.codec import template
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session import session as session_module
from reference_gateway.types import Turn
from reference_gateway.wire import openai_chat, openai_messages
from reference_gateway.wire.base import RequestRefused
from tests.mutants.chat_wire import Body, on_answer, on_this_wire, on_turn, saying
from tests.mutants.found_calls import all_text, by_name, doubled, respelled, with_invented, without_malformed
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

ANY_TOOL = {"type": "function", "function": {"name": "any"}}


def _on_calls(gateway: Sabotage, change: Any) -> None:
    """Replace what the parser found for a chat completion: `change(text, rest, calls)` gives the content and the
    calls."""
    chat = on_this_wire(gateway)

    @gateway.wrap(template, "parse_calls")
    def parse_calls(original: Any, parser: Any, text: str, tools: Any) -> Any:
        rest, calls = original(parser, text, tools)
        return change(text, rest, calls) if chat.get() else (rest, calls)


def _arguments(call: Any) -> dict[str, Any]:
    found: dict[str, Any] = call["function"]["arguments"]
    return found


def _in_plain_calls(gateway: Sabotage, change: Any, *, after: int = 0) -> None:
    """Change each call of the plain answers, but for the first `after`."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.is_plain_completion:
            document = answer.json
            for call in document["choices"][0]["message"].get("tool_calls", [])[after:]:
                change(call)
            answer.json = document


def _parse_where(gateway: Sabotage, wanted: Any) -> None:
    """Run the tool parser on the answers to requests that `wanted(body)` holds for."""
    parsing: ContextVar[bool] = ContextVar("parsing", default=False)

    def note(body: Body, turn: Turn) -> Turn:
        parsing.set(bool(wanted(body)))
        return turn

    on_turn(gateway, note)

    @gateway.wrap(TemplateCodec, "decode")
    def decode(original: Any, codec: Any, ids: Any, tools: Any, **how: Any) -> Any:
        return original(codec, ids, tools or ([ANY_TOOL] if parsing.get() else None), **how)


@mutant("CHAT-047", bugs=(37,))
def tools_with_a_choice_are_not_rendered(gateway: Sabotage) -> None:
    """A request that says `tool_choice` is taken for one that forces a call, which needs no tools in the template."""
    chosen: ContextVar[bool] = ContextVar("chosen", default=False)

    def note(body: Body, turn: Turn) -> Turn:
        chosen.set(body.get("tool_choice") is not None)
        return turn

    on_turn(gateway, note)

    @gateway.wrap(TemplateCodec, "encode")
    def encode(original: Any, codec: Any, messages: Any, tools: Any, kwargs: Any, **how: Any) -> Any:
        return original(codec, messages, None if chosen.get() else tools, kwargs, **how)


@mutant("CHAT-048")
def further_tool_calls_have_no_type(gateway: Sabotage) -> None:
    """Calls after the first one are appended to a plain answer without their type."""
    _in_plain_calls(gateway, lambda call: call.pop("type"), after=1)


@mutant("CHAT-049")
def tool_call_ids_start_anew(gateway: Sabotage) -> None:
    """The ids of calls are counted from 0 in each answer."""
    _on_calls(
        gateway,
        lambda text, rest, calls: (rest, [{**call, "id": f"call_{place}"} for place, call in enumerate(calls)]),
    )


@mutant("CHAT-050", also=("SHAPE-002",), bugs=(2,))
def arguments_are_an_object(gateway: Sabotage) -> None:
    """The parsed arguments are returned in place of their text."""

    def parse(call: Any) -> None:
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])

    _in_plain_calls(gateway, parse)


@mutant("CHAT-050", bugs=(23,))
def constants_in_arguments_are_text(gateway: Sabotage) -> None:
    """The constants of arguments are written as another language prints them."""

    def spelled(call: Any) -> Any:
        written = {True: "True", False: "False", None: "None"}
        arguments = {
            name: written[value] if isinstance(value, bool | None) else value
            for name, value in _arguments(call).items()
        }
        return {**call, "function": {**call["function"], "arguments": arguments}}

    _on_calls(gateway, lambda text, rest, calls: (rest, [*map(spelled, calls)]))


@mutant("CHAT-050")
def integers_of_arguments_are_doubles(gateway: Sabotage) -> None:
    """The arguments go through a reader that knows one kind of number."""
    _on_calls(gateway, doubled)


@mutant("CHAT-050")
def strings_of_arguments_are_typed_by_their_look(gateway: Sabotage) -> None:
    """What looks like a number or a boolean becomes one, though the tool asks for a string."""
    _on_calls(gateway, respelled)


@mutant("CHAT-051")
def tool_calls_beside_text_end_with_stop(gateway: Sabotage) -> None:
    """A completion with text has the engine's own reason, also beside tool calls, and agents end their loop."""
    chat = on_this_wire(gateway)

    @gateway.wrap(session_module, "finish_reason")
    def finish_reason(original: Any, stop_reason: Any, message: Any, *stopped: Any) -> Any:
        return original(stop_reason, {} if chat.get() and message["content"].strip() else message, *stopped)


@mutant("CHAT-052", bugs=(37,))
def raw_text_stays_beside_its_calls(gateway: Sabotage) -> None:
    """The whole text is returned beside the calls that were found in it."""
    _on_calls(gateway, lambda text, rest, calls: (text if rest.strip() else rest, calls))


@mutant("CHAT-052", also=("CHAT-100", "CHAT-154"))
def text_beside_a_call_is_dropped(gateway: Sabotage) -> None:
    """An answer with calls has no content."""
    on_answer(gateway, lambda answer: saying(answer, content="") if answer.message.get("tool_calls") else answer)


@mutant("CHAT-053")
def calls_are_grouped_by_name(gateway: Sabotage) -> None:
    """The calls are collected for each function, and come back in the order of their names."""
    _on_calls(gateway, lambda text, rest, calls: (rest, sorted(calls, key=lambda call: str(call["function"]["name"]))))


@mutant("CHAT-054")
def malformed_call_is_dropped(gateway: Sabotage) -> None:
    """A call that cannot be parsed is cut out of the content."""
    chat = on_this_wire(gateway)

    @gateway.wrap(TemplateCodec, "decode")
    def decode(original: Any, codec: Any, ids: Any, tools: Any, **how: Any) -> Any:
        message = original(codec, ids, tools, **how)
        if not tools or not chat.get() or message.get("tool_calls"):
            return message
        return {**message, "content": message["content"].partition("<tool_call>")[0]}


@mutant("CHAT-054", also=("TOKEN-029",), bugs=(39,))
def malformed_call_is_an_internal_error(gateway: Sabotage) -> None:
    """The parser's exception is not caught."""

    def crash(text: str, rest: str, calls: Any) -> Any:
        if "<tool_call>" in text and not calls:
            raise ValueError("Expecting value: line 1 column 44 (char 43)")
        return rest, calls

    _on_calls(gateway, crash)


@mutant("CHAT-100")
def text_of_a_malformed_call_is_dropped(gateway: Sabotage) -> None:
    """Beside a call that was found, the content ends where the markup of any call begins."""
    _on_calls(gateway, without_malformed)


@mutant("CHAT-100", also=("CHAT-101",))
def call_beside_a_malformed_one_is_lost(gateway: Sabotage) -> None:
    """The calls that were found are thrown away at the one that can't be parsed."""
    on_answer(
        gateway,
        lambda answer: saying(answer, tool_calls=[]) if "<tool_call>" in answer.message["content"] else answer,
    )


@mutant("CHAT-100", also=("CHAT-101",))
def malformed_call_is_a_call_without_arguments(gateway: Sabotage) -> None:
    """What the arguments of a call can't be parsed from, it is made without."""
    _on_calls(gateway, with_invented)


@mutant("CHAT-101", bugs=(54,))
def malformed_call_makes_text_of_all(gateway: Sabotage) -> None:
    """One exception of the parser, and the whole answer is content."""
    _on_calls(gateway, all_text)


@mutant("CHAT-102")
def calls_are_kept_by_name(gateway: Sabotage) -> None:
    """Where there are more than two, calls are kept in a table of names, in which the last call of a tool wins."""
    _on_calls(gateway, lambda text, rest, calls: (rest, by_name(calls) if len(calls) > 2 else calls))


@mutant("CHAT-055")
def parser_runs_without_tools(gateway: Sabotage) -> None:
    """The tool parser runs on every answer."""
    _parse_where(gateway, lambda body: body.get("tool_choice") != "none")


@mutant("CHAT-056")
def parser_ignores_the_tool_choice(gateway: Sabotage) -> None:
    """The tool parser looks at the request's tools and not at its tool choice."""
    _parse_where(gateway, lambda body: body.get("tools"))


@mutant("CHAT-057")
def forbidden_tools_are_rendered(gateway: Sabotage) -> None:
    """The tools are rendered although none may be called."""
    forbidden: ContextVar[bool] = ContextVar("forbidden", default=False)

    def note(body: Body, turn: Turn) -> Turn:
        forbidden.set(body.get("tool_choice") == "none")
        return replace(turn, tools=body.get("tools") or None) if forbidden.get() else turn

    on_turn(gateway, note)

    @gateway.wrap(TemplateCodec, "decode")
    def decode(original: Any, codec: Any, ids: Any, tools: Any, **how: Any) -> Any:
        return original(codec, ids, None if forbidden.get() else tools, **how)


@mutant("CHAT-058")
def two_objects_in_arguments_are_refused(gateway: Sabotage) -> None:
    """Two calls whose arguments a broken stream ran together cannot be sent back."""

    @gateway.wrap(openai_messages, "parse_arguments")
    def parse_arguments(original: Any, text: str) -> Any:
        if "}{" in text:
            raise RequestRefused("tool call arguments have data behind their end")
        return original(text)


@mutant("CHAT-058", also=("SPLIT-043", "SPLIT-044"), bugs=(54,))
def malformed_arguments_are_refused(gateway: Sabotage) -> None:
    """The arguments of a history are parsed for the template without a fallback."""

    @gateway.wrap(openai_messages, "parse_arguments")
    def parse_arguments(original: Any, text: str) -> Any:
        arguments = original(text)
        if isinstance(arguments, str):
            raise RequestRefused("tool call arguments are not valid JSON")
        return arguments


@mutant("CHAT-140")
def tools_are_printed_as_they_came(gateway: Sabotage) -> None:
    """A description that is null is printed as null."""
    gateway.patch(openai_chat, "_without_nulls", lambda tool: tool)
