"""Mutants of area STREAM: streams that fail, and requests that are not to be streamed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.serving.live import Relay
from reference_gateway.wire import openai_chat, sse
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def asked_to_stream(answer: Answer) -> bool:
    return answer.is_chat and isinstance(answer.asked, dict) and answer.asked.get("stream") is True


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
        if asked_to_stream(answer) and "HTTP 50" in answer.body.decode() and answer.status >= 500:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = b"data: " + answer.body + b"\n\n"


@mutant("STREAM-018")
def reset_of_the_upstream_is_a_bare_502(gateway: Sabotage) -> None:
    """A reset connection to the upstream is answered by the proxy's own page."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status >= 500 and b"ClientOSError" in answer.body:
            answer.status, answer.body = 502, b"<html><h1>502 Bad Gateway</h1></html>"
            answer.headers["content-type"] = "text/html"


def broke_off(answer: Answer) -> bool:
    """Is this the answer to a streamed turn whose upstream broke off in the middle of its answer?"""
    return asked_to_stream(answer) and answer.status >= 500 and b"ClientPayloadError" in answer.body


def look_complete(answer: Answer) -> None:
    """Make it a stream that says some text and ends."""
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "kit"}
    deltas = [({"role": "assistant"}, None), ({"content": "Hello, this is"}, None), ({}, "stop")]
    answer.status, answer.headers["content-type"] = 200, "text/event-stream"
    answer.set_chunks(
        [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas]
    )


@mutant("STREAM-019", bugs=(70, 71))
def broken_answer_looks_complete(gateway: Sabotage) -> None:
    """The end of the upstream's body is taken for the end of the answer."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if broke_off(answer):
            look_complete(answer)


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


@mutant("STREAM-023")
def frames_wait_until_they_are_worth_sending(gateway: Sabotage) -> None:
    """Sampled ids are collected by the half dozen, to save frames: an engine that is slow is not heard."""
    gateway.configure(stream="incremental")
    waiting: dict[Relay, list[int]] = {}

    @gateway.wrap(Relay, "sampled")
    def sampled(original: Any, relay: Relay, ids: Any) -> None:
        collected = waiting.setdefault(relay, [])
        collected.extend(ids)
        if len(collected) >= 6:
            original(relay, waiting.pop(relay))


@mutant("STREAM-024", also=("STREAM-019", "STREAM-025"), bugs=(70,))
def failure_ends_the_stream_without_a_word(gateway: Sabotage) -> None:
    """The generator of a stream that fails just returns: the client sees an end, and no error."""
    gateway.configure(stream="incremental")
    gateway.patch(openai_chat.Chunks, "failed", lambda frames, status, message: b"")


@mutant("STREAM-024", also=("STREAM-019", "STREAM-025"))
def stream_goes_on_after_its_error(gateway: Sabotage) -> None:
    """The terminator is sent from a `finally`, behind the error too."""
    gateway.configure(stream="incremental")

    @gateway.wrap(openai_chat.Chunks, "failed")
    def failed(original: Any, frames: Any, status: int, message: str) -> bytes:
        return bytes(original(frames, status, message)) + b"data: [DONE]\n\n"


@mutant("STREAM-024")
def error_in_a_stream_is_a_bare_text(gateway: Sabotage) -> None:
    """The last frame of a failure says `error`, but not in the envelope that SDKs read."""
    gateway.configure(stream="incremental")

    @gateway.wrap(openai_chat.Chunks, "failed")
    def failed(original: Any, frames: Any, status: int, message: str) -> Any:
        return original(frames, status, message) if status == 503 else sse.data({"error": message})


@mutant("STREAM-025")
def aborted_stream_ends_as_any_other(gateway: Sabotage) -> None:
    """What was aborted is not recorded, and the stream of it ends like any other."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked_to_stream(answer) and b"broke the generation off" in answer.body:
            look_complete(answer)
