"""Random conversations, held against the brute-force model: exports, counters and contexts agree after every step."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from session_doubles import Backend, CharCodec, ids, render

from reference_gateway.session import Session, SessionClosed, Settings
from reference_gateway.types import Answer, Generation, Message, Tool, Turn
from tests.second_gateway.model import History, Model, Plan

OWN = 50_000
"""Added to a character's id when the model samples it: ids that no encoding of the text gives."""

NEW = st.sampled_from([("user", "u"), ("user", "v"), ("tool", "t"), ("assistant", "a"), ("system", "s")])
TEXTS = st.sampled_from(["a", "b", "abc", ""])
TOOLS: dict[str | None, list[Tool]] = {
    None: [],
    "f": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
}


class OwnIds(CharCodec):
    def decode(self, tokens: Sequence[int], tools: Sequence[Tool] | None) -> Message:
        return super().decode([token % OWN for token in tokens], tools)


@dataclass
class Running:
    task: asyncio.Task[Answer]
    plan: Plan
    call: int


class Conversations(RuleBasedStateMachine):
    @initialize(
        options=st.fixed_dictionaries(
            {
                "multi_chain": st.sampled_from(["true", "true", "false"]),
                "first_rewrite": st.sampled_from(["split", "reuse"]),
                "last_rewrite": st.sampled_from(["rollback", "split"]),
                "budget": st.sampled_from(["total", "response", "none"]),
            }
        ),
        replace=st.booleans(),
        room=st.sampled_from([None, 10, 15, 25, 40]),
        separator=st.sampled_from(["", "\n"]),
        incremental=st.sampled_from([True, True, False]),
        own_ids=st.booleans(),
    )
    def open(
        self,
        options: dict[str, str],
        replace: bool,
        room: int | None,
        separator: str,
        incremental: bool,
        own_ids: bool,
    ) -> None:
        repeated = "replace" if replace and options["last_rewrite"] == "rollback" else "sibling"
        options = {**options, "repeated_prompt": repeated}
        self.loop = asyncio.new_event_loop()
        self.separator, self.incremental, self.offset = separator, incremental, OWN if own_ids else 0
        self.backend = Backend(held=True)
        self.model = Model(options, room, room)
        self.session = Session(
            "s1",
            OwnIds(separator, incremental=incremental),
            self.backend,
            Settings(prompt_length=room, response_length=room, options=options),
        )
        self.running: list[Running] = []
        self.sampled: Counter[int] = Counter()
        self.known: list[tuple[History, str | None]] = [((), None)]

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for running in self.running:
            running.task.cancel()
            self.settle()
        self.loop.close()

    def settle(self) -> None:
        """Let every task go on until it waits for the backend."""
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    @rule(
        data=st.data(),
        cut=st.sampled_from([0, 0, 0, 1, 1, 2, 99]),
        new=st.lists(NEW, max_size=2),
        retool=st.sampled_from([False] * 7 + [True]),
        recorded=st.sampled_from([True] * 7 + [False]),
        text=TEXTS,
        at_once=st.sampled_from([True, True, False]),
    )
    def ask(
        self,
        data: st.DataObject,
        cut: int,
        new: list[tuple[str, str]],
        retool: bool,
        recorded: bool,
        text: str,
        at_once: bool,
    ) -> None:
        """Continue, cut, rewrite or repeat a conversation that the client knows, or open another one."""
        history, tools = data.draw(st.sampled_from(self.known[-4:]))
        request = (*history[: max(0, len(history) - cut)], *new) or (("user", "u"),)
        tools = ("f" if tools is None else None) if retool else tools
        plan = self.model.plan(request, tools, recorded)
        self.expect_context(plan)
        remaining = self.model.remaining(plan)
        logprobs = [-0.25] * len(text)
        self.backend.steps.append(Generation([i + self.offset for i in ids(text)], logprobs))
        sampling: Mapping[str, Any] = {"logprobs": recorded}
        calls = len(self.backend.calls)
        turn = Turn(messages_of(request), tools=TOOLS[tools], sampling=sampling)
        task = self.loop.create_task(self.session.run(turn))
        self.settle()
        if remaining is not None and remaining <= 0:
            answer = task.result()
            assert (answer.finish_reason, answer.prompt_tokens) == ("length", len(plan.context))
            assert len(self.backend.calls) == calls
            self.backend.steps.pop()
            self.model.close(plan)
            return
        call = self.backend.calls[calls]
        assert call.context == plan.context
        assert call.sampling.get("max_tokens") == remaining
        if plan.chain is not None:
            self.model.chains[plan.chain].busy = True
        self.running.append(Running(task, plan, calls))
        if at_once:
            self.finish(len(self.running) - 1)

    def expect_context(self, plan: Plan) -> None:
        full = ids(render(messages_of(plan.request)) + "assistant:")
        if plan.parent is None:
            plan.context = full
            return
        seen = plan.parent.context + plan.parent.sampled
        suffix = plan.request[len(plan.parent.history) :]
        if not suffix:
            plan.context = seen
        elif self.incremental:
            plan.context = seen + ids(self.separator + render(messages_of(suffix)) + "assistant:")
        else:
            plan.context = full
            if full[: len(seen)] != seen:
                plan.parent = plan.chain = plan.rewrites = None

    def finish(self, index: int) -> None:
        running = self.running.pop(index)
        self.free(running)
        step = self.backend.steps[running.call]
        assert isinstance(step, Generation)
        self.backend.release(running.call)
        self.settle()
        answer = running.task.result()
        text = answer.message["content"]
        assert (answer.prompt_tokens, answer.completion_tokens) == (len(running.plan.context), len(step.ids))
        self.model.commit(running.plan, step.ids, text, step.logprobs if running.plan.recorded else None)
        self.sampled.update(step.ids)
        self.known.append(((*running.plan.request, ("assistant", text)), running.plan.tools))

    def free(self, running: Running) -> None:
        if running.plan.chain in self.model.chains:
            self.model.chains[running.plan.chain].busy = False

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.integers(0, len(self.running) - 1)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["cancel", "fail", "short logprobs"]))
    def lose(self, data: st.DataObject, how: str) -> None:
        """A turn that does not end well leaves no trace: the invariants see to it."""
        running = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.free(running)
        if how == "cancel":
            running.task.cancel()
        elif how == "fail" or not running.plan.recorded:
            self.backend.failures.add(running.call)
        else:
            self.backend.steps[running.call] = Generation([1, 2], [-0.25])
        self.backend.release(running.call)
        self.settle()
        assert running.task.cancelled() or running.task.exception() is not None

    @precondition(lambda self: len(self.running) > 1)
    @rule(ending=st.sampled_from(["finalize", "abort", "complete"]))
    def end(self, ending: str) -> None:
        """What was committed is what is given; every late answer is refused."""
        expected = [] if ending == "abort" else self.model.export()
        getattr(self.session, ending)()
        for running in self.running:
            self.backend.release(running.call)
        self.settle()
        for running in self.running:
            assert isinstance(running.task.exception(), SessionClosed)
        if ending == "complete":
            assert [shape(t.to_json()) for t in self.session.finalize()] == expected
        fresh = Settings(
            prompt_length=self.model.prompt_length,
            response_length=self.model.response_length,
            options=self.model.options,
        )
        codec = OwnIds(self.separator, incremental=self.incremental)
        self.session = Session("s1", codec, self.backend, fresh)
        self.model = Model(self.model.options, self.model.prompt_length, self.model.response_length)
        self.running.clear()
        self.sampled.clear()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "session"):
            return
        exported = [shape(t.to_json()) for t in self.session.trajectories()]
        assert exported == self.model.export()
        state = self.session.state()
        active = {number: chain for number, chain in sorted(self.model.chains.items()) if not chain.closed}
        assert state["active_chain_ids"] == list(active)
        assert state["num_trajectories"] == len(self.model.chains) - len(active)
        assert state["rollback_count"] == self.model.rollbacks
        assert state["rollback_dropped_trainable_tokens_total"] == self.model.dropped
        trained = Counter(
            token for t in exported for token, bit in zip(t["response_ids"], t["response_mask"], strict=True) if bit
        )
        dropped = Counter(token for a in self.model.answers if a.superseded for token in a.sampled)
        assert trained + dropped == self.sampled


def messages_of(history: History) -> list[Message]:
    return [{"role": role, "content": content} for role, content in history]


def shape(trajectory: dict[str, Any]) -> dict[str, Any]:
    names = ("prompt_ids", "response_ids", "response_mask", "response_logprobs", "num_turns", "extra_fields")
    return {name: trajectory[name] for name in names}


TestConversations = Conversations.TestCase
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
TestConversations.settings = settings(
    derandomize=not NIGHTLY,
    print_blob=True,
    max_examples=3000 if NIGHTLY else 150,
    stateful_step_count=50 if NIGHTLY else 30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
