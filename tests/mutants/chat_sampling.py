"""Mutants of area CHAT: sampling parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.types import Turn
from reference_gateway.wire import openai_chat
from tests.mutants.chat_wire import Body, on_body, on_turn
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


def _on_sampling(gateway: Sabotage, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    on_turn(gateway, lambda _, turn: replace(turn, sampling=change(dict(turn.sampling))))


@mutant("CHAT-029", bugs=(66,))
def top_p_is_dropped(gateway: Sabotage) -> None:
    """The router passes on the sampling values that it knows, and `top_p` is not one of them."""
    _on_sampling(gateway, lambda sampling: {name: value for name, value in sampling.items() if name != "top_p"})


@mutant("CHAT-029")
def temperature_is_capped_at_1(gateway: Sabotage) -> None:
    """A temperature above 1 is quietly made 1."""

    def cap(sampling: dict[str, Any]) -> dict[str, Any]:
        hot = sampling.get("temperature", 0) > 1
        return {**sampling, "temperature": 1.0} if hot else sampling

    _on_sampling(gateway, cap)


@mutant("CHAT-030")
def temperature_0_is_taken_for_absent(gateway: Sabotage) -> None:
    """`value or default` is written where null was meant."""
    _on_sampling(gateway, lambda sampling: {name: value for name, value in sampling.items() if value})


@mutant("CHAT-031")
def max_tokens_is_dropped(gateway: Sabotage) -> None:
    """Only the newer name of the limit is passed on with a stream."""

    def drop(body: Body, turn: Turn) -> Turn:
        known = body.get("max_completion_tokens") is not None or not body.get("stream")
        return turn if known else replace(turn, max_tokens=None)

    on_turn(gateway, drop)


@mutant("CHAT-031", also=("CHAT-032",), bugs=(39,))
def max_tokens_limits_the_whole_context(gateway: Sabotage) -> None:
    """The limit is taken for the length of context and answer together."""

    @gateway.wrap(VllmBackend, "generate")
    def generate(original: Any, backend: Any, context: Any, sampling: Any, **more: Any) -> Any:
        limit = sampling.get("max_tokens")
        if limit is not None:
            sampling = {**sampling, "max_tokens": max(limit - len(context), 1)}
        return original(backend, context, sampling, **more)


@mutant("CHAT-032")
def max_completion_tokens_is_dropped(gateway: Sabotage) -> None:
    """Only the older name of the limit is known."""
    on_body(gateway, lambda body: {name: value for name, value in body.items() if name != "max_completion_tokens"})


@mutant("CHAT-033")
def boolean_is_taken_for_a_limit(gateway: Sabotage) -> None:
    """The limit is checked by `isinstance(value, int)`, which true passes."""

    @gateway.wrap(openai_chat, "sampling_of")
    def sampling_of(original: Any, body: Any, allowed: Any, max_tokens: Any, *rest: Any) -> Any:
        return original(body, allowed, int(max_tokens) if isinstance(max_tokens, bool) else max_tokens, *rest)


@mutant("CHAT-033", bugs=(45,))
def negative_limit_is_taken_for_none(gateway: Sabotage) -> None:
    """A limit of -1 is accepted: on another route it means that there is none."""

    @gateway.wrap(openai_chat, "sampling_of")
    def sampling_of(original: Any, body: Any, allowed: Any, max_tokens: Any, *rest: Any) -> Any:
        return original(body, allowed, None if max_tokens == -1 else max_tokens, *rest)


@mutant("CHAT-034")
def stop_text_becomes_its_characters(gateway: Sabotage) -> None:
    """A stop text is iterated over as if it were the list."""

    def spell(sampling: dict[str, Any]) -> dict[str, Any]:
        return {**sampling, "stop": list(sampling["stop"])} if "stop" in sampling else sampling

    _on_sampling(gateway, spell)


@mutant("CHAT-035")
def default_of_the_request_model_is_sent(gateway: Sabotage) -> None:
    """The request model has defaults, and all of its fields are sent."""
    _on_sampling(gateway, lambda sampling: {"repetition_penalty": 1.05, **sampling})


@mutant("CHAT-036")
def request_is_copied_to_the_engine(gateway: Sabotage) -> None:
    """The request's body is copied and only the prompt is replaced."""

    def copy(body: Body, turn: Turn) -> Turn:
        copied: Body = {name: body[name] for name in ("tools", "tool_choice", "stream_options") if name in body}
        return replace(turn, sampling={**copied, **turn.sampling})

    on_turn(gateway, copy)
