"""What a turn costs when the session is long: CPU of the gateway's process at turns 2, 50 and 200, and memory.

    python benchmarks/long_session.py [--sessions 7]

Sessions of 200 turns and 180,000 tokens, half of them sampled, over the chat wire: each request sends the whole history
(0.6 MB of JSON at turn 200), real tokenizer and chat template, logprobs recorded. Figures are medians over the
sessions, from bytes in to bytes out. `turn` has a backend in the process; `proxied` a vLLM-style server on loopback,
which is sent all token ids (0.9 MB of JSON) and repeats them in its answer, as vLLM does. The floor of each is an app
that reads the same body with orjson, and for `proxied` posts bytes that lie ready and reads the answer: what the two
wires cost by themselves, since a stateless wire repeats the history. Memory is that of one session after 200 turns, as
tracemalloc counts it, beside 16 bytes per token and 1 KB per turn.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import string
import tracemalloc
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import aiohttp
import orjson
from process import Server, answer, machine, read, serve

from conformance.fixtures import fixture_path
from reference_gateway.app import build_codec, create_app
from reference_gateway.config import Config
from reference_gateway.context import Context
from reference_gateway.session import Session, Settings
from reference_gateway.types import Generation, Media, Turn

TURNS, SHOWN = 200, (2, 50, 200)
HALF = 450
"""Tokens that a turn adds before its answer, and those of the answer."""
SAMPLING = {"logprobs": True}
CASES = ("turn", "proxied")


@cache
def words(seed: int) -> str:
    """Text of about `HALF` tokens; each seed says something else."""
    dice = random.Random(seed)
    count = round(HALF / 4.7)  # tokens of the fixture's small vocabulary in a random word
    return " ".join("".join(dice.choices(string.ascii_lowercase, k=dice.randint(2, 9))) for _ in range(count))


@cache
def sampled() -> tuple[list[int], list[float]]:
    """What the engine says in each turn, with logprobs as they look on the wire."""
    codec = build_codec(config("turn"))
    ids = [*codec.vocabulary.encode(words(0)), codec.vocabulary.token_id("<|im_end|>") or 0]
    return ids, [round(-random.Random(0).random() * place % 7, 6) for place in range(len(ids))]


def config(case: str, upstream: str = "") -> Config:
    if case == "turn":
        return Config(tokenizer=fixture_path("chatml"))
    return Config(tokenizer=fixture_path("chatml"), backend="vllm", backend_url=upstream)


class Canned:
    """A backend in the process. It writes its context as an engine's client has to."""

    name = "canned"

    def __init__(self) -> None:
        self._ids, self._logprobs = sampled()

    async def generate(
        self, context: Sequence[int], sampling: Mapping[str, Any], *, session_id: str, media: Media
    ) -> Generation:
        Context.of(context).json()
        return Generation(list(self._ids), list(self._logprobs), "stop")

    async def close(self) -> None:
        pass


class Engine:
    """As vLLM answers: the ids that it was sent, the ids that it sampled, their logprobs."""

    def __init__(self) -> None:
        ids, logprobs = sampled()
        choice = {"index": 0, "text": words(0), "logprobs": {"token_logprobs": logprobs}, "token_ids": ids}
        head = orjson.dumps({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "none"})
        self._head = head[:-1] + b',"choices":[' + orjson.dumps({**choice, "finish_reason": "stop"})[:-1]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            body = await read(receive)
            start = body.index(b'"prompt":') + len(b'"prompt":')
            prompt = body[start : body.index(b"]", start) + 1]
            await answer(send, self._head + b',"prompt_token_ids":' + prompt + b"}]}")


class Floor:
    """Reads the request and answers. With an upstream, posts it the ids of a context of that length, which lie ready,
    and reads what comes back."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        messages = orjson.loads(await read(receive)).get("messages")
        if messages and self._upstream:
            self._client = self._client or aiohttp.ClientSession()
            async with self._client.post(self._upstream, data=_context(len(messages))) as response:
                await response.read()
        await answer(send, orjson.dumps({"content": words(0)}))


@cache
def _context(messages: int) -> bytes:
    ids, _ = sampled()
    return orjson.dumps({"prompt": ids * messages})


async def talk(server: Server, sessions: int) -> dict[int, list[float]]:
    """Hold the conversations; returns microseconds of CPU by number of turn."""
    spent: dict[int, list[float]] = {number: [] for number in SHOWN}
    async with aiohttp.ClientSession() as http:

        async def post(url: str, body: Any) -> tuple[bytes, float]:
            data = orjson.dumps(body)
            before = server.cpu()
            async with http.post(url, data=data, headers={"content-type": "application/json"}) as response:
                assert response.status in (200, 201), await response.text()
                return await response.read(), server.cpu() - before

        for session in range(sessions):
            created, _ = await post(f"{server.url}/sessions", {"sampling_params": SAMPLING})
            url = f"{server.url}/sessions/{orjson.loads(created).get('session_id')}"
            messages: list[dict[str, str]] = []
            for number in range(1, TURNS + 1):
                messages.append({"role": "user", "content": words(session * TURNS + number)})
                body = {"model": "none", "messages": messages, "temperature": 1.0}
                _, cost = await post(f"{url}/v1/chat/completions", body)
                messages.append({"role": "assistant", "content": words(0)})
                if number in spent and session:  # the first one warms up
                    spent[number].append(cost)
            await post(f"{url}/abort", {})
    return spent


async def memory() -> tuple[int, int]:
    """Bytes and tokens of one session after all its turns."""
    codec, backend = build_codec(config("turn")), Canned()

    async def grown() -> Session:
        session = Session("s", codec, backend, Settings(sampling_params=SAMPLING))
        messages: list[dict[str, Any]] = []
        for number in range(1, TURNS + 1):
            messages.append({"role": "user", "content": words(number)})
            messages.append((await session.run(Turn(messages))).message)
        return session

    await grown()
    gc.collect()
    tracemalloc.start()
    session = await grown()
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (trajectory,) = session.trajectories()
    return used, len(trajectory.prompt_ids) + len(trajectory.response_ids)


def app_of(case: str, upstream: str) -> Any:
    if case == "engine":
        return Engine()
    if case.startswith("floor"):
        return Floor(upstream)
    return create_app(config(case, upstream), backend=Canned() if case == "turn" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=7, help="measured sessions")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--upstream", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(app_of(options.serve, options.upstream))
        return
    print(f"{machine()}; {options.sessions} sessions of {TURNS} turns")
    used, tokens = asyncio.run(memory())
    allowed = 16 * tokens + 1024 * TURNS
    print(
        f"memory   {used:,} bytes for {tokens:,} tokens: {used / allowed:.2f} of 16 bytes per token and 1 KB per turn"
    )
    print(f"{'':16}{'':4}" + "".join(f"turn {number:4} us" for number in SHOWN) + f"   turn {TURNS} / turn 2")
    engine = Server(__file__, "engine")
    try:
        for case in CASES:
            upstream = engine.url if case == "proxied" else ""
            medians: dict[str, dict[int, float]] = {}
            for name in (f"floor of {case}", case):
                server = Server(__file__, name, upstream)
                try:
                    spent = asyncio.run(talk(server, options.sessions + 1))
                finally:
                    server.close()
                medians[name] = {number: statistics.median(costs) for number, costs in spent.items()}
                costs = medians[name]
                shown = "".join(f"{costs[number]:12.0f}" for number in SHOWN)
                print(f"{name:18}{shown}{costs[TURNS] / costs[2]:15.1f}", flush=True)
            ratios = "".join(f"{medians[case][number] / medians[f'floor of {case}'][number]:12.1f}" for number in SHOWN)
            print(f"{'  times the floor':18}{ratios}")
    finally:
        engine.close()


if __name__ == "__main__":
    main()
