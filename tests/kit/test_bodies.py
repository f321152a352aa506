"""What the kit encodes is what a client would have encoded, and what it decodes is what it says."""

from __future__ import annotations

import gzip
import zlib

import pytest

from conformance.vocabulary.bodies import CODINGS, FALSE, MEGABYTE, ZSTD_BLOCK, inflated, zstd


@pytest.mark.parametrize("size", [0, 1, ZSTD_BLOCK, ZSTD_BLOCK + 1, 3 * ZSTD_BLOCK])
def test_a_frame_of_zstandard_is_one(size):
    decoders = pytest.importorskip("backports.zstd")
    content = bytes(range(256)) * (size // 256 + 1)
    assert decoders.decompress(zstd(content[:size])) == content[:size]


def test_an_inflated_body_is_small_and_whole():
    encoded = inflated(b'{"a": 1}', 64)
    assert len(encoded) < 128 * 1024
    decoded = gzip.decompress(encoded)
    assert (decoded[:8], len(decoded), decoded[8:].strip()) == (b'{"a": 1}', 8 + 64 * MEGABYTE, b"")


def test_no_body_is_encoded_as_a_false_one_says():
    for coding, encode in FALSE.values():
        content = encode(b'{"a": 1}')
        assert coding not in CODINGS or content != CODINGS[coding](b'{"a": 1}')
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(FALSE["cut-short"][1](b'{"a": 1}' * 100))
