"""Mutants of area RUN: background tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.tasks import TaskRunner, TaskState
from reference_gateway.examples.demo import TASK
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


@mutant("RUN-001")
def task_is_awaited_where_it_is_scheduled(gateway: Sabotage) -> None:
    """The first task of a request is awaited, so that its failure is seen."""
    begun: list[Any] = []

    @gateway.wrap(TaskRunner, "_begin")
    def begin(original: Any, self: Any, task: Any) -> None:
        original(self, task)
        begun.append(self._running[task.handle])

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        changed = await original(self, request, target, body)
        mine = begun[:1]
        begun.clear()
        await asyncio.gather(*mine, return_exceptions=True)
        return changed


@mutant("RUN-002")
def task_is_run_again_to_be_sure(gateway: Sabotage) -> None:
    """A task that has succeeded is run again, to be sure."""

    @gateway.wrap(TaskRunner, "_run")
    async def run(original: Any, self: Any, task: Any) -> None:
        try:
            await self._handlers[task.name](task.payload)
        except ConnectionError:
            task.attempts += 1
        await original(self, task)


@mutant("RUN-002", also=("RUN-003", "RUN-005"))
def task_ends_as_done(gateway: Sabotage) -> None:
    """Another word is used for the state."""

    @gateway.wrap(TaskRunner, "_end")
    async def end(original: Any, self: Any, task: Any, state: Any) -> None:
        await original(self, task, "done" if state is TaskState.SUCCEEDED else state)


@mutant("RUN-003")
def task_that_failed_stays_failed(gateway: Sabotage) -> None:
    """A task is tried again, and the state of its first attempt stands."""

    @gateway.wrap(TaskRunner, "_end")
    async def end(original: Any, self: Any, task: Any, state: Any) -> None:
        await original(self, task, TaskState.FAILED if task.attempts > 1 else state)


@mutant("RUN-004")
def task_is_tried_once_less(gateway: Sabotage) -> None:
    """The limit is one of retries, counted from the first attempt."""

    @gateway.wrap(TaskRunner, "_run")
    async def run(original: Any, self: Any, task: Any) -> None:
        if task.name == TASK:
            task.attempts += 1
        await original(self, task)


@mutant("RUN-005")
def one_worker_runs_all_tasks(gateway: Sabotage) -> None:
    """One worker runs one task after another, retries included."""
    worker = asyncio.Lock()

    @gateway.wrap(TaskRunner, "_run")
    async def run(original: Any, self: Any, task: Any) -> None:
        async with worker:
            await original(self, task)
