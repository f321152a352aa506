"""Mutants of area INV: answers that are streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from reference_gateway.channel.host import Host
from reference_gateway.channel.target import SessionTarget
from reference_gateway.serving import invocations_plane
from reference_gateway.wire.invocations import Framing
from tests.mutants.inv import declares, invoked, of_the_engine
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

DONE = b"data: [DONE]\n\n"


def streamed(answer: Answer) -> bool:
    return invoked(answer) and answer.is_stream and answer.body.endswith(DONE)


def failed(answer: Answer) -> bool:
    return invoked(answer) and answer.is_stream and answer.body.startswith(b"event: error\n")


@mutant("INV-026")
def invocation_stream_is_labelled_as_text(gateway: Sabotage) -> None:
    """The stream is labelled as plain text."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer):
            answer.headers["content-type"] = "text/plain; charset=utf-8"


@mutant("INV-027")
def proxies_may_buffer_the_stream(gateway: Sabotage) -> None:
    """No header keeps a proxy from holding the stream back."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer):
            del answer.headers["x-accel-buffering"]


@mutant("INV-028")
def chunks_are_split_at_line_feeds_only(gateway: Sabotage) -> None:
    """A chunk is split at its line feeds, and the CR before one stays."""

    @gateway.wrap(Framing, "chunk")
    def chunk(original: Any, self: Any, text: str) -> Any:
        if "\r\n" not in text:
            return original(self, text)
        return b"".join(b"data: " + line.encode() + b"\n" for line in text.split("\n")) + b"\n"


@mutant("INV-028", also=("INV-030", "INV-035", "INV-036", "INV-060"))
def chunk_is_one_data_line(gateway: Sabotage) -> None:
    """A chunk is put behind one `data: ` as it is."""

    @gateway.wrap(Framing, "_data")
    def data(original: Any, self: Any, text: str) -> Any:
        return b"data: " + text.encode() + b"\n\n"


@mutant("INV-029")
def invocation_stream_has_no_end(gateway: Sabotage) -> None:
    """The generator returns after the last chunk."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer) and answer.body != DONE and not failed(answer):
            answer.body = answer.body.removesuffix(DONE)


@mutant("INV-029")
def invocation_stream_ends_twice(gateway: Sabotage) -> None:
    """The channel and the host each send the end."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer) and answer.body != DONE and not failed(answer):
            answer.body += DONE


@mutant("INV-030")
def exact_stream_splits_lines_as_python_does(gateway: Sabotage) -> None:
    """Chunks are split with `str.splitlines()`, whatever is declared."""
    gateway.configure(channel_options={"sse_newline": "splitlines"})
    declares(gateway, sse_newline="exact")


@mutant("INV-030")
def last_line_end_is_lost(gateway: Sabotage) -> None:
    """The line end at the end of a chunk is taken for that of its frame."""

    @gateway.wrap(Framing, "_data")
    def data(original: Any, self: Any, text: str) -> Any:
        return original(self, text.removesuffix("\n") or text)


@mutant("INV-031")
def split_lines_are_stripped(gateway: Sabotage) -> None:
    """The space in front of a line is taken for the one behind `data:`."""
    gateway.configure(channel_options={"sse_newline": "splitlines"})

    @gateway.wrap(Framing, "_data")
    def data(original: Any, self: Any, text: str) -> Any:
        return original(self, "\n".join(line.lstrip() for line in text.splitlines()))


@mutant("INV-032")
def empty_text_is_a_frame(gateway: Sabotage) -> None:
    """A frame is sent for a chunk without text."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer) and answer.body == DONE:
            answer.body = b"data: \n\n" + DONE


@mutant("INV-033")
def end_is_sent_after_an_error(gateway: Sabotage) -> None:
    """The end is sent when the engine is done with, also where it has failed."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if failed(answer) and of_the_engine(answer):
            answer.body += DONE


@mutant("INV-032")
def silence_is_a_frame(gateway: Sabotage) -> None:
    """Where the model says nothing, a frame without text says so."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, *given: Any) -> str:
        text: str = await original(self, *given)
        self.silent = not text
        return text

    @gateway.wrap(Host, "chunks")
    async def chunks(original: Any, self: Any, request: Any, target: Any) -> AsyncIterator[str]:
        async with aclosing(original(self, request, target)) as sent:
            async for each in sent:
                yield each
        if getattr(target, "silent", False):
            yield ""

    gateway.wrap(Framing, "chunk")(lambda original, self, text: original(self, text) or b"data: \n\n")


@mutant("INV-033")
def failed_stream_just_ends(gateway: Sabotage) -> None:
    """A failure of the engine is logged, and the stream ends as if the model had said nothing."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if failed(answer) and of_the_engine(answer):
            answer.body = DONE


@mutant("INV-034")
def error_frame_has_a_traceback(gateway: Sabotage) -> None:
    """The traceback is sent for the client to report."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if failed(answer):
            trace = b'data: Traceback (most recent call last):\ndata:   File "/srv/gateway/app.py", line 7, in run\n'
            answer.body = answer.body.replace(b"event: error\n", b"event: error\n" + trace)


@mutant("INV-035")
def event_in_the_text_is_an_event(gateway: Sabotage) -> None:
    """A line that is a field already is sent as it is."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer):
            answer.body = answer.body.replace(b"data: id: ", b"id: ")


@mutant("INV-036")
def line_that_says_done_ends_the_stream(gateway: Sabotage) -> None:
    """A layer in between stops at the first line that says it is the end."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if streamed(answer):
            before, end, _ = answer.body.partition(b"data: [DONE]\n")
            answer.body = before + end + b"\n"


@mutant("INV-037")
def done_is_not_encoded(gateway: Sabotage) -> None:
    """What is said to be the end is left as it is by the layer that encodes."""
    gateway.configure(channel_options={"invocations_frames": "json"})

    @gateway.wrap(Framing, "chunk")
    def chunk(original: Any, self: Any, text: str) -> Any:
        return DONE if text == "[DONE]" else original(self, text)


@mutant("INV-039")
def only_true_streams(gateway: Sabotage) -> None:
    """A truthy flag is accepted, and only the boolean streams."""
    gateway.configure(channel_options={"stream_flag": "truthy"})

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        invocation = original(content, flag)
        return replace(invocation, stream=invocation.body.get("stream") is True)


@mutant("INV-040")
def presence_of_stream_streams(gateway: Sabotage) -> None:
    """The presence of the field is taken for its value."""

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        invocation = original(content, flag)
        return replace(invocation, stream="stream" in invocation.body)
