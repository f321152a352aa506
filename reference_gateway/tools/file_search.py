"""File search: passages of the text files of one directory, ranked for a query (BM25).

Knows files and words. The directory is read once, at start-up; what leads out of it, is hidden, is larger than
`MAX_FILE` or is no UTF-8 text is not searched.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_gateway.tools.server_tools import Execution
from reference_gateway.types import Tool

MAX_FILE = 1024 * 1024
"""Bytes."""
PASSAGE = 800
"""Characters that a passage aims at; it ends with the paragraph that reaches them."""
RESULTS = 5

_WORD = re.compile(r"\w+")
_K1, _B = 1.5, 0.75  # the usual constants of BM25


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a file. `filename` is relative to the directory."""

    filename: str
    text: str
    words: Counter[str]


class FileSearch:
    """The server tool `file_search` over one directory. Raises ValueError when it is none."""

    name = "file_search"
    item_type = "file_search_call"

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise ValueError(f"file_search must name a directory: {directory} is none")
        self.passages = list(_passages(directory.resolve()))
        self._files = Counter(word for passage in self.passages for word in passage.words)
        lengths = [passage.words.total() for passage in self.passages]
        self._mean = sum(lengths) / len(lengths) if lengths else 0.0

    def offered(self, entry: Mapping[str, Any]) -> bool:
        """See `ServerTool`."""
        return entry.get("type") == "file_search"

    def definition(self) -> Tool:
        """See `ServerTool`."""
        query = {"type": "string", "description": "What to look for."}
        parameters = {"type": "object", "properties": {"query": query}, "required": ["query"]}
        description = "Search the files for passages about a query."
        return {
            "type": "function",
            "function": {"name": self.name, "description": description, "parameters": parameters},
        }

    async def execute(self, arguments: Any, entry: Mapping[str, Any]) -> Execution:
        """See `ServerTool`. `max_num_results` of the entry bounds the results."""
        query = arguments.get("query") if isinstance(arguments, dict) else None
        item = {"type": self.item_type, "queries": [query] if isinstance(query, str) else []}
        if not isinstance(query, str):
            return Execution("Error when running tool: query must be a string", {**item, "status": "failed"})
        limit = entry.get("max_num_results")
        found = self.search(query, limit if type(limit) is int and 0 < limit <= 50 else RESULTS)
        told = "\n\n".join(f"[{each['filename']}]\n{each['text']}" for each in found)
        return Execution(told or "Nothing was found.", {**item, "status": "completed", "results": found})

    def search(self, query: str, limit: int = RESULTS) -> list[dict[str, Any]]:
        """The best passages, the best first, as `results` of a `file_search_call`. `score` is between 0 and 1."""
        words = set(_words(query))
        scored = [(score, place) for place, each in enumerate(self.passages) if (score := self._score(words, each)) > 0]
        scored.sort(key=lambda one: (-one[0], one[1]))
        return [
            {
                "file_id": f"file-{hashlib.sha256(self.passages[place].filename.encode()).hexdigest()[:24]}",
                "filename": self.passages[place].filename,
                "score": round(score / (score + 1), 4),
                "text": self.passages[place].text,
                "attributes": {},
            }
            for score, place in scored[:limit]
        ]

    def _score(self, query: set[str], passage: Passage) -> float:
        weight = _K1 * (1 - _B + _B * passage.words.total() / self._mean)
        score = 0.0
        for word in query & passage.words.keys():
            count, having = passage.words[word], self._files[word]
            rarity = math.log(1 + (len(self.passages) - having + 0.5) / (having + 0.5))
            score += rarity * count * (_K1 + 1) / (count + weight)
        return score


def _passages(root: Path) -> Iterator[Passage]:
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root)
        if any(part.startswith(".") for part in name.parts) or not file.resolve().is_relative_to(root):
            continue
        try:
            if not file.is_file() or file.stat().st_size > MAX_FILE:
                continue
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for piece in _pieces(text):
            yield Passage(name.as_posix(), piece, Counter(_words(piece)))


def _pieces(text: str) -> Iterator[str]:
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text):
        piece = f"{piece}\n\n{paragraph}".strip()
        if len(piece) >= PASSAGE:
            yield piece
            piece = ""
    if piece:
        yield piece


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
