"""What single tokens stand for. A token need not be whole characters, so that it is bytes, and not text.

Knows the three ways in which a `tokenizer.json` writes bytes: the alphabet of byte-level tokenizers, `<0xE2>`, and
`\u2581` for a blank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def byte_characters() -> list[str]:
    """The printable character that byte-level tokenizers write for each byte: itself where it is printable, one beyond
    U+0100 where it is not."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


_BYTES: Mapping[str, int] = {character: byte for byte, character in enumerate(byte_characters())}


class TokenBytes:
    """`document` is the tokenizer's JSON."""

    def __init__(self, tokenizer: Tokenizer, document: Mapping[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._byte_level = b'"ByteLevel"' in orjson.dumps(document.get("decoder"))
        self._added = frozenset(token["id"] for token in document.get("added_tokens") or ())

    def __call__(self, token: int) -> bytes:
        """The bytes of this token; none for an id outside the vocabulary."""
        name: str | None = self._tokenizer.id_to_token(token)
        if name is None:
            return b""
        if token in self._added:
            return name.encode()
        if self._byte_level and all(character in _BYTES for character in name):
            return bytes(_BYTES[character] for character in name)
        byte = _BYTE.fullmatch(name)
        return bytes.fromhex(byte[1]) if byte else name.replace("\u2581", " ").encode()
