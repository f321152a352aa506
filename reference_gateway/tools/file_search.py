"""File search: passages of the vector stores of a session, and of the text files of one directory.

Knows files and the entry that asks for the tool. The directory is one more vector store, `files`, that every session
has. It is read once, at start-up; what leads out of it, is hidden, is larger than `MAX_FILE` or is no UTF-8 text is not
searched.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reference_gateway.tools.filters import filter_of
from reference_gateway.tools.passages import Source, passages_of, ranked
from reference_gateway.tools.server_tools import EntryRefused, Execution
from reference_gateway.tools.stores import Files, UnknownStore
from reference_gateway.types import Tool

DIRECTORY = "files"
"""The id of the vector store that the directory is."""
MAX_FILE = 1024 * 1024
"""Bytes of a file in the directory."""
RESULTS = 5
MOST_RESULTS = 50
ON_THE_LOOP = 1000
"""Passages that are searched at once; more are searched in a thread, so that other turns go on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be searched, each file once; the most results, and the least score of one."""

    sources: Sequence[Source]
    limit: int = RESULTS
    threshold: float = 0.0

    async def results(self, query: str) -> list[dict[str, Any]]:
        """The best passages, in a thread where it would take long."""
        rank = partial(ranked, self.sources, query, self.limit, self.threshold)
        if sum(len(source.passages) for source in self.sources) <= ON_THE_LOOP:
            return rank()
        return await asyncio.to_thread(rank)


class FileSearch:
    """The server tool `file_search`. `directory` None has only the stores of a session. Raises ValueError when it is no
    directory."""

    name = "file_search"
    item_type = "file_search_call"

    def __init__(self, directory: Path | None = None) -> None:
        if directory is not None and not directory.is_dir():
            raise ValueError(f"file_search must name a directory: {directory} is none")
        self._directory = None if directory is None else tuple(_sources(directory.resolve()))
        self._files = Files()

    def of(self, files: Files) -> FileSearch:
        """The same for the session that has these files."""
        search = copy.copy(self)
        search._files = files
        return search

    def offered(self, entry: Mapping[str, Any]) -> bool:
        """See `ServerTool`. An entry that names no stores asks for the directory."""
        if entry.get("type") != "file_search" or (self._directory is None and not _stores(entry)):
            return False
        self.asked(entry)
        return True

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
        try:
            results = await self.asked(entry).results(query)
        except EntryRefused as refusal:  # a store that went while the model was thinking
            return Execution(f"Error when running tool: {refusal}", {**item, "status": "failed"})
        told = "\n\n".join(f"[{result['filename']}]\n{result['text']}" for result in results)
        return Execution(told or "Nothing was found.", {**item, "status": "completed", "results": results})

    def search(self, query: str, limit: int = RESULTS) -> list[dict[str, Any]]:
        """The best passages of the directory."""
        return ranked(self._directory or (), query, limit)

    def asked(self, entry: Mapping[str, Any]) -> Asked:
        """What the entry asks for. Raises `EntryRefused`."""
        try:
            admitted = filter_of(entry.get("filters"))
        except ValueError as error:
            raise EntryRefused(str(error)) from None
        stores = _stores(entry) or [DIRECTORY]
        sources = {source.file_id: source for store_id in stores for source in self._store(store_id)}
        chosen = [source for source in sources.values() if admitted(source.attributes)]
        return Asked(chosen, _limit(entry), _threshold(entry))

    def _store(self, store_id: str) -> Sequence[Source]:
        if store_id == DIRECTORY and self._directory is not None:
            return self._directory
        try:
            return [attached.source for attached in self._files.store(store_id).attached.values()]
        except UnknownStore as error:
            raise EntryRefused(f"vector_store_ids: {error}", status=404) from None


def _stores(entry: Mapping[str, Any]) -> list[str]:
    ids = entry.get("vector_store_ids")
    if not isinstance(ids, list | None) or not all(isinstance(store_id, str) for store_id in ids or ()):
        raise EntryRefused("vector_store_ids must be a list of ids")
    return ids or []


def _limit(entry: Mapping[str, Any]) -> int:
    limit = entry.get("max_num_results")
    if limit is None:
        return RESULTS
    if type(limit) is not int or not 1 <= limit <= MOST_RESULTS:
        raise EntryRefused(f"max_num_results must be an integer from 1 to {MOST_RESULTS}")
    return limit


def _threshold(entry: Mapping[str, Any]) -> float:
    ranking = entry.get("ranking_options")
    if not isinstance(ranking, dict | None):
        raise EntryRefused("ranking_options must be an object")
    threshold = (ranking or {}).get("score_threshold")
    if threshold is None:
        return 0.0
    if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
        raise EntryRefused("ranking_options.score_threshold must be a number from 0 to 1")
    return float(threshold)


def _sources(root: Path) -> Iterator[Source]:
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
        file_id = f"file-{hashlib.sha256(name.as_posix().encode()).hexdigest()[:24]}"
        yield Source(file_id, name.as_posix(), passages_of(text))
