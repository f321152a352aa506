"""Mutants of area DLV: what becomes of a push that fails, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.channel.delivery import Report, ReportedDelivery
from reference_gateway.channel.task_delivery import PUSH, TaskDelivery
from reference_gateway.channel.tasks import TaskRunner
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

TASKS = "reference_gateway.examples.demo:with_task_delivery"


def reports(gateway: Sabotage, change: Callable[[Report], Report]) -> None:
    """Each report is another one."""

    @gateway.wrap(ReportedDelivery, "report")
    async def report(original: Any, self: Any, request: Any, result: str, hooks: Any) -> Any:
        return change(await original(self, request, result, hooks))


@mutant("DLV-021")
def skipped_are_not_reported(gateway: Sabotage) -> None:
    """Only what was done is reported."""
    reports(gateway, lambda report: replace(report, skipped=()))


@mutant("DLV-021")
def client_is_never_reported(gateway: Sabotage) -> None:
    """The report is about the others."""

    @gateway.wrap(ReportedDelivery, "deliver")
    async def deliver(original: Any, self: Any, request: Any, result: str, hooks: Any) -> Any:
        report = await self.report(request, result, hooks)
        await self._observe(request, replace(report, include_originating=False))
        return report.include_originating


@mutant("DLV-022")
def failed_is_skipped(gateway: Sabotage) -> None:
    """A push that failed is reported like one that could not be tried."""
    reports(
        gateway,
        lambda report: replace(report, skipped=(*report.skipped, *(one for one, _ in report.failed)), failed=()),
    )


@mutant("DLV-022")
def failed_has_no_class(gateway: Sabotage) -> None:
    """What failed is reported with the text of the error alone."""
    reports(
        gateway,
        lambda report: replace(
            report, failed=tuple((one, text.partition(": ")[2].replace(": ", " ")) for one, text in report.failed)
        ),
    )


@mutant("DLV-023")
def failed_push_falls_back(gateway: Sabotage) -> None:
    """The client gets the answer where a push failed."""
    reports(
        gateway,
        lambda report: replace(report, include_originating=report.include_originating or bool(report.failed)),
    )


@mutant("DLV-023")
def failed_push_ends_the_delivery(gateway: Sabotage) -> None:
    """The first push that fails ends the delivery."""

    @gateway.wrap(ReportedDelivery, "report")
    async def report(original: Any, self: Any, request: Any, result: str, hooks: Any) -> Any:
        channels, gone = dict(self._channels), []

        class Fragile:
            def __init__(self, channel: Any) -> None:
                self.channel = channel

            async def push(self, recipient: Any, text: str, *, role: str) -> None:
                if gone:
                    raise ConnectionError("gone: the delivery has ended")
                try:
                    await self.channel.push(recipient, text, role=role)
                except ConnectionError:
                    if role == "assistant":
                        gone.append(recipient)
                    raise

        self._channels = {name: Fragile(channel) for name, channel in channels.items()}
        try:
            return await original(self, request, result, hooks)
        finally:
            self._channels = channels


@mutant("DLV-024")
def echoes_are_not_reported(gateway: Sabotage) -> None:
    """Only answers are counted."""
    reports(gateway, lambda report: replace(report, echoed=()))


@mutant("DLV-024")
def failed_echoes_are_reported(gateway: Sabotage) -> None:
    """Whoever was sent an echo is reported, whether it came through or not."""

    def change(report: Report) -> Report:
        return replace(report, echoed=report.pushed) if report.echoed else report

    reports(gateway, change)


@mutant("DLV-025")
def tried_text_is_taken_out(gateway: Sabotage) -> None:
    """The text of a task is taken out when it is first tried."""
    gateway.configure(deployment=TASKS)

    @gateway.wrap(TaskDelivery, "_push")
    async def push(original: Any, self: Any, payload: dict[str, Any]) -> None:
        try:
            await original(self, payload)
        except ConnectionError:
            payload["text"] = ""
            raise


@mutant("DLV-025", also=("DLV-026", "DLV-028"))
def failed_push_is_forgotten(gateway: Sabotage) -> None:
    """A push that fails is logged."""
    gateway.configure(deployment=TASKS)

    @gateway.wrap(TaskDelivery, "_push")
    async def push(original: Any, self: Any, payload: dict[str, Any]) -> None:
        try:
            await original(self, payload)
        except ConnectionError:
            return


@mutant("DLV-026")
def push_is_tried_once_more(gateway: Sabotage) -> None:
    """Five retries are six attempts."""
    gateway.configure(deployment=TASKS)

    @gateway.wrap(TaskRunner, "_run")
    async def run(original: Any, self: Any, task: Any) -> None:
        if task.name == PUSH:
            task.attempts -= 1
        await original(self, task)


@mutant("DLV-027")
def tasks_are_awaited(gateway: Sabotage) -> None:
    """The tasks of a delivery are scheduled, and then awaited."""
    gateway.configure(deployment=TASKS)

    @gateway.wrap(TaskDelivery, "deliver")
    async def deliver(original: Any, self: Any, request: Any, result: str, hooks: Any) -> Any:
        included = await original(self, request, result, hooks)
        await asyncio.gather(*self._runner._running.values(), return_exceptions=True)
        return included


@mutant("DLV-028")
def task_begins_anew(gateway: Sabotage) -> None:
    """Each attempt sends all that the task was scheduled with."""
    gateway.configure(deployment=TASKS)

    @gateway.wrap(TaskDelivery, "_push")
    async def push(original: Any, self: Any, payload: dict[str, Any]) -> None:
        await original(self, dict(payload))
