"""`python -m tests.knife [FILE ...] [--only PATTERN] [--jobs N]`: see `knife.py`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

os.environ["HYPOTHESIS_PROFILE"] = "knife"

import pytest

from tests.knife.knife import ROOT, Knife

KIT = ROOT / "conformance"
JUDGES = ("expect", "exported", "failure", "pinned", "verdict", "wire")
"""The modules that judge, besides the oracles."""
TESTS = (
    "oracles",
    "test_check_trajectory.py",
    "test_expect.py",
    "test_expect_tokens.py",
    "test_message_reply.py",
    "test_verdict.py",
    "test_wire.py",
)
"""Those of the kit's own tests that judge the judges in this process, in seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.knife")
    parser.add_argument("files", nargs="*", type=Path, help="what to weaken; by default all that judges")
    parser.add_argument(
        "--again", type=Path, metavar="OUTPUT", help="only what this output of a run says is not noticed"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    files = [one.resolve() for one in options.files] or [
        *sorted((KIT / "oracles").glob("*.py")),
        *(KIT / f"{name}.py" for name in JUDGES),
    ]
    known = options.again and {_unplaced(line) for line in options.again.read_text().splitlines()}
    knife = Knife(files, known and (lambda one: _unplaced(f"not noticed: {one}") in known), options.jobs)
    quiet = [
        "-q",
        "-s",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:randomly",
        "--rootdir",
        str(ROOT),
    ]
    return pytest.main([*quiet, *(str(ROOT / "tests" / "kit" / each) for each in TESTS)], plugins=[knife])


def _unplaced(line: str) -> str:
    """A weakening as it is told, without its line, which moves, and without its number."""
    return re.sub(r" \[\d+\]$", "", re.sub(r":\d+ ", " ", line, count=1))


if __name__ == "__main__":
    sys.exit(main())
