"""Bodies as clients compress them (RFC 9110 8.4), on each wire.

Knows how a body is encoded and what may become of it: a gateway decodes it, or refuses it with 415. What it never does
is to take what is encoded for JSON, or JSON that says that it is encoded for JSON.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping

from conformance.client.failure import ConformanceFailure
from conformance.client.http import Reply
from conformance.oracles import Violation
from conformance.upstream.client import Upstream
from conformance.vocabulary.expect import expect, fail
from conformance.vocabulary.refusals import Wire
from conformance.vocabulary.session import Session

MEGABYTE = 1 << 20
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_BLOCK = 1 << 16
"""Bytes of a block; a frame may have up to twice as many."""


def zstd(content: bytes) -> bytes:
    """A frame of Zstandard whose blocks are the content as it is (RFC 8878 3.1): there is no encoder to depend on."""
    frame = [ZSTD_MAGIC, b"\xa0", len(content).to_bytes(4, "little")]  # one segment, its size in four bytes
    for place in range(0, max(len(content), 1), ZSTD_BLOCK):
        block = content[place : place + ZSTD_BLOCK]
        last = place + ZSTD_BLOCK >= len(content)
        frame += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(frame)


CODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd,
    "gzip, zstd": lambda content: zstd(gzip.compress(content)),
}
"""Value of `content-encoding` -> what encodes a body so."""

FALSE: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("gzip", lambda content: content),
    "plain-zstd": ("zstd", lambda content: content),
    "cut-short": ("gzip", lambda content: gzip.compress(content)[:-12]),
    "another": ("deflate", gzip.compress),
    "unknown": ("rot13", lambda content: content),
}
"""Bodies that are not what their `content-encoding` says, or in a coding that nobody knows."""


def inflated(content: bytes, megabytes: int) -> bytes:
    """`content` with so many megabytes of blanks behind it, as gzip has them: about a kilobyte each."""
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    head = encoder.compress(content) + encoder.flush(zlib.Z_FULL_FLUSH)
    blanks = b" " * MEGABYTE
    block = encoder.compress(blanks) + encoder.flush(zlib.Z_FULL_FLUSH)  # leans on nothing before it
    checked = zlib.crc32(content)
    for _ in range(megabytes):
        checked = zlib.crc32(blanks, checked)
    size = len(content) + megabytes * MEGABYTE
    trailer = checked.to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")
    return b"\x1f\x8b\x08" + bytes(5) + b"\x00\xff" + head + block * megabytes + encoder.flush() + trailer


def expect_coded_body(wire: Wire, session: Session, upstream: Upstream, coding: str) -> None:
    """A right request, encoded, is served as what it is, or refused with 415 in the wire's envelope."""
    __tracebackhide__ = True
    upstream.says("Hello")
    content = json.dumps(wire.right(session)).encode()

    reply = wire.send(session, content=CODINGS[coding](content), **encoded(wire, coding))

    expect(reply).status(200, 415)
    if reply.status == 415:
        wire.envelope(expect(reply))
    expect(len(upstream.calls)).equals(int(reply.status == 200), "upstream calls")


def expect_false_coding(wire: Wire, session: Session, upstream: Upstream, case: str) -> None:
    """A body that is not what its `content-encoding` says is refused in the wire's envelope, and makes no call."""
    __tracebackhide__ = True
    upstream.says("Hello")
    coding, encode = FALSE[case]
    content = encode(json.dumps(wire.right(session)).encode())

    reply = wire.send(session, content=content, **encoded(wire, coding))

    expect(reply).status(400, 415, 422)
    wire.envelope(expect(reply))
    expect(len(upstream.calls)).equals(0, "upstream calls")


def expect_coding_named(wire: Wire, session: Session, upstream: Upstream, case: str) -> None:
    """The refusal of such a body leads to its cause: the header that the client set."""
    __tracebackhide__ = True
    upstream.says("Hello")
    coding, encode = FALSE[case]
    content = encode(json.dumps(wire.right(session)).encode())

    reply = wire.send(session, content=content, **encoded(wire, coding))

    told = reply.body.decode("utf-8", "replace").lower()
    named = "encoding" in told or coding in told or "accept-encoding" in reply.headers
    if reply.status >= 400 and not named:
        expected = "one that names content-encoding or the coding, or 415 with accept-encoding"
        fail("refusal of the body", expected, told, "the encoded bytes were given to the JSON parser")


def as_sent(reply: Reply) -> bytes:
    """The body of an answer without the `content-encoding` that it may have. Any but gzip and deflate is a failure."""
    coding = reply.headers.get("content-encoding", "identity")
    expect(coding).is_one_of(list(_DECODERS), "content-encoding of the answer")
    try:
        return _DECODERS[coding](reply.body)
    except (OSError, EOFError, zlib.error) as error:
        raise ConformanceFailure([Violation("body", f"{coding}, as content-encoding says", str(error))]) from error


_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


def encoded(wire: Wire, coding: str) -> dict[str, Mapping[str, str]]:
    """The headers of a request with such a body."""
    return with_headers(wire, {"content-encoding": coding})


def with_headers(wire: Wire, headers: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """How a request of this wire is sent with these headers."""
    return {"keys": headers} if wire.name.startswith("invocations") else {"headers": headers}
