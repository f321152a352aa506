"""What a streaming engine's reads amount to, however its bytes are cut, and what it repeats of a long context."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.context import Context, Run
from reference_gateway.types import BackendFailed, Generation, Media

LONG = list(range(100_000))


class Heard:
    def __init__(self) -> None:
        self.ids: list[int] = []

    def started(self, prompt_tokens: int) -> None: ...

    def sampled(self, ids: Sequence[int]) -> None:
        self.ids += ids


def event(ids: list[int], **fields: Any) -> bytes:
    choice = {"index": 0, "text": "x", "token_ids": ids, "finish_reason": None, **fields}
    return b"data: " + json.dumps({"choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def stream(reads: Sequence[bytes], context: Sequence[int] = (1, 2, 3)) -> tuple[Any, list[int]]:
    """What the backend makes of a stream that is written in these pieces, and what it told of it."""
    heard = Heard()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for read in reads:
            await response.write(read)
        return response

    async def exchange() -> Generation | Exception:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/completions", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        backend = VllmBackend(f"http://127.0.0.1:{runner.addresses[0][1]}")
        try:
            return await backend.generate(context, {}, session_id="s", media=Media(), progress=heard)
        except BackendFailed as error:
            return error
        finally:
            await backend.close()
            await runner.cleanup()

    return asyncio.run(exchange()), heard.ids


WHOLE = [event([7]), event([8, 9], logprobs=None), event([], finish_reason="stop"), b"data: [DONE]\n\n"]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_an_event_may_be_cut_anywhere(size):
    text = b"".join(WHOLE)
    found, heard = stream([text[place : place + size] for place in range(0, len(text), size)])
    assert found == Generation([7, 8, 9], stop_reason="stop")
    assert heard == [7, 8, 9]


def test_the_last_line_may_have_no_end():
    found, _ = stream([*WHOLE[:-1], b"data: [DONE]"])
    assert found == Generation([7, 8, 9], stop_reason="stop")


def test_a_version_that_changes_in_a_stream_is_a_span():
    first, second, last = (json.loads(read.split(b"data: ", 1)[1]) for read in (event([7]), event([8]), event([9])))
    last["choices"][0]["finish_reason"] = "stop"
    reads = [
        b"data: " + json.dumps({**piece, "weight_version": version}).encode() + b"\n\n"
        for piece, version in ((first, 3), (second, 4), (last, "default"))
    ]
    found, _ = stream([*reads, b"data: [DONE]\n\n"])
    assert found == Generation([7, 8, 9], stop_reason="stop", versions=(3, 4))


def test_an_event_may_repeat_a_context_of_any_length():
    found, _ = stream([event([7], prompt_token_ids=LONG), *WHOLE[1:]], LONG)
    assert found == Generation([7, 8, 9], stop_reason="stop")


def test_what_came_before_a_failure_was_told():
    found, heard = stream([event([7]) + b'data: {"error": {"message": "out of memory"}}\n\n'])
    assert isinstance(found, BackendFailed)
    assert str(found) == "HTTP 500 from the engine"
    assert heard == [7]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("last", [99_999, 5])
def test_a_context_that_is_repeated_is_compared_in_every_spelling(separators, last):
    choice = {"index": 0, "token_ids": [7], "finish_reason": "stop", "prompt_token_ids": [*LONG[:-1], last]}
    answer = json.dumps({"choices": [choice]}, separators=separators).encode()

    class Answering(VllmBackend):
        async def _post(self, body: bytes, session_id: str, most: int) -> bytes:
            return answer

    asked = Answering("http://127.0.0.1", max_model_len=200_000).generate(LONG, {}, session_id="s", media=Media())
    if last == LONG[-1]:
        assert asyncio.run(asked).ids == [7]
    else:
        with pytest.raises(BackendFailed, match="another context"):
            asyncio.run(asked)


def test_a_context_is_the_sequence_of_its_runs():
    runs = [Run([1, 2]), Run([]), Run(range(3, 6))]
    context = Context(runs)
    assert list(context) == context == [1, 2, 3, 4, 5]
    assert (len(context), context[0], context[1:3]) == (5, 1, [2, 3])
    assert context != [1, 2, 3, 4]
    assert json.loads(context.json()) == [1, 2, 3, 4, 5]
    assert Context([]).json() == b"[]"


def test_a_run_and_a_context_are_made_once():
    run = Run([1, 2])
    context = Context([run])
    assert Run(run) is run
    assert Context.of(context) is context
    assert run.json() is run.json()
    assert list(Context.of([1, 2])) == [1, 2]
