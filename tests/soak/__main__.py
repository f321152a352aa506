"""`python -m tests.soak [RUNS] [--seed N]`: the suite against the reference gateway, over and over, always the same.

Each run has an order of its own and 0, 2 or 8 workers, beside a process that is busy; every second one has a third of
the checks, so that none depends on what another left behind. The outcome of every check is compared over all runs. Exit
code 1 when any check ended in two ways, or in any other way than it should.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

WORKERS = (0, 2, 8)
SHARES = (1.0, 1 / 3)
"""Of the checks, by turns."""
GREEN = {"passed", "not_applicable"}
ROOT = Path(__file__).parents[2]


@dataclass
class Soak:
    """What the checks ended as: for each, how often in which way, and the first text of a failure."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    texts: dict[str, str] = field(default_factory=dict)
    whole: Counter[str] = field(default_factory=Counter)
    """How often each check ran where all were to run."""
    broken: list[str] = field(default_factory=list)
    runs: int = 0
    whole_runs: int = 0

    def add(self, name: str, report: Path, output: str, share: float) -> None:
        """Count a run. `name` says which one it was, `share` how many of the checks were to run."""
        self.runs += 1
        if not report.exists():
            self.broken.append(f"{name}: no report\n{output[-2000:]}")
            return
        self.whole_runs += share == 1
        for requirement in json.loads(report.read_text("utf-8"))["requirements"]:
            for check in requirement["checks"]:
                known = f"{requirement['id']} {check['name']}"
                self.outcomes[known][check["outcome"]] += 1
                self.whole[known] += share == 1
                if check["outcome"] not in GREEN:
                    wrong = [f"{v['where']}: expected {v['expected']}, got {v['actual']}" for v in check["violations"]]
                    text = "\n    ".join(wrong) or check.get("reason") or "see the output of the run"
                    self.texts.setdefault(known, f"{name}: {text}")

    def differences(self) -> list[str]:
        """The checks that did not end in the same, green way in each run."""
        return [
            f"{known}: {', '.join(f'{count} x {outcome}' for outcome, count in found.most_common())}"
            + (f", {missing} x not run" if (missing := self.whole_runs - self.whole[known]) else "")
            + (f"\n  {self.texts[known]}" if known in self.texts else "")
            for known, found in sorted(self.outcomes.items())
            if self.whole[known] != self.whole_runs or not (len(found) == 1 and GREEN & set(found))
        ]


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A process that never rests, for as long as this lasts."""
    process = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run(number: int, seed: int, folder: Path) -> tuple[str, Path, str, float]:
    """Run the suite once. Its name, the report, what it printed, and the share of the checks that it had."""
    workers, share = WORKERS[number % len(WORKERS)], SHARES[number % len(SHARES)]
    report = folder / f"{number}.json"
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", str(folder), "-q"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "tests.soak.shuffle", "--shuffle", str(seed)]
    command += ["--share", str(share)]
    command += ["--gateway", "reference", "--gateway-report", str(report)]
    command += ["-n", str(workers)] if workers else ["-p", "no:xdist"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    how = f"-n {workers}, --shuffle {seed}, --share {share:.2f}"
    return f"run {number} ({how}, exit {done.returncode})", report, done.stdout, share


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("runs", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: a fresh one")
    options = parser.parse_args()
    soak = Soak()
    print(f"{options.runs} runs, --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch, busy_neighbour():
        folder = Path(scratch)
        (folder / "pytest.ini").write_text("[pytest]\n")
        for number in range(options.runs):
            name, report, output, share = run(number, options.seed + number, folder)
            soak.add(name, report, output, share)
            print(name, *output.splitlines()[-1:], sep=": ", flush=True)
    wrong = [*soak.broken, *soak.differences()]
    for each in wrong:
        print(each)
    print(f"{len(soak.outcomes)} checks, {soak.runs} runs, {len(wrong) or 'no'} difference{'s' * (len(wrong) != 1)}")
    return 1 if wrong or not soak.outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
