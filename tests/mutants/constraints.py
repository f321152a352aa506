"""Mutants of areas CHAT, MSG and RESP: answers that are to be held to a format, and calls that are to be forced.

Each starts a gateway that leaves both to its engine, and breaks one wire.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.session.session import Session
from reference_gateway.types import Answer, Constraint, Turn
from reference_gateway.wire import anthropic_messages, openai_chat
from tests.mutants import chat_wire, msg_wire, resp_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

Body = dict[str, Any]
Change = Callable[[Body, Turn], Constraint | None]

ON_BODY: Mapping[str, Callable[[Sabotage, Callable[[Body], Body]], None]] = {
    "chat": chat_wire.on_body,
    "messages": msg_wire.on_body,
    "responses": resp_wire.on_parse,
}
FORCED = ("required", "any")


def _asked(gateway: Sabotage, wire: str) -> ContextVar[Body | None]:
    """The body of the request that is served, where it came over this wire; and a gateway that has the option."""
    gateway.configure(structured_outputs="engine")
    asked: ContextVar[Body | None] = ContextVar(f"asked of {wire}", default=None)

    def note(body: Body) -> Body:
        asked.set(body)
        return body

    ON_BODY[wire](gateway, note)
    return asked


def _on_body(gateway: Sabotage, wire: str, change: Callable[[Body], Body]) -> None:
    gateway.configure(structured_outputs="engine")
    ON_BODY[wire](gateway, change)


def _on_constraint(gateway: Sabotage, wire: str, change: Change) -> None:
    """Hold the engine to another constraint than the request asks for."""
    asked = _asked(gateway, wire)

    @gateway.wrap(Session, "_generate")
    async def generate(original: Any, session: Session, context: Any, sampling: Any, media: Any, turn: Turn) -> Any:
        body = asked.get()
        if body is not None:
            turn = replace(turn, constraint=change(body, turn))
        return await original(session, context, sampling, media, turn)


def _is_first(body: Body, turn: Turn) -> bool:
    return not any(message["role"] == "assistant" for message in turn.messages)


def _has_format(turn: Turn) -> bool:
    return turn.constraint is not None and turn.constraint.schema is not None


def _forces(turn: Turn) -> bool:
    return turn.constraint is not None and turn.constraint.schema is None


def _kind(choice: Any) -> Any:
    """What a tool choice is, on each wire: its word, or its type."""
    return choice.get("type") if isinstance(choice, dict) else choice


def _names_a_tool(body: Body) -> bool:
    return _kind(body.get("tool_choice")) in ("function", "tool")


def _offered(turn: Turn) -> tuple[str, ...]:
    return tuple(tool["function"]["name"] for tool in turn.tools or ())


def _unless(dropped: Callable[[Body, Turn], bool]) -> Change:
    return lambda body, turn: None if dropped(body, turn) else turn.constraint


# What each of the wires can do wrong


def _drop_first_formats(gateway: Sabotage, wire: str, streamed: tuple[bool, ...] = (False, True)) -> None:
    _on_constraint(
        gateway,
        wire,
        _unless(
            lambda body, turn: (
                _has_format(turn)
                and _is_first(body, turn)
                and not turn.tools
                and (body.get("stream") is True) in streamed
            )
        ),
    )


def _drop_formats_beside_tools(gateway: Sabotage, wire: str) -> None:
    _on_constraint(gateway, wire, _unless(lambda body, turn: _has_format(turn) and bool(turn.tools)))


def _keep_constraints(gateway: Sabotage, wire: str, kept: Callable[[Turn], bool]) -> None:
    """What a turn was held to, later turns that have nothing of their own are."""
    asked = _asked(gateway, wire)

    @gateway.wrap(Session, "_generate")
    async def generate(original: Any, session: Session, context: Any, sampling: Any, media: Any, turn: Turn) -> Any:
        if asked.get() is not None and kept(turn):
            session.last_constraint = turn.constraint  # type: ignore[attr-defined]
        elif asked.get() is not None and turn.constraint is None and not _lacks_tools(session, turn):
            turn = replace(turn, constraint=getattr(session, "last_constraint", None))
        return await original(session, context, sampling, media, turn)


def _lacks_tools(session: Session, turn: Turn) -> bool:
    last = getattr(session, "last_constraint", None)
    return last is not None and not set(last.calls) <= set(_offered(turn))


def _fork(gateway: Sabotage, wire: str, marked: Callable[[Turn], Any]) -> None:
    """What a history is known by has the constraint of its turn in it."""
    asked = _asked(gateway, wire)

    @gateway.wrap(Session, "_identified")
    def identified(original: Any, session: Session, turn: Turn) -> Any:
        mark = marked(turn) if asked.get() is not None else None
        if mark is not None:
            tool = {"type": "function", "function": {"name": json.dumps(mark)}}
            turn = replace(turn, tools=[*(turn.tools or ()), tool])
        return original(session, turn)


def _tokenise_again(gateway: Sabotage, wire: str) -> None:
    asked = _asked(gateway, wire)

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, session: Session, plan: Any, generation: Any, *rest: Any) -> Any:
        body = asked.get() or {}
        if any(body.get(name) for name in ("response_format", "output_config", "text")):
            vocabulary: Any = session._codec.vocabulary  # type: ignore[attr-defined]
            ids = vocabulary.encode(vocabulary.decode(generation.ids, keep_control=True))
            generation = replace(generation, ids=ids)
        return original(session, plan, generation, *rest)


def _written_again(text: str) -> str:
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return text


def _write_again(gateway: Sabotage, wire: str, module: Any, field: str) -> None:
    """JSON that was asked for is parsed and written again on its way out."""
    asked = _asked(gateway, wire)

    @gateway.wrap(module, "plain")
    def plain(original: Any, answer: Answer, request: Any) -> Any:
        if (asked.get() or {}).get(field):
            answer = chat_wire.saying(answer, content=_written_again(answer.message["content"]))
        return original(answer, request)


def _any_tool_for_a_named_one(gateway: Sabotage, wire: str) -> None:
    def change(body: Body, turn: Turn) -> Constraint | None:
        if _forces(turn) and _names_a_tool(body):
            return Constraint(None, _offered(turn), turn.constraint.one_call)  # type: ignore[union-attr]
        return turn.constraint

    _on_constraint(gateway, wire, change)


def _first_tool_for_any(gateway: Sabotage, wire: str) -> None:
    def change(body: Body, turn: Turn) -> Constraint | None:
        if _forces(turn) and _kind(body.get("tool_choice")) in FORCED:
            return Constraint(None, _offered(turn)[:1])
        return turn.constraint

    _on_constraint(gateway, wire, change)


def _named(entry: Any) -> Any:
    function = entry.get("function", entry) if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _auto_for_what_is_not_there(gateway: Sabotage, wire: str) -> None:
    def change(body: Body) -> Body:
        choice, tools = body.get("tool_choice"), body.get("tools") or []
        if not isinstance(tools, list):
            return body
        names = [_named(tool) for tool in tools]
        wanted = _named(choice)
        lacking = wanted is not None and wanted not in names
        if lacking or (_kind(choice) in FORCED and not tools):
            return {name: value for name, value in body.items() if name != "tool_choice"}
        return body

    _on_body(gateway, wire, change)


def _is_format(form: Any) -> bool:
    """Whether it is one that the wire documents, with a schema that is an object."""
    if not isinstance(form, dict) or form.get("type") in ("text", "json_object"):
        return True
    holder = form.get("json_schema") if "json_schema" in form else form
    return form.get("type") == "json_schema" and isinstance(holder, dict) and isinstance(holder.get("schema"), dict)


# Chat


@mutant("CHAT-040")
def formats_of_first_answers_are_dropped(gateway: Sabotage) -> None:
    """The gateway says that it honours response formats, and drops the schema of a plain first turn."""
    _drop_first_formats(gateway, "chat", (False,))


@mutant("CHAT-042")
def required_call_of_one_tool_is_left_to_the_model(gateway: Sabotage) -> None:
    """The gateway says that it can force a call, and where there is one tool leaves it to the model."""
    _on_constraint(
        gateway,
        "chat",
        _unless(
            lambda body, turn: (
                _forces(turn)
                and _is_first(body, turn)
                and len(turn.tools or ()) == 1
                and body["tool_choice"] == "required"
            )
        ),
    )


@mutant("CHAT-170")
def formats_of_first_streams_are_dropped(gateway: Sabotage) -> None:
    """The body that streams is put together elsewhere, without the constraint."""
    _drop_first_formats(gateway, "chat", (True,))


@mutant("CHAT-171")
def tools_take_the_place_of_a_format(gateway: Sabotage) -> None:
    """A request with tools is one for calls, and its format is left out."""
    _drop_formats_beside_tools(gateway, "chat")


@mutant("CHAT-172")
def format_takes_the_place_of_calls(gateway: Sabotage) -> None:
    """The engine is told the schema alone, and an agent with an output type can never call."""

    def change(body: Body, turn: Turn) -> Constraint | None:
        return Constraint(turn.constraint.schema) if turn.constraint and _has_format(turn) else turn.constraint

    _on_constraint(gateway, "chat", change)


@mutant("CHAT-173")
def json_is_written_again(gateway: Sabotage) -> None:
    """JSON is checked by parsing it, and what was parsed is sent."""
    _write_again(gateway, "chat", openai_chat, "response_format")


@mutant("CHAT-174")
def formats_stay(gateway: Sabotage) -> None:
    """The format is one of the session's sampling parameters from then on."""
    _keep_constraints(gateway, "chat", _has_format)


@mutant("CHAT-175")
def wrong_formats_are_none(gateway: Sabotage) -> None:
    """What can't be read as a format is left out."""

    def change(body: Body) -> Body:
        return body if _is_format(body.get("response_format")) else {**body, "response_format": None}

    _on_body(gateway, "chat", change)


@mutant("CHAT-176")
def formats_fork(gateway: Sabotage) -> None:
    """Turns with another format are another conversation."""
    _fork(gateway, "chat", lambda turn: turn.constraint.schema if turn.constraint else None)


@mutant("CHAT-177")
def json_is_tokenised_again(gateway: Sabotage) -> None:
    """What is recorded of an answer in JSON are the ids that the tokenizer has for its text."""
    _tokenise_again(gateway, "chat")


@mutant("CHAT-178")
def any_function_for_the_named_one(gateway: Sabotage) -> None:
    """A function that was named is taken for `required`."""
    _any_tool_for_a_named_one(gateway, "chat")


@mutant("CHAT-179")
def first_function_for_any(gateway: Sabotage) -> None:
    """Where a call is required, it is one of the first function."""
    _first_tool_for_any(gateway, "chat")


@mutant("CHAT-180")
def forced_calls_stop(gateway: Sabotage) -> None:
    """What was forced ends as the engine says: `stop`."""
    asked = _asked(gateway, "chat")

    @gateway.wrap(openai_chat, "plain")
    def plain(original: Any, answer: Answer, request: Any) -> Any:
        forced = (asked.get() or {}).get("tool_choice") == "required"
        return original(replace(answer, finish_reason="stop") if forced else answer, request)


@mutant("CHAT-181")
def forced_calls_stay(gateway: Sabotage) -> None:
    """A forced call is forced again on each later turn, and the agent never answers."""
    _keep_constraints(gateway, "chat", _forces)


@mutant("CHAT-182")
def unknown_functions_are_auto(gateway: Sabotage) -> None:
    """A choice that can't be followed is left to the model."""
    _auto_for_what_is_not_there(gateway, "chat")


@mutant("CHAT-183")
def forced_calls_fork(gateway: Sabotage) -> None:
    """A turn that was forced to call is another conversation."""
    _fork(gateway, "chat", lambda turn: turn.constraint.calls if turn.constraint and _forces(turn) else None)


@mutant("CHAT-184")
def forced_arguments_are_any_object(gateway: Sabotage) -> None:
    """The engine is told to write a call, and not what its arguments are."""
    asked = _asked(gateway, "chat")

    @gateway.wrap(Session, "_generate")
    async def generate(original: Any, session: Session, context: Any, sampling: Any, media: Any, turn: Turn) -> Any:
        if asked.get() is not None and _forces(turn):
            bare = [{**tool, "function": {"name": tool["function"]["name"]}} for tool in turn.tools or ()]
            turn = replace(turn, tools=bare)
        return await original(session, context, sampling, media, turn)


# Messages


def _with_format(body: Body, form: Any) -> Body:
    return {**body, "output_config": {**body["output_config"], "format": form}}


@mutant("MSG-180")
def formats_of_first_messages_are_dropped(gateway: Sabotage) -> None:
    """The format is read on later turns only."""
    _drop_first_formats(gateway, "messages")


@mutant("MSG-181")
def tools_take_the_place_of_an_output_format(gateway: Sabotage) -> None:
    """A message request with tools is one for their use, and its format is left out."""
    _drop_formats_beside_tools(gateway, "messages")


@mutant("MSG-182")
def json_of_a_message_is_written_again(gateway: Sabotage) -> None:
    """JSON is checked by parsing it, and what was parsed is sent as the text."""
    _write_again(gateway, "messages", anthropic_messages, "output_config")


@mutant("MSG-183")
def output_formats_stay(gateway: Sabotage) -> None:
    """An output format is one of the session's from then on."""
    _keep_constraints(gateway, "messages", _has_format)


@mutant("MSG-184")
def wrong_output_formats_are_none(gateway: Sabotage) -> None:
    """What can't be read as an output format is left out."""

    def change(body: Body) -> Body:
        config = body.get("output_config")
        form = config.get("format") if isinstance(config, dict) else None
        return body if _is_format(form) else _with_format(body, None)

    _on_body(gateway, "messages", change)


@mutant("MSG-185")
def output_formats_fork(gateway: Sabotage) -> None:
    """Messages with another output format are another conversation."""
    _fork(gateway, "messages", lambda turn: turn.constraint.schema if turn.constraint else None)


@mutant("MSG-185")
def json_of_a_message_is_tokenised_again(gateway: Sabotage) -> None:
    """What is recorded of a message in JSON are the ids that the tokenizer has for its text."""
    _tokenise_again(gateway, "messages")


@mutant("MSG-186")
def any_tool_for_the_named_one(gateway: Sabotage) -> None:
    """A tool that was named is taken for `any`."""
    _any_tool_for_a_named_one(gateway, "messages")


@mutant("MSG-187")
def first_tool_for_any(gateway: Sabotage) -> None:
    """Where a tool has to be used, it is the first."""
    _first_tool_for_any(gateway, "messages")


@mutant("MSG-188")
def forced_uses_stay(gateway: Sabotage) -> None:
    """A forced use of a tool is forced again on each later turn."""
    _keep_constraints(gateway, "messages", _forces)


@mutant("MSG-189")
def unknown_tools_are_auto(gateway: Sabotage) -> None:
    """A tool that has to be used and is not there is left to the model."""
    _auto_for_what_is_not_there(gateway, "messages")


@mutant("MSG-190")
def forced_uses_fork(gateway: Sabotage) -> None:
    """A message that had to use a tool is another conversation."""
    _fork(gateway, "messages", lambda turn: turn.constraint.calls if turn.constraint and _forces(turn) else None)


# Responses


@mutant("RESP-180")
def formats_of_first_responses_are_dropped(gateway: Sabotage) -> None:
    """The format is echoed, and reaches the engine where a response is continued only."""
    _drop_first_formats(gateway, "responses")


@mutant("RESP-181")
def tools_take_the_place_of_a_text_format(gateway: Sabotage) -> None:
    """A request with tools is one for calls, and the format of its text is left out."""
    _drop_formats_beside_tools(gateway, "responses")


@mutant("RESP-182")
def json_of_a_response_is_written_again(gateway: Sabotage) -> None:
    """JSON is checked by parsing it, and what was parsed is sent as the output."""

    def change(request: Any, body: Body) -> Body:
        if request.echo["text"]["format"]["type"] != "json_schema":
            return body
        output = [
            {**item, "content": [{**part, "text": _written_again(part["text"])} for part in item["content"]]}
            if item["type"] == "message"
            else item
            for item in body["output"]
        ]
        return resp_wire.with_output(body, output)

    gateway.configure(structured_outputs="engine")
    resp_wire.on_body(gateway, change)


@mutant("RESP-183")
def text_formats_stay(gateway: Sabotage) -> None:
    """A response that continues another has its format, too."""
    _keep_constraints(gateway, "responses", _has_format)


@mutant("RESP-184")
def wrong_text_formats_are_none(gateway: Sabotage) -> None:
    """What can't be read as the format of a text is left out."""

    def change(body: Body) -> Body:
        text = body.get("text")
        form = text.get("format") if isinstance(text, dict) else None
        return body if _is_format(form) else {**body, "text": {"format": {"type": "text"}}}

    _on_body(gateway, "responses", change)


@mutant("RESP-185")
def text_formats_fork(gateway: Sabotage) -> None:
    """Responses with another text format are another conversation."""
    _fork(gateway, "responses", lambda turn: turn.constraint.schema if turn.constraint else None)


@mutant("RESP-185")
def json_of_a_response_is_tokenised_again(gateway: Sabotage) -> None:
    """What is recorded of a response in JSON are the ids that the tokenizer has for its text."""
    _tokenise_again(gateway, "responses")


@mutant("RESP-186")
def any_function_of_a_response_for_the_named_one(gateway: Sabotage) -> None:
    """A function that a request for a response names is taken for `required`."""
    _any_tool_for_a_named_one(gateway, "responses")


@mutant("RESP-187")
def first_function_of_a_response_for_any(gateway: Sabotage) -> None:
    """Where a response has to call, it calls the first function."""

    def change(body: Body, turn: Turn) -> Constraint | None:
        forced = _forces(turn) and body.get("tool_choice") == "required"
        return Constraint(None, _offered(turn)[:1]) if forced else turn.constraint

    _on_constraint(gateway, "responses", change)


@mutant("RESP-188")
def forced_calls_of_responses_stay(gateway: Sabotage) -> None:
    """A response that continues a forced one is forced, too."""
    _keep_constraints(gateway, "responses", _forces)


@mutant("RESP-189")
def unknown_functions_of_a_response_are_auto(gateway: Sabotage) -> None:
    """A call that has to be made and can't be is left to the model."""
    _auto_for_what_is_not_there(gateway, "responses")


@mutant("RESP-190")
def allowed_tools_are_all(gateway: Sabotage) -> None:
    """Of `allowed_tools` the mode is read, and the list is not."""

    def change(body: Body, turn: Turn) -> Constraint | None:
        if _forces(turn) and _kind(body.get("tool_choice")) == "allowed_tools":
            return Constraint(None, _offered(turn))
        return turn.constraint

    _on_constraint(gateway, "responses", change)


@mutant("RESP-191")
def forced_calls_of_responses_fork(gateway: Sabotage) -> None:
    """A response that was forced to call is another conversation."""
    _fork(gateway, "responses", lambda turn: turn.constraint.calls if turn.constraint and _forces(turn) else None)


@mutant("RESP-192")
def format_of_a_response_is_always_text(gateway: Sabotage) -> None:
    """The response says that its format is `text`, whatever was asked for."""

    def change(request: Any, body: Body) -> Body:
        return {**body, "text": {"format": {"type": "text"}}}

    gateway.configure(structured_outputs="engine")
    resp_wire.on_body(gateway, change)


@mutant("RESP-193")
def own_tool_is_not_forced(gateway: Sabotage) -> None:
    """A choice of a tool of the gateway's own leaves the model free."""

    def change(body: Body, turn: Turn) -> Constraint | None:
        return None if _forces(turn) and _kind(body.get("tool_choice")) == "file_search" else turn.constraint

    _on_constraint(gateway, "responses", change)


def _schema_is(gateway: Sabotage, wire: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """The engine is given another schema than the request has."""

    def changed(_: Body, turn: Turn) -> Constraint | None:
        constraint = turn.constraint
        if constraint is None or constraint.schema is None:
            return constraint
        return replace(constraint, schema=change(constraint.schema))

    _on_constraint(gateway, wire, changed)


def _free_behind_results(gateway: Sabotage, wire: str) -> None:
    _on_constraint(gateway, wire, lambda _, turn: None if turn.messages[-1]["role"] == "tool" else turn.constraint)


@mutant("CHAT-185")
def schema_is_written_sorted(gateway: Sabotage) -> None:
    """The schema is written with sorted keys, so that it can be found in a cache."""
    _schema_is(gateway, "chat", lambda schema: json.loads(json.dumps(schema, sort_keys=True)))


@mutant("CHAT-185")
def schema_is_written_without_its_definitions(gateway: Sabotage) -> None:
    """Of a schema, the engine is given what is known to be a schema's."""
    _schema_is(gateway, "chat", lambda schema: {name: schema[name] for name in schema if not name.startswith("$")})


@mutant("CHAT-186")
def chat_is_free_behind_results(gateway: Sabotage) -> None:
    """Behind the result of a tool the model is free, so that it cannot be made to call for ever."""
    _free_behind_results(gateway, "chat")


@mutant("MSG-191")
def schema_of_a_message_is_closed(gateway: Sabotage) -> None:
    """Each schema is closed, as the provider wants it."""
    _schema_is(gateway, "messages", lambda schema: {**schema, "additionalProperties": False})


@mutant("MSG-192")
def messages_are_free_behind_results(gateway: Sabotage) -> None:
    """Behind a tool result the model is free, so that it cannot be made to call for ever."""
    _free_behind_results(gateway, "messages")


@mutant("RESP-194")
def schema_of_a_response_is_closed(gateway: Sabotage) -> None:
    """Each schema is closed, as strict mode wants it."""
    _schema_is(gateway, "responses", lambda schema: {**schema, "additionalProperties": False})


@mutant("RESP-195")
def responses_are_free_behind_outputs(gateway: Sabotage) -> None:
    """Behind the output of a tool the model is free, so that it cannot be made to call for ever."""
    _free_behind_results(gateway, "responses")
