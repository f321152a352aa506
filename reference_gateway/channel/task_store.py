"""Pending tasks in SQLite, payloads as JSON (contract AF-RUN-05).

Knows one file in one directory. Invariants: whoever opens it has it alone, so two runners never run one task; what
cannot be read is moved to `quarantined` and stops nobody.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

from reference_gateway.channel.tasks import Task

log = logging.getLogger(__name__)

FILE = "tasks.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    number INTEGER PRIMARY KEY, handle TEXT UNIQUE, name TEXT, payload TEXT, attempts INTEGER
);
CREATE TABLE IF NOT EXISTS quarantined (handle TEXT, name TEXT, payload TEXT, attempts INTEGER, reason TEXT);
"""


class TaskDirectory:
    """The tasks in `directory`, which is made if need be. Raises RuntimeError when another runner has it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(directory / FILE, timeout=0, isolation_level=None)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("BEGIN EXCLUSIVE")  # takes the lock, which then stays
            self._database.execute("COMMIT")
            self._database.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise RuntimeError(f"{directory} is in use by another task runner") from error

    def save(self, task: Task) -> None:
        """See `tasks.TaskStore`."""
        self._database.execute(
            "INSERT INTO tasks (handle, name, payload, attempts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (handle) DO UPDATE SET payload = excluded.payload, attempts = excluded.attempts",
            (task.handle, task.name, json.dumps(task.payload), task.attempts),
        )

    def remove(self, handle: str) -> None:
        """See `tasks.TaskStore`."""
        self._database.execute("DELETE FROM tasks WHERE handle = ?", (handle,))

    def pending(self) -> list[Task]:
        """See `tasks.TaskStore`."""
        tasks = []
        rows = self._database.execute("SELECT handle, name, payload, attempts FROM tasks ORDER BY number").fetchall()
        for row in rows:
            try:
                tasks.append(_read(*row))
            except (TypeError, ValueError) as error:
                log.error("a task cannot be read and was put aside", extra={"handle": row[0], "reason": str(error)})
                self._quarantine(row, str(error))
        return tasks

    def quarantined(self) -> list[str]:
        """The handles of what was put aside."""
        return [str(handle) for (handle,) in self._database.execute("SELECT handle FROM quarantined")]

    def close(self) -> None:
        """See `tasks.TaskStore`. May be repeated."""
        self._database.close()

    def _quarantine(self, row: tuple[Any, ...], reason: str) -> None:
        self._database.execute("INSERT INTO quarantined VALUES (?, ?, ?, ?, ?)", (*row, reason))
        self._database.execute("DELETE FROM tasks WHERE handle IS ?", (row[0],))


def _read(handle: Any, name: Any, payload: Any, attempts: Any) -> Task:
    if not isinstance(handle, str) or not isinstance(name, str) or type(attempts) is not int or attempts < 0:
        raise ValueError("its columns have other types than they should")
    document = json.loads(payload)
    if not isinstance(document, dict):
        raise ValueError("its payload is no JSON object")
    return Task(handle, name, document, attempts)
