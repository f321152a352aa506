"""The little of ASGI that both planes need: a bounded body, headers as a mapping, an answer in one piece.

Knows ASGI messages. Never knows a route, a session or a wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from reference_gateway.serving.content_coding import HEADER, codings_of, decoded, too_large

T = TypeVar("T")

RawHeaders = Iterable[tuple[bytes, bytes]]
JSON: RawHeaders = ((b"content-type", b"application/json"),)


class HungUp(Exception):
    """The client closed its connection; nobody is there to be answered."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Header names are lower case; of a repeated header the last counts, of the content codings each."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if HEADER in headers:
        headers[HEADER] = ",".join(
            value.decode("latin-1") for name, value in scope["headers"] if name == HEADER.encode()
        )
    return headers


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body, decoded. Raises `RequestRefused`: 413 above `limit` bytes, as it comes or decoded, and 415 or 400
    for a coding that is not known here or not that of the body; `HungUp` when it never becomes whole."""
    coding = headers.get(HEADER)
    if coding is None:
        return await _read(receive, headers, limit)
    codings = codings_of(coding)
    return decoded(await _read(receive, headers, limit), codings, limit)


async def _read(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
        raise too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        return body
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise HungUp
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


async def respond(send: Send, status: int, body: bytes, headers: RawHeaders) -> None:
    """Send an answer that is already whole."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def while_connected(turn: Coroutine[Any, Any, T], receive: Receive) -> T:
    """Run a turn, and give it up when the client does: the engine need not finish what nobody will read. Raises
    `HungUp`."""
    turn_task = asyncio.current_task()
    assert turn_task is not None
    hung_up = False

    async def watch() -> None:
        nonlocal hung_up
        while (await receive())["type"] != "http.disconnect":
            pass
        hung_up = True
        turn_task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await turn
    except asyncio.CancelledError:
        if hung_up:
            turn_task.uncancel()
            raise HungUp from None
        raise
    finally:
        watcher.cancel()


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
