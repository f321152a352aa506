"""`python -m tests.knife [FILE ...] [--only PATTERN] [--jobs N]`: see `knife.py`."""

from __future__ import annotations

import argparse
import os
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
    parser.add_argument("--only", default="*", help="weakenings whose text contains this pattern")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    files = [one.resolve() for one in options.files] or [
        *sorted((KIT / "oracles").glob("*.py")),
        *(KIT / f"{name}.py" for name in JUDGES),
    ]
    knife = Knife(files, options.only, options.jobs)
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


if __name__ == "__main__":
    sys.exit(main())
