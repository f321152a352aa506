"""A request on its way, and what of HTTP/1.1 heads is passed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from conformance.recorded.recorder.recording import Recording

Headers: TypeAlias = list[tuple[bytes, bytes]]

MAX_HEAD = 256 * 1024
"""Bytes of a request's or an answer's header names and values, at most."""

_HOP_BY_HOP = frozenset(
    [
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host", b"expect", b"content-length"),
    ]
)
"""Hop-by-hop by RFC 9110, and what is written anew here."""


@dataclass(slots=True)
class Request:
    """A request on its way. `keep`: the connection stays open behind its answer; `chunks`: its caller takes chunked
    answers. `length` is its Content-Length, None where the body is chunked or there is none."""

    method: bytes
    target: bytes
    headers: Headers
    keep: bool
    chunks: bool
    recorded: bool
    length: int | None = None
    chunked: bool = False
    body: list[bytes] = field(default_factory=list)
    size: int = 0
    whole: bool = False
    recording: Recording | None = None


def end_to_end(headers: Headers) -> Headers:
    """The headers that are passed on: those that are between two neighbours, by name or as `Connection` says, are
    not."""
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    return [header for header in headers if (lower := header[0].lower()) not in _HOP_BY_HOP and lower not in named]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
