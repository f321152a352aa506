"""Mutants of area JOURNEY: faults that show in some situations only, each of a kind that was found in real gateways.

Every rule that they break is kept wherever another check looks at it: on a first turn, without tools, with one field.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from reference_gateway.channel.target import SessionTarget
from reference_gateway.serving.responses import Responses
from reference_gateway.session import Phase, Session
from reference_gateway.session.histories import History
from reference_gateway.types import Answer, BackendFailed, Message, Turn
from reference_gateway.wire import anthropic_messages, openai_chat
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

Change = Callable[[Turn], Turn]


def on_parsed(gateway: Sabotage, wire: Any, change: Callable[[Turn, bool], Turn]) -> None:
    """Replace the turns of a wire as they are parsed; the change is told whether the answer is streamed."""

    @gateway.wrap(wire, "parse")
    def parse(original: Any, *args: Any) -> Any:
        request = original(*args)
        return replace(request, turn=change(request.turn, request.stream))


def on_responses(gateway: Sabotage, change: Callable[[Turn, Any], Turn]) -> None:
    """Replace the turns of responses; the change is told the request."""

    @gateway.wrap(Responses, "_turn")
    def turn(original: Any, self: Responses, session: Session, request: Any, *rest: Any) -> Turn | None:
        made = original(self, session, request, *rest)
        return None if made is None else change(made, request)


def results_behind(turn: Turn) -> int:
    """How many results of tools the turn ends with."""
    count = 0
    while count < len(turn.messages) and turn.messages[-1 - count]["role"] == "tool":
        count += 1
    return count


def turns_before(turn: Turn) -> int:
    """How many answers stand in the turn's history."""
    return sum(message["role"] == "assistant" for message in turn.messages)


def without_result(turn: Turn, number: int) -> Turn:
    """The turn without one of the results that it ends with, counted from 0."""
    place = len(turn.messages) - results_behind(turn) + number
    return replace(turn, messages=[*turn.messages[:place], *turn.messages[place + 1 :]])


def without(turn: Turn, name: str) -> Turn:
    """The turn without a sampling value."""
    return replace(turn, sampling={key: value for key, value in turn.sampling.items() if key != name})


# Chat completions


@mutant("JOURNEY-001")
def third_of_three_results_is_dropped(gateway: Sabotage) -> None:
    """Of three results or more that a chat request ends with, the third is lost: it was tried with two."""

    def change(turn: Turn, stream: bool) -> Turn:
        return without_result(turn, 2) if results_behind(turn) > 2 else turn

    on_parsed(gateway, openai_chat, change)


@mutant("JOURNEY-001")
def third_part_is_lost_from_the_second_turn_on(gateway: Sabotage) -> None:
    """The reader of a later message joins the first part of its content and the one behind that."""

    @gateway.wrap(openai_chat, "read_messages")
    def read_messages(original: Any, messages: Any, *rest: Any) -> Any:
        last = messages[-1] if isinstance(messages, list) and messages else None
        content = last.get("content") if isinstance(last, dict) else None
        if isinstance(content, list) and len(content) > 2 and len(messages) > 2 and last["role"] == "user":
            messages = [*messages[:-1], {**last, "content": content[:2]}]
        return original(messages, *rest)


@mutant("JOURNEY-001")
def top_k_sticks_to_the_session(gateway: Sabotage) -> None:
    """A chat request without `top_k` is sampled with that of the one before it: the engine's settings are updated, and
    never made anew."""
    kept: WeakKeyDictionary[Session, Any] = WeakKeyDictionary()
    chat = on_this_wire(gateway)

    @gateway.wrap(Session, "_effective_sampling")
    def effective_sampling(original: Any, self: Session, turn: Turn) -> Any:
        sampling, limit = original(self, turn)
        if chat.get() and "top_k" in sampling:
            kept[self] = sampling["top_k"]
        elif chat.get() and self in kept:
            sampling["top_k"] = kept[self]
        return sampling, limit


@mutant("JOURNEY-001")
def stop_is_lost_behind_the_first_turn_with_tools(gateway: Sabotage) -> None:
    """Where a chat request has tools and a history, its stop strings make way for those of the tool parser."""
    on_parsed(
        gateway,
        openai_chat,
        lambda turn, stream: without(turn, "stop") if turn.tools and turns_before(turn) else turn,
    )


@mutant("JOURNEY-001")
def usage_of_a_stream_with_calls_lacks_their_end(gateway: Sabotage) -> None:
    """The usage of a streamed chat answer with calls counts what was parsed, without the token that ended it."""

    @gateway.wrap(openai_chat, "stream")
    def stream(original: Any, answer: Answer, request: Any) -> Any:
        if answer.message.get("tool_calls"):
            answer = replace(answer, completion_tokens=answer.completion_tokens - 1)
        return original(answer, request)


@mutant("JOURNEY-001")
def engine_is_asked_twice_behind_results(gateway: Sabotage) -> None:
    """Behind several results the engine is asked once to fill its cache, and once for the answer."""

    @gateway.wrap(Session, "_generate")
    async def generate(original: Any, self: Session, context: Any, sampling: Any, media: Any, turn: Turn) -> Any:
        generation = await original(self, context, sampling, media, turn)
        if results_behind(turn) > 2:
            with suppress(Exception):
                await original(self, context, {**sampling, "max_tokens": 1}, media, turn)
        return generation


@mutant("JOURNEY-001")
def done_is_taken_for_the_end_behind_an_answer(gateway: Sabotage) -> None:
    """From the second turn on, an answer that is exactly `[DONE]` is taken for the end of the engine's stream."""

    @gateway.wrap(openai_chat, "stream")
    def stream(original: Any, answer: Answer, request: Any) -> Any:
        if answer.message["content"] == "[DONE]" and turns_before(request.turn):
            answer = replace(answer, message={**answer.message, "content": ""})
        return original(answer, request)


@mutant("JOURNEY-001")
def turn_after_a_failure_is_sampled_by_default(gateway: Sabotage) -> None:
    """What is asked again after the engine failed is sent without the temperature, which was used up."""
    failed: WeakSet[Session] = WeakSet()

    @gateway.wrap(Session, "_run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        if self in failed:
            turn = without(turn, "temperature")
        failed.discard(self)
        try:
            return await original(self, turn)
        except BackendFailed:
            failed.add(self)
            raise


# Messages


@mutant("JOURNEY-002")
def usage_of_a_streamed_message_counts_one_use(gateway: Sabotage) -> None:
    """A streamed message with several `tool_use` blocks has the output tokens of all but the last."""

    @gateway.wrap(anthropic_messages, "stream")
    def stream(original: Any, answer: Answer, request: Any) -> Any:
        calls = answer.message.get("tool_calls") or ()
        return original(replace(answer, completion_tokens=answer.completion_tokens - len(calls[1:])), request)


@mutant("JOURNEY-002")
def stop_sequences_are_lost_where_a_later_message_is_streamed(gateway: Sabotage) -> None:
    """The streamed path of messages has the stop sequences of a conversation's first turn only."""
    on_parsed(
        gateway,
        anthropic_messages,
        lambda turn, stream: without(turn, "stop") if stream and turns_before(turn) else turn,
    )


@mutant("JOURNEY-002")
def later_results_of_a_message_are_one(gateway: Sabotage) -> None:
    """Of the results in one message those behind the fourth are taken for repeats."""

    def change(turn: Turn, stream: bool) -> Turn:
        return without_result(turn, 4) if results_behind(turn) > 4 else turn

    on_parsed(gateway, anthropic_messages, change)


# Responses


@mutant("JOURNEY-003")
def top_p_of_a_response_behind_a_result_is_lost(gateway: Sabotage) -> None:
    """A response whose input ends with the output of a function is sampled without the request's `top_p`."""

    def change(turn: Turn, request: Any) -> Turn:
        whole_input = request.previous is None and request.conversation is None
        return without(turn, "top_p") if whole_input and results_behind(turn) else turn

    on_responses(gateway, change)


@mutant("JOURNEY-003")
def third_output_of_an_input_is_dropped(gateway: Sabotage) -> None:
    """Of the outputs of functions that an input ends with, the third is lost."""

    def change(turn: Turn, request: Any) -> Turn:
        whole_input = request.previous is None and request.conversation is None
        return without_result(turn, 2) if whole_input and results_behind(turn) > 2 else turn

    on_responses(gateway, change)


@mutant("JOURNEY-004")
def temperature_of_the_response_before_counts(gateway: Sabotage) -> None:
    """A response that names another one inherits its temperature, as it inherits its history."""
    sampled: dict[str, Any] = {}

    @gateway.wrap(Responses, "_turn")
    def turn(original: Any, self: Responses, session: Session, request: Any, history: Any, made: Any) -> Any:
        taken = original(self, session, request, history, made)
        before = sampled.get(request.previous)
        if taken is not None and before is not None and "temperature" not in taken.sampling:
            taken = replace(taken, sampling={**taken.sampling, "temperature": before})
        if taken is not None and "temperature" in taken.sampling:
            sampled[made.id] = taken.sampling["temperature"]
        return taken


@mutant("JOURNEY-004")
def five_outputs_along_a_chain_are_four(gateway: Sabotage) -> None:
    """Behind a response with five calls, the last output is left for the next request, which has none."""

    def change(turn: Turn, request: Any) -> Turn:
        return without_result(turn, 4) if request.previous is not None and results_behind(turn) > 4 else turn

    on_responses(gateway, change)


@mutant("JOURNEY-005")
def limit_is_lost_in_a_conversation_with_tools(gateway: Sabotage) -> None:
    """`max_output_tokens` of a response that goes on with a conversation and has tools does not reach the engine."""

    def change(turn: Turn, request: Any) -> Turn:
        goes_on = request.conversation is not None and turn.tools and turns_before(turn)
        return replace(turn, max_tokens=None) if goes_on else turn

    on_responses(gateway, change)


@mutant("JOURNEY-005")
def five_outputs_in_a_conversation_are_four(gateway: Sabotage) -> None:
    """A conversation takes four items at once behind an answer."""

    def change(turn: Turn, request: Any) -> Turn:
        return without_result(turn, 4) if request.conversation is not None and results_behind(turn) > 4 else turn

    on_responses(gateway, change)


# Invocations


@mutant("JOURNEY-006")
def long_message_is_kept_in_part(gateway: Sabotage) -> None:
    """The history of invocations keeps the first 4,096 characters of a message."""

    @gateway.wrap(History, "add")
    def add(original: Any, self: History, *messages: Message) -> None:
        original(self, *({**one, "content": (one.get("content") or "")[:4096]} for one in messages))


@mutant("JOURNEY-006")
def done_is_lost_in_a_kept_conversation(gateway: Sabotage) -> None:
    """From the second invocation of a conversation on, an answer that is exactly `[DONE]` is taken for an end."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: SessionTarget, request: Any, *rest: Any) -> Any:
        history = self._history(request)
        goes_on = history is not None and bool(history.messages)
        text = await original(self, request, *rest)
        return "" if goes_on and text == "[DONE]" else text


# What a client brings along; many sessions


@mutant("JOURNEY-007")
def middle_of_a_very_long_history_is_left_out(gateway: Sabotage) -> None:
    """Of more than 128 messages the model is told the first and the last 127."""

    @gateway.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Turn) -> Any:
        if len(turn.messages) > 128:
            turn = replace(turn, messages=[turn.messages[0], *turn.messages[-127:]])
        return original(self, turn)


@mutant("JOURNEY-008")
def sessions_beyond_sixteen_share_their_sampling(gateway: Sabotage) -> None:
    """Sampling values are kept in sixteen slots; sessions for which there is none left use the last one together."""
    opened: WeakSet[Session] = WeakSet()
    crowded: WeakSet[Session] = WeakSet()
    shared: dict[str, Any] = {}

    @gateway.wrap(Session, "__init__")
    def init(original: Any, self: Session, *rest: Any, **settings: Any) -> None:
        original(self, *rest, **settings)
        opened.add(self)
        if sum(session.phase is Phase.ACTIVE for session in opened) > 16:
            crowded.add(self)

    @gateway.wrap(Session, "_effective_sampling")
    def effective_sampling(original: Any, self: Session, turn: Turn) -> Any:
        sampling, limit = original(self, turn)
        if self in crowded:
            shared.update(sampling)
            sampling |= shared
        return sampling, limit


@mutant("JOURNEY-009")
def ids_of_calls_are_cut(gateway: Sabotage) -> None:
    """Results are filed under the first 64 characters of the id of their call, so that those of ids that begin alike
    are one."""

    @gateway.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Turn) -> Any:
        behind = results_behind(turn)
        filed = {message["tool_call_id"][:64]: message for message in turn.messages[len(turn.messages) - behind :]}
        if len(filed) < behind and all(len(message["tool_call_id"]) > 64 for message in filed.values()):
            turn = replace(turn, messages=[*turn.messages[: len(turn.messages) - behind], *filed.values()])
        return original(self, turn)


# Whatever an agent does


@mutant("JOURNEY-010")
def third_wire_of_a_session_loses_its_sampling(gateway: Sabotage) -> None:
    """A session has settings for two of the wires that it is asked over; over a third one it is sampled as it was
    created, whatever the request says."""
    asked: ContextVar[str] = ContextVar("asked", default="invocations")
    wires: WeakKeyDictionary[Session, set[str]] = WeakKeyDictionary()
    for wire in (openai_chat, anthropic_messages):

        @gateway.wrap(wire, "parse")
        def parse(original: Any, *args: Any, name: str = wire.__name__) -> Any:
            asked.set(name)
            return original(*args)

    @gateway.wrap(Responses, "_turn")
    def turn(original: Any, *args: Any) -> Any:
        asked.set("responses")
        return original(*args)

    @gateway.wrap(Session, "_effective_sampling")
    def effective_sampling(original: Any, self: Session, turn: Turn) -> Any:
        known = wires.setdefault(self, set())
        if len(known) < 2:
            known.add(asked.get())
        return original(self, turn if asked.get() in known else replace(turn, sampling={}))
