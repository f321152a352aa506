"""How many tokens a second the token oracles judge, on one core.

    python benchmarks/oracles.py [--tokens 180000] [--turn 900]

A session of one long conversation, with a branch every tenth turn. The first figure counts the tokens of the exported
trajectories only, the second also those of the recorded contexts, which repeat the whole history at each turn.
"""

from __future__ import annotations

import argparse
import random
import time

from conformance.gateway import Trajectory
from conformance.oracles import token_truth
from conformance.oracles.token_truth import Generation


def session(tokens: int, turn: int, seed: int = 0) -> tuple[list[Trajectory], list[Generation]]:
    """A conversation of `tokens` ids, half of each turn sampled, and its record."""
    dice = random.Random(seed)
    context = [dice.randrange(150_000) for _ in range(turn)]
    prompt, mask, logprobs, calls, branches = len(context), [], [], [], []
    while len(context) < tokens:
        generation = [dice.randrange(150_000) for _ in range(turn // 2)]
        values = [-dice.random() for _ in generation]
        calls.append(Generation(list(context), generation, values))
        context += generation
        mask += [1] * len(generation)
        logprobs += values
        if len(calls) % 10 == 0:
            branch = [*context, *range(20)]
            calls.append(Generation(branch, [7, 8, 9], [-0.5] * 3))
            branches.append(Trajectory(branch, [7, 8, 9], [1, 1, 1], [-0.5] * 3))
        if len(context) < tokens:
            context += [dice.randrange(150_000) for _ in range(turn // 2)]
            mask += [0] * (turn // 2)
            logprobs += [0.0] * (turn // 2)
    sampled = len(mask) - mask[::-1].index(1)
    main = Trajectory(context[:prompt], context[prompt : prompt + sampled], mask[:sampled], logprobs[:sampled])
    return [main, *branches], calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=180_000, help="length of the conversation")
    parser.add_argument("--turn", type=int, default=900, help="tokens a turn adds")
    options = parser.parse_args()
    trajectories, calls = session(options.tokens, options.turn)
    exported = sum(len(trajectory.prompt_ids) + len(trajectory.response_ids) for trajectory in trajectories)
    recorded = sum(len(call.context) + len(call.generation) for call in calls)
    print(f"{len(trajectories)} trajectories, {exported:,} tokens; {len(calls)} calls, {recorded:,} tokens")
    for name, judged in (
        ("alignment", lambda: token_truth.alignment(trajectories)),
        ("verbatim", lambda: token_truth.verbatim(trajectories, calls)),
        ("context_truth", lambda: token_truth.context_truth(trajectories, calls)),
        ("conservation", lambda: token_truth.conservation(trajectories, calls)),
        ("logprob_truth", lambda: token_truth.logprob_truth(trajectories, calls)),
        ("judge (all)", lambda: token_truth.judge(trajectories, calls)),
    ):
        start = time.process_time()
        violations = judged()
        spent = time.process_time() - start
        if violations:
            raise SystemExit(f"{name}: {len(violations)} violations, the first: {violations[0]}")
        rates = exported / spent, (exported + recorded) / spent
        print(f"{name:15} {rates[0]:15,.0f} exported tokens/s {rates[1]:15,.0f} with contexts")


if __name__ == "__main__":
    main()
