"""Text files as passages, and the best passages for a query (BM25).

Knows texts and words; never where a file came from. Pure. The formula is ten lines here: the packages that have it
(`bm25s`, `rank-bm25`) bring numpy, 70 MB, and keep an index, where each request may search other files.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PASSAGE = 800
"""Characters that a passage aims at; it ends with the paragraph that reaches them."""
LONGEST = 4 * PASSAGE
"""Characters that no passage exceeds, however long a paragraph is."""

_WORD = re.compile(r"\w+")
_K1, _B = 1.5, 0.75  # the usual constants of BM25


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a file."""

    text: str
    words: Counter[str]


@dataclass(slots=True)
class Source:
    """A file that can be searched. `attributes` are what its owner says of it."""

    file_id: str
    filename: str
    passages: Sequence[Passage]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def passages_of(text: str) -> tuple[Passage, ...]:
    """The passages of a text."""
    return tuple(Passage(piece, Counter(_words(piece))) for piece in _pieces(text))


def ranked(sources: Iterable[Source], query: str, limit: int, threshold: float = 0.0) -> list[dict[str, Any]]:
    """The best passages of all sources together, the best first, as `results` of a `file_search_call`. `score` is
    between 0 and 1, and not below `threshold`."""
    places = [(source, passage) for source in sources for passage in source.passages]
    words = set(_words(query))
    having = Counter(word for _, passage in places for word in words & passage.words.keys())
    rarity = {word: math.log(1 + (len(places) - count + 0.5) / (count + 0.5)) for word, count in having.items()}
    mean = sum(passage.words.total() for _, passage in places) / len(places) if places else 0.0
    scored = []
    for place, (_, passage) in enumerate(places):
        weight = _K1 * (1 - _B + _B * passage.words.total() / mean) if mean else 0.0
        score = sum(
            rarity[word] * passage.words[word] * (_K1 + 1) / (passage.words[word] + weight)
            for word in words & passage.words.keys()
        )
        score = round(score / (score + 1), 4)
        if score > 0 and score >= threshold:
            scored.append((-score, place))
    return [_result(*places[place], -score) for score, place in sorted(scored)[:limit]]


def _result(source: Source, passage: Passage, score: float) -> dict[str, Any]:
    return {
        "file_id": source.file_id,
        "filename": source.filename,
        "score": score,
        "text": passage.text,
        "attributes": dict(source.attributes),
    }


def _pieces(text: str) -> Iterator[str]:
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for start in range(0, len(paragraph) or 1, LONGEST):
            if len(piece) + len(paragraph) > LONGEST and piece:
                yield piece
                piece = ""
            piece = f"{piece}\n\n{paragraph[start : start + LONGEST]}".strip()
            if len(piece) >= PASSAGE:
                yield piece
                piece = ""
    if piece:
        yield piece


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
