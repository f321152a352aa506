"""A turn without a limit is sent the number that fits, which the engine tells once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from reference_gateway.backends.model_length import ASSUMED_ROOM, ModelLength, told
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.types import Media

COMPLETION = {"choices": [{"token_ids": [7], "finish_reason": "stop"}]}


def models(**lengths: Any) -> dict[str, Any]:
    return {"data": [{"id": name, "max_model_len": length} for name, length in lengths.items()]}


def limits(
    answer: Callable[[], web.Response], *sampled: dict[str, Any], together: bool = False, **settings: Any
) -> tuple[list[Any], int]:
    """The `max_tokens` that were sent with turns of these sampling parameters, and how often the models were asked."""
    sent: list[Any] = []
    asked = 0

    async def complete(request: web.Request) -> web.Response:
        sent.append((await request.json())["max_tokens"])
        return web.json_response(COMPLETION)

    async def list_models(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return answer()

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/completions", complete)
        app.router.add_get("/v1/models", list_models)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        backend = VllmBackend(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", **settings)
        turns = [backend.generate([1, 2, 3], each, session_id="s", media=Media()) for each in sampled]
        try:
            if together:
                await asyncio.gather(*turns)
            else:
                for turn in turns:
                    await turn
        finally:
            await backend.close()
            await runner.cleanup()

    asyncio.run(main())
    return sent, asked


def test_what_fits_is_asked_for_once():
    answer = models(m=100)
    assert limits(lambda: web.json_response(answer), {}, {"max_tokens": None}, {}) == ([97, 97, 97], 1)


def test_turns_that_come_together_ask_once():
    assert limits(lambda: web.json_response(models(m=100)), {}, {}, {}, together=True) == ([97, 97, 97], 1)


def test_a_limit_is_sent_as_it_is_and_nothing_is_asked():
    assert limits(lambda: web.json_response(models(m=100)), {"max_tokens": 500}) == ([500], 0)


def test_what_the_deployment_says_is_not_asked_for():
    assert limits(lambda: web.json_response(models(m=100)), {}, max_model_len=50) == ([47], 0)


def test_a_context_that_fills_the_model_is_left_to_the_engine():
    assert limits(lambda: web.json_response(models(m=3)), {}) == ([1], 1)


@pytest.mark.parametrize(
    "answer", [lambda: web.Response(status=404), lambda: web.Response(text="<html>"), lambda: web.json_response({})]
)
def test_an_engine_that_does_not_tell_is_asked_once(answer, caplog):
    assert limits(answer, {}, {}) == ([ASSUMED_ROOM] * 2, 1)
    ours = [record.message for record in caplog.records if record.name.startswith("reference_gateway")]
    assert ours == ["the engine does not tell its max_model_len"]


def test_an_engine_that_does_not_answer_is_asked_again():
    answers = iter([None, (200, json.dumps(models(m=100)).encode())])

    async def ask() -> Any:
        return next(answers)

    async def main() -> list[int]:
        length = ModelLength(None, ask, None)
        return [await length.room(10) for _ in range(3)]

    assert asyncio.run(main()) == [ASSUMED_ROOM, 90, 90]


@pytest.mark.parametrize(
    ("document", "model", "expected"),
    [
        (models(base=100, other=50), "base", 100),
        (models(base=100, other=50), None, 50),
        (models(base=100, adapter=None), "adapter", 100),
        (models(base="100"), "base", None),
        (models(base=0), None, None),
        (models(base=True), None, None),
        ({"data": []}, None, None),
        ({"data": [7]}, None, None),
        ({"data": {"a": 1}}, None, None),
        ({"data": [{"id": [], "max_model_len": 5}]}, None, None),
        ([], None, None),
    ],
)
def test_which_length_is_told(document, model, expected):
    assert told(json.dumps(document).encode(), model) == expected
