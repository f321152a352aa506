"""What a project pays for having the kit installed and not using it: `python benchmarks/door.py [RUNS]`.

Times `pytest` on one empty test, whole process, without any plug-in of an installed package, with the kit's door, and
with the plug-ins that its dependencies bring (anyio comes with httpx, syrupy with the extra `[shapes]`). Runs take
turns, so that a busy machine slows all alike; printed are medians, and what each adds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGINS = {"none": (), "the kit's door": ("gateway-conformance",), "anyio": ("anyio",), "syrupy": ("syrupy",)}


def seconds(folder: str, plugins: tuple[str, ...]) -> float:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(x for p in plugins for x in ("-p", p))]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_mine.py").write_text("def test_mine(): pass\n")
        times: dict[str, list[float]] = {name: [] for name in PLUGINS}
        for turn in range(runs + 1):
            for name, plugins in PLUGINS.items():
                taken = seconds(folder, plugins)
                if turn:  # the first writes byte code
                    times[name].append(taken)
    bare = statistics.median(times["none"])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:16} {median * 1000:6.0f} ms  +{(median - bare) * 1000:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
