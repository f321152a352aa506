"""What a session must do, by brute force: a flat list of all answered requests, each with everything it consisted of.

Written from the contract (UA-CHN, UA-RB, UA-CAP, UA-TRJ) and from design.md, with nothing of the gateway in it: no
tree, no hashes, no deltas. Where a request continues is found by comparing whole histories with each other; an export
is made by painting sampled spans onto the last context of a chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

History = tuple[tuple[str, str], ...]


@dataclass
class Answered:
    """One committed generation: the request, the tokens that the backend had, and what it sampled."""

    request: History
    history: History
    tools: str | None
    context: list[int]
    sampled: list[int]
    recorded: bool
    chain: int
    parent: Answered | None
    superseded: bool = False
    logprobs: list[float] | None = None
    versions: list[int] = field(default_factory=list)


@dataclass
class Chain:
    answers: list[Answered]
    closed_at: int = 0
    closed: bool = False
    mark: dict[str, str] = field(default_factory=dict)
    busy: bool = False
    rollbacks: int = 0
    dropped: int = 0


@dataclass
class Plan:
    request: History
    tools: str | None
    recorded: bool
    parent: Answered | None
    chain: int | None
    rewrites: Answered | None
    context: list[int] = field(default_factory=list)


class Model:
    def __init__(self, options: dict[str, str], prompt_length: int | None, response_length: int | None) -> None:
        self.options = options
        self.prompt_length = prompt_length
        self.response_length = response_length
        self.answers: list[Answered] = []
        self.chains: dict[int, Chain] = {}
        self.made = 0
        self.now = 0
        self.rollbacks = 0
        self.dropped = 0

    # -- where a request continues

    def plan(self, request: History, tools: str | None, recorded: bool) -> Plan:
        counted = [a for a in self.answers if not a.superseded and a.tools == tools]
        exact = [a for a in counted if begins(request, a.history) and not (self.is_tip(a) and self.chain(a).closed)]
        rewritten = [a for a in counted if begins(request, a.request) and self.is_free(a) and self.allowed(a, request)]
        exact_depth = max((len(a.history) for a in exact), default=-1)
        rewritten_depth = max((len(a.request) for a in rewritten), default=-1)
        if not exact and not rewritten:
            return Plan(request, tools, recorded, None, None, None)
        if exact_depth >= rewritten_depth:
            deepest = [a for a in exact if len(a.history) == exact_depth]
            free = [a for a in deepest if self.is_free(a) and a.recorded == recorded]
            parent = (free or deepest)[-1]
            return Plan(request, tools, recorded, parent, parent.chain if free else None, None)
        deepest = [a for a in rewritten if len(a.request) == rewritten_depth]
        victim = deepest[-1]
        if len(deepest) > 1 or victim.recorded != recorded:
            return Plan(request, tools, recorded, victim.parent, None, None)
        return Plan(request, tools, recorded, victim.parent, victim.chain, victim)

    def allowed(self, answer: Answered, request: History) -> bool:
        if request == answer.request:
            return self.options["repeated_prompt"] == "replace"
        if answer.parent is None:
            return self.options["first_rewrite"] == "reuse"
        return self.options["last_rewrite"] == "rollback"

    def chain(self, answer: Answered) -> Chain:
        return self.chains[answer.chain]

    def is_tip(self, answer: Answered) -> bool:
        return self.chain(answer).answers[-1] is answer

    def is_free(self, answer: Answered) -> bool:
        chain = self.chain(answer)
        return self.is_tip(answer) and not chain.closed and not chain.busy

    # -- budgets

    def remaining(self, plan: Plan) -> int | None:
        if self.options["budget"] == "total" and self.prompt_length and self.response_length:
            return self.prompt_length + self.response_length - len(plan.context)
        if self.options["budget"] == "response" and self.response_length:
            kept = [a for a in self.chains[plan.chain].answers if a is not plan.rewrites] if plan.chain else []
            return self.response_length - (len(plan.context) - len(kept[0].context) if kept else 0)
        return None

    # -- what becomes of it

    def commit(
        self,
        plan: Plan,
        sampled: list[int],
        text: str,
        logprobs: list[float] | None = None,
        versions: list[int] | None = None,
    ) -> None:
        again = self.options.get("idempotent_retry") == "true" and plan.rewrites is None
        if again and any(known(answer, plan, sampled) for answer in self.answers):
            return
        self.now += 1
        chain = self.chains[plan.chain] if plan.chain and not self.chains[plan.chain].closed else None
        if chain is None:
            if self.options["multi_chain"] == "false":
                for other in self.chains.values():
                    other.closed = True
            self.made += 1
            number, chain = self.made, self.chains.setdefault(self.made, Chain([]))
        else:
            number = plan.chain or 0
            if plan.rewrites is not None:
                self.supersede(chain)
        history = (*plan.request, ("assistant", text))
        answer = Answered(plan.request, history, plan.tools, plan.context, sampled, plan.recorded, number, plan.parent)
        answer.logprobs = logprobs
        answer.versions = versions or []
        self.answers.append(answer)
        chain.answers.append(answer)
        chain.closed_at = self.now

    def close(self, plan: Plan) -> None:
        if plan.chain is None:
            return
        self.now += 1
        chain = self.chains[plan.chain]
        if plan.rewrites is not None:
            self.supersede(chain)
            if not chain.answers:
                del self.chains[plan.chain]
                return
        response = self.options["budget"] == "response"
        chain.mark = {"finish_reason": "length"} if response else {"materialization_reason": "max_trajectory_length"}
        chain.closed, chain.closed_at = True, self.now

    def supersede(self, chain: Chain) -> None:
        answer = chain.answers.pop()
        answer.superseded = True
        for counter in (self, chain):
            counter.rollbacks += 1
            counter.dropped += len(answer.sampled)

    # -- what is exported

    def export(self) -> list[dict[str, Any]]:
        return [exported(chain) for chain in sorted(self.chains.values(), key=lambda chain: chain.closed_at)]


def exported(chain: Chain) -> dict[str, Any]:
    first, last = chain.answers[0], chain.answers[-1]
    everything = last.context + last.sampled
    sampled_at = [False] * len(everything)
    logprobs = [0.0] * len(everything)
    for answer in chain.answers:
        for position in range(len(answer.sampled)):
            sampled_at[len(answer.context) + position] = True
            logprobs[len(answer.context) + position] = answer.logprobs[position] if answer.logprobs else 0.0
    mask = [int(bit) for bit in sampled_at[len(first.context) :]]
    extra: dict[str, Any] = dict(chain.mark)
    unknown = any(answer.logprobs is None for answer in chain.answers)
    versions = [version for answer in chain.answers for version in answer.versions]
    if versions:
        extra |= {"min_global_steps": min(versions), "max_global_steps": max(versions)}
    if chain.rollbacks:
        extra |= {"rollback_count": chain.rollbacks, "rollback_dropped_trainable_tokens": chain.dropped}
    return {
        "prompt_ids": everything[: len(first.context)],
        "response_ids": everything[len(first.context) :],
        "response_mask": mask,
        "response_logprobs": None if unknown else logprobs[len(first.context) :],
        "num_turns": sum(role in ("user", "assistant") for role, _ in last.history) + 1,
        "extra_fields": extra,
    }


def known(answer: Answered, plan: Plan, sampled: list[int]) -> bool:
    same = (answer.request, answer.tools, answer.sampled) == (plan.request, plan.tools, sampled)
    return same and not answer.superseded


def begins(request: History, beginning: History) -> bool:
    return request[: len(beginning)] == beginning
