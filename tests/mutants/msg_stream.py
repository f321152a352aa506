"""Mutants of area MSG: streamed messages."""

from __future__ import annotations

from collections.abc import Callable

from tests.mutants.msg_wire import Event, asked_to_stream, framed, on_events, on_stream
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def of(events: list[Event], kind: str) -> list[Event]:
    return [each for each in events if each["type"] == kind]


def on_cut_events(gateway: Sabotage, change: Callable[[list[Event]], list[Event] | None]) -> None:
    """Change the events of each streamed message that was cut for length: what else differs then is often another
    path."""

    def changed(events: list[Event]) -> list[Event] | None:
        return change(events) if of(events, "message_delta")[0]["delta"]["stop_reason"] == "max_tokens" else None

    on_events(gateway, changed)


def deltas(events: list[Event], field: str) -> list[Event]:
    """The deltas that have this field."""
    return [each["delta"] for each in of(events, "content_block_delta") if field in each["delta"]]


@mutant("MSG-068", bugs=(58,))
def events_have_no_name(gateway: Sabotage) -> None:
    """Frames are sent as the chat wire has them."""
    on_stream(gateway, lambda body: b"\n".join(line for line in body.split(b"\n") if not line.startswith(b"event:")))


@mutant("MSG-068", bugs=(58,))
def last_event_of_a_cut_message_has_no_name(gateway: Sabotage) -> None:
    """A stream that is cut is ended by other code, which sends its frames as the chat wire has them."""

    def change(body: bytes) -> bytes:
        begun, _, end = body.rpartition(b"event: message_stop\n")
        return begun + end if b'"max_tokens"' in begun else body

    on_stream(gateway, change)


@mutant("MSG-069", bugs=(58,))
def stop_reason_comes_before_the_block_ends(gateway: Sabotage) -> None:
    """That an answer is cut is known from the count of its tokens, before its last block is ended, and told at once."""

    def change(events: list[Event]) -> list[Event]:
        *begun, block_end, delta, end = events
        return [*begun, delta, block_end, end]

    on_cut_events(gateway, change)


@mutant("MSG-069", also=("MSG-070",))
def blocks_are_never_closed(gateway: Sabotage) -> None:
    """A block ends where the next begins."""
    on_events(gateway, lambda events: [each for each in events if each["type"] != "content_block_stop"])


@mutant("MSG-070")
def blocks_are_counted_from_1(gateway: Sabotage) -> None:
    """The index counts from 1."""

    def change(events: list[Event]) -> None:
        for each in events:
            if "index" in each:
                each["index"] += 1

    on_events(gateway, change)


@mutant("MSG-071", bugs=(58,))
def start_has_the_cut_message(gateway: Sabotage) -> None:
    """An answer that was cut is whole when its stream begins, and is sent with its first event."""

    def change(events: list[Event]) -> None:
        message = of(events, "message_start")[0]["message"]
        message["content"] = [{"type": "text", "text": each["text"]} for each in deltas(events, "text")]
        message["stop_reason"] = of(events, "message_delta")[0]["delta"]["stop_reason"]

    on_cut_events(gateway, change)


@mutant("MSG-072")
def done_ends_a_message(gateway: Sabotage) -> None:
    """Two wires share the code that ends a stream."""
    on_stream(gateway, lambda body: body + b"data: [DONE]\n\n")


@mutant("MSG-072")
def done_ends_a_cut_message(gateway: Sabotage) -> None:
    """Two wires share the code that ends a stream when its tokens are used up."""
    on_stream(gateway, lambda body: body + b"data: [DONE]\n\n" if b'"max_tokens"' in body else body)


@mutant("MSG-072", also=("MSG-069",))
def message_just_ends(gateway: Sabotage) -> None:
    """The generator returns behind the stop reason."""
    on_events(gateway, lambda events: events[:-1])


@mutant("MSG-073", bugs=(56,))
def cut_text_is_not_streamed(gateway: Sabotage) -> None:
    """What waits in the buffer when an answer is cut is never sent."""

    def change(events: list[Event]) -> None:
        if of(events, "message_delta")[0]["delta"]["stop_reason"] == "max_tokens":
            for each in deltas(events, "text"):
                each["text"] = each["text"][:-1]

    on_events(gateway, change)


@mutant("MSG-073", also=("MSG-007", "MSG-093", "MSG-094"), bugs=(56,))
def stream_of_messages_misses_the_length_stop(gateway: Sabotage) -> None:
    """The streaming path knows two stop reasons."""

    def change(events: list[Event]) -> None:
        end = of(events, "message_delta")[0]["delta"]
        end["stop_reason"] = "tool_use" if end["stop_reason"] == "tool_use" else "end_turn"

    on_events(gateway, change)


@mutant("MSG-074", bugs=(47,))
def usage_comes_with_the_start(gateway: Sabotage) -> None:
    """The whole usage of an answer that was cut is known from the start, and is not told again."""

    def change(events: list[Event]) -> None:
        end = of(events, "message_delta")[0]
        of(events, "message_start")[0]["message"]["usage"]["output_tokens"] = end.pop("usage")["output_tokens"]

    on_cut_events(gateway, change)


@mutant("MSG-074", also=("MSG-012",), bugs=(47,))
def streamed_output_is_not_counted(gateway: Sabotage) -> None:
    """The usage of a stream is taken before anything was sampled."""
    on_events(gateway, lambda events: of(events, "message_delta")[0]["usage"].update(output_tokens=0))


@mutant("MSG-075")
def call_starts_with_its_input(gateway: Sabotage) -> None:
    """The whole input of each call but the first stands in its start already, as it was read by then."""

    def change(events: list[Event]) -> None:
        calls = [each for each in of(events, "content_block_start") if "input" in each["content_block"]]
        for each in calls[1:]:
            each["content_block"]["input"] = {"q": "tide in Bergen"}

    on_events(gateway, change)


@mutant("MSG-076")
def input_of_the_second_call_is_not_streamed(gateway: Sabotage) -> None:
    """Of two calls only the first one's pieces are forwarded."""

    def change(events: list[Event]) -> list[Event]:
        calls = [each["index"] for each in of(events, "content_block_start") if "input" in each["content_block"]]
        if len(calls) != 2:
            return events
        return [each for each in events if each["type"] != "content_block_delta" or each["index"] not in calls[1:]]

    on_events(gateway, change)


@mutant(
    "MSG-076",
    also=("MSG-013", "MSG-014", "MSG-083", "MSG-150", "MSG-151", "MSG-152", "MSG-161"),
    bugs=(71,),
)
def pieces_of_an_input_are_sent_twice(gateway: Sabotage) -> None:
    """The pieces are sent as they come, and once more when the call is complete."""

    def change(events: list[Event]) -> None:
        for each in deltas(events, "partial_json"):
            each["partial_json"] *= 2

    on_events(gateway, change)


@mutant("MSG-077")
def line_ends_of_a_stream_are_normalised(gateway: Sabotage) -> None:
    """A carriage return is taken for a line end."""

    def change(events: list[Event]) -> None:
        for each in deltas(events, "text"):
            each["text"] = each["text"].replace("\r\n", "\n").replace("\r", "\n")

    on_events(gateway, change)


@mutant("MSG-078")
def each_byte_of_a_message_is_decoded_alone(gateway: Sabotage) -> None:
    """Each token is decoded alone, also where it is part of a character."""

    def change(events: list[Event]) -> None:
        for each in deltas(events, "text"):
            each["text"] = each["text"].replace("🪿", "\ufffd" * 4)

    on_events(gateway, change)


@mutant("MSG-079", bugs=(70,))
def broken_message_looks_complete(gateway: Sabotage) -> None:
    """The end of the upstream's body is taken for the end of the answer."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status >= 500 and b"ClientPayloadError" in answer.body:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            head = {"id": "msg_0", "type": "message", "role": "assistant", "model": "kit", "content": []}
            usage = {"input_tokens": 9, "output_tokens": 9}
            answer.body = framed(
                [
                    {"type": "message_start", "message": {**head, "stop_reason": None, "usage": usage}},
                    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
                    {"type": "content_block_stop", "index": 0},
                    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
                    {"type": "message_stop"},
                ]
            )


@mutant("MSG-079", bugs=(70,))
def error_event_is_followed_by_the_end(gateway: Sabotage) -> None:
    """Behind the event with the error, the stream is ended like any other."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if asked_to_stream(answer) and answer.status >= 500 and b"ClientPayloadError" in answer.body:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = framed([answer.json, {"type": "message_stop"}])
