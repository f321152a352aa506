"""What is kept of a stream that passes as it is, however it is framed and cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.recorded.recorder import recording as recorded
from conformance.recorded.recorder.recording import Ledger, Recording, route_of

IDS = [5, 6, 7, 8]
BODY = b'{"prompt": [1, 2], "return_token_ids": true, "logprobs": 0, "stream": true}'
STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "as engines write it": lambda stream: stream,
    "with carriage returns": lambda stream: stream.replace(b"\n", b"\r\n"),
    "without blanks": lambda stream: stream.replace(b"data: ", b"data:"),
    "with comments": lambda stream: stream.replace(b"data: ", b": still here\n\ndata: "),
    "with names": lambda stream: stream.replace(b"data: ", b"event: token\ndata: "),
    "with more behind its end": lambda stream: stream + b": gone\n\n",
    "without a last line feed": lambda stream: stream.rstrip(b"\n"),
}


class Made:
    """A call, and the line that is kept of it."""

    def __init__(self, ledger: Ledger, path: Path, body: bytes) -> None:
        route = route_of(b"POST", b"/v1/completions")
        assert route is not None
        made = Recording.of(ledger, route, body, [], passive=False)
        assert made is not None
        self.recording, self._path = made, path

    def passes(self, stream: bytes, size: int) -> list[bytes]:
        return [self.recording.part(200, stream[place : place + size]) for place in range(0, len(stream), size)]

    @property
    def line(self) -> dict[str, Any] | None:
        lines = self._path.read_text().splitlines()
        assert len(lines) <= 1
        return json.loads(lines[0]) if lines else None


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[[], Made]]:
    opened: list[Ledger] = []

    def make(body: bytes = BODY) -> Made:
        path = tmp_path / f"{len(opened)}.jsonl"
        opened.append(Ledger(path))
        return Made(opened[-1], path, body)

    yield make
    for ledger in opened:
        ledger.__exit__()


def event(token: int, finish: str | None = None, text: str = "[DONE]") -> bytes:
    logprobs = {"token_logprobs": [-token / 2]}
    choice = {"index": 0, "text": text, "token_ids": [token], "logprobs": logprobs, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def stream_of(ids: list[int]) -> bytes:
    return b"".join(event(token, "stop" if token == ids[-1] else None) for token in ids) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_however_it_comes(made: Callable[[], Made], name: str, size: int) -> None:
    call, stream = made(), STREAMS[name](stream_of(IDS))

    shown = call.passes(stream, size)
    if name != "without a last line feed":
        assert call.line is not None  # before the last byte leaves
    shown.append(call.recording.rest(200))

    assert b"".join(shown) == stream
    assert all(shown[:-1])
    line = call.line
    assert line is not None
    assert (line["outcome"], line["message"]) == ("answered", None)
    assert line["generations"] == [IDS]
    assert line["logprobs"] == [-token / 2 for token in IDS]


@pytest.mark.parametrize("limit", [1, 300, 64 * 1024])
def test_no_more_than_so_much_is_left_to_be_read(
    made: Callable[[], Made], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(recorded, "MAX_PASSED", limit)
    call = made()

    for token in IDS:
        call.passes(event(token, "stop" if token == IDS[-1] else None, text="x"), 10)
        assert sum(map(len, call.recording._passed)) <= limit + 10
    call.passes(b"data: [DONE]\n\n", 14)

    assert call.line is not None
    assert call.line["generations"] == [IDS]


@pytest.mark.parametrize(
    "odd",
    [b"data: 1, 2\n\n", b"data: {}\n\n", b"data: no JSON\n\n", b'data: {"choices": [\n\ndata: 1]}\n\n'],
    ids=["two documents", "no choices", "no JSON", "cut in two"],
)
def test_an_event_that_is_none_is_told(made: Callable[[], Made], odd: bytes) -> None:
    call, stream = made(), event(5) + odd + event(6, "stop") + b"data: [DONE]\n\n"

    assert b"".join(call.passes(stream, 50)) == stream

    assert call.line is not None
    assert call.line["outcome"] == "unread"
    assert call.line["message"].startswith("an event of the stream is none of this route")
    assert call.line["generations"] == [[5, 6]]


def test_what_had_passed_is_kept_when_the_gateway_hangs_up(made: Callable[[], Made]) -> None:
    early, late = made(), made()
    early.passes(event(5) + event(6), 40)
    late.passes(event(5) + event(6, "stop"), 40)

    early.recording.hung_up()
    late.recording.hung_up()

    assert early.line is not None
    assert late.line is not None
    assert [early.line["outcome"], late.line["outcome"]] == ["aborted", "answered"]
    assert early.line["generations"] == late.line["generations"] == [[5, 6]]


@pytest.mark.parametrize("end", [b"", b'data: {"error": {"message": "broken"}}\n\n'])
def test_what_had_passed_is_kept_when_the_engine_breaks_off(made: Callable[[], Made], end: bytes) -> None:
    call = made()
    call.passes(event(5) + event(6) + end, 1000)

    call.recording.rest(200)

    assert call.line is not None
    assert call.line["generations"] == [[5, 6]]
    message = "broken" if end else "the stream broke off before it was whole"
    assert (call.line["outcome"], call.line["message"]) == ("failed", message)


def test_it_is_closed_once(made: Callable[[], Made]) -> None:
    call = made()
    call.passes(stream_of(IDS), 10_000)

    call.recording.rest(200)
    call.recording.hung_up()
    call.recording.close("failed", 500, "too late")

    assert call.line is not None
    assert call.line["outcome"] == "answered"
