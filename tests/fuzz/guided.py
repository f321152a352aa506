"""`python -m tests.fuzz.guided [SECONDS]`: the same properties, led by coverage (atheris), some seconds for each.

Every property of `test_*.py` that needs no fixture is a target: hypothesis reads atheris's bytes as the choices of its
strategies. A failure is shown as the property shows it. Without atheris it says so and does nothing.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TARGETS = {
    "test_upstream": ("test_any_step_is_read_or_refused", "test_any_way_to_answer_posts_is_read_or_refused"),
    "test_readers": (
        "test_any_request_is_read_or_refused",
        "test_a_parser_of_calls_never_raises",
        "test_any_stream_is_judged_and_read",
    ),
}
INSTRUMENTED = (
    "conformance.upstream.script",
    "conformance.oracles",
    "reference_gateway.wire",
    "reference_gateway.codec",
)


def main() -> int:
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("skipped: atheris is not installed (it has no wheel for this Python or this system)")
        return 0
    seconds = sys.argv[1] if len(sys.argv) > 1 else "30"
    failed = []
    for module, names in TARGETS.items():
        for name in names:
            command = [sys.executable, "-m", "tests.fuzz.guided", "--target", module, name, seconds]
            done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
            print(f"{module}.{name}: {'failed' if done.returncode else 'held'} for {seconds} s", flush=True)
            if done.returncode:
                failed.append(name)
                print(done.stdout[-4000:], done.stderr[-4000:], sep="\n")
    return 1 if failed else 0


def fuzz(module: str, name: str, seconds: str) -> None:
    """Never returns: atheris ends the process."""
    import atheris

    with atheris.instrument_imports(include=[*INSTRUMENTED]):
        for each in INSTRUMENTED:
            importlib.import_module(each)
    target: Any = getattr(importlib.import_module(f"tests.fuzz.{module}"), name)
    sink = ["-artifact_prefix=" + os.devnull]
    atheris.Setup([name, f"-max_total_time={seconds}", "-verbosity=0", *sink], target.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        fuzz(*sys.argv[2:5])
    else:
        sys.exit(main())
