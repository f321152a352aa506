"""Answers that go to others: who gets them, and what is told of it (contract AF-DLV)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from reference_gateway.channel import request as targets
from reference_gateway.channel.delivery import Plan, Report, ReportedDelivery, resolve
from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.request import ChannelRequest, Identity
from reference_gateway.channel.task_delivery import PUSH, TaskDelivery
from reference_gateway.channel.tasks import TaskRunner, TaskState

WEB, PHONE, MAIL = Identity("web", "1"), Identity("telegram", "42", (("name", "Al"),)), Identity("mail", "a@b")
ABLE = {"web", "telegram", "mail"}
REQUEST = ChannelRequest("hi", identity=WEB)


class Outbox:
    """A channel that keeps what it is given, and fails for the first `failures` pushes."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.sent: list[tuple[Identity, str, str]] = []

    async def push(self, recipient: Identity, text: str, *, role: str) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("offline")
        self.sent.append((recipient, role, text))


@pytest.mark.parametrize(
    ("target", "linked", "plan"),
    [
        pytest.param(targets.ORIGINATING, [WEB, PHONE], Plan(True), id="originating"),
        pytest.param(targets.NONE, [WEB, PHONE], Plan(False), id="none"),
        pytest.param(targets.ACTIVE, [PHONE, WEB], Plan(False, (PHONE,)), id="active"),
        pytest.param(targets.ACTIVE, [WEB, PHONE], Plan(True), id="active-is-origin"),
        pytest.param(targets.ACTIVE, [], Plan(True), id="active-unlinked"),
        pytest.param(targets.channel("telegram"), [PHONE], Plan(False, (PHONE,)), id="channel"),
        pytest.param(targets.channel("telegram"), [WEB], Plan(True, (), ("telegram",)), id="channel-unlinked"),
        pytest.param(targets.channel("fax"), [PHONE], Plan(True, (), ("fax",)), id="channel-unknown"),
        pytest.param(targets.channel("sms"), [Identity("sms", "7")], Plan(True, (), ("sms",)), id="no-push"),
        pytest.param(targets.channel("telegram:99"), [], Plan(False, (Identity("telegram", "99"),)), id="token"),
        pytest.param(targets.channel("telegram:42"), [PHONE], Plan(False, (PHONE,)), id="token-with-attributes"),
        pytest.param(targets.channels(["originating", "mail"]), [MAIL], Plan(True, (MAIL,)), id="with-origin"),
        pytest.param(targets.channels(["web", "mail"]), [WEB, MAIL], Plan(True, (MAIL,)), id="origin-folded"),
        pytest.param(targets.channels(["mail", "mail:a@b"]), [MAIL], Plan(False, (MAIL,)), id="once"),
        pytest.param(targets.channels(["mail", "fax"]), [MAIL], Plan(False, (MAIL,), ("fax",)), id="partly"),
        pytest.param(targets.ALL_LINKED, [WEB, PHONE, MAIL], Plan(False, (PHONE, MAIL)), id="all-linked"),
        pytest.param(targets.ALL_LINKED, [WEB], Plan(True), id="none-linked"),
        pytest.param(targets.identities([PHONE, WEB]), [], Plan(True, (PHONE,)), id="identities"),
    ],
)
def test_who_gets_an_answer(target, linked, plan):
    assert resolve(target, WEB, linked, ABLE) == plan
    assert hash(target) == hash(replace(target))


def test_a_push_that_fails_is_told_and_falls_back_to_nobody():
    phone, mail, reports = Outbox(failures=1), Outbox(), []

    async def observe(request, report):
        reports.append((request.input, report))

    delivery = ReportedDelivery({"telegram": phone, "mail": mail}, lambda request: [PHONE, MAIL], observe)
    request = replace(REQUEST, response_target=targets.channels(["telegram", "mail", "fax"]))
    assert asyncio.run(delivery.deliver(request, "A", Hooks())) is False
    failed = (("telegram:42", "ConnectionError: offline"),)
    assert reports == [("hi", Report(False, ("mail:a@b",), ("fax",), failed))]
    assert mail.sent == [(MAIL, "assistant", "A")]


@pytest.mark.parametrize("failures", [0, 1], ids=["echoed", "echo-fails"])
def test_an_echo_comes_first_and_keeps_nothing_back(failures):
    phone, contexts = Outbox(failures=failures), []

    def hook(text, context):
        contexts.append((context.channel_name, context.destination_identity, context.originating, context.is_echo))
        return f"<{text}>"

    delivery = ReportedDelivery({"telegram": phone}, lambda request: [PHONE])
    request = replace(REQUEST, response_target=targets.channel("telegram", echo_input=True))
    report = asyncio.run(delivery.report(request, "A", Hooks(response=hook)))
    echo = [(PHONE, "user", "<hi>")] if not failures else []
    assert phone.sent == [*echo, (PHONE, "assistant", "<A>")]
    assert report == Report(False, ("telegram:42",), echoed=("telegram:42",) if not failures else ())
    assert contexts == [("telegram", PHONE, False, True), ("telegram", PHONE, False, False)]


async def no_pause(seconds: float) -> None:
    return None


def test_a_task_for_each_destination_and_no_second_echo_on_retry():
    phone, mail = Outbox(), Outbox(failures=1)

    class Flaky(Outbox):
        async def push(self, recipient, text, *, role):
            if role == "assistant" and self.failures:
                self.failures -= 1
                raise ConnectionError("offline")
            self.sent.append((recipient, role, text))

    mail = Flaky(failures=2)

    async def story() -> bool:
        runner = TaskRunner(pause=no_pause)
        delivery = TaskDelivery(runner, {"telegram": phone, "mail": mail}, lambda request: [PHONE, MAIL])
        request = replace(REQUEST, response_target=replace(targets.ALL_LINKED, echo_input=True))
        include = await delivery.deliver(request, "A", Hooks())
        await runner.shutdown()
        return include

    assert asyncio.run(story()) is False
    assert phone.sent == [(PHONE, "user", "hi"), (PHONE, "assistant", "A")]
    assert mail.sent == [(MAIL, "user", "hi"), (MAIL, "assistant", "A")]


def test_what_cannot_be_scheduled_goes_back_to_the_client():
    class Full(TaskRunner):
        def schedule(self, name, payload):
            raise OSError("no space left")

    async def story() -> bool:
        delivery = TaskDelivery(Full(), {"mail": Outbox()}, lambda request: [MAIL])
        return await delivery.deliver(replace(REQUEST, response_target=targets.channel("mail")), "A", Hooks())

    assert asyncio.run(story()) is True


def test_a_handler_that_fails_changes_nothing_of_what_was_promised():
    async def story() -> tuple[bool, TaskState | None]:
        handles = []
        runner = TaskRunner(pause=no_pause)
        schedule = runner.schedule
        runner.schedule = lambda name, payload: handles.append(schedule(name, payload)) or handles[-1]
        delivery = TaskDelivery(runner, {"mail": Outbox(failures=99)}, lambda request: [MAIL])
        include = await delivery.deliver(replace(REQUEST, response_target=targets.channel("mail")), "A", Hooks())
        await runner.shutdown()
        return include, runner.state(handles[0])

    assert asyncio.run(story()) == (False, TaskState.FAILED)
    assert PUSH == "hosting.push"
