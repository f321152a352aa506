"""The upstream serves pictures, and knows which were asked for."""

from __future__ import annotations

import struct
import zlib

import httpx

from conformance.upstream.client import Upstream
from conformance.upstream.pictures import data_uri, png

from .caller import Caller


def test_what_is_asked_for_is_known_by_its_name(scripted: Upstream, caller: Caller) -> None:
    assert scripted.fetched == []

    first, again, other = (httpx.get(scripted.picture(name)) for name in ("cat.png", "cat.png", "dog.png"))

    assert (first.status_code, first.headers["content-type"]) == (200, "image/png")
    assert first.content == again.content != other.content
    assert scripted.fetched == ["cat.png", "cat.png", "dog.png"]


def test_a_test_that_has_ended_has_no_pictures(server: Upstream) -> None:
    server.begin()
    url = server.picture("cat.png")
    server.end()

    assert httpx.get(url).status_code == 404


def test_a_picture_is_a_png() -> None:
    picture = png(7)

    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(picture):
        (size,) = struct.unpack(">I", picture[at : at + 4])
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        assert struct.unpack(">I", picture[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + data),)
        chunks[kind], at = data, at + 12 + size
    assert zlib.decompress(chunks[b"IDAT"]) == b"\x00\x07"
    assert data_uri("image/png", b"hi") == "data:image/png;base64,aGk="
