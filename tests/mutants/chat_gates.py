"""Mutants of area CHAT: what would change the meaning of the answer."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Turn
from reference_gateway.wire import openai_chat
from tests.mutants.chat_wire import Body, is_first, on_body, on_turn
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def _ignore(gateway: Sabotage, *names: str) -> None:
    """Do not read these fields of a first turn."""
    on_body(
        gateway,
        lambda body: {name: value for name, value in body.items() if name not in names} if is_first(body) else body,
    )


def _declare(gateway: Sabotage, capability: str) -> None:
    @gateway.rewrite
    def declared(answer: Answer) -> None:
        if answer.path == "/capabilities":
            answer.json = {**answer.json, "capabilities": [*answer.json["capabilities"], capability]}


def _choice_as_auto(gateway: Sabotage, forced: bool) -> None:
    """Take a tool choice of a first turn for `auto`: one that forces a call, or one that means nothing."""

    def change(body: Body) -> Body:
        choice = body.get("tool_choice")
        forces = choice == "required" or isinstance(choice, dict)
        known = choice is None or choice in ("auto", "none")
        ignored = is_first(body) and (forces if forced else not known and not forces)
        return {**body, "tool_choice": "auto"} if ignored else body

    on_body(gateway, change)


@mutant("CHAT-037", bugs=(51,))
def n_is_ignored(gateway: Sabotage) -> None:
    """The field is not read, and one choice is returned."""
    _ignore(gateway, "n")


@mutant("CHAT-038", bugs=(51,))
def n_is_declared_and_ignored(gateway: Sabotage) -> None:
    """The gateway says that it gives several choices, and gives one."""
    _declare(gateway, "n")
    _ignore(gateway, "n")


@mutant("CHAT-039")
def response_format_is_ignored(gateway: Sabotage) -> None:
    """Free text is returned to a client that parses JSON."""
    _ignore(gateway, "response_format")


@mutant("CHAT-041")
def forced_tool_choice_is_ignored(gateway: Sabotage) -> None:
    """An agent that needs a call gets text."""
    _choice_as_auto(gateway, forced=True)


@mutant("CHAT-043")
def unknown_tool_choice_is_auto(gateway: Sabotage) -> None:
    """Whatever is no known tool choice is the default one."""
    _choice_as_auto(gateway, forced=False)


@mutant("CHAT-044")
def one_tool_is_taken_for_a_list(gateway: Sabotage) -> None:
    """A single tool in the place of the list is wrapped, and served."""

    def wrap(body: Body) -> Body:
        return {**body, "tools": [body["tools"]]} if isinstance(body.get("tools"), dict) else body

    on_body(gateway, wrap)


@mutant("CHAT-045")
def empty_tools_are_announced(gateway: Sabotage) -> None:
    """A preamble for tools is rendered whenever the field is there, even for a list of none."""
    given: ContextVar[bool] = ContextVar("given", default=False)

    def note(body: Body, turn: Turn) -> Turn:
        given.set(body.get("tools") == [])
        return turn

    on_turn(gateway, note)

    @gateway.wrap(TemplateCodec, "encode")
    def encode(original: Any, codec: Any, messages: Any, tools: Any, kwargs: Any, **how: Any) -> Any:
        preamble = [] if not given.get() else [{"role": "system", "content": "These functions can be called:"}]
        return original(codec, [*messages, *preamble], tools, kwargs, **how)


@mutant("CHAT-046")
def template_settings_are_merged(gateway: Sabotage) -> None:
    """The request's template settings are put over the configured ones, which the trainer renders with."""

    def merged(body: Any, policy: Any) -> Any:
        return body.get("chat_template_kwargs") or {}

    gateway.patch(openai_chat, "template_kwargs_of", merged)
