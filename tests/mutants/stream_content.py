"""Mutants of area STREAM: what a stream says differs from what the model said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.wire import openai_chat
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.stream import SHAPES, Chunk, change_chunks, choices


def change_content(gateway: Sabotage, change: Callable[[str], str]) -> None:
    """Change the content that each stream says, in its deltas."""

    def rewrite(chunks: list[Chunk]) -> None:
        for choice in choices(chunks):
            if choice["delta"].get("content"):
                choice["delta"]["content"] = change(choice["delta"]["content"])

    change_chunks(gateway, rewrite)


def tool_deltas(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [delta for choice in choices(chunks) for delta in choice["delta"].get("tool_calls", ())]


@mutant("STREAM-010", bugs=(56,))
def last_line_end_of_a_stream_is_lost(gateway: Sabotage) -> None:
    """The streaming path sends line by line and takes the last line end behind a blank for its own."""
    change_content(gateway, lambda text: text.removesuffix("\n") if text.endswith(" \n") else text)


@mutant("STREAM-010", also=("CHAT-007", "CHAT-060"), bugs=(56,))
def stream_is_stripped(gateway: Sabotage) -> None:
    """The streaming path strips the text, which the plain one does not."""
    change_content(gateway, str.strip)


@mutant("STREAM-010", also=("CHAT-011",), bugs=(56,))
def stream_misses_the_length_stop(gateway: Sabotage) -> None:
    """The streaming path knows two finish reasons for an answer with text, and a length stop is none of them."""

    def change(chunks: list[Chunk]) -> None:
        *said, last = choices(chunks)
        text_alone = any(choice["delta"].get("content") for choice in said) and not tool_deltas(chunks)
        if last["finish_reason"] == "length" and text_alone:
            last["finish_reason"] = "stop"

    change_chunks(gateway, change)


@mutant("STREAM-011")
def each_byte_is_decoded_alone(gateway: Sabotage) -> None:
    """Each token is decoded on its own, and an emoji is several tokens."""
    change_content(gateway, lambda text: text.replace("🪿", "\ufffd" * 4))


@mutant("STREAM-011")
def unfinished_characters_are_dropped(gateway: Sabotage) -> None:
    """Bytes that are no character yet are left out, and never said when they are one."""
    change_content(gateway, lambda text: text.replace("🪿", ""))


@mutant("STREAM-012")
def unicode_line_ends_cut_a_frame(gateway: Sabotage) -> None:
    """JSON is written without escapes and cut into lines at whatever Unicode calls a line end."""
    change_content(gateway, lambda text: "\n".join(text.splitlines()) if "\u2028" in text else text)


@mutant("STREAM-012")
def terminator_in_the_text_ends_the_stream(gateway: Sabotage) -> None:
    """The end of the stream is looked for in the text."""
    change_content(gateway, lambda text: text.partition("data: [DONE]")[0])


@mutant("STREAM-012")
def carriage_returns_are_dropped(gateway: Sabotage) -> None:
    """Line ends of the text are made alike on its way into the frame."""
    change_content(gateway, lambda text: text.replace("\r\n", "\n").replace("\r", "\n"))


@mutant("STREAM-013", also=("SHAPE-004",), bugs=(71,))
def streamed_tool_calls_have_no_index(gateway: Sabotage) -> None:
    """The tool calls of the plain body are sent as they are, and those have no index."""

    def change(chunks: list[Chunk]) -> None:
        for delta in tool_deltas(chunks):
            del delta["index"]

    change_chunks(gateway, change)


@mutant("STREAM-013", bugs=(71,))
def tool_calls_are_counted_from_one(gateway: Sabotage) -> None:
    """The first tool call has the index 1."""

    def change(chunks: list[Chunk]) -> None:
        for delta in tool_deltas(chunks):
            delta["index"] += 1

    change_chunks(gateway, change)


@mutant("STREAM-014", also=("SHAPE-004", "STREAM-040"), bugs=(71,))
def arguments_are_sent_again_at_the_end(gateway: Sabotage) -> None:
    """After the fragments of the arguments, the closing chunk carries all of them once more."""

    def change(chunks: list[Chunk]) -> None:
        again = [
            {"index": delta["index"], "function": {"arguments": delta["function"]["arguments"]}}
            for delta in tool_deltas(chunks)
        ]
        if again:
            choices(chunks)[-1]["delta"] = {"tool_calls": again}

    change_chunks(gateway, change)


@mutant("STREAM-014")
def last_fragment_is_lost(gateway: Sabotage) -> None:
    """What is left in the buffer when the arguments of the second of two calls end is not sent."""

    def change(chunks: list[Chunk]) -> None:
        fragments = tool_deltas(chunks)
        if {delta["index"] for delta in fragments} == {0, 1}:
            fragments[-1]["function"]["arguments"] = fragments[-1]["function"]["arguments"][:-1]

    change_chunks(gateway, change)


@mutant("STREAM-015", bugs=(47,))
def usage_is_not_streamed(gateway: Sabotage) -> None:
    """`stream_options` is an unknown field, so agents count no tokens."""
    change_chunks(gateway, lambda chunks: [chunk for chunk in chunks if chunk["choices"]])


@mutant("STREAM-015", bugs=(47,))
def usage_of_a_stream_counts_no_completion(gateway: Sabotage) -> None:
    """The usage of a stream is taken before anything was sampled."""

    def change(chunks: list[Chunk]) -> None:
        for chunk in chunks:
            if usage := chunk.get("usage"):
                usage["completion_tokens"] = 0
                usage["total_tokens"] = usage["prompt_tokens"]

    change_chunks(gateway, change)


@mutant("STREAM-015")
def usage_is_streamed_twice(gateway: Sabotage) -> None:
    """Two layers add the usage."""
    change_chunks(gateway, lambda chunks: chunks + [chunk for chunk in chunks if not chunk["choices"]])


@mutant("STREAM-016")
def usage_rides_on_the_last_choice(gateway: Sabotage) -> None:
    """The usage is put on the chunk that carries the finish reason."""

    def change(chunks: list[Chunk]) -> list[Chunk]:
        *chosen, last = chunks
        return chunks if last["choices"] else [*chosen[:-1], {**chosen[-1], "usage": last["usage"]}]

    change_chunks(gateway, change)


@mutant("STREAM-016", also=SHAPES)
def usage_is_sent_unasked(gateway: Sabotage) -> None:
    """Every stream ends with a usage, whoever asked for it."""

    @gateway.wrap(openai_chat, "stream")
    def stream(original: Any, answer: Any, request: Any) -> Any:
        return original(answer, replace(request, include_usage=True))


@mutant("STREAM-040")
def call_without_arguments_streams_none(gateway: Sabotage) -> None:
    """A fragment is sent for the arguments that there are."""

    def change(chunks: list[Chunk]) -> None:
        for delta in tool_deltas(chunks):
            if delta.get("function", {}).get("arguments") == "{}":
                del delta["function"]["arguments"]

    change_chunks(gateway, change)
