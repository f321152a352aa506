"""`python -m tests.mutate [FILE ...] [--shard 1/8]`: changes the reference gateway, one edit at a time; the suite
judges each.

Verdicts are kept (`--state`), so that a run that was ended goes on where it ended. A file's edits are judged in order.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from tests.mutate.edits import edits_of
from tests.mutate.judging import ROOT, Edits
from tests.mutate.verdicts import Kept, Verdict, shard_of, state_of

JUDGING = ("conformance", "reference_gateway", "fixtures", "tests/mutants", "tests/mutate", "tests/knife")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate")
    parser.add_argument("files", nargs="*", type=Path, help="what to change; by default all of reference_gateway/")
    parser.add_argument("--shard", default="1/1", metavar="N/M", help="only every Mth edit")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=ROOT / ".tox" / "mutate", help="where verdicts are kept")
    parser.add_argument("--again", action="store_true", help="only what survived, by a changed suite")
    parser.add_argument("--function", help="only edits of functions whose name has this in it")
    parser.add_argument("--only", help="judge by these requirements only, as `--gateway-only`")
    options = parser.parse_args()
    shard, _, shards = options.shard.partition("/")
    paths = [path.resolve() for path in options.files] or sorted((ROOT / "reference_gateway").rglob("*.py"))
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    edits = [
        edit for file in files for edit in edits_of(str(file.relative_to(ROOT)), file.read_text("utf-8"))
        if options.function is None or options.function in edit.function
    ]
    state = state_of(ROOT, JUDGING) + (f" {options.only}" if options.only else "")
    kept = Kept(options.state, f"{shard}-of-{shards}")
    todo = kept.left(shard_of(edits, int(shard), int(shards)), state, again=options.again)
    began = time.monotonic()
    count = 0

    def heard(verdict: Verdict) -> None:
        nonlocal count
        count += 1
        verdict = replace(verdict, state=state)
        kept.add(verdict)
        if not verdict.noticed and verdict.how != "not reached":
            print(f"{verdict.how}: {verdict}  ({len(verdict.differing)} of {verdict.reached} checks)", flush=True)
        if count % 100 == 0:
            print(f" {count}/{len(todo)} judged in {time.monotonic() - began:.0f} s", flush=True)

    print(f"{len(edits)} edits, {len(todo)} to judge", flush=True)
    if not todo:
        return 0
    with Upstream.start(fixture_path("chatml")) as upstream, tempfile.TemporaryDirectory() as folder:
        judging = Edits(upstream, todo, options.jobs, heard)
        judging.run_all(Path(folder), *(("--gateway-only", options.only) if options.only else ()))
    for problem in judging.problems:
        print(problem)
    print(f"{count} judged in {time.monotonic() - began:.0f} s")
    return bool(judging.problems)


if __name__ == "__main__":
    sys.exit(main())
