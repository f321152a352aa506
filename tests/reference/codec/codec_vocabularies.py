"""Vocabularies of real models in the form of a tokenizer directory, from the packages that they come in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from reference_gateway.codec.directory import TokenizerFiles
from reference_gateway.codec.token_bytes import byte_characters


def from_ranks(
    ranks: Mapping[bytes, int],
    pattern: str,
    special: Mapping[str, int],
    template: str,
    *,
    first_id: int = 0,
    names: Mapping[str, str],
    normalizer: str | None = None,
) -> TokenizerFiles:
    """A byte-pair encoding given as `bytes -> rank`, as tiktoken has it. An id is a rank plus `first_id`; `special` has
    the ids of the control tokens, `normalizer` is the form of Unicode into which a text is brought first."""
    spell = byte_characters()
    written = {token: "".join(spell[byte] for byte in token) for token in ranks}
    vocabulary = {text: ranks[token] + first_id for token, text in written.items()}
    # Control tokens in front of the others stand in the base vocabulary, too: that is how they keep their ids.
    vocabulary |= {text: token for text, token in special.items() if token < first_id}
    merges = [
        [written[left], written[right]]
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1 and (pair := _parts(token, ranks)) is not None
        for left, right in [pair]
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    flags = {"special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    added = sorted(special.items(), key=lambda pair: pair[1])
    document: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [{"id": token, "content": text, **flags} for text, token in added],
        "normalizer": normalizer and {"type": normalizer},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, "ignore_merges": True},
    }
    return TokenizerFiles(json.dumps(document).encode(), {"default": template}, names)


def _parts(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The last two pieces that byte-pair encoding joins to make `token`."""
    pieces = [token[place : place + 1] for place in range(len(token))]
    while len(pieces) > 2:
        joined = [ranks.get(left + right) for left, right in pairwise(pieces)]
        known = [(rank, place) for place, rank in enumerate(joined) if rank is not None and rank < ranks[token]]
        if not known:
            return None
        _, place = min(known)
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return (pieces[0], pieces[1]) if pieces[0] in ranks and pieces[1] in ranks else None
