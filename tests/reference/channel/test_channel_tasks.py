"""Tasks that nobody waits for: retries, ends, and what outlives the process (contract AF-RUN)."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from reference_gateway.channel.task_store import FILE, TaskDirectory
from reference_gateway.channel.tasks import Retrying, Task, TaskRunner, TaskState


class Pauses(list):
    """Records how long it was to wait, and does not."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Flaky:
    """Fails that many times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    async def __call__(self, payload: dict) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise OSError("not yet")


async def run_one(handler: object, **settings: object) -> TaskState | None:
    runner = TaskRunner(**settings)
    runner.register("work", handler)
    handle = runner.schedule("work", {})
    assert runner.state(handle) is TaskState.PENDING
    await runner.shutdown()
    return runner.state(handle)


def test_scheduling_knows_its_handlers():
    async def story() -> None:
        runner = TaskRunner()
        with pytest.raises(KeyError):
            runner.schedule("work", {})
        runner.register("work", Flaky(0))
        runner.schedule("work", {})
        with pytest.raises(RuntimeError, match="comes too late"):
            runner.register("more", Flaky(0))
        await runner.shutdown()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("failures", "state", "calls"), [(0, "succeeded", 1), (2, "succeeded", 3), (5, "failed", 5), (9, "failed", 5)]
)
def test_a_task_is_tried_until_it_succeeds_or_there_is_no_more_hope(failures, state, calls):
    handler = Flaky(failures)
    assert asyncio.run(run_one(handler, pause=Pauses())) == state
    assert handler.calls == calls


@pytest.mark.parametrize(("failures", "state"), [(2, "succeeded"), (9, "failed")])
def test_the_end_of_a_task_is_told_and_waited_for(failures, state):
    told = []

    async def ended(task: Task, state: TaskState) -> None:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        told.append((task.name, task.attempts, state))

    assert asyncio.run(run_one(Flaky(failures), pause=Pauses(), ended=ended)) == state
    assert told == [("work", min(failures + 1, 5), state)]


def test_an_end_that_cannot_be_told_is_logged(caplog):
    async def ended(task: Task, state: TaskState) -> None:
        raise OSError("nobody there")

    assert asyncio.run(run_one(Flaky(0), ended=ended)) == "succeeded"
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_task_that_ended_before_the_shutdown_was_told_stays_ended():
    async def story() -> TaskState | None:
        reached = asyncio.Event()

        async def ended(task: Task, state: TaskState) -> None:
            reached.set()
            await asyncio.Event().wait()

        runner = TaskRunner(ended=ended)
        runner.register("work", Flaky(0))
        handle = runner.schedule("work", {})
        await reached.wait()
        await runner.shutdown(grace=0)
        return runner.state(handle)

    assert asyncio.run(story()) is TaskState.SUCCEEDED


def test_delays_double_up_to_a_minute():
    pauses = Pauses()
    asyncio.run(run_one(Flaky(99), pause=pauses, retrying=Retrying(attempts=9)))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_shutdown_lets_quick_tasks_end_and_cancels_the_rest():
    async def story() -> list[TaskState | None]:
        runner = TaskRunner()
        never = asyncio.Event()

        async def stuck(payload: dict) -> None:
            await never.wait()

        runner.register("quick", Flaky(0))
        runner.register("stuck", stuck)
        handles = [runner.schedule("quick", {}), runner.schedule("stuck", {})]
        await runner.shutdown(grace=0.01)
        return [runner.state(handle) for handle in handles]

    assert asyncio.run(story()) == ["succeeded", "cancelled"]
    asyncio.run(TaskRunner().shutdown())


def test_only_the_latest_ends_are_remembered():
    async def story() -> list[TaskState | None]:
        runner = TaskRunner(remembered=2)
        runner.register("work", Flaky(0))
        handles = [runner.schedule("work", {}) for _ in range(3)]
        await runner.shutdown()
        return [runner.state(handle) for handle in handles]

    assert asyncio.run(story()) == [None, "succeeded", "succeeded"]
    assert TaskRunner().state("unknown") is None


def test_an_ephemeral_process_needs_a_store_or_a_word(tmp_path, caplog):
    with pytest.raises(RuntimeError, match="may be stopped at any time"):
        asyncio.run(TaskRunner(ephemeral=True).start())
    asyncio.run(TaskRunner(ephemeral=True, allow_in_memory=True).start())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    store = TaskDirectory(tmp_path)
    asyncio.run(TaskRunner(store, ephemeral=True).start())
    store.close()


def left_behind(directory: Path, *tasks: Task) -> None:
    store = TaskDirectory(directory)
    for task in tasks:
        store.save(task)
    store.close()


async def taken_up(directory: Path, handler: object) -> tuple[TaskRunner, list[Task]]:
    runner = TaskRunner(TaskDirectory(directory), pause=Pauses())
    runner.register("work", handler)
    await runner.start()
    await runner.shutdown()
    store = TaskDirectory(directory)
    pending = store.pending()
    store.close()
    return runner, pending


def test_what_was_pending_is_taken_up_with_its_attempts_and_its_payload(tmp_path):
    left_behind(tmp_path, Task("t1", "work", {"text": "hé"}, attempts=3))
    seen = []

    async def handler(payload: dict) -> None:
        seen.append(dict(payload))
        payload["tried"] = True
        raise OSError("not yet")

    runner, pending = asyncio.run(taken_up(tmp_path, handler))
    assert runner.state("t1") is TaskState.FAILED
    assert seen == [{"text": "hé"}, {"text": "hé", "tried": True}]
    assert pending == []


def test_a_task_cut_off_by_the_shutdown_is_taken_up_again(tmp_path):
    async def story() -> str:
        runner = TaskRunner(TaskDirectory(tmp_path))
        begun = asyncio.Event()

        async def stuck(payload: dict) -> None:
            begun.set()
            await asyncio.Event().wait()

        runner.register("work", stuck)
        handle = runner.schedule("work", {})
        await begun.wait()
        await runner.shutdown(grace=0)
        assert runner.state(handle) is TaskState.CANCELLED
        return handle

    handle = asyncio.run(story())
    handler = Flaky(0)
    runner, _ = asyncio.run(taken_up(tmp_path, handler))
    assert (runner.state(handle), handler.calls) == (TaskState.SUCCEEDED, 1)


def test_a_task_without_a_handler_has_failed(tmp_path):
    left_behind(tmp_path, Task("t1", "gone", {}))
    runner, pending = asyncio.run(taken_up(tmp_path, Flaky(0)))
    assert (runner.state("t1"), pending) == (TaskState.FAILED, [])


@pytest.mark.parametrize("payload", ["{", "[]", None])
def test_what_cannot_be_read_is_put_aside_and_stops_nobody(tmp_path, payload):
    left_behind(tmp_path, Task("bad", "work", {}), Task("good", "work", {}))
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("UPDATE tasks SET payload = ? WHERE handle = 'bad'", (payload,))
    database.commit()
    database.close()
    runner, pending = asyncio.run(taken_up(tmp_path, Flaky(0)))
    assert (runner.state("good"), runner.state("bad"), pending) == (TaskState.SUCCEEDED, None, [])
    store = TaskDirectory(tmp_path)
    assert store.quarantined() == ["bad"]
    store.close()


def test_two_runners_of_one_directory_refuse(tmp_path):
    store = TaskDirectory(tmp_path)
    with pytest.raises(RuntimeError, match="in use by another task runner"):
        TaskDirectory(tmp_path)
    store.close()
    TaskDirectory(tmp_path).close()
