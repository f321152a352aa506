"""Work done in processes that are forked from this one: each starts from all that is known here and leaves no trace
but its answer. Only for processes with one thread."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

LIMIT = 600.0
"""Seconds after which a process is given up: it hangs."""

Work = Callable[[], Any]
"""What a process does. Its answer is JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a work. `crash`: why there is no value."""

    name: str
    value: Any = None
    crash: str = ""


def forked(works: Iterable[tuple[str, Work]], jobs: int) -> Iterator[Answer]:
    """The answers of these works, by name, as they come; `jobs` processes at a time."""
    waiting = iter(works)
    with selectors.PollSelector() as running:
        while True:
            while len(running.get_map()) < jobs and (work := next(waiting, None)):
                process = _Process.begin(*work)
                running.register(process.pipe, selectors.EVENT_READ, process)
            if not running.get_map():
                return
            for key, _ in running.select(timeout=1.0):
                if key.data.read():
                    running.unregister(key.fileobj)
                    yield key.data.answer()
            for key in list(running.get_map().values()):
                key.data.give_up_if_late()


def begun(name: str, work: Work) -> Callable[[], Answer]:
    """Begin a work now; what is returned waits for its answer. There is no limit to it."""
    process = _Process.begin(name, work)

    def ended() -> Answer:
        while not process.read():
            pass
        return process.answer()

    return ended


@dataclass(eq=False)
class _Process:
    """A forked process, as its parent sees it."""

    name: str
    process: int
    pipe: int
    began: float
    heard: bytes = b""
    late: bool = False

    @classmethod
    def begin(cls, name: str, work: Work) -> _Process:
        ours, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(ours)
            _tell(theirs, work)
        os.close(theirs)
        return cls(name, process, ours, time.monotonic())

    def read(self) -> bool:
        """Take what the process has written. Has it ended?"""
        piece = os.read(self.pipe, 1 << 16)
        self.heard += piece
        return not piece

    def answer(self) -> Answer:
        """What came of it, once the process has ended."""
        os.close(self.pipe)
        os.waitpid(self.process, 0)
        if not self.heard:
            crash = f"no end in {LIMIT:g} s" if self.late else "the process ended without a word"
            return Answer(self.name, crash=crash)
        return Answer(self.name, **json.loads(self.heard))

    def give_up_if_late(self) -> None:
        if not self.late and time.monotonic() > self.began + LIMIT:
            self.late = True
            os.kill(self.process, signal.SIGKILL)


def _tell(pipe: int, work: Work) -> NoReturn:
    """In the forked process: write the answer, and end without a trace of what the parent had begun."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        try:
            answer = {"value": work()}
        except BaseException:
            answer = {"crash": traceback.format_exc()}
        with open(pipe, "wb") as told:
            told.write(json.dumps(answer).encode())
    finally:
        os._exit(0)
