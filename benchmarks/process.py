"""The processes that the benchmarks measure: an ASGI app on a port of loopback, and the CPU that it has used.

A benchmark calls itself: `python benchmarks/NAME.py --serve CASE --upstream URL` serves that case. Linux only: it reads
another process's CPU clock.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from typing import Any

import uvicorn


class Server:
    """A process that serves one case of the benchmark `script`."""

    def __init__(self, script: str, case: str, upstream: str = "") -> None:
        command = [sys.executable, script, "--serve", case, "--upstream", upstream]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def cpu(self) -> float:
        """Microseconds of CPU, user and system, that the process has used."""
        return time.clock_gettime(~self.process.pid << 3 | 2) * 1e6  # what clock_getcpuclockid(3) gives

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def serve(app: Any) -> None:
    """Serve `app` on a free port, which is printed."""
    config = uvicorn.Config(app, port=0, log_level="error", access_log=False, loop="uvloop", http="httptools")
    server = uvicorn.Server(config)
    startup = server.startup

    async def announced(*args: Any, **kwargs: Any) -> None:
        await startup(*args, **kwargs)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)

    server.startup = announced  # type: ignore[method-assign]
    server.run()


async def read(receive: Any) -> bytes:
    """The body of a request."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def answer(send: Any, body: bytes) -> None:
    """Answer with JSON."""
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
