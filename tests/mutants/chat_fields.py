"""Mutants of area CHAT: fields and messages that change what an answer is, and are not heard."""

from __future__ import annotations

from typing import Any

from reference_gateway.session import session as turns
from reference_gateway.session.session import Session
from reference_gateway.types import Turn
from reference_gateway.wire.base import RequestRefused
from tests.mutants.chat_wire import Body, is_first, on_body, on_this_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.split_identity import ruled


def _without(body: Body, *names: str) -> Body:
    return {name: value for name, value in body.items() if name not in names}


def _of_messages(body: Body, change: Any) -> Body:
    messages = body.get("messages")
    return {**body, "messages": list(map(change, messages))} if isinstance(messages, list) else body


@mutant("CHAT-150")
def top_logprobs_are_ignored(gateway: Sabotage) -> None:
    """Log-probabilities are told, the alternatives that were asked for are not."""
    on_body(gateway, lambda body: _without(body, "top_logprobs"))


@mutant("CHAT-150")
def penalties_are_dropped(gateway: Sabotage) -> None:
    """What is not on a list of sampling parameters is dropped without a word."""
    on_body(gateway, lambda body: _without(body, "presence_penalty", "frequency_penalty", "seed", "logit_bias"))


@mutant("CHAT-150")
def gates_are_for_the_first_turn(gateway: Sabotage) -> None:
    """A conversation that was let in is not looked at again."""

    def change(body: Body) -> Body:
        gated = ("n", "response_format", "functions", "modalities", "audio")
        return body if is_first(body) else _without(body, *gated)

    on_body(gateway, change)


@mutant("CHAT-151")
def response_format_is_refused_whatever_it_is(gateway: Sabotage) -> None:
    """The field is refused where it is there, also for the default."""

    def change(body: Body) -> Body:
        if body.get("response_format") is not None:
            raise RequestRefused("response_format is not supported")
        return body

    on_body(gateway, change)


@mutant("CHAT-152")
def logprobs_are_null(gateway: Sabotage) -> None:
    """The field is not on the list of what a request may ask for, and null is answered."""
    on_body(gateway, lambda body: _without(body, "logprobs"))


@mutant("CHAT-153")
def streams_show_all_calls(gateway: Sabotage) -> None:
    """One call is shown of a plain answer, and all of a streamed one."""
    on_body(gateway, lambda body: _without(body, "parallel_tool_calls") if body.get("stream") else body)


def record_all_calls(gateway: Sabotage, serving: Any) -> None:
    """What the client was not shown of an answer is part of its identity, on the wire that `serving` is true for."""

    @gateway.wrap(Session, "_commit_turn")
    def commit(
        original: Any, session: Session, plan: Any, generation: Any, logprobs: Any, message: Any, *rest: Any
    ) -> Any:
        if message.get("tool_calls") and serving():
            whole = session._codec.decode(generation.ids, [{"type": "function", "function": {"name": "any"}}])
            message = whole if len(whole["tool_calls"]) > len(message["tool_calls"]) else message
        return original(session, plan, generation, logprobs, message, *rest)


def record_the_rest_alone(gateway: Sabotage, serving: Any) -> None:
    """A message that was gone on with and what was sampled behind it are two messages, where `serving` is true."""

    @gateway.wrap(turns, "_whole")
    def whole(original: Any, message: Any, turn: Turn) -> Any:
        return message if serving() else original(message, turn)


@mutant("CHAT-154")
def calls_that_were_not_shown_are_compared(gateway: Sabotage) -> None:
    """The history is compared with what was sampled, not with what was shown of it."""
    record_all_calls(gateway, on_this_wire(gateway).get)


@mutant("CHAT-155")
def streams_answer_the_last_message(gateway: Sabotage) -> None:
    """A streamed request that is to go on with its last message gets an answer to it."""

    def change(body: Body) -> Body:
        return _without(body, "continue_final_message", "add_generation_prompt") if body.get("stream") else body

    on_body(gateway, change)


@mutant("CHAT-156")
def rest_of_a_message_is_one_of_its_own(gateway: Sabotage) -> None:
    """What was gone on with and what was sampled behind it are two messages of the history."""
    record_the_rest_alone(gateway, on_this_wire(gateway).get)


@mutant("CHAT-157")
def refusals_say_nothing(gateway: Sabotage) -> None:
    """The text of a refusal is no content, and is left out."""
    on_body(
        gateway,
        lambda body: _of_messages(body, lambda each: _without(each, "refusal") if isinstance(each, dict) else each),
    )


@mutant("CHAT-157")
def old_calls_are_left_out(gateway: Sabotage) -> None:
    """Calls are read where they are written today, and not where they were before."""
    on_body(
        gateway,
        lambda body: _of_messages(
            body, lambda each: _without(each, "function_call") if isinstance(each, dict) else each
        ),
    )


@mutant("CHAT-157")
def roles_are_taken_as_they_come(gateway: Sabotage) -> None:
    """A role that nobody knows is left to the template, which renders some roles and not others."""

    def change(each: Any) -> Any:
        known = ("developer", "system", "user", "assistant", "tool", "function")
        role = each.get("role") if isinstance(each, dict) else None
        return {"role": "user", "content": ""} if isinstance(role, str) and role and role not in known else each

    on_body(gateway, lambda body: _of_messages(body, change))


@mutant("CHAT-158")
def names_are_always_compared(gateway: Sabotage) -> None:
    """The name that a client gives an assistant is a part of the message, whatever the option says."""
    ruled(gateway, names=True)


@mutant("CHAT-159")
def names_are_never_compared(gateway: Sabotage) -> None:
    """`name_identity = compared` is accepted and has no effect."""
    ruled(gateway, names=False)
