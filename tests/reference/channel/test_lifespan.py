"""Start and stop: everything is called, everything that fails is told, the first error is raised (contract AF-LIF)."""

from __future__ import annotations

import asyncio

import pytest

from reference_gateway.app import create_app
from reference_gateway.config import Config
from reference_gateway.deployment import Deployment
from reference_gateway.serving.lifespan import Part, name_of, running


class Story(list):
    """What was called, in order."""

    def part(self, name: str, *, startup: Exception | None = None, shutdown: Exception | None = None) -> Part:
        return Part(self._call(f"{name} up", startup), self._call(f"{name} down", shutdown))

    def _call(self, what: str, error: Exception | None):
        async def callback() -> None:
            self.append(what)
            if error is not None:
                raise error

        return callback


async def live(story: Story, parts: list[Part], startup_failure: str = "shutdown_started") -> None:
    async with running(parts, startup_failure):
        story.append("serving")


def test_parts_stop_in_the_opposite_order():
    story = Story()
    asyncio.run(live(story, [story.part("a"), Part(), story.part("b")]))
    assert story == ["a up", "b up", "serving", "b down", "a down"]


@pytest.mark.parametrize(
    ("startup_failure", "stopped"), [("shutdown_started", ["d down", "b down"]), ("no_shutdown", [])]
)
def test_every_start_up_is_tried_and_the_first_error_raised(startup_failure, stopped, caplog):
    story = Story()
    parts = [
        story.part("a", startup=OSError("first")),
        story.part("b"),
        story.part("c", startup=LookupError("second")),
        story.part("d"),
    ]
    with pytest.raises(OSError, match="first"):
        asyncio.run(live(story, parts, startup_failure))
    assert story == ["a up", "b up", "c up", "d up", *stopped]
    assert [record.callback for record in caplog.records] == [name_of(part.startup) for part in (parts[0], parts[2])]
    assert "test_lifespan.Story._call.<locals>.callback" in caplog.records[0].callback


def test_a_failing_shutdown_skips_nobody(caplog):
    story = Story()
    parts = [story.part("a", shutdown=OSError("second")), story.part("b", shutdown=LookupError("first"))]
    with pytest.raises(LookupError, match="first"):
        asyncio.run(live(story, parts))
    assert story == ["a up", "b up", "serving", "b down", "a down"]
    assert len(caplog.records) == 2


def test_callbacks_may_be_plain_functions():
    called = []
    asyncio.run(live(Story(), [Part(lambda: called.append("up"), lambda: called.append("down"))]))
    assert called == ["up", "down"]


async def lifespan_of(app: object) -> list[str]:
    """The app's whole life as a server drives it; the types of its answers."""
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    answers: list[str] = []

    async def receive() -> dict:
        return events.pop(0)

    async def send(message: dict) -> None:
        answers.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return answers


def test_a_gateway_runs_all_callbacks():
    called = []
    parts = [Part(lambda: called.append("up 1")), Part(lambda: called.append("up 2"), lambda: called.append("down"))]
    app = create_app(Config(), deployment=Deployment(parts=parts))
    assert asyncio.run(lifespan_of(app)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert called == ["up 1", "up 2", "down"]


@pytest.mark.parametrize(("startup_failure", "stopped"), [("shutdown_started", ["down"]), ("no_shutdown", [])])
def test_a_gateway_whose_start_up_fails_does_not_start(startup_failure, stopped):
    called = []

    def broken() -> None:
        raise OSError("no disk")

    parts = [Part(broken), Part(lambda: called.append("up"), lambda: called.append("down"))]
    app = create_app(Config(startup_failure=startup_failure), deployment=Deployment(parts=parts))
    with pytest.raises(OSError, match="no disk"):
        asyncio.run(lifespan_of(app))
    assert called == ["up", *stopped]
