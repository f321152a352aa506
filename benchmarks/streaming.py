"""What streaming costs: CPU of the gateway's process for a reply of 1,000 tokens, streamed against plain.

    python benchmarks/streaming.py [--turns 12]

For each wire, with a real tokenizer and a vLLM-style server on loopback: the plain answer; `synthesised`, which is made
of the same plain answer of the engine; `incremental`, for which the engine streams an event for each token. How many of
these events a read brings is what decides: 1 as from an idle engine, 8 as with speculative decoding or a network that
collects, and all in one go. `relay` passes the same stream on as it comes and looks at nothing: its CPU, for as many
reads, is what any gateway between the two sockets has to pay. Figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from typing import Any

import aiohttp
import orjson
from process import Server, answer, machine, read, serve

from conformance.fixtures import fixture_path
from reference_gateway.app import build_codec, create_app
from reference_gateway.config import Config

TOKENS = 1000
BURSTS = (1, 8, TOKENS)
PAUSE_S = 0.001
"""Between the engine's writes, so that each is a read of its own."""
WIRES = {
    "chat": ("/chat/completions", "messages"),
    "messages": ("/messages", "messages"),
    "responses": ("/responses", "input"),
}
QUESTION = [{"role": "user", "content": "Tell me all of it."}]


class Engine:
    """As vLLM answers and streams. The key of its client says how many events it writes at a time."""

    def __init__(self) -> None:
        vocabulary = build_codec(Config(tokenizer=fixture_path("chatml"))).vocabulary
        text = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 100
        self._ids = [*vocabulary.encode(text)[: TOKENS - 1], vocabulary.token_id("<|im_end|>") or 0]
        head = {"id": "cmpl-0123456789", "object": "text_completion", "created": 1, "model": "none"}
        choice = {"index": 0, "text": "", "logprobs": None, "stop_reason": None, "prompt_token_ids": None}
        whole = {**choice, "text": text, "token_ids": self._ids, "finish_reason": "stop"}
        self._plain = orjson.dumps({**head, "choices": [whole]})
        self._events = [
            b"data: " + orjson.dumps({**head, "choices": [{**choice, "text": "xxxx", **end}]}) + b"\n\n"
            for end in (
                {"token_ids": [token], "finish_reason": "stop" if place == TOKENS - 1 else None}
                for place, token in enumerate(self._ids)
            )
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = orjson.loads(await read(receive))
        if not body.get("stream"):
            await answer(send, self._plain)
            return
        burst = int(dict(scope["headers"])[b"authorization"].removeprefix(b"Bearer "))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for place in range(0, TOKENS, burst):
            events = b"".join(self._events[place : place + burst])
            await send({"type": "http.response.body", "body": events, "more_body": True})
            await asyncio.sleep(PAUSE_S)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


class Relay:
    """Passes the engine's stream on."""

    def __init__(self, upstream: str, burst: str) -> None:
        self._upstream, self._burst = upstream, burst
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await read(receive)
        if scope["path"] == "/sessions":
            await answer(send, b'{"session_id": "s"}')
            return
        self._client = self._client or aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._burst}"})
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        async with self._client.post(self._upstream, data=b'{"stream": true}') as response:
            await send(start)
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def app_of(case: str, upstream: str) -> Any:
    kind, _, burst = case.partition(" ")
    if kind == "engine":
        return Engine()
    if kind == "relay":
        return Relay(upstream, burst)
    tokenizer = fixture_path("chatml")
    return create_app(
        Config(tokenizer=tokenizer, backend="vllm", backend_url=upstream, backend_api_key=burst or "1", stream=kind)
    )


async def talk(server: Server, wire: str, turns: int, *streams: bool) -> list[float]:
    """Microseconds of CPU of a turn, streamed or not, one beside the other. Each is the first turn of a session."""
    path, field = WIRES[wire]
    spent: list[list[float]] = [[] for _ in streams]
    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as http:
        for _ in range(turns + 2):
            for place, stream in enumerate(streams):
                async with http.post(f"{server.url}/sessions", data=b"{}") as created:
                    session = orjson.loads(await created.read())["session_id"]
                data = orjson.dumps({"model": "none", field: QUESTION, "stream": stream})
                before = server.cpu()
                async with http.post(f"{server.url}/sessions/{session}/v1{path}", data=data) as response:
                    body = await response.read()
                    assert response.status == 200, body
                spent[place].append(server.cpu() - before)
    return [statistics.median(costs[2:]) for costs in spent]  # the first ones warm up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--upstream", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(app_of(options.serve, options.upstream))
        return
    print(f"{machine()}; {options.turns} turns of {TOKENS} tokens, us CPU per turn and times the plain answer")
    print(f"{'':26}" + "".join(f"{wire:>20}" for wire in WIRES))
    engine = Server(__file__, "engine")
    plain: dict[str, float] = {}

    def measure(case: str, *streams: bool) -> dict[str, list[float]]:
        server = Server(__file__, case, engine.url)
        try:
            return {wire: asyncio.run(talk(server, wire, options.turns, *streams)) for wire in WIRES}
        finally:
            server.close()

    def row(name: str, costs: dict[str, float]) -> None:
        shown = "".join(f"{costs[wire]:12.0f} {costs[wire] / plain[wire]:6.1f}x" for wire in WIRES)
        print(f"{name:26}{shown}", flush=True)

    try:
        both = measure("synthesised", False, True)
        plain.update({wire: costs[0] for wire, costs in both.items()})
        row("plain", plain)
        row("synthesised", {wire: costs[1] for wire, costs in both.items()})
        for burst in BURSTS:
            for name, kind in (("incremental", "incremental"), ("  relay", "relay")):
                measured = measure(f"{kind} {burst}", True)
                row(f"{name}, {burst} a read", {wire: costs[0] for wire, costs in measured.items()})
    finally:
        engine.close()


if __name__ == "__main__":
    main()
