"""The files that a client gave a session, and its vector stores: named sets of these files, to be searched.

Knows texts, ids and what an object is to a client; never HTTP. All of it belongs to one session and ends with it. A
file is text in UTF-8, and there is no more of anything than the limits below say, so that a client cannot fill the
gateway's memory. A vector store holds words and not vectors: the name is the API's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reference_gateway.tools.passages import Passage, Source, passages_of

MAX_FILES = 1000
"""In a session, as are the other limits."""
MAX_BYTES = 32 * 1024 * 1024
"""Of all files together."""
MAX_STORES = 100
MAX_ATTRIBUTES, MAX_KEY, MAX_VALUE = 16, 64, 512
"""Of a file in a store, or of the metadata of a store: how many, and the characters of a name and of a text."""
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


class UnknownFile(Exception):
    """No file of the session, or of the store, has that id."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"unknown file: {file_id}")


class UnknownStore(Exception):
    """No vector store of the session has that id."""

    def __init__(self, store_id: str) -> None:
        super().__init__(f"unknown vector store: {store_id}")


class FileRefused(ValueError):
    """A file, a store or a field of either that the session does not take. The text names the field."""


@dataclass(slots=True)
class File:
    """A text as it came. `passages` are made when it is first put into a store."""

    id: str
    filename: str
    purpose: str
    created_at: int
    content: bytes
    passages: Sequence[Passage] | None = None

    @property
    def text(self) -> str:
        """Without the mark that some editors put before a text."""
        return self.content.decode("utf-8-sig")

    def cut(self) -> Sequence[Passage]:
        """Its passages, anew. Takes a second for each ten million bytes or so."""
        return passages_of(self.text)

    def shown(self) -> dict[str, Any]:
        """As the API has it. A file is whole when it is answered, and goes when its session does."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": None,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


@dataclass(slots=True)
class Attached:
    """A file in a store."""

    source: Source
    store_id: str
    created_at: int
    size: int

    def shown(self) -> dict[str, Any]:
        """As the API has it."""
        return {
            "id": self.source.file_id,
            "object": "vector_store.file",
            "created_at": self.created_at,
            "vector_store_id": self.store_id,
            "status": "completed",
            "last_error": None,
            "usage_bytes": self.size,
            "attributes": dict(self.source.attributes),
            "chunking_strategy": {"type": "auto"},
        }


@dataclass(slots=True)
class Store:
    """A vector store. `attached` is by the id of the file."""

    id: str
    created_at: int
    name: str | None
    metadata: dict[str, Any]
    attached: dict[str, Attached] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As the API has it."""
        count = len(self.attached)
        return {
            "id": self.id,
            "object": "vector_store",
            "created_at": self.created_at,
            "last_active_at": self.created_at,
            "name": self.name,
            "metadata": self.metadata,
            "status": "completed",
            "usage_bytes": sum(attached.size for attached in self.attached.values()),
            "file_counts": {"in_progress": 0, "completed": count, "failed": 0, "cancelled": 0, "total": count},
            "expires_after": None,
            "expires_at": None,
        }

    def file(self, file_id: str) -> Attached:
        """Raises `UnknownFile`."""
        try:
            return self.attached[file_id]
        except KeyError:
            raise UnknownFile(file_id) from None


class Files:
    """Those of one session. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.files: dict[str, File] = {}
        self.stores: dict[str, Store] = {}
        self._clock = clock

    def file(self, file_id: str) -> File:
        """Raises `UnknownFile`."""
        try:
            return self.files[file_id]
        except KeyError:
            raise UnknownFile(file_id) from None

    def store(self, store_id: str) -> Store:
        """Raises `UnknownStore`."""
        try:
            return self.stores[store_id]
        except KeyError:
            raise UnknownStore(store_id) from None

    def upload(self, filename: str, content: bytes, purpose: Any) -> File:
        """Keep a file. Raises `FileRefused`."""
        if purpose not in PURPOSES:
            raise FileRefused(f"purpose must be one of {', '.join(PURPOSES)}")
        if len(self.files) >= MAX_FILES:
            raise FileRefused(f"file is one too many: a session has {MAX_FILES} files at most")
        if len(content) + sum(len(file.content) for file in self.files.values()) > MAX_BYTES:
            raise FileRefused(f"file is too large: the files of a session have {MAX_BYTES} bytes at most")
        require_text(content, "file")
        file = File(_new_id("file-"), filename, purpose, int(self._clock()), content)
        self.files[file.id] = file
        return file

    def delete(self, file_id: str) -> None:
        """Forget a file; no store has it any more. Raises `UnknownFile`."""
        self.file(file_id)
        del self.files[file_id]
        for store in self.stores.values():
            store.attached.pop(file_id, None)

    def create_store(self, name: Any = None, metadata: Any = None) -> Store:
        """A store with no files. Raises `FileRefused`."""
        if len(self.stores) >= MAX_STORES:
            raise FileRefused(f"name is of one store too many: a session has {MAX_STORES} vector stores at most")
        store = Store(_new_id("vs_"), int(self._clock()), _name(name), attributes_of(metadata, "metadata"))
        self.stores[store.id] = store
        return store

    def change_store(self, store_id: str, changes: Mapping[str, Any]) -> Store:
        """Give a store the name and the metadata of `changes`, where they have them. Raises `UnknownStore` and
        `FileRefused`."""
        store = self.store(store_id)
        name = _name(changes.get("name", store.name))
        store.metadata = attributes_of(changes.get("metadata", store.metadata), "metadata")
        store.name = name
        return store

    def delete_store(self, store_id: str) -> None:
        """Its files stay. Raises `UnknownStore`."""
        self.store(store_id)
        del self.stores[store_id]

    def attach(self, store_id: str, file_id: str, attributes: Any = None) -> Attached:
        """Put a file into a store, or give it other attributes there. Raises `UnknownStore`, `UnknownFile` and
        `FileRefused`."""
        store, file = self.store(store_id), self.file(file_id)
        checked = attributes_of(attributes, "attributes")
        if file.passages is None:
            file.passages = file.cut()
        source = Source(file.id, file.filename, file.passages, checked)
        store.attached[file.id] = Attached(source, store.id, int(self._clock()), len(file.content))
        return store.attached[file.id]

    def detach(self, store_id: str, file_id: str) -> None:
        """Take a file out of a store. Raises `UnknownStore` and `UnknownFile`."""
        store = self.store(store_id)
        store.file(file_id)
        del store.attached[file_id]


def require_text(content: bytes, field: str) -> str:
    """`content` as text. Raises `FileRefused` naming the field where it is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileRefused(f"{field} is not supported: this gateway takes files of text in UTF-8") from None
    if "\0" in text:
        raise FileRefused(f"{field} is not supported: this gateway takes files of text, and this one has null bytes")
    return text


def attributes_of(attributes: Any, field: str) -> dict[str, Any]:
    """Names and values as the API lets them be. Raises `FileRefused` naming the field."""
    if attributes is None:
        return {}
    if not isinstance(attributes, dict) or len(attributes) > MAX_ATTRIBUTES:
        raise FileRefused(f"{field} must be an object with {MAX_ATTRIBUTES} entries at most")
    for key, value in attributes.items():
        if len(key) > MAX_KEY:
            raise FileRefused(f"{field} must have names of {MAX_KEY} characters at most")
        if not isinstance(value, str | int | float) or (isinstance(value, str) and len(value) > MAX_VALUE):
            raise FileRefused(
                f"{field}.{key} must be a number, true, false or a text of {MAX_VALUE} characters at most"
            )
    return dict(attributes)


def _name(name: Any) -> str | None:
    if not isinstance(name, str | None):
        raise FileRefused("name must be a string or null")
    return name


def _new_id(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(12)}"
