"""Mutants of area STREAM: event streams that go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.wire import openai_chat
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


def change_content(gateway: Sabotage, change: Callable[[str], str]) -> None:
    """Change the content that each stream says, in its deltas."""

    def rewrite(chunks: list[Chunk]) -> None:
        for choice in choices(chunks):
            if choice["delta"].get("content"):
                choice["delta"]["content"] = change(choice["delta"]["content"])

    change_chunks(gateway, rewrite)


def choices(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in chunk["choices"]]


def tool_deltas(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [delta for choice in choices(chunks) for delta in choice["delta"].get("tool_calls", ())]


def asked_to_stream(answer: Answer) -> bool:
    return answer.is_chat and isinstance(answer.asked, dict) and answer.asked.get("stream") is True


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


@mutant("STREAM-010", bugs=(56,))
def last_line_end_of_a_stream_is_lost(gateway: Sabotage) -> None:
    """The streaming path sends line by line and takes the last line end for its own."""
    change_content(gateway, lambda text: text.removesuffix("\n"))


@mutant("STREAM-010", also=("CHAT-007",), bugs=(56,))
def stream_is_stripped(gateway: Sabotage) -> None:
    """The streaming path strips the text, which the plain one does not."""
    change_content(gateway, str.strip)


@mutant("STREAM-010", also=("CHAT-011",), bugs=(56,))
def stream_misses_the_length_stop(gateway: Sabotage) -> None:
    """The streaming path knows two finish reasons, and a length stop is none of them."""

    def change(chunks: list[Chunk]) -> None:
        last = choices(chunks)[-1]
        last["finish_reason"] = "tool_calls" if last["finish_reason"] == "tool_calls" else "stop"

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


@mutant("STREAM-014", also=("SHAPE-004",), bugs=(71,))
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
    """What is left in the buffer when the arguments end is not sent."""

    def change(chunks: list[Chunk]) -> None:
        for delta in tool_deltas(chunks):
            delta["function"]["arguments"] = delta["function"]["arguments"][:-1]

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


@mutant("STREAM-017")
def refusal_is_labelled_as_a_stream(gateway: Sabotage) -> None:
    """The type of the answer is chosen by what the client asked for."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status == 400 and "messages" in answer.json["error"]["message"]:
            answer.headers["content-type"] = "text/event-stream"


@mutant("STREAM-017")
def refusal_comes_after_the_status(gateway: Sabotage) -> None:
    """The stream is started before the request is checked, so a refusal is a frame under status 200."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status == 400 and "non-empty" in answer.json["error"]["message"]:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = b"data: " + answer.body + b"\n\n"


@mutant("STREAM-018")
def failure_comes_after_the_status(gateway: Sabotage) -> None:
    """The status line is sent before the upstream has answered, so its failure is a frame under status 200."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked_to_stream(answer) and "HTTP 50" in answer.body.decode() and answer.status == 500:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = b"data: " + answer.body + b"\n\n"


@mutant("STREAM-018")
def reset_of_the_upstream_is_a_bare_502(gateway: Sabotage) -> None:
    """A reset connection to the upstream is answered by the proxy's own page."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status == 500 and b"reset" in answer.body.lower():
            answer.status, answer.body = 502, b"<html><h1>502 Bad Gateway</h1></html>"
            answer.headers["content-type"] = "text/html"


def broke_off(answer: Answer) -> bool:
    """Is this the answer to a streamed turn whose upstream broke off in the middle of its answer?"""
    return asked_to_stream(answer) and answer.status == 500 and b"not completed" in answer.body


@mutant("STREAM-019", bugs=(70, 71))
def broken_answer_looks_complete(gateway: Sabotage) -> None:
    """The end of the upstream's body is taken for the end of the answer."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if broke_off(answer):
            head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "kit"}
            deltas = [({"role": "assistant"}, None), ({"content": "Hello, this is"}, None), ({}, "stop")]
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.set_chunks(
                [
                    {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                    for delta, reason in deltas
                ]
            )


@mutant("STREAM-019", bugs=(70,))
def error_frame_is_followed_by_done(gateway: Sabotage) -> None:
    """After the frame with the error, the stream is ended like any other."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if broke_off(answer):
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.set_chunks([answer.json])


@mutant("STREAM-020")
def presence_of_stream_counts(gateway: Sabotage) -> None:
    """Whoever sends the field `stream` gets a stream, also with false."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: Any, headers: Any, policy: Any) -> Any:
        request = original(body, headers, policy)
        return replace(request, stream=True) if body.get("stream", True) in (False, None) else request


@mutant("STREAM-020")
def stream_null_is_a_stream(gateway: Sabotage) -> None:
    """Only false turns streaming off."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: Any, headers: Any, policy: Any) -> Any:
        request = original(body, headers, policy)
        return replace(request, stream=True) if body.get("stream", False) is None else request


@mutant("STREAM-021")
def truth_of_stream_counts(gateway: Sabotage) -> None:
    """The text `no` is true."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: Any, headers: Any, policy: Any) -> Any:
        return replace(original(body, headers, policy), stream=bool(body.get("stream")))


def undeclare_streaming(gateway: Sabotage) -> None:
    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path == "/capabilities":
            declared = answer.json
            declared["capabilities"].remove("streaming")
            answer.json = declared


@mutant("STREAM-022", bugs=(16,))
def plain_body_is_labelled_as_a_stream(gateway: Sabotage) -> None:
    """A gateway that cannot stream answers with the plain body, labelled as the client wanted it."""
    undeclare_streaming(gateway)

    @gateway.wrap(openai_chat, "stream")
    def stream(original: Any, answer: Any, request: Any) -> Any:
        return [openai_chat.plain(answer, request)]


@mutant("STREAM-022")
def answer_that_was_to_be_streamed_is_empty(gateway: Sabotage) -> None:
    """A gateway that cannot stream collects the deltas of a stream that has none."""
    undeclare_streaming(gateway)

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chunk_stream:
            answer.headers["content-type"] = "application/json"
            head = answer.chunks()[0]
            choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
            answer.json = {**head, "object": "chat.completion", "choices": [choice]}
