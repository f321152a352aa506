"""The suite judges edits of the reference gateway, each in a process forked from one run against the unharmed one.

That run, with the ambient judgement, is recorded: which check runs which lines, and the tape of each (`tests/mutants`).
In a forked process the edited code takes the place of what is imported. The checks that have noticed an edit of the
same function go first; then the tapes of all that reach the edited lines are played to the gateway, those first that
run what few others run, and each whose tape comes out otherwise runs as pytest runs it. The first red ends it.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from coverage import Coverage

import conformance.vocabulary.target
from conformance.gateway import Gateway
from conformance.run.run import RUN
from conformance.upstream.client import Upstream
from reference_gateway.serving.server import serving as served
from tests.knife.weaken import Functions, Weakening, imported
from tests.mutants import playing
from tests.mutants.direct import Direct, DirectRecorder
from tests.mutants.forks import forked
from tests.mutants.harness import Verdicts, build
from tests.mutants.impact import PACKAGE, Baseline, known_ids, name_of
from tests.mutants.judging import PATIENCE, Judging, _hearing, _requirement, _run
from tests.mutants.playing import Engine, Loop, same
from tests.mutants.sabotage import App
from tests.mutate.edits import Outside, using
from tests.mutate.verdicts import Verdict

ROOT = Path(__file__).parents[2]
LIMIT = 30
"""Seconds after which a batch of tapes or a check hangs, which is noticed."""
FIRST = 2
"""So many checks that have noticed an edit nearby are run without playing their tapes."""
BATCHES = (4, 24, 96, 384)
"""Tapes that are played before the checks run whose tapes came out otherwise; then all that are left."""
MOST = 25
"""Checks that run against one edit, of those whose tapes come out otherwise: one that none of these notices is a
survivor, and so many are evidence enough that it changes what is seen."""
TAPE = 5.0
"""Seconds that a tape may take: where many processes share a processor, one takes long, and is no other for it."""
TEXT = 600


class Recorded(Baseline):
    """What the unharmed gateway did, to the end of the teardown, in which the ambient judgement takes what is left.
    Which lines ran is known by coverage, so nobody watches calls."""

    def start(self) -> App:
        """The unharmed gateway, recorded."""
        gateway, app = self.build(None, None)
        self.codec = gateway.state.sessions.codec
        return self.recorder.around(app)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Not yet."""

    def end(self) -> None:
        """The check is over."""
        self._running = None
        self.recorder.end()


class Edits(Judging):
    """A pytest plug-in that takes the place of the loop over the suite's checks. At most `most` judge an edit."""

    def __init__(
        self,
        upstream: Upstream,
        edits: Sequence[Weakening],
        jobs: int,
        heard: Callable[[Verdict], None],
        most: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(upstream, [], jobs, settings or {}, apart=True)
        self.baseline = Recorded(lambda sabotage, codec: self.built(codec), dict(self.settings))
        self.edits, self._told, self._most = edits, heard, most
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = {}
        """File -> line -> the checks that run it; the empty name is the start of the gateway."""
        self.problems: list[str] = []
        self._rare: dict[str, dict[str, float]] = {}
        self._killers: dict[str, Counter[str]] = defaultdict(Counter)
        self._coverage = Coverage(include=[f"{PACKAGE}/*"], data_file=None, config_file=False)
        self._coverage.set_option("run:disable_warnings", ["no-data-collected", "couldnt-parse"])

    def built(self, codec: Any) -> tuple[Any, App]:
        """A gateway with the settings of this run."""
        return build(self._upstream, None, codec, **self.settings)

    def run_all(self, folder: Path, *arguments: str) -> None:
        """Run the suite against the unharmed gateway and, if it passes, judge the edits."""
        self._coverage.start()
        try:
            self.run(folder, lambda finding: None, "--gateway-ambient", "on", *arguments)
        finally:
            self._coverage.stop()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with _hearing(session.config, self.unharmed, self.baseline):
            for place, item in enumerate(session.items):
                following = session.items[place + 1] if place + 1 < len(session.items) else None
                self._coverage.switch_context(name_of(item))
                began = time.perf_counter()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self.baseline.end()
                self.seconds[name_of(item)] = time.perf_counter() - began
        self._gateway.close()  # only the thread that forks may be left
        self._coverage.stop()
        wrong = sorted(self.unharmed.failed | self.unharmed.broken | self.unharmed.seen.keys())
        if wrong or not session.items:
            self.problems = [f"red without any edit: {one}" for one in wrong] or ["no check ran"]
            return True
        self._take_lines()
        playing.PATIENCE = TAPE
        self.baseline.settle()
        self._checks = [(name_of(item), _requirement(item).id, item) for item in session.items]
        self._judge(session)
        return True

    def _take_lines(self) -> None:
        data = self._coverage.get_data()
        for file in data.measured_files():
            lines = {line: set(contexts) for line, contexts in data.contexts_by_lineno(file).items()}
            self.lines[str(Path(file).relative_to(ROOT))] = lines
        self._coverage.erase()

    def reaching(self, edit: Weakening) -> set[str]:
        """The checks that run what is edited."""
        places = [(edit.file, line) for line in edit.lines]
        if isinstance(edit, Outside):
            places += list(self._using(edit))
        checks: set[str] = set()
        for file, line in places:
            checks |= self.lines.get(file, {}).get(line, set())
        if "" in checks:  # what the gateway is made with shows anywhere
            return set(self.seconds)
        return checks & self.seconds.keys()

    def _ordered(self, file: str, checks: Set[str]) -> list[str]:
        """Those first that run what few others run of the file, with a journey after every fifth: a journey is judged
        by more than a check is."""
        rare = self._rareness(file)
        ordered = sorted(checks, key=lambda name: (-rare.get(name, 0.0), self.seconds[name]))
        others, walks = ([name for name in ordered if _is_journey(name) is each] for each in (False, True))
        mixed: list[str] = []
        for place in range(0, max(len(others), 5 * len(walks)), 5):
            mixed += [*others[place : place + 5], *walks[place // 5 : place // 5 + 1]]
        return mixed[: self._most]

    def _rareness(self, file: str) -> Mapping[str, float]:
        """By check, of each line that it runs of the file, how large a part it is of the checks that do."""
        if file not in self._rare:
            self._rare[file] = defaultdict(float)
            for checks in self.lines.get(file, {}).values():
                for name in checks:
                    self._rare[file][name] += 1 / len(checks)
        return self._rare[file]

    def _using(self, edit: Outside) -> Iterator[tuple[str, int]]:
        owner = edit.function.rpartition(".")[2]
        sources = [(file, (ROOT / file).read_text("utf-8")) for file in self.lines]
        if not edit.function:
            yield from using(edit.name, sources)
        elif owner[:1].isupper():  # a field of a class
            yield from using(owner, sources)
            yield from using(edit.name, sources)

    def _judge(self, session: pytest.Session) -> None:
        inspect.getmodule(inspect.currentframe())  # it remembers where all modules are, of which tracebacks ask
        functions = imported({ROOT / edit.file for edit in self.edits})
        self._caches = [each for each in gc.get_objects() if _is_cache(each)]
        self._unused = self.built(None)[0].state.sessions.codec  # one that remembers nothing yet
        gc.freeze()
        by_name = {repr(edit.key): edit for edit in self.edits}
        for answer in forked(self._works(session, functions), self._jobs):
            edit = by_name[answer.name]
            if answer.crash.startswith("Traceback"):
                self.problems.append(f"broke while it was judged: {edit}\n{answer.crash}")
                continue
            verdict = _verdict(edit, **(answer.value or {"how": "time", "text": answer.crash}))
            if verdict.check:
                self._killers[f"{edit.file} {edit.function}"][verdict.check] += 1
                self._killers[edit.file][verdict.check] += 1
                self._killers[""][verdict.check] += 1
            self._told(verdict)

    def _works(
        self, session: pytest.Session, functions: Functions
    ) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        for edit in self.edits:
            checks = self.reaching(edit)
            if not checks:
                self._told(_verdict(edit, how="not reached"))
                continue
            likely, ordered = self._likely(edit, checks), self._ordered(edit.file, checks)
            yield repr(edit.key), partial(self._found, session, functions, edit, ordered, likely)

    def _likely(self, edit: Weakening, checks: Set[str]) -> list[str]:
        """The checks that noticed most edits of the function, of the file, and of all."""
        near = (self._killers[place].most_common(8) for place in (f"{edit.file} {edit.function}", edit.file, ""))
        return list(dict.fromkeys(name for killers in near for name, _ in killers if name in checks))

    def _found(
        self,
        session: pytest.Session,
        functions: Functions,
        edit: Weakening,
        checks: Sequence[str],
        likely: Sequence[str],
    ) -> dict[str, Any]:
        """In a forked process: what the suite says of this edit."""
        gc.disable()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT)
        logging.disable()  # a log line asks for the time as well, and the tape would come out otherwise
        began = time.perf_counter()
        for cache in self._caches:
            cache.cache_clear()
        try:
            edit.live(ROOT / edit.file, functions)
        except (LookupError, SyntaxError, ValueError, TypeError) as error:
            return {"how": "not applied", "text": str(error)}
        codec = None if "" in self._starting(edit) else self._unused
        knowing = nullcontext() if edit.file.endswith("codec/vocabulary.py") else known_ids()
        with knowing:
            found = self._search(session, checks, likely, codec)
        return {**found, "reached": len(checks), "seconds": round(time.perf_counter() - began, 3)}

    def _starting(self, edit: Weakening) -> set[str]:
        lines = self.lines.get(edit.file, {})
        if isinstance(edit, Outside):
            return {""}
        return set().union(*(lines.get(line, set()) for line in edit.lines))

    def _search(
        self, session: pytest.Session, checks: Sequence[str], likely: Sequence[str], codec: Any
    ) -> dict[str, Any]:
        try:
            _, app = self.built(codec)
        except Exception as error:
            return {"how": "start", "text": repr(error)}
        live = _Live(self, session, Direct(app))
        for name in likely[:FIRST]:
            if (red := live.red(name)) is not None:
                return red
        tried = set(likely[:FIRST])
        left = [*likely[FIRST:], *(name for name in checks if name not in likely)]
        differing: list[str] = []
        while left:
            size = next((each for each in BATCHES if each > len(tried)), len(left))
            batch, left = left[:size], left[size:]
            tried |= set(batch)
            try:
                otherwise = self._otherwise_with(batch, codec)
            except Exception as error:
                return {"how": "start", "text": repr(error)}
            for name in batch:
                if name not in otherwise:
                    continue
                if (red := live.red(name)) is not None:
                    return red
                if name not in self.baseline.unsteady:
                    differing.append(name)
                if len(differing) >= MOST:
                    left = []
                    break
        return {"how": "survived", "differing": differing}

    def _otherwise_with(self, names: Sequence[str], codec: Any) -> set[str]:
        """The checks whose tape does not come out the same."""
        engine, tapes = Engine(), self.baseline.recorder.tapes

        async def play(gateway: Any, app: Any) -> set[str]:
            async with gateway.router.lifespan_context(gateway):
                try:
                    return {name for name in names if not await self._same(tapes[name], app, engine)}
                finally:
                    engine.leave()

        with engine.playing():
            gateway, app = self.built(codec)
            with asyncio.Runner(loop_factory=Loop) as runner:
                return runner.run(play(gateway, app)) | (set(names) & self.baseline.unsteady)

    async def _same(self, tape: Any, app: Any, engine: Engine) -> bool:
        signal.alarm(LIMIT)
        return await same(tape, app, engine)


class _Live:
    """An edited gateway that serves, and the checks that run against it, in a forked process that ends with it."""

    def __init__(self, judging: Edits, session: pytest.Session, app: Direct) -> None:
        self._judging, self._session, self._app = judging, session, app
        self._items = {name: item for name, _, item in judging._checks}
        self._begun = False

    def _begin(self) -> None:
        self._begun = True
        run = self._session.config.stash[RUN]
        slowest = max(self._judging.seconds.values())
        run.settings = replace(run.settings, timeout=max(PATIENCE, min(5 * slowest, 6.0)))
        run.upstream = Upstream(self._judging._upstream.url, self._judging._upstream.tokenizer)
        self._server = served(cast(Any, self._app))  # it stops as soon as nobody has it
        run.gateway = Gateway(self._server.__enter__(), "http", api_key=self._judging.settings.get("api_key"))
        setattr(conformance.vocabulary.target, "Recorder", partial(DirectRecorder, self._app))  # noqa: B010

    def red(self, name: str) -> dict[str, Any] | None:
        """What this check says, if it is red."""
        signal.alarm(LIMIT)
        try:
            if not self._begun:
                self._begin()
        except Exception as error:
            return {"how": "start", "check": name, "text": repr(error)}
        verdicts = Verdicts()
        item = self._items[name]
        with _hearing(self._session.config, verdicts):
            _run([item], self._session.items, verdicts)
        if verdicts.failed or verdicts.broken:
            by = sorted(verdicts.failed | verdicts.broken)[0]
            text = next(iter(verdicts.texts.get(by, [])), "")
            return {"how": "check" if verdicts.failed else "broke", "by": by, "check": name, "text": text[-TEXT:]}
        if verdicts.seen:
            by = sorted(verdicts.seen)[0]
            return {"how": "ambient", "by": by, "check": name, "text": verdicts.seen[by][0][:TEXT]}
        if not verdicts.outcomes:
            return {"how": "start", "check": name, "text": "the check did not run"}
        return None


def _verdict(edit: Weakening, **fields: Any) -> Verdict:
    return Verdict(*edit.key, edit.lines.start, **fields)


def _is_journey(name: str) -> bool:
    return name.startswith("test_journey")


def _is_cache(value: Any) -> bool:
    return type(value).__name__ == "_lru_cache_wrapper" and str(getattr(value, "__module__", "")).startswith(
        "reference_gateway"
    )
