"""How fast a run is scored again: tokens a second of the numpy scorer, on one core, for the tiny model.

    OPENBLAS_NUM_THREADS=1 python benchmarks/score.py [--trajectories 40]

Trajectories of 600 ids, half of them sampled, in turns of 50; CPU time of the process, the model's start not counted.
`branches` share their first 500 ids with the trajectory before, which are not computed again.
"""

from __future__ import annotations

import argparse
import os
import random
import time

from process import machine

from conformance.fixtures import tiny_model_path
from conformance.recorded.scoring import scorer

LENGTH, TURN, SHARED = 600, 50, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=40)
    options = parser.parse_args()
    random.seed(1)
    model = scorer(f"numpy:{tiny_model_path()}")
    places = [place for place in range(1, LENGTH) if place // TURN % 2]
    print(f"{machine()}, {os.environ.get('OPENBLAS_NUM_THREADS', 'all')} threads; goal: 10,000 tokens a second")
    trunk = random.choices(range(4000), k=SHARED)
    for name in ("trajectories", "branches"):
        several = [random.choices(range(4000), k=LENGTH) for _ in range(options.trajectories)]
        if name == "branches":
            several = [trunk + ids[SHARED:] for ids in several]
        model.score(several[0], places)
        before = time.process_time()
        for ids in several:
            model.score(ids, places)
        spent = time.process_time() - before
        print(f"{name:14} {len(several) * LENGTH / spent:10,.0f} tokens a second, {len(several) * len(places)} scored")


if __name__ == "__main__":
    main()
