"""Mutants of area MSG: the answer."""

from __future__ import annotations

import html
import json
import re
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.session import session as session_module
from reference_gateway.session.session import Session
from reference_gateway.wire import anthropic_messages
from tests.mutants.found_calls import (
    Calls,
    all_text,
    by_name,
    doubled,
    on_calls,
    respelled,
    with_invented,
    without_malformed,
)
from tests.mutants.msg_wire import Block, Body, is_message, on_answer, on_blocks, on_plain, on_turn, over_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def _on_usage(gateway: Sabotage, change: Any) -> None:
    @gateway.wrap(anthropic_messages, "_usage")
    def usage(original: Any, *counts: Any) -> Any:
        return change(original(*counts))


def _stop_reason(gateway: Sabotage, finish: str, reason: str) -> None:
    reasons = {**anthropic_messages._STOP_REASONS, finish: reason}
    gateway.patch(anthropic_messages, "_STOP_REASONS", reasons)


@mutant("MSG-001")
def message_has_no_type(gateway: Sabotage) -> None:
    """The body is built from the fields of a chat completion, which has an `object` and no `type`."""
    on_plain(gateway, lambda body: body.update(object=body.pop("type")))


@mutant("MSG-001")
def message_is_labelled_as_text(gateway: Sabotage) -> None:
    """The body is returned as a string, so the framework labels it as text."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if is_message(answer) and not answer.is_stream:
            answer.headers["content-type"] = "text/plain"


@mutant("MSG-002")
def message_ids_are_the_sessions(gateway: Sabotage) -> None:
    """One id is used for all answers."""

    @gateway.wrap(anthropic_messages, "_head")
    def head(original: Any, request: Any) -> Any:
        return {**original(request), "id": "msg_0"}


@mutant("MSG-003")
def message_has_a_null_model(gateway: Sabotage) -> None:
    """The model is that of the engine's answer, which names none."""
    on_plain(gateway, lambda body: body.update(model=None))


@mutant("MSG-003")
def message_has_an_empty_model(gateway: Sabotage) -> None:
    """The model is that of the engine's answer, which names none, and no model is the empty text."""
    on_plain(gateway, lambda body: body.update(model=""))


@mutant("MSG-004", also=("MSG-092", "MSG-164"), bugs=(54,))
def block_text_is_stripped(gateway: Sabotage) -> None:
    """The text of a block is stripped."""
    on_blocks(
        gateway, lambda blocks: [{**each, "text": each["text"].strip()} if "text" in each else each for each in blocks]
    )


@mutant("MSG-004")
def entities_of_a_block_are_resolved(gateway: Sabotage) -> None:
    """The text of a block is taken for a page's, and what is escaped in it is written out."""
    on_blocks(
        gateway,
        lambda blocks: [{**each, "text": html.unescape(each["text"])} if "text" in each else each for each in blocks],
    )


@mutant("MSG-005")
def empty_answer_has_no_block(gateway: Sabotage) -> None:
    """A block is made only where there is text."""
    on_blocks(gateway, lambda blocks: [each for each in blocks if each.get("text") != ""])


@mutant("MSG-006")
def every_stop_is_a_stop_sequence(gateway: Sabotage) -> None:
    """`stop` is translated by its sound."""
    _stop_reason(gateway, "stop", "stop_sequence")


@mutant("MSG-006")
def offered_tools_are_used_tools(gateway: Sabotage) -> None:
    """Where tools were offered the answer is a tool use, called or not."""

    @gateway.wrap(anthropic_messages, "plain")
    def plain(original: Any, answer: Any, request: Any) -> Any:
        offered = request.turn.tools and answer.finish_reason == "stop"
        return original(replace(answer, finish_reason="tool_calls") if offered else answer, request)


@mutant("MSG-007", bugs=(71,))
def cut_answer_ends_its_turn(gateway: Sabotage) -> None:
    """The wire knows one reason for an answer without calls."""

    @gateway.wrap(anthropic_messages, "_end")
    def end(original: Any, answer: Any) -> Any:
        told = original(answer)
        cut = answer.finish_reason == "length" and not answer.message.get("tool_calls")
        return {**told, "stop_reason": "end_turn"} if cut else told


@mutant("MSG-008")
def call_ends_its_turn(gateway: Sabotage) -> None:
    """The engine stopped by itself, and that is what the client is told."""
    _stop_reason(gateway, "tool_calls", "end_turn")


@mutant("MSG-008")
def text_beside_a_call_ends_its_turn(gateway: Sabotage) -> None:
    """The first block says how an answer ended: text ends the turn, also in front of a call."""

    def change(body: Body) -> None:
        if body["content"][0]["type"] == "text" and body["stop_reason"] == "tool_use":
            body["stop_reason"] = "end_turn"

    on_plain(gateway, change)


@mutant("MSG-009")
def stop_reason_of_the_engine_is_passed_on(gateway: Sabotage) -> None:
    """A reason that the mapping does not know is passed through."""
    unknown: ContextVar[str | None] = ContextVar("unknown")

    @gateway.wrap(session_module, "finish_reason")
    def finish_reason(original: Any, stop_reason: str | None, message: Any, *stopped: Any) -> Any:
        unknown.set(stop_reason if stop_reason not in ("stop", "length", None) else None)
        return original(stop_reason, message, *stopped)

    class Reasons(dict[str, str]):
        def __getitem__(self, finish: str) -> str:
            return unknown.get(None) or super().__getitem__(finish)

    gateway.patch(anthropic_messages, "_STOP_REASONS", Reasons(anthropic_messages._STOP_REASONS))


@mutant("MSG-010")
def null_stop_sequence_is_left_out(gateway: Sabotage) -> None:
    """Fields that are null are left out when the message is written."""

    def change(body: Body) -> None:
        if body["stop_sequence"] is None:
            del body["stop_sequence"]

    on_plain(gateway, change)


@mutant("MSG-010")
def cut_message_has_no_stop_sequence(gateway: Sabotage) -> None:
    """An answer that was cut was not stopped, and says nothing of a stop sequence."""
    on_plain(gateway, lambda body: body["stop_reason"] == "max_tokens" and body.pop("stop_sequence"))


@mutant("MSG-011")
def only_new_input_is_counted(gateway: Sabotage) -> None:
    """The input tokens of a continued conversation are those that were rendered for this turn."""
    added: ContextVar[int] = ContextVar("added")

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, *arguments: Any) -> Any:
        found = original(*arguments)
        added.set(len(found.delta))
        return found

    _on_usage(gateway, lambda usage: {**usage, "input_tokens": added.get()})


@mutant("MSG-012")
def end_of_turn_of_a_message_is_not_counted(gateway: Sabotage) -> None:
    """The output tokens are counted after special tokens were stripped."""
    on_answer(gateway, lambda answer: replace(answer, completion_tokens=max(0, answer.completion_tokens - 1)))


@mutant("MSG-013", bugs=(23,))
def constants_of_an_input_are_text(gateway: Sabotage) -> None:
    """The constants of an input are written as another language prints them."""

    def spelled(block: Block) -> Block:
        written = {True: "True", False: "False", None: "None"}
        found = {
            name: written[value] if isinstance(value, bool | None) else value
            for name, value in block.get("input", {}).items()
        }
        return {**block, "input": found} if "input" in block else block

    on_blocks(gateway, lambda blocks: [*map(spelled, blocks)])


@mutant("MSG-013")
def integers_of_an_input_are_doubles(gateway: Sabotage) -> None:
    """The arguments go through a reader that knows one kind of number."""
    on_calls(gateway, over_messages(gateway), doubled)


@mutant("MSG-013")
def strings_of_an_input_are_typed_by_their_look(gateway: Sabotage) -> None:
    """What looks like a number or a boolean becomes one, though the tool asks for a string."""
    on_calls(gateway, over_messages(gateway), respelled)


@mutant("MSG-014")
def ids_of_blocks_start_anew(gateway: Sabotage) -> None:
    """The ids count from 0 in each answer."""
    on_blocks(
        gateway,
        lambda blocks: [
            {**each, "id": f"toolu_{place}"} if "id" in each else each for place, each in enumerate(blocks)
        ],
    )


@mutant("MSG-014")
def all_calls_of_an_answer_have_one_id(gateway: Sabotage) -> None:
    """The id is that of the answer."""
    on_blocks(
        gateway,
        lambda blocks: [{**each, "id": "toolu_" + str(id(blocks))} if "id" in each else each for each in blocks],
    )


@mutant("MSG-015")
def text_follows_the_calls(gateway: Sabotage) -> None:
    """The calls are written first, as the chat wire's message has its text anywhere."""
    on_plain(gateway, lambda body: body["content"].sort(key=lambda each: each["type"] == "text"))


@mutant("MSG-016")
def calls_of_a_message_are_grouped(gateway: Sabotage) -> None:
    """The calls are collected by name."""
    on_blocks(gateway, lambda blocks: sorted(blocks, key=lambda each: str(each.get("name", ""))))


@mutant("MSG-017", bugs=(39, 54))
def markup_that_cannot_be_read_is_dropped(gateway: Sabotage) -> None:
    """Without a call, whatever stands in the markup of one is taken out of the text, read or not."""

    def readable(block: Block) -> bool:
        called = re.search(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", block.get("text", ""), re.DOTALL)
        try:
            return called is None or "name" in json.loads(called[1])
        except ValueError:
            return False

    on_blocks(
        gateway,
        lambda blocks: [
            each if readable(each) or len(blocks) > 1 else {**each, "text": each["text"].partition("<tool_call>")[0]}
            for each in blocks
        ],
    )


@mutant("MSG-150")
def malformed_call_beside_a_block_is_dropped(gateway: Sabotage) -> None:
    """Beside a call that was found, the text ends where the markup of any call begins."""
    on_calls(gateway, over_messages(gateway), without_malformed)


@mutant("MSG-150", also=("MSG-151",))
def malformed_call_is_a_block_without_input(gateway: Sabotage) -> None:
    """What the input of a call can't be parsed from, it is made without."""
    on_calls(gateway, over_messages(gateway), with_invented)


@mutant("MSG-151", bugs=(54,))
def malformed_call_makes_text_of_all_blocks(gateway: Sabotage) -> None:
    """One exception of the parser, and the whole answer is text."""
    on_calls(gateway, over_messages(gateway), all_text)


@mutant("MSG-152")
def blocks_are_kept_by_name(gateway: Sabotage) -> None:
    """Where there are more than two, calls are kept in a table of names, in which the last call of a tool wins."""

    def change(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
        return rest, by_name(calls) if len(calls) > 2 else calls

    on_calls(gateway, over_messages(gateway), change)


@mutant("MSG-018")
def calls_are_read_under_tool_choice_none(gateway: Sabotage) -> None:
    """The tool parser runs on every answer to a request that has tools."""

    def ignore(body: Body, turn: Any) -> Any:
        if not isinstance(body.get("tool_choice"), dict) or body["tool_choice"].get("type") != "none":
            return turn
        return replace(turn, tools=anthropic_messages.read_tools(body.get("tools"), None))

    on_turn(gateway, ignore)
