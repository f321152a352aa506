"""CPU that the reference gateway spends on a turn, as the process itself accounts for it.

    python benchmarks/gateway.py [--turns 2000] [--concurrency 16]

Each server runs in a process of its own and answers the same 4 KB chat requests, one turn per session, over kept-alive
connections. `raw` only parses the request and sends a stored answer: the floor of the HTTP stack. The others are the
gateway: `turn` with a backend in the process and no tokenisation; `proxied` with a vLLM-style server on loopback that
answers at once, no tokenisation; `whole` the same with a real tokenizer and chat template.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import orjson
from process import Server, answer, machine, read, serve

from conformance.fixtures import fixture_path
from reference_gateway.app import create_app
from reference_gateway.config import Config
from reference_gateway.types import Generation, Media, Message, Tool

ANSWER_TOKENS = 200
CASES = ("raw", "turn", "proxied", "whole")


class NoCodec:
    """One token per message, and an answer that does not depend on the tokens."""

    mode = "incremental"

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool] | None, kwargs: Mapping[str, Any]) -> list[int]:
        return [1] * 1000

    def encode_suffix(self, history: Any, suffix: Any, tools: Any, kwargs: Any, last_id: int | None) -> list[int]:
        return [2] * len(suffix)

    def decode(self, ids: Sequence[int], tools: Sequence[Tool] | None) -> Message:
        return {"role": "assistant", "content": TEXT}


class NoBackend:
    name = "none"

    async def generate(
        self, context: Sequence[int], sampling: Mapping[str, Any], *, session_id: str, media: Media
    ) -> Generation:
        return Generation(list(range(300, 300 + ANSWER_TOKENS)), stop_reason="stop")

    async def close(self) -> None:
        pass


TEXT = "x" * 4000
COMPLETION = orjson.dumps(
    {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "none",
        "choices": [
            {"index": 0, "text": TEXT, "token_ids": list(range(300, 300 + ANSWER_TOKENS)), "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": ANSWER_TOKENS, "total_tokens": 1000 + ANSWER_TOKENS},
    }
)
MODELS = orjson.dumps({"object": "list", "data": [{"id": "none", "object": "model", "max_model_len": 32_768}]})
CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "none"}
CHAT_ANSWER = {
    **CHAT,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": ANSWER_TOKENS, "total_tokens": 1000 + ANSWER_TOKENS},
}


def stored(body: bytes | None) -> Any:
    """A raw ASGI app: parses the request, sends `body` (or serialises the chat answer)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request_body = await read(receive)
        if scope["path"] == "/sessions":
            await answer(send, orjson.dumps({"session_id": "s", "base_url": "/v1"}))
            return
        if scope["path"] == "/v1/models":
            await answer(send, MODELS)
            return
        orjson.loads(request_body)
        await answer(send, orjson.dumps(CHAT_ANSWER) if body is None else body)

    return app


def app_of(case: str, upstream: str) -> Any:
    chatml = fixture_path("chatml")
    match case:
        case "raw":
            return stored(None)
        case "engine":
            return stored(COMPLETION)
        case "turn":
            return create_app(Config(), codec=NoCodec(), backend=NoBackend())
        case "proxied":
            return create_app(Config(tokenizer=chatml, backend="vllm", backend_url=upstream), codec=NoCodec())
        case "whole":
            return create_app(Config(tokenizer=chatml, backend="vllm", backend_url=upstream))
    raise ValueError(f"case must be one of {', '.join(CASES)}")


async def load(server: Server, turns: int, concurrency: int) -> float:
    """Run the turns; returns CPU microseconds per turn of the server."""
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def create() -> str:
            async with http.post(f"{server.url}/sessions", json={}) as answer:
                session = await answer.json()
            return f"{server.url}/sessions/{session['session_id']}/v1/chat/completions"

        async def work(urls: list[str], question: bytes) -> None:
            while urls:
                async with http.post(urls.pop(), data=question, headers={"content-type": "application/json"}) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()

        question = orjson.dumps({"model": "none", "messages": [{"role": "user", "content": "word " * 800}]})
        warm = [await create() for _ in range(200)]
        await asyncio.gather(*(work(warm, question) for _ in range(concurrency)))
        urls = [await create() for _ in range(turns)]
        before = server.cpu()
        await asyncio.gather(*(work(urls, question) for _ in range(concurrency)))
        return (server.cpu() - before) / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--upstream", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(app_of(options.serve, options.upstream))
        return
    print(f"{machine()}; {options.turns} turns")
    engine = Server(__file__, "engine")
    floor = 0.0
    try:
        for case in CASES:
            server = Server(__file__, case, engine.url)
            try:
                cost = asyncio.run(load(server, options.turns, options.concurrency))
            finally:
                server.close()
            floor = floor or cost
            print(f"{case:8} {cost:7.0f} us CPU per turn   {cost / floor:5.1f} x raw")
    finally:
        engine.close()


if __name__ == "__main__":
    main()
