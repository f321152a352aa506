"""`python -m tests.kit.free_model`: the kit's upstream as a model that nobody scripts, over all of its dialects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.upstream.__main__ import main as upstream
from conformance.upstream.client import Upstream
from conformance.upstream.engine import Ask, Engine, Sample
from conformance.upstream.ledger import Call
from conformance.upstream.script import Step
from tests.kit.talking import thought

ROOT = Path(__file__).parents[2]


@contextmanager
def free_model(tokenizer: Path) -> Iterator[Upstream]:
    """One in a process of its own."""
    command = [sys.executable, "-m", "tests.kit.free_model", "--until-stdin-closes", "--tokenizer", str(tokenizer)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Upstream.attach(process.stdout.readline().removeprefix("listening on ").strip(), tokenizer)
        process.terminate()


async def sample(self: Engine, ask: Ask, call: Call) -> tuple[Step, list[Sample]]:
    step = Step(thought(str(ask.context)), obeys_limits=True)
    call.nonce = None  # of no test
    return step, [self._sampled(ask, step) for _ in range(ask.n)]


if __name__ == "__main__":
    Engine.sample = sample  # type: ignore[method-assign]
    sys.exit(upstream())
