"""What recording costs: CPU of the recorder's process for a call of an engine.

    python benchmarks/recorder.py [--calls 4800]

A request of 4 KB (1,000 ids of context) and an answer of 4 KB (100 ids with their log-probabilities), as vLLM's
completions route has them: asked for by the gateway, or added and taken out again; and the same answer as a stream of
100 events, which comes at once, or event by event as an engine samples. `relay` passes the same bytes on between two
sockets and looks at nothing: what any process between a gateway and its engine has to pay, and what the rest is
compared with. `alone` is the recorder's code without sockets, and without other processes that empty the caches of its
core between two calls.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson
import uvloop
from process import machine

from conformance.recorded.recorder.engine import EngineSide
from conformance.recorded.recorder.recording import Ledger
from conformance.recorded.recorder.relay import Caller, Recorder
from conformance.recorded.recorder.server import engine_at

IDS = 100
CALLERS = 8
BATCHES = 100
"""Of which the cheapest counts: what else runs on the machine makes a call dearer, and nothing makes it cheaper."""
CONTEXT = list(range(1000))
ASKED = orjson.dumps({"prompt": CONTEXT, "max_tokens": IDS, "return_token_ids": True, "logprobs": 0})
UNASKED = orjson.dumps({"prompt": CONTEXT, "max_tokens": IDS})
PACE_S = 0.001
"""Between two events of a stream that comes event by event."""
STREAMED = orjson.dumps({"prompt": CONTEXT, "max_tokens": IDS, "return_token_ids": True, "logprobs": 0, "stream": True})
PACED = STREAMED.replace(b"{", b'{"user":"paced",', 1)
PACED_UNASKED = UNASKED.replace(b"{", b'{"user":"paced","stream":true,', 1)


def answers() -> tuple[bytes, bytes]:
    """The answer of the engine, plain and streamed."""
    head = {"id": "cmpl-0123456789", "object": "text_completion", "created": 1, "model": "none"}
    logprobs = {"token_logprobs": [-0.5] * IDS, "tokens": ["tok"] * IDS}
    choice = {"index": 0, "text": "text" * IDS, "logprobs": logprobs, "stop_reason": None}
    plain = {**choice, "finish_reason": "stop", "token_ids": CONTEXT[:IDS], "prompt_token_ids": None}
    events = b""
    for place in range(IDS):
        logprobs = {"token_logprobs": [-0.5], "tokens": ["tok"]}
        piece = {**choice, "text": "text", "logprobs": logprobs, "token_ids": [place]}
        piece["finish_reason"] = "stop" if place == IDS - 1 else None
        events += b"data: " + orjson.dumps({**head, "choices": [piece]}) + b"\n\n"
    return orjson.dumps({**head, "choices": [plain]}), events + b"data: [DONE]\n\n"


class Engine(asyncio.Protocol):
    """Answers by the length of what is asked: nothing that it does is measured."""

    plain, streamed = answers()

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if not separator or len(body) < length:
            return
        stream = b'"stream":true' in body
        self._data, answer = b"", self.streamed if stream else self.plain
        kind = b"text/event-stream" if stream else b"application/json"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(answer))
        if stream and b'"user":"paced"' in body:
            self._telling = asyncio.get_running_loop().create_task(self._tell(head, answer))
        else:
            self._transport.write(head + answer)

    async def _tell(self, head: bytes, answer: bytes) -> None:
        self._transport.write(head)
        for event in answer.splitlines(keepends=True)[::2]:
            await asyncio.sleep(PACE_S)
            self._transport.write(event + b"\n")


class Relay(asyncio.Protocol):
    """Passes on what comes."""

    port = 0

    def __init__(self, other: Relay | None = None) -> None:
        self._other, self._waiting = other, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self._other is None:
            loop = asyncio.get_running_loop()
            self._connecting = loop.create_task(loop.create_connection(self._opposite, "127.0.0.1", self.port))
        else:
            transport.write(self._other._waiting)

    def _opposite(self) -> Relay:
        self._other = Relay(self)
        return self._other

    def data_received(self, data: bytes) -> None:
        if self._other is None or not hasattr(self._other, "transport"):
            self._waiting += data
        else:
            self._other.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._other is not None and hasattr(self._other, "transport"):
            self._other.transport.close()


async def serve(kind: str, port: int) -> None:
    Relay.port = port
    server = await asyncio.get_running_loop().create_server(Engine if kind == "engine" else Relay, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


class Process:
    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def cpu(self) -> float:
        """Microseconds of CPU, user and system, that the process has used."""
        return time.clock_gettime(~self.process.pid << 3 | 2) * 1e6  # what clock_getcpuclockid(3) gives

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


async def least(processes: Sequence[Process], body: bytes, calls: int) -> list[float]:
    """Microseconds of CPU per call of each process, in its cheapest batch, over connections that are open."""
    cheapest = [math.inf] * len(processes)
    rounds = max(calls // BATCHES // CALLERS, 1)

    async def batch(http: aiohttp.ClientSession, url: str) -> None:
        async def caller() -> None:
            for _ in range(rounds):
                async with http.post(f"{url}/v1/completions", data=body) as answer:
                    assert answer.status == 200
                    await answer.read()

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    async with aiohttp.ClientSession() as http:
        for process in processes:
            await batch(http, process.url)
        for _ in range(BATCHES):
            for place, process in enumerate(processes):
                before = process.cpu()
                await batch(http, process.url)
                cheapest[place] = min(cheapest[place], (process.cpu() - before) / rounds / CALLERS)
    return cheapest


class Nowhere(asyncio.Transport):
    """What is written goes nowhere."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...


def alone(body: bytes, calls: int) -> float:
    """Microseconds of CPU per call of the recorder's code, in its cheapest batch."""
    answer = Engine.streamed if b'"stream":true' in body else Engine.plain
    kind = b"text/event-stream" if answer is Engine.streamed else b"application/json"
    head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:8766\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    asked = head + b"User-Agent: aiohttp\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    told = [b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(answer))]
    told += [event + b"\n" for event in answer.splitlines(keepends=True)[::2]] if b'"paced"' in body else [answer]
    with Ledger(Path(os.devnull)) as ledger:
        caller = Caller(Recorder(engine_at("http://127.0.0.1:1"), ledger))
        caller.connection_made(Nowhere())
        caller._engine = side = EngineSide(caller)
        side.connection_made(Nowhere())
        cheapest = math.inf
        for _ in range(BATCHES):
            before = time.process_time()
            for _ in range(calls // BATCHES):
                caller.data_received(asked)
                for data in told:
                    side.data_received(data)
            cheapest = min(cheapest, (time.process_time() - before) * 1e6 / (calls // BATCHES))
    assert caller.current is None
    return cheapest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4800)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, options.port))
        return
    print(f"{machine()}; {options.calls} calls by {CALLERS} at a time, us CPU per call")
    engine = Process(__file__, "--serve", "engine")
    relay = Process(__file__, "--serve", "relay", "--port", engine.url.rsplit(":", 1)[1])
    with tempfile.TemporaryDirectory() as folder:
        record = ("-m", "conformance.cli", "record", "--port", "0", "--ledger", str(Path(folder) / "calls.jsonl"))
        recorder = Process(*record, "--engine", engine.url)
        for name, body in (
            ("asked for by the gateway", ASKED),
            ("added and taken out", UNASKED),
            ("streamed", STREAMED),
            ("event by event", PACED),
            ("  added and taken out", PACED_UNASKED),
        ):
            calls = options.calls // 10 if body in (PACED, PACED_UNASKED) else options.calls
            floor, whole = asyncio.run(least((relay, recorder), body, calls))
            costs = f"relay {floor:6.0f}   recorder {whole:6.0f}   recording {whole - floor:6.0f}"
            print(f"{name:26} {costs}   alone {alone(body, options.calls):6.0f}", flush=True)
        recorder.close()
    relay.close()
    engine.close()


if __name__ == "__main__":
    main()
