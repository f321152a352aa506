"""Mutants of area MSG: fields and blocks that change what an answer is, and are not heard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.types import Turn
from tests.mutants.chat_fields import record_all_calls, record_the_rest_alone
from tests.mutants.msg_wire import Body, on_body, on_messages, on_turn, over_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


@mutant("MSG-160")
def format_of_a_message_is_ignored(gateway: Sabotage) -> None:
    """`output_config` is a hint that a gateway need not know, its format included."""
    on_body(gateway, lambda body: {name: value for name, value in body.items() if name != "output_config"})


@mutant("MSG-160")
def older_format_of_a_message_is_ignored(gateway: Sabotage) -> None:
    """The older name of the same field is forgotten."""
    on_body(gateway, lambda body: {name: value for name, value in body.items() if name != "output_format"})


@mutant("MSG-161")
def streams_show_all_uses(gateway: Sabotage) -> None:
    """One `tool_use` is shown of a plain answer, and all of a streamed one."""
    on_turn(gateway, lambda body, turn: replace(turn, one_call=turn.one_call and not body.get("stream")))


@mutant("MSG-162")
def uses_that_were_not_shown_are_compared(gateway: Sabotage) -> None:
    """The history is compared with what was sampled, not with what was shown of it."""
    record_all_calls(gateway, over_messages(gateway).get)


@mutant("MSG-163")
def streams_answer_the_prefill(gateway: Sabotage) -> None:
    """A streamed request that ends with an assistant's message gets an answer to it."""

    def change(body: Body, turn: Turn) -> Turn:
        return replace(turn, continues_last=turn.continues_last and not body.get("stream"))

    on_turn(gateway, change)


@mutant("MSG-164")
def rest_of_a_prefilled_answer_is_a_message(gateway: Sabotage) -> None:
    """The prefill and what was sampled behind it are two messages of the history."""
    record_the_rest_alone(gateway, over_messages(gateway).get)


@mutant("MSG-165")
def uses_of_the_provider_are_left_out(gateway: Sabotage) -> None:
    """What the provider has called itself is no business of the gateway's model."""

    def change(message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list) or not any(_is_of_the_provider(block) for block in content):
            return message
        left = [block for block in content if not _is_of_the_provider(block)]
        return {**message, "content": left or ""}

    on_messages(gateway, lambda messages: list(map(change, messages)))


def _is_of_the_provider(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "server_tool_use"
