"""The content codings of a request's body (RFC 9110 8.4): what a client compressed, as it was before.

Knows `content-encoding` and the decoders; never a socket or a wire. Invariants: what is decoded never grows beyond the
limit, however often it was encoded, so that a small body cannot become a large one; what cannot be decoded is refused
in words that name the header, and never reaches a parser.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from reference_gateway.wire.base import RequestRefused

try:
    from compression import zstd  # Python 3.14
except ImportError:
    try:
        from backports import zstd
    except ImportError:  # without the extra `gateway`: such bodies are refused with 415
        zstd = None

HEADER = "content-encoding"
MAX_CODINGS = 4
"""Of one body. More are no client's, and each costs as much as the limit allows."""
MAX_FRAMES = 1000
"""Members of a gzip stream and frames of a zstd stream, which may be empty."""
PIECE = 1 << 16
"""Bytes that a decoder is given at a time."""
ZSTD_WINDOW_LOG = 23
"""8 MB, which a body may have need of (RFC 9659 3)."""


class Decoder(Protocol):
    """Decodes one frame, as `zlib` and `zstd` do. `max_length` bounds what one call gives."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


Coding = Callable[[bytes], Decoder]
"""The first bytes of a frame -> what decodes it."""


def _deflate(head: bytes) -> Decoder:
    """`deflate` is the zlib format, and some clients send it without zlib's head (RFC 9110 8.4.1.2)."""
    wrapped = len(head) > 1 and head[0] & 15 == zlib.DEFLATED and int.from_bytes(head[:2]) % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)


def _gzip(head: bytes) -> Decoder:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _zstd(head: bytes) -> Decoder:
    options: Any = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    decoder: Decoder = zstd.ZstdDecompressor(options=options)
    return decoder


ACCEPTED: Mapping[str, Coding] = {"gzip": _gzip, "deflate": _deflate, **({"zstd": _zstd} if zstd is not None else {})}
_NAMES: Mapping[str, Coding] = {**ACCEPTED, "x-gzip": _gzip}
_BROKEN: tuple[type[Exception], ...] = (zlib.error, EOFError, *(() if zstd is None else (zstd.ZstdError,)))


def codings_of(value: str) -> list[str]:
    """The codings of a body, the one that was applied last first. `value` is that of the header. Raises
    `RequestRefused` with 415 for one that is not known here."""
    named = [name for coding in value.lower().split(",") if (name := coding.strip()) not in ("", "identity")]
    for name in named:
        if name not in _NAMES:
            raise _unsupported(f"{HEADER} {name[:40]!r} is not supported")
    if len(named) > MAX_CODINGS:
        raise _unsupported(f"{HEADER} names more than {MAX_CODINGS} codings")
    return named[::-1]


def decoded(body: bytes, codings: list[str], limit: int) -> bytes:
    """What the body was before it was encoded. Raises `RequestRefused`: 413 as soon as it is more than `limit` bytes,
    400 where it is not what the header says."""
    for name in codings:
        try:
            body = _decode(body, _NAMES[name], limit)
        except _BROKEN as error:
            raise RequestRefused(f"the body is not {name}, as {HEADER} says: {error}") from None
    return body


def too_large(limit: int) -> RequestRefused:
    """The refusal of a body that is, or becomes, too large."""
    return RequestRefused(f"the body is larger than {limit} bytes", status=413)


def _decode(body: bytes, coding: Coding, limit: int) -> bytes:
    pieces = [body[place : place + PIECE] for place in range(0, len(body), PIECE)][::-1]
    made: list[bytes] = []
    size = 0
    for _ in range(MAX_FRAMES):
        decoder = coding(pieces[-1] if pieces else b"")
        while not decoder.eof:
            piece = pieces.pop() if pieces else b""
            made.append(decoder.decompress(piece, limit + 1 - size))
            size += len(made[-1])
            if size > limit:
                raise too_large(limit)
            if not piece and not made[-1] and not decoder.eof:
                raise EOFError("it was cut short")
        if decoder.unused_data:
            pieces.append(decoder.unused_data)
        if not pieces:
            return b"".join(made)
    raise EOFError(f"it has more than {MAX_FRAMES} frames")


def _unsupported(message: str) -> RequestRefused:
    accepted = ", ".join(ACCEPTED)
    return RequestRefused(f"{message}: expected {accepted}", status=415, headers={"accept-encoding": accepted})
