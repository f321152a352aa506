"""The recorder as a process: a port of loopback, the engine behind it, a ledger."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from conformance.recorded.recorder.recording import Ledger
from conformance.recorded.recorder.relay import Caller, Engine, Recorder


def engine_at(url: str) -> Engine:
    """The engine whose root is `url` (a trailing `/v1` is taken off). Raises ValueError for what is no such URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the engine must be http://HOST:PORT or https://HOST:PORT, not {parts.scheme or url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the engine's URL must hold no credentials: the gateway sends its own, and they are passed on")
    if parts.query or parts.fragment:
        raise ValueError("the engine's URL must have neither a query nor a fragment")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    root = url.rstrip("/").removesuffix("/v1").rstrip("/")
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    port = parts.port or (443 if tls else 80)
    return Engine(root, parts.hostname, port, parts.netloc.encode("ascii"), prefix.encode("ascii"), tls)


def serve(
    engine: Engine,
    ledger_file: Path,
    host: str,
    port: int,
    ready: Callable[[str], None],
    passive: bool = False,
    arrivals: bool = False,
) -> None:
    """Record until SIGTERM or SIGINT. `ready` gets the URL once connections are accepted; port 0 takes a free one.
    Calls are appended to `ledger_file`; with `arrivals` already when they arrive. Raises OSError when the file or the
    port cannot be had."""
    with Ledger(ledger_file, arrivals) as ledger:
        recorder = Recorder(engine, ledger, passive)
        runner = asyncio.Runner(loop_factory=_loop_factory())
        with runner:
            runner.run(_serve(recorder, host, port, ready))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(recorder: Recorder, host: str, port: int, ready: Callable[[str], None]) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Caller(recorder), host, port, backlog=1024)
    async with server:
        bound = server.sockets[0].getsockname()[1]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{bound}")
        await stopped.wait()
        for caller in tuple(recorder.open):
            caller.stop()


def advice(url: str, engine: Engine, ledger_file: Path) -> str:
    """What to tell a gateway, so that the recorder at `url` stands between it and its engine."""
    return f"""listening on {url}

Start the gateway with this server as its inference engine, in the place of {engine.url}:
  base URL, where it ends with /v1   {url}/v1
  base URL, otherwise                {url}

Every generation is appended to {ledger_file}. Then, with what the gateway exports:
  gateway-conformance check-trajectory FILE --ledger {ledger_file} --tokenizer DIR"""
