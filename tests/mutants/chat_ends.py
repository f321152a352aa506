"""Mutants of area CHAT: how an answer ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.session import session as session_module
from reference_gateway.types import Answer as TurnAnswer
from reference_gateway.types import BackendFailed, BackendUnavailable
from tests.mutants.chat_wire import on_answer, on_this_wire
from tests.mutants.commit import streaming
from tests.mutants.ends import answer_what_was_aborted, fail_with_500, forget_retry_after, show_stop_strings
from tests.mutants.http import message_of
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def too_many(answer: Answer) -> bool:
    return answer.is_chat and answer.status == 429


def unavailable(answer: Answer) -> bool:
    return answer.is_chat and answer.status == 503 and "takes no requests" in message_of(answer)


@mutant("CHAT-060")
def stop_text_is_shown(gateway: Sabotage) -> None:
    """The content is the text of all sampled ids."""
    show_stop_strings(gateway, on_this_wire(gateway).get)


@mutant("CHAT-060")
def stop_text_is_shown_in_streams(gateway: Sabotage) -> None:
    """Streams have a decoder of their own, which knows no stop texts."""
    show_stop_strings(gateway, streaming(gateway).get)


@mutant("CHAT-060")
def second_stop_text_is_shown(gateway: Sabotage) -> None:
    """Only the first of the stop texts is looked for."""
    chat = on_this_wire(gateway)

    @gateway.wrap(session_module.Session, "_stopped")
    def stopped(original: Any, self: Any, generation: Any, stops: Any) -> Any:
        reached = original(self, generation, stops)
        return None if chat.get() and reached is not None and reached.stop != stops[0] else reached


@mutant("CHAT-061")
def cut_behind_a_call_ends_with_tool_calls(gateway: Sabotage) -> None:
    """Tool calls decide the reason, whatever the engine says."""
    chat = on_this_wire(gateway)

    @gateway.wrap(session_module, "finish_reason")
    def finish_reason(original: Any, stop_reason: Any, message: Any, stopped: Any) -> Any:
        return "tool_calls" if chat.get() and "tool_calls" in message else original(stop_reason, message, stopped)


@mutant("CHAT-061")
def cut_answer_loses_its_calls(gateway: Sabotage) -> None:
    """An answer that was cut is not parsed to its end: its calls are dropped."""

    def without_calls(answer: TurnAnswer) -> TurnAnswer:
        if answer.finish_reason != "length":
            return answer
        return replace(answer, message={k: v for k, v in answer.message.items() if k != "tool_calls"})

    on_answer(gateway, without_calls)


@mutant("CHAT-062")
def aborted_before_it_began_is_an_empty_answer(gateway: Sabotage) -> None:
    """An aborted generation fails its turn only where there is half an answer to throw away."""
    chat, streamed = on_this_wire(gateway), streaming(gateway)
    answer_what_was_aborted(gateway, lambda generation: chat.get() and not streamed.get() and not generation.ids)


@mutant("CHAT-062", also=("CHAT-063",))
def aborted_completion_is_half_an_answer(gateway: Sabotage) -> None:
    """An abort is an end like any other."""
    chat = on_this_wire(gateway)
    answer_what_was_aborted(gateway, lambda generation: chat.get())


@mutant("CHAT-063")
def abort_is_a_failure_like_others(gateway: Sabotage) -> None:
    """An aborted generation is answered with status 500."""
    chat = on_this_wire(gateway)

    @gateway.wrap(session_module, "require_ended")
    def require_ended(original: Any, generation: Any) -> None:
        try:
            original(generation)
        except BackendUnavailable as error:
            raise BackendFailed(str(error)) if chat.get() else error from None


@mutant("CHAT-064")
def too_many_requests_are_a_failure(gateway: Sabotage) -> None:
    """The engine's 429 becomes a 500."""
    fail_with_500(gateway, too_many)


@mutant("CHAT-064")
def too_many_requests_come_back_at_once(gateway: Sabotage) -> None:
    """The engine's headers are dropped."""
    forget_retry_after(gateway, too_many)


@mutant("CHAT-065")
def unavailable_is_a_failure(gateway: Sabotage) -> None:
    """The engine's 503 becomes a 500."""
    fail_with_500(gateway, unavailable)
