"""An app on a socket: uvicorn with uvloop and httptools, in this thread or in one of its own.

Knows uvicorn. Invariant: who is told that it listens can connect; turns in flight finish before it stops.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from reference_gateway.config import url_host

KEEP_ALIVE_S = 75
"""Longer than any stock client keeps an idle connection, so that no request meets a closing one."""


class Server(uvicorn.Server):
    """`on_listening` is called once with the server's URL, when its socket accepts. Port 0 takes a free port."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        shutdown_timeout: int = 60,
        on_listening: Callable[[str], None] = lambda url: None,
    ) -> None:
        config = uvicorn.Config(
            app,
            host=host.strip("[]"),
            port=port,
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=shutdown_timeout,
        )
        super().__init__(config)
        self._on_listening = on_listening
        self._stop: Callable[[], object] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_listening(f"http://{url_host(host)}:{port}")

    async def main_loop(self) -> None:
        """Called by uvicorn. As uvicorn's own, but `stop` need not wait for the next look at `should_exit`."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stop = partial(loop.call_soon_threadsafe, stopped.set)
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), 0.1)

    def stop(self) -> None:
        """End gracefully. May be called from any thread while the server runs."""
        self.should_exit = True
        self._stop()


@contextmanager
def serving(
    app: ASGIApp, host: str = "127.0.0.1", port: int = 0, *, sockets: Sequence[socket.socket] = ()
) -> Iterator[str]:
    """Serve `app` from a thread with its own event loop while the block runs; gives the server's URL. `sockets`, which
    listen already, are served instead of `host` and `port`; the URL is that of the first. Raises RuntimeError when it
    can't start."""
    urls: list[str] = []
    settled = threading.Event()

    def listening(url: str) -> None:
        urls.append(url)
        settled.set()

    server = Server(app, host, port, on_listening=listening)

    def run() -> None:
        try:
            server.run(sockets=list(sockets) or None)
        except SystemExit:  # uvicorn's way to say that it could not bind
            pass
        finally:
            settled.set()

    thread = threading.Thread(target=run, name="reference-gateway", daemon=True)
    thread.start()
    settled.wait()
    if not urls:
        raise RuntimeError(f"the gateway could not start on {host}:{port}")
    try:
        yield urls[0]
    finally:
        server.stop()
        thread.join()
