"""Mutants of area STREAM: event streams that go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

Chunk = dict[str, Any]
SHAPES = ("SHAPE-003", "SHAPE-004")
"""The shapes of streams are pinned as well."""


def change_body(gateway: Sabotage, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of each chunk stream."""

    @gateway.rewrite
    def rewrite(answer: Answer) -> None:
        if answer.is_chunk_stream:
            answer.body = change(answer.body)


def change_chunks(gateway: Sabotage, change: Callable[[list[Chunk]], list[Chunk] | None]) -> None:
    """Change the chunks of each stream, in place or by returning others."""

    @gateway.rewrite
    def rewrite(answer: Answer) -> None:
        if answer.is_chunk_stream:
            chunks = answer.chunks()
            answer.set_chunks(change(chunks) or chunks)


def choices(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in chunk["choices"]]


@mutant("STREAM-001", bugs=(35,))
def stream_is_labelled_as_json(gateway: Sabotage) -> None:
    """The framework labels whatever the chat route returns as JSON."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chunk_stream:
            answer.headers["content-type"] = "application/json"


@mutant("STREAM-002")
def stream_may_be_cached(gateway: Sabotage) -> None:
    """The streaming response is built without headers of its own."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chunk_stream:
            del answer.headers["cache-control"]


@mutant("STREAM-003", also=SHAPES, bugs=(35,))
def frames_are_named(gateway: Sabotage) -> None:
    """Frames carry an `event:` line, as they do on the Anthropic wire."""
    change_body(gateway, lambda body: body.replace(b'data: {"id', b'event: chunk\ndata: {"id'))


@mutant("STREAM-003", bugs=(71,))
def frames_have_no_space(gateway: Sabotage) -> None:
    """Frames begin with `data:` and go on without a space, which clients that cut six characters off cannot read."""
    change_body(gateway, lambda body: body.replace(b'data: {"id', b'data:{"id'))


@mutant("STREAM-003")
def frames_end_with_crlf(gateway: Sabotage) -> None:
    """The library ends lines with CRLF, where clients look for two line feeds."""
    change_body(gateway, lambda body: body.replace(b"\n", b"\r\n"))


@mutant("STREAM-003")
def json_is_indented(gateway: Sabotage) -> None:
    """The JSON of a frame is indented, and each of its lines becomes a `data:` line."""

    def indented(body: bytes) -> bytes:
        frames = [frame.removeprefix("data: ") for frame in body.decode().split("\n\n") if frame]
        spread = [frame if frame == "[DONE]" else json.dumps(json.loads(frame), indent=1) for frame in frames]
        return "".join("data: " + frame.replace("\n", "\ndata: ") + "\n\n" for frame in spread).encode()

    change_body(gateway, indented)


@mutant("STREAM-004", also=SHAPES)
def stream_just_ends(gateway: Sabotage) -> None:
    """The generator returns after the last chunk."""
    change_body(gateway, lambda body: body.replace(b"data: [DONE]\n\n", b""))


@mutant("STREAM-004")
def two_layers_end_the_stream(gateway: Sabotage) -> None:
    """The serialiser ends the stream, and the response that it is put into does so once more."""
    change_body(gateway, lambda body: body + b"data: [DONE]\n\n")


@mutant("STREAM-005", also=SHAPES)
def chunks_are_called_completions(gateway: Sabotage) -> None:
    """Chunks are built from the plain body and keep its `object`."""

    def change(chunks: list[Chunk]) -> None:
        for chunk in chunks:
            chunk["object"] = "chat.completion"

    change_chunks(gateway, change)


@mutant("STREAM-005")
def usage_chunk_is_called_a_completion(gateway: Sabotage) -> None:
    """The chunk with the usage is cut out of the plain body and keeps its `object`."""

    def change(chunks: list[Chunk]) -> None:
        for chunk in chunks:
            if not chunk["choices"]:
                chunk["object"] = "chat.completion"

    change_chunks(gateway, change)


@mutant("STREAM-006")
def each_chunk_has_an_id_of_its_own(gateway: Sabotage) -> None:
    """The id is made where a chunk is built."""

    def change(chunks: list[Chunk]) -> None:
        for number, chunk in enumerate(chunks):
            chunk["id"] += f"-{number}"

    change_chunks(gateway, change)


@mutant("STREAM-006")
def each_chunk_reads_the_clock(gateway: Sabotage) -> None:
    """`created` is the time at which a chunk is built."""

    def change(chunks: list[Chunk]) -> None:
        for number, chunk in enumerate(chunks):
            chunk["created"] += number

    change_chunks(gateway, change)


@mutant("STREAM-006")
def last_chunk_names_another_model(gateway: Sabotage) -> None:
    """The last chunk says the name under which the engine knows the model."""

    def change(chunks: list[Chunk]) -> None:
        chunks[-1]["model"] = "/models/kit"

    change_chunks(gateway, change)


@mutant("STREAM-007", also=SHAPES, bugs=(58,))
def role_comes_with_the_end(gateway: Sabotage) -> None:
    """The stream begins with content, and the role is said at its end."""

    def change(chunks: list[Chunk]) -> None:
        first, *_, last = choices(chunks)
        last["delta"]["role"] = first["delta"].pop("role")

    change_chunks(gateway, change)


@mutant("STREAM-007")
def empty_answer_has_no_opening(gateway: Sabotage) -> None:
    """An answer without content has nothing to open the stream with, so its role comes with the end."""

    def change(chunks: list[Chunk]) -> None:
        first, *between, last = choices(chunks)
        if not between:
            last["delta"]["role"] = first["delta"].pop("role")

    change_chunks(gateway, change)


@mutant("STREAM-008", also=SHAPES)
def every_chunk_has_the_finish_reason(gateway: Sabotage) -> None:
    """The turn is complete before it is streamed, so every chunk is built with its finish reason."""

    def change(chunks: list[Chunk]) -> None:
        for choice in choices(chunks):
            choice["finish_reason"] = choices(chunks)[-1]["finish_reason"]

    change_chunks(gateway, change)


@mutant("STREAM-008", also=SHAPES)
def content_follows_the_finish_reason(gateway: Sabotage) -> None:
    """An empty delta follows the final chunk."""

    def change(chunks: list[Chunk]) -> list[Chunk]:
        last = max(place for place, chunk in enumerate(chunks) if chunk["choices"])
        after = {**chunks[last], "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}
        return [*chunks[: last + 1], after, *chunks[last + 1 :]]

    change_chunks(gateway, change)


@mutant("STREAM-008")
def length_stop_is_said_from_the_start(gateway: Sabotage) -> None:
    """The loop that sends a cut answer sets the finish reason on each chunk that it sends."""

    def change(chunks: list[Chunk]) -> None:
        if choices(chunks)[-1]["finish_reason"] == "length":
            for choice in choices(chunks):
                choice["finish_reason"] = "length"

    change_chunks(gateway, change)


@mutant("STREAM-009", also=SHAPES)
def last_delta_is_null(gateway: Sabotage) -> None:
    """The final chunk has nothing to add, and says so with null."""

    def change(chunks: list[Chunk]) -> None:
        choices(chunks)[-1]["delta"] = None

    change_chunks(gateway, change)


@mutant("STREAM-009", also=SHAPES)
def choices_have_no_index(gateway: Sabotage) -> None:
    """There is one choice, so its index is left out."""

    def change(chunks: list[Chunk]) -> None:
        for choice in choices(chunks):
            del choice["index"]

    change_chunks(gateway, change)


@mutant("STREAM-009")
def length_stop_has_no_delta(gateway: Sabotage) -> None:
    """The chunk that reports a length stop leaves the delta out."""

    def change(chunks: list[Chunk]) -> None:
        last = choices(chunks)[-1]
        if last["finish_reason"] == "length":
            del last["delta"]

    change_chunks(gateway, change)
