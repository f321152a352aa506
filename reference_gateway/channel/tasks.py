"""Tasks that nobody waits for, tried again until they succeed or there is no more hope (contract AF-RUN).

Knows handlers by name, payloads as JSON and delays in seconds; never what a task does. With a `store` a task outlives
the process: it is written down before `schedule` returns, with each attempt, and is taken up again by `start`.
Invariants: `schedule` never waits; handlers are known before the first task is; of tasks that have ended only the
latest are remembered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[None]]
"""Runs one task. What it changes in the payload is there again at the next attempt."""


class TaskState(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Task:
    """`attempts` is how often it was tried."""

    handle: str
    name: str
    payload: dict[str, Any]
    attempts: int = 0


class TaskStore(Protocol):
    """Where pending tasks are written down."""

    def save(self, task: Task) -> None:
        """The task as it is now."""

    def remove(self, handle: str) -> None:
        """The task has ended."""

    def pending(self) -> Iterable[Task]:
        """The tasks that have not ended, the oldest first. What cannot be read is put aside."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often a task is tried, and the seconds before the next attempt."""

    attempts: int = 5
    first_delay: float = 1.0
    factor: float = 2.0
    longest_delay: float = 60.0

    def delay(self, attempts: int) -> float:
        """Seconds to wait after that many attempts failed."""
        return min(self.first_delay * self.factor ** (attempts - 1), self.longest_delay)


class TaskRunner:
    """Runs tasks on the event loop that calls it. `pause` waits for seconds; `ended` hears of each task that succeeded
    or failed; `remembered` is how many ended tasks have a state. In memory only, it refuses to start where the process
    is `ephemeral`, unless `allow_in_memory`."""

    def __init__(
        self,
        store: TaskStore | None = None,
        *,
        retrying: Retrying | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ended: Callable[[Task, TaskState], Awaitable[None]] | None = None,
        remembered: int = 1000,
        ephemeral: bool = False,
        allow_in_memory: bool = False,
    ) -> None:
        self._store = store
        self._retrying = retrying or Retrying()
        self._pause = pause
        self._observe = ended
        self._remembered = remembered
        self._ephemeral = ephemeral
        self._allow_in_memory = allow_in_memory
        self._handlers: dict[str, Handler] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: OrderedDict[str, TaskState] = OrderedDict()
        self._scheduled = False

    def register(self, name: str, handler: Handler) -> None:
        """Raises RuntimeError once a task was scheduled or taken up."""
        if self._scheduled:
            raise RuntimeError(f"the handler {name!r} comes too late: tasks were scheduled before it")
        self._handlers[name] = handler

    async def start(self) -> None:
        """Take up what an earlier process left. Raises RuntimeError where tasks would be lost with the process."""
        if self._store is None:
            if self._ephemeral and not self._allow_in_memory:
                raise RuntimeError("this process may be stopped at any time, and its tasks with it: give it a store")
            if self._ephemeral:
                log.warning("tasks are lost when this process is stopped")
            return
        self._scheduled = True
        for task in self._store.pending():
            if task.name in self._handlers:
                self._begin(task)
            else:
                log.error("no handler for a task that was left behind", extra={"task": task.name})
                await self._end(task, TaskState.FAILED)

    def schedule(self, name: str, payload: dict[str, Any]) -> str:
        """Run the handler `name` with this payload, from now on. Returns the task's handle. Raises KeyError for an
        unknown handler."""
        if name not in self._handlers:
            raise KeyError(name)
        self._scheduled = True
        task = Task(secrets.token_hex(8), name, deepcopy(payload))
        if self._store is not None:
            self._store.save(task)
        self._begin(task)
        return task.handle

    def state(self, handle: str) -> TaskState | None:
        """None for a task that was never scheduled, or is forgotten."""
        ended = self._ended.get(handle)
        return TaskState.PENDING if ended is None and handle in self._running else ended

    async def shutdown(self, grace: float = 5.0) -> None:
        """Give the tasks `grace` seconds to end, and cancel the rest; with a store they are taken up again later."""
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._store is not None:
            self._store.close()

    def _begin(self, task: Task) -> None:
        running = asyncio.create_task(self._run(task))
        self._running[task.handle] = running
        running.add_done_callback(lambda done: self._gone(task, cancelled=done.cancelled()))

    def _gone(self, task: Task, *, cancelled: bool) -> None:
        del self._running[task.handle]
        # A task that is cancelled before it has begun never comes to an end of its own.
        if cancelled and task.handle not in self._ended:
            self._remember(task, TaskState.CANCELLED)

    async def _run(self, task: Task) -> None:
        handler = self._handlers[task.name]
        while task.attempts < self._retrying.attempts:
            task.attempts += 1
            if self._store is not None:
                self._store.save(task)
            try:
                await handler(task.payload)
            except Exception:
                log.warning("a task failed", extra={"task": task.name, "attempt": task.attempts}, exc_info=True)
            else:
                await self._end(task, TaskState.SUCCEEDED)
                return
            if task.attempts < self._retrying.attempts:
                await self._pause(self._retrying.delay(task.attempts))
        await self._end(task, TaskState.FAILED)

    async def _end(self, task: Task, state: TaskState) -> None:
        if self._store is not None:
            self._store.remove(task.handle)
        self._remember(task, state)
        if self._observe is None:
            return
        try:
            await self._observe(task, state)
        except Exception:
            log.exception("nobody could be told that a task has ended", extra={"task": task.name, "state": state})

    def _remember(self, task: Task, state: TaskState) -> None:
        self._ended[task.handle] = state
        while len(self._ended) > self._remembered:
            self._ended.popitem(last=False)
