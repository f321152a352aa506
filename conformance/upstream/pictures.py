"""Pictures that the upstream serves at URLs, so that a test knows who asked for them.

Knows how a picture of one pixel is written, and the URLs of one test. Nothing that a gateway is told makes it ask: it
reads the URLs in messages, or it does not.
"""

from __future__ import annotations

import base64
import struct
import zlib

PATH = "/pictures/{nonce}/{name}"
"""Where pictures are, below the upstream's URL; the nonce stands there without its number signs."""


def png(shade: int) -> bytes:
    """A PNG of one grey pixel, as bright as `shade` (0 to 255)."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes([0, shade]))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def data_uri(media_type: str, data: bytes) -> str:
    """`data` as a `data:` URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def shade_of(name: str) -> int:
    """How bright the picture of this name is: names have pictures of their own."""
    return zlib.crc32(name.encode()) % 256


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
