"""One TOML table of the catalogue, read with errors that name file, table and field. Knows no requirement."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from conformance.gateway import Capability


class CatalogueError(ValueError):
    """The catalogue's own files are wrong. The text names file, id and field."""


def read(path: Path) -> dict[str, Any]:
    """The document, or a `CatalogueError` that names the file."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise CatalogueError(f"{path.name}: missing from {path.parent}") from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{path.name}: not TOML: {error}") from None


class Fields:
    """The fields of one table, read with errors that name file, table and field."""

    __slots__ = ("table", "where")

    def __init__(self, path: Path, name: str, table: object, allowed: frozenset[str]) -> None:
        self.where = f"{path.name}: {name}"
        if not isinstance(table, dict):
            raise CatalogueError(f"{self.where}: expected a table, got {table!r}")
        self.table: dict[str, Any] = table
        for unknown in table.keys() - allowed:
            raise self.error(unknown, f"unknown field; expected one of: {', '.join(sorted(allowed))}")

    def error(self, field: str, problem: str) -> CatalogueError:
        return CatalogueError(f"{self.where}: {field}: {problem}")

    def string(self, field: str) -> str:
        value = self.table.get(field)
        if not isinstance(value, str) or not value.strip() or value != value.strip():
            raise self.error(field, f"expected a non-empty string without outer blanks, got {value!r}")
        return value

    def optional(self, field: str) -> str | None:
        return self.string(field) if field in self.table else None

    def boolean(self, field: str) -> bool:
        value = self.table.get(field, False)
        if type(value) is not bool:
            raise self.error(field, f"expected true or false, got {value!r}")
        return value

    def one_of(self, field: str, known: Collection[str]) -> str:
        value = self.string(field)
        if value not in known:
            raise self.error(field, f"expected one of {', '.join(known)}, got {value!r}")
        return value

    def many(self, field: str, kind: type) -> tuple[Any, ...]:
        value = self.table.get(field, [])
        if not isinstance(value, list) or any(type(item) is not kind for item in value):
            raise self.error(field, f"expected a list of {kind.__name__}, got {value!r}")
        if len(set(value)) != len(value):
            raise self.error(field, f"has an entry twice: {value!r}")
        return tuple(value)

    def capability(self, field: str, value: str) -> Capability:
        try:
            return Capability(value)
        except ValueError:
            raise self.error(field, f"no capability {value!r}; expected one of {', '.join(Capability)}") from None
