"""Mutants of area CHAT: the answer."""

from __future__ import annotations

import time
import unicodedata
from contextvars import ContextVar
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session import session as session_module
from reference_gateway.types import Answer as TurnAnswer
from reference_gateway.wire import openai_chat
from tests.mutants.chat_wire import is_first, on_answer, on_this_wire, saying
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

PLAIN_SHAPES = ("SHAPE-001", "SHAPE-002")
"""What pins each plain answer sees any change of its fields."""


def _in_plain(gateway: Sabotage, change: Any, where: Any = lambda answer: True) -> None:
    """Change the body of each plain answer that `where` holds for."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.is_plain_completion and where(answer):
            document = answer.json
            change(document)
            answer.json = document


@mutant("CHAT-001")
def cut_answer_is_a_text_completion(gateway: Sabotage) -> None:
    """An answer that was cut for length is the engine's own, passed on to be continued: a text completion."""
    _in_plain(
        gateway,
        lambda body: body.update(object="text_completion"),
        lambda answer: answer.json["choices"][0]["finish_reason"] == "length",
    )


@mutant("CHAT-002")
def answer_id_is_a_constant(gateway: Sabotage) -> None:
    """One id, made when the server started, stands in all answers."""
    gateway.patch(openai_chat, "_new_id", lambda: "chatcmpl-1")


@mutant("CHAT-003")
def created_counts_milliseconds(gateway: Sabotage) -> None:
    """`created` is the clock of another language's runtime: milliseconds."""
    gateway.patch(openai_chat, "time", SimpleNamespace(time=lambda: time.time() * 1000))


@mutant("CHAT-003")
def created_is_zero(gateway: Sabotage) -> None:
    """`created` of chunks is the default of a data class."""

    @gateway.wrap(openai_chat.Chunks, "__init__")
    def chunks(original: Any, self: Any, request: Any) -> None:
        original(self, request)
        self._envelope["created"] = 0


@mutant("CHAT-004")
def model_is_null_when_none_was_asked_for(gateway: Sabotage) -> None:
    """The answer's `model` is a copy of the request's, which may not be there."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: Any, headers: Any, policy: Any) -> Any:
        return replace(original(body, headers, policy), model=body.get("model"))


@mutant("CHAT-005")
def choices_count_from_one(gateway: Sabotage) -> None:
    """The index of the only choice is 1."""
    _in_plain(gateway, lambda body: body["choices"][0].update(index=1))


@mutant("CHAT-006")
def answer_with_an_unknown_reason_has_no_role(gateway: Sabotage) -> None:
    """A generation that ended for an unknown reason is answered from another place, which forgets the role."""
    unknown: ContextVar[bool] = ContextVar("unknown", default=False)

    @gateway.wrap(session_module, "finish_reason")
    def finish_reason(original: Any, stop_reason: Any, message: Any, *stopped: Any) -> Any:
        unknown.set(stop_reason == "eos_token")
        return original(stop_reason, message, *stopped)

    @gateway.wrap(openai_chat, "_head")
    def head(original: Any, answer: Any) -> Any:
        return {} if unknown.get() else original(answer)


@mutant("CHAT-007", also=("CHAT-060", "CHAT-156"), bugs=(54,))
def content_is_stripped(gateway: Sabotage) -> None:
    """The blanks around the sampled text are taken off."""
    on_answer(gateway, lambda answer: saying(answer, content=answer.message["content"].strip()))


@mutant("CHAT-007")
def content_is_normalised(gateway: Sabotage) -> None:
    """The sampled text is brought into Unicode's composed form."""
    on_answer(gateway, lambda answer: saying(answer, content=unicodedata.normalize("NFC", answer.message["content"])))


@mutant("CHAT-008", bugs=(37,))
def end_of_turn_is_shown(gateway: Sabotage) -> None:
    """Control tokens are kept for the tool parser, and stay where it finds no call."""
    chat = on_this_wire(gateway)

    @gateway.wrap(TemplateCodec, "decode")
    def decode(original: Any, codec: Any, ids: Any, tools: Any, **how: Any) -> Any:
        message = original(codec, ids, tools, **how)
        if not tools or "tool_calls" in message or not chat.get():
            return message
        return {**message, "content": codec.vocabulary.decode(ids, keep_control=True)}


@mutant("CHAT-009")
def no_tool_calls_are_null(gateway: Sabotage) -> None:
    """Where tools were given, the message is the parser's data class, whose unset field is written as null."""
    _in_plain(
        gateway,
        lambda body: body["choices"][0]["message"].setdefault("tool_calls", None),
        lambda answer: isinstance(answer.asked, dict) and answer.asked.get("tools"),
    )


@mutant("CHAT-010")
def stop_without_an_end_of_turn_is_told_as_length(gateway: Sabotage) -> None:
    """The reason is guessed from the last id: what a stop sequence ended has no end of turn, so it must be cut off."""

    @gateway.wrap(session_module.Session, "_attempt")
    async def attempt(original: Any, session: Any, *turn: Any) -> Any:
        answer = await original(session, *turn)
        tips = [chain.tip for chain in session._tree.chains()]
        ended = not tips or session._codec.vocabulary.control_ids & {*tips[-1].sampled[-1:]}
        told = answer.finish_reason != "stop" or answer.stop_sequence is not None
        return answer if ended or told else replace(answer, finish_reason="length")


@mutant("CHAT-011")
def length_is_told_as_stop(gateway: Sabotage) -> None:
    """Whatever is no tool call stopped by itself, so that agents take half an answer for a whole one."""
    chat = on_this_wire(gateway)

    @gateway.wrap(session_module, "finish_reason")
    def finish_reason(original: Any, stop_reason: Any, message: Any, *stopped: Any) -> Any:
        reason = original(stop_reason, message, *stopped)
        return "stop" if reason == "length" and not message.get("tool_calls") and chat.get() else reason


@mutant("CHAT-012")
def unknown_reason_is_passed_on(gateway: Sabotage) -> None:
    """The mapping of stop reasons has no default."""
    chat = on_this_wire(gateway)

    @gateway.wrap(session_module, "finish_reason")
    def finish_reason(original: Any, stop_reason: Any, message: Any, *stopped: Any) -> Any:
        reason = original(stop_reason, message, *stopped)
        return stop_reason if reason == "stop" and chat.get() else reason


@mutant("CHAT-013", also=("CHAT-014", "CHAT-015", "STREAM-015", *PLAIN_SHAPES), bugs=(47,))
def usage_is_lost(gateway: Sabotage) -> None:
    """The answer is written anew, and its usage is forgotten."""
    _in_plain(gateway, lambda body: body.pop("usage"))


@mutant("CHAT-013")
def total_leaves_the_prompt_out(gateway: Sabotage) -> None:
    """`total_tokens` counts what was sampled only, where anything was."""

    @gateway.wrap(openai_chat, "_usage")
    def usage(original: Any, answer: TurnAnswer) -> Any:
        counted = original(answer)
        return {**counted, "total_tokens": answer.completion_tokens or counted["total_tokens"]}


@mutant("CHAT-014")
def prompt_is_counted_with_a_bos(gateway: Sabotage) -> None:
    """The prompt is tokenised a second time for the usage, with a token in front that was never sent."""
    on_answer(
        gateway, lambda answer: replace(answer, prompt_tokens=answer.prompt_tokens + bool(answer.completion_tokens))
    )


@mutant("CHAT-014")
def only_the_new_part_of_a_prompt_is_counted(gateway: Sabotage) -> None:
    """What a turn shares with the one before it is not counted."""
    before: dict[int, int] = {}

    @gateway.wrap(session_module.Session, "run")
    async def run(original: Any, session: Any, turn: Any) -> Any:
        answer = await original(session, turn)
        shared = before.get(id(session), 0) if len(turn.messages) > 1 else 0
        before[id(session)] = answer.prompt_tokens + answer.completion_tokens
        return replace(answer, prompt_tokens=max(answer.prompt_tokens - shared, 0))


@mutant("CHAT-015")
def end_of_turn_is_not_counted(gateway: Sabotage) -> None:
    """Sampled tokens are counted after the special ones were taken out."""
    on_answer(gateway, lambda answer: replace(answer, completion_tokens=max(answer.completion_tokens - 1, 0)))


@mutant("CHAT-016")
def empty_answer_is_filled(gateway: Sabotage) -> None:
    """An empty text becomes a blank, for the sake of one client that refuses empty strings."""
    on_answer(
        gateway,
        lambda answer: (
            saying(answer, content=" ")
            if answer.completion_tokens
            and not answer.message["content"]
            and "tool_calls" not in answer.message
            and answer.stop_sequence is None
            else answer
        ),
    )


@mutant("CHAT-017")
def empty_answer_lacks_null_fields(gateway: Sabotage) -> None:
    """The answer to a generation without text is written in a place of its own, which leaves the null fields out."""

    def drop(body: Any) -> None:
        choice = body["choices"][0]
        choice.pop("logprobs")
        choice["message"].pop("refusal")

    def is_empty(answer: Answer) -> bool:
        message = answer.json["choices"][0]["message"]
        return not message["content"] and "tool_calls" not in message

    _in_plain(gateway, drop, is_empty)


@mutant("CHAT-018", bugs=(61,))
def token_ids_are_returned_unasked(gateway: Sabotage) -> None:
    """A later turn asks the engine for its token ids, to go on from them, and passes them on to the client."""
    _in_plain(gateway, lambda body: body["choices"][0].update(token_ids=[9906, 151645]), _continues)


@mutant("CHAT-018", bugs=(47,))
def routed_experts_leak(gateway: Sabotage) -> None:
    """The engine's record of its routing, kept for the turns of a longer conversation, stands in their answers."""
    _in_plain(gateway, lambda body: body["choices"][0]["message"].update(routed_experts=[[3, 7]]), _continues)


def _continues(answer: Answer) -> bool:
    return isinstance(answer.asked, dict) and not is_first(answer.asked)
