"""Mutants of area BUDGET, and one of CHAT: the engine's own default cuts what nobody limited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.upstream.completions import MAX_TOKENS
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.channel import target
from reference_gateway.types import Turn
from tests.mutants import chat_wire, resp_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


def _left_to_the_engine(turn: Turn) -> Turn:
    """What it amounts to when a turn without a limit is sent without one."""
    return replace(turn, max_tokens=MAX_TOKENS) if turn.max_tokens is None else turn


@mutant("BUDGET-040", also=("BUDGET-041", "BUDGET-042"))
def absent_limit_is_sent_as_null(gateway: Sabotage) -> None:
    """A turn without a limit is sent with null, which vLLM's completions route takes for its default."""

    @gateway.wrap(VllmBackend, "_limit")
    async def limit(original: Any, self: VllmBackend, sampling: Any, context: Any) -> Any:
        return sampling.get("max_tokens")


@mutant("BUDGET-040")
def limit_is_forgotten_behind_a_tool_result(gateway: Sabotage) -> None:
    """A turn that answers a tool goes another way to the engine, on which nobody thinks of a limit."""

    def forget(body: Any, turn: Turn) -> Turn:
        behind = turn.messages[-1].get("role") == "tool"
        return _left_to_the_engine(turn) if behind else turn

    chat_wire.on_turn(gateway, forget)


@mutant("BUDGET-041")
def response_is_left_to_the_engine(gateway: Sabotage) -> None:
    """What fits is asked for on the other wires only."""
    resp_wire.on_turn(gateway, lambda request, turn: _left_to_the_engine(turn))


@mutant("BUDGET-042")
def invocation_is_left_to_the_engine(gateway: Sabotage) -> None:
    """What fits is asked for on the other wires only."""

    @gateway.wrap(target, "_turn")
    def turn(original: Any, *about: Any) -> Any:
        return _left_to_the_engine(original(*about))


@mutant("CHAT-120")
def null_limit_is_left_to_the_engine(gateway: Sabotage) -> None:
    """What fits is asked for where the field is absent; null is passed on."""

    def pass_on(body: Any, turn: Turn) -> Turn:
        return _left_to_the_engine(turn) if "max_tokens" in body else turn

    chat_wire.on_turn(gateway, pass_on)
