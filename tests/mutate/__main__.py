"""`python -m tests.mutate [FILE ...] [--shard 1/8]`: changes the reference gateway, one edit at a time; the suite
judges each.

Verdicts are kept (`--state`), so that a run that was ended goes on where it ended. Of the files of which all edits have
a verdict, what is published is written anew, and the run fails where an entry of `survivors.toml` is stale, where an
edit is open that was not, and where too few are noticed in a room of a turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from tests.knife.weaken import Weakening
from tests.mutate import page, survivors
from tests.mutate.edits import edits_of
from tests.mutate.judging import ROOT, Edits
from tests.mutate.verdicts import DEFAULT, Kept, Verdict, shard_of, state_of

MODES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "structured": {"structured_outputs": "engine"},
    "incremental": {"stream": "incremental"},
    "sglang": {
        "backend": "sglang",
        "media": "references",
        "control_tokens_in_text": "parsed",
        "structured_outputs": "engine",
    },
}
"""How the reference is started, by settings: what survives in one is judged in the next."""
JUDGING = ("conformance", "reference_gateway", "fixtures", "tests/mutants", "tests/mutate", "tests/knife")
"""What a verdict depends on."""


def main() -> int:
    options = _options()
    paths = [path.resolve() for path in options.files] or [ROOT / "reference_gateway"]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    edits = [edit for file in files for edit in edits_of(str(file.relative_to(ROOT)), file.read_text("utf-8"))]
    shard, _, shards = options.shard.partition("/")
    state = state_of(ROOT, JUDGING) + (f" by {options.only}" if options.only else "")
    problems: list[str] = []
    if options.mode is None and not options.report:
        for mode in MODES:  # each begins with a run of the suite, in a process of its own
            ended = subprocess.run([sys.executable, "-m", "tests.mutate", *sys.argv[1:], "--mode", mode], check=False)
            problems += [f"{mode}: not judged to its end"] if ended.returncode else []
    kept = Kept(options.state, f"{shard}-of-{shards}")
    if options.mode is not None:
        return _judge(options, kept, [*shard_of(edits, int(shard), int(shards))], state)
    if options.only is None:
        problems += _told(edits, kept, state, strict=not options.again)
    for problem in problems:
        print(problem)
    return bool(problems)


def _judge(options: argparse.Namespace, kept: Kept, edits: Sequence[Weakening], state: str) -> int:
    """Judge what is left in one mode."""
    chosen = [edit for edit in edits if options.function in edit.function]
    if not options.again:
        kept.forget(chosen, state)
    todo = kept.left(chosen, state, options.mode, again=options.again)
    print(f"{options.mode}: {len(chosen)} edits, {len(todo)} of them to judge", flush=True)
    problems = _judged(todo, options, _keeping(kept, state, options.mode, len(todo))) if todo else []
    for problem in problems:
        print(problem)
    return bool(problems)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate")
    parser.add_argument("files", nargs="*", type=Path, help="files and folders; by default all of reference_gateway/")
    parser.add_argument("--function", default="", help="only edits of functions with this in their name")
    parser.add_argument("--shard", default="1/1", metavar="N/M", help="only one of M parts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=ROOT / ".tox" / "mutate", help="the folder of the verdicts")
    parser.add_argument("--again", action="store_true", help="what was noticed before stays noticed: only the others")
    parser.add_argument("--only", metavar="PATTERN", help="judge by these requirements only; nothing is published")
    parser.add_argument(
        "--most", type=int, metavar="N", help="judge an edit by N of the checks that reach it: a quick look"
    )
    parser.add_argument("--mode", choices=MODES, help="judge in one mode only, and publish nothing")
    parser.add_argument("--report", action="store_true", help="judge nothing: publish the verdicts that are there")
    return parser.parse_args()


def _keeping(kept: Kept, state: str, mode: str, total: int) -> Callable[[Verdict], None]:
    began, count = time.monotonic(), 0

    def heard(verdict: Verdict) -> None:
        nonlocal count
        count += 1
        kept.add(replace(verdict, state=state, modes=[mode]))
        if not verdict.noticed and verdict.how != "not reached":
            print(f"{verdict.how}: {verdict} ({len(verdict.differing)} of {verdict.reached} checks)", flush=True)
        if count % 100 == 0 or count == total:
            print(f" {count}/{total} judged in {time.monotonic() - began:.0f} s", flush=True)

    return heard


def _judged(todo: Sequence[Weakening], options: argparse.Namespace, heard: Callable[[Verdict], None]) -> list[str]:
    with Upstream.start(fixture_path("chatml")) as upstream, tempfile.TemporaryDirectory() as folder:
        judging = Edits(upstream, todo, options.jobs, heard, options.most, MODES[options.mode])
        judging.run_all(Path(folder), *(("--gateway-only", options.only) if options.only else ()))
    return judging.problems


def _told(edits: Sequence[Weakening], kept: Kept, state: str, *, strict: bool) -> list[str]:
    """Publish the files of which all edits have a verdict, and return what is wrong with them."""
    verdicts = {edit.key: kept.verdicts[edit.key] for edit in edits if edit.key in kept.verdicts}
    if strict:
        verdicts = {key: verdict for key, verdict in verdicts.items() if verdict.state == state}
    whole = {edit.file for edit in edits} - {edit.file for edit in edits if edit.key not in verdicts}
    verdicts = {key: verdict for key, verdict in verdicts.items() if verdict.file in whole}
    entries = survivors.load()
    files, before = page.as_counted(verdicts, entries, whole), page.published()
    page.publish(files)
    for name, counts in page.rooms(files).items():
        print(f"{name}: " + ", ".join(f"{counts[each]} {each}" for each in page.STATES))
    broke = [
        f"a check broke: {each}\n{each.text}" for each in verdicts.values() if each.how in ("broke", "not applied")
    ]
    return [*broke, *survivors.stale(entries, verdicts, whole), *page.newly_open(files, before), *page.below(files)]


if __name__ == "__main__":
    sys.exit(main())
