"""What the engine received for a turn: the conversation as the template writes it, and how to sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from conformance.ambient.messages import messages_of, tools_of
from conformance.ambient.rules import Judged
from conformance.ambient.turn import CHAT, INVOCATIONS, MESSAGES, RESPONSES, Turn
from conformance.client.failure import describe
from conformance.oracles import Violation
from conformance.tokenizer import Tokenizer, TokenizerError
from conformance.upstream.ledger import ANSWERED, Call

NUMBERS = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "repetition_penalty", "min_p")
"""How to sample, by the names that wires and engines share."""
LENGTHS = ("prompt_length", "response_length")
LIMITS = {CHAT: ("max_tokens", "max_completion_tokens"), MESSAGES: ("max_tokens",), RESPONSES: ("max_output_tokens",)}
ROOM = 1024
"""A limit up to this is no more than any engine has room for."""


def judge(turn: Turn, earlier: Sequence[Turn], tokenizer: Tokenizer) -> Iterator[Judged]:
    """How many calls were made for a turn, and all that can be said of the one that it was answered from."""
    yield from _of_count(turn)
    call = turn.call
    if call is None or turn.request is None or call.messages is not None:
        return
    yield from _of_sampling(turn, turn.request, call)
    with suppress(TokenizerError):  # the template has no place for some of it
        yield from _of_context(turn, turn.request, call, earlier, tokenizer)


# How many -------------------------------------------------------------------------------------------------------------


def _of_count(turn: Turn) -> Iterator[Judged]:
    """A turn is answered from one call. From none where there was no room, or the answer was known: that is for others
    to judge. One that failed may have been asked again."""
    request = turn.request
    if request is None or not turn.alone or not turn.is_answered or request.get("n") not in (None, 1):
        return
    tools = request.get("tools") or []
    if turn.wire == INVOCATIONS or not isinstance(tools, list) or any(_is_hosted(tool, turn.wire) for tool in tools):
        return
    answered = [call for call in turn.calls if call.outcome == ANSWERED]
    wrong = [Violation("calls of the upstream for one turn", "1", str(len(answered)))] if len(answered) > 1 else []
    yield Judged("single", turn.wire, turn.exchange, wrong)


def _is_hosted(tool: Any, wire: str) -> bool:
    """Whether it is a tool that the gateway runs itself, with a call for each round."""
    return wire != CHAT and isinstance(tool, dict) and tool.get("type", "custom") not in ("function", "custom")


# Sampling -------------------------------------------------------------------------------------------------------------


def _of_sampling(turn: Turn, request: Mapping[str, Any], call: Call) -> Iterator[Judged]:
    settings = turn.setting("sampling_params")
    defaults = settings if isinstance(settings, dict) else {}
    received = call.fields
    asked = {name: request[name] for name in NUMBERS if _is_number(request.get(name))}
    if turn.wire != INVOCATIONS and asked:
        differing = {
            name: Violation(f"{name} of the upstream's call", describe(value), describe(received.get(name)))
            for name, value in asked.items()
            if not _same_number(received.get(name), value)
        }
        own = [violation for name, violation in differing.items() if name not in defaults]
        yield Judged("sampling", turn.wire, turn.exchange, own)
        if defaults.keys() & asked.keys():
            lost = [violation for name, violation in differing.items() if name in defaults]
            yield Judged("sampling.precedence", turn.wire, turn.exchange, lost)
    unasked = [
        Violation(f"{name} of the upstream's call", "absent: nobody asked for it", describe(received[name]))
        for name in (*NUMBERS, "stop")
        if request.get(name) is None
        and not (name == "stop" and request.get("stop_sequences"))
        and name not in defaults
        and received.get(name) not in (None, [])
    ]
    yield Judged("sampling.unasked", CHAT, turn.exchange, unasked)
    stops = request.get("stop_sequences" if turn.wire == MESSAGES else "stop")
    if isinstance(stops, (str, list)) and "stop" not in defaults and turn.wire in (CHAT, MESSAGES):
        wanted = [stops] if isinstance(stops, str) else list(stops)
        got = received.get("stop") or []
        same = {got} == set(wanted) if isinstance(got, str) else set(map(str, got)) == set(map(str, wanted))
        wrong = [] if same else [Violation("stop of the upstream's call", describe(stops), describe(got))]
        yield Judged("sampling.stop", turn.wire, turn.exchange, wrong)
    limits = [request[name] for name in LIMITS.get(turn.wire, ()) if type(request.get(name)) is int]
    if len(limits) == 1 and limits[0] <= ROOM and not any(turn.setting(name) for name in LENGTHS):
        same = call.max_tokens == limits[0]
        lost = [] if same else [Violation("limit of the upstream's call", str(limits[0]), describe(call.max_tokens))]
        rule = "sampling.precedence" if "max_tokens" in defaults else "sampling.limit"
        yield Judged(rule, turn.wire, turn.exchange, lost)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same_number(actual: Any, wanted: float) -> bool:
    return _is_number(actual) and math.isclose(actual, wanted, rel_tol=1e-6, abs_tol=1e-9)


# Context --------------------------------------------------------------------------------------------------------------


def _of_context(
    turn: Turn, request: Mapping[str, Any], call: Call, earlier: Sequence[Turn], tokenizer: Tokenizer
) -> Iterator[Judged]:
    messages = messages_of(turn.wire, request)
    if messages is None or call.images or call.videos:
        return
    tools = tools_of(turn.wire, request)
    if tools is None:
        return
    wanted = tokenizer.render(messages, tools)
    if any(str(message["content"]).strip() not in wanted for message in messages):
        return  # the template leaves out or rewrites what the gateway may have kept
    text = tokenizer.decode(call.context)
    rule = _rule(messages, tools)
    if text == wanted:
        yield Judged(rule, turn.wire, turn.exchange)
        return
    place = max((at for at, message in enumerate(messages) if message["role"] == "assistant"), default=None)
    if place is None:
        if tools and turn.wire != CHAT:  # their definitions may be written in another order of keys
            return
        yield Judged(rule, turn.wire, turn.exchange, [_different(wanted, text)])
        return
    before = _continued(call, earlier)
    if before is None:
        return  # an echo is written as it was sampled, and that may be otherwise than the template writes it
    history = tokenizer.render(messages[: place + 1], tools, add_generation_prompt=False)
    if not wanted.startswith(history):
        return
    tail = wanted[len(history) :]
    if not text.endswith(tail):
        yield Judged(rule, turn.wire, turn.exchange, [_different(tail, text[-max(len(tail), 1) :])])
        return
    spoken = _spoken(before, tokenizer)
    seam = text[len(spoken) : len(text) - len(tail)]
    allowed = _seam(messages[place], history, tokenizer)
    if allowed is not None and spoken.endswith(str(messages[place]["content"])):
        wrong = [] if seam == allowed else [Violation("text behind the answer", describe(allowed), describe(seam))]
        yield Judged(rule, turn.wire, turn.exchange, wrong)


def _spoken(call: Call, tokenizer: Tokenizer) -> str:
    """The text of a call's context and of what was sampled behind it, without the token that ended it."""
    ids = [*call.context, *call.generation]
    return tokenizer.decode(ids[:-1] if ids[-1] in tokenizer.end_tokens else ids)


def _seam(message: Mapping[str, Any], history: str, tokenizer: Tokenizer) -> str | None:
    """What the template writes between this answer, the last of the history, and what comes next, as it does behind
    any other; None where the answer is not written as it was said, or something else in front of the token that ends
    it, which is not put behind an answer that has ended."""
    content = message.get("content")
    short = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]
    behind = tokenizer.render(short, add_generation_prompt=False).rpartition("B")[2]
    said = not message.get("tool_calls") and bool(content) and history.endswith(f"{content}{behind}")
    ends = tuple(map(tokenizer.token, tokenizer.end_tokens))
    return behind if said and (not behind or behind.startswith(ends)) else None


def _rule(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any]) -> str:
    if messages[-1]["role"] == "tool":
        return "context.results"
    if any(message["role"] == "assistant" for message in messages):
        return "context.later"
    return "context.tools" if tools else "context"


def _continued(call: Call, earlier: Sequence[Turn]) -> Call | None:
    """The earlier call whose context and generation this one begins with: the longest."""
    known = [other for turn in earlier for other in turn.calls if other is not call and other.generation]
    fitting = [
        other
        for other in known
        if call.context[: len(other.context) + len(other.generation)] == [*other.context, *other.generation]
    ]
    return max(fitting, key=lambda other: len(other.context) + len(other.generation), default=None)


def _different(wanted: str, actual: str) -> Violation:
    at = next((place for place, (a, b) in enumerate(zip(wanted, actual, strict=False)) if a != b), None)
    at = min(len(wanted), len(actual)) if at is None else at
    low = max(at - 40, 0)
    expected, got = wanted[low : at + 120], actual[low : at + 120]
    return Violation(f"text of the context, at {at}", describe(expected, 200), describe(got, 200))
