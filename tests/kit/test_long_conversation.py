"""A two-hundred-turn agent conversation, with all that happens to one, conserves every token.

The agent calls tools, sends subagents, compacts its history, takes answers back, samples some twice, streams every
other turn; its engine fails in every way that the script knows, its client hangs up and retries. What the reference
gateway exports in the end is held against the engine's own record, by the oracle and by `check-trajectory`.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.client.driving import DriverClient
from conformance.client.http import Recorder, Reply, client
from conformance.drivers.http import HttpDriver
from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import Call
from conformance.vocabulary.conversation import Conversation, Said
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import Session, Sessions, Trajectories, function, results, system, user
from conformance.vocabulary.spelling import respelled

TURNS = 200
TOOLS = [function("search", query={"type": "string"}), function("read", path={"type": "string"})]
FAULTS = (
    {"status": 500},
    {"status": 503, "message": "overloaded"},
    {"status": 400, "message": "too long"},
    {"reset": True},
    {"status": 200, "body": b'{"choices": [', "truncated": True},
    {"status": 200, "body": b"<html>Bad gateway</html>", "content_type": "text/html"},
)
IN_TURN = (
    *(["talk"] * 4 + ["use a tool"] * 6 + ["use two tools"] * 2 + ["be cut"] + ["fail"] * 3 + ["hang up", "retry"]),
    *(["take back"] * 2 + ["sample twice", "send a subagent", "compact"]),
)


class Agent:
    """One agent and its subagents in one session. `answered` counts the turns that were answered, `done` by kind."""

    def __init__(self, session: Session, upstream: Upstream, seed: int, odd_ids: bool) -> None:
        self.session, self.upstream = session, upstream
        self.random, self.odd_ids = random.Random(seed), odd_ids
        self.answered, self.calls = 0, 0
        self.done: Counter[str] = Counter()
        self.main = self.begin("You are the main agent.")
        self.turn(self.main, "Begin.")

    def begin(self, role: str) -> Conversation:
        talk = Conversation(self.session, self.upstream, tools=TOOLS)
        talk.messages = [system(role)]
        return talk

    def turn(self, talk: Conversation, content: Said, tools: int = 0, cut: bool = False) -> None:
        """An answered turn: of text, of tool calls, or cut for its length."""
        text = f"Answer {self.answered} about {self.random.choice(('stones', 'trees', 'rivers'))}"
        calls = [{"name": "search", "arguments": {"query": f"{text}, part {part}"}} for part in range(tools)]
        talk.fields["stream"] = self.answered % 2 == 1
        if calls:
            talk.turn(content, f"Let me see {self.answered}.", tool_calls=calls)
        elif self.odd_ids and self.random.random() < 0.3:
            talk.turn(content, ids=respelled(self.upstream.tokenizer, text))
        else:
            talk.turn(content, text, finish="length" if cut else None)
        self.answered += 1
        self.calls += 1
        if calls:
            found = [f"Found {self.answered}-{part}" for part in range(tools)]
            self.turn(talk, results(talk.messages[-1], *found))

    def step(self, talk: Conversation, kind: str) -> None:
        question = f"Question {self.answered}, to {kind}"
        self.done[kind] += 1
        match kind:
            case "use a tool" | "use two tools":
                self.turn(talk, question, tools=1 + (kind == "use two tools"))
            case "fail":
                self.fail(talk, question)
            case "hang up":
                self.hang_up(talk, question)
            case "retry":
                self.retry(talk, question)
            case "take back":
                self.turn(talk, question)
                del talk.messages[-1]
                self.turn(talk, f"No. {question}")
            case "sample twice":
                self.turn(talk, question)
                again = talk.as_if(*talk.messages[:-2])
                self.turn(again, question)
                talk.messages = again.messages
            case "send a subagent":
                subagent = self.begin(f"You are subagent {self.done[kind]}.")
                for each in ("talk", "use a tool", self.random.choice(("fail", "take back", "retry", "talk"))):
                    self.step(subagent, each)
            case "compact":
                talk.messages = [talk.messages[0], user(f"So far: {self.answered} turns."), talk.messages[-1]]
                self.turn(talk, question)
            case _:
                self.turn(talk, question, cut=kind == "be cut")

    def fail(self, talk: Conversation, question: str) -> None:
        """The engine fails, once or twice, and the agent asks again."""
        for fault in self.random.sample(FAULTS, self.random.randint(1, 2)):
            assert talk.fails(question, **fault).status >= 400
            self.calls += 1
        self.turn(talk, question)

    def hang_up(self, talk: Conversation, question: str) -> None:
        """The client gives up while the engine works, and asks again."""
        answer = self.upstream.holds("Nobody will read this")
        request = talk.dial(question)
        self.calls += 1
        talk.reach_upstream(self.calls)
        request.hang_up()
        self.upstream.wait_for_calls(self.done["hang up"], self.session.time_left, outcome="aborted")
        answer.release()
        self.turn(talk, question)

    def retry(self, talk: Conversation, question: str) -> None:
        """An answered request is sent again under its key, as an SDK does that missed the answer."""
        body = self.session.body(*talk.messages, user(question), tools=TOOLS)
        self.upstream.says(f"Answer {self.answered}, told twice")
        replies: list[Reply] = [
            self.session.send(body, headers={"idempotency-key": question, "x-stainless-retry-count": str(attempt)})
            for attempt in range(3)
        ]
        assert [reply.status for reply in replies] == [200, 200, 200]
        assert len({reply.text for reply in replies}) == 1
        talk.messages += [user(question), replies[-1].message]
        self.answered += 1
        self.calls += 1

    def work(self, turns: int) -> None:
        while self.answered < turns:
            self.step(self.main, self.random.choice(IN_TURN))


@pytest.fixture
def open_session(shared_upstream: Upstream, reference_url: str) -> Iterator[Callable[[], Session]]:
    recorder = Recorder(timeout=120.0)
    http = client(recorder)
    recorder.begin()
    shared_upstream.begin()
    sessions = Sessions(HttpDriver(reference_url, DriverClient(http)), http, recorder, shared_upstream.nonce)
    yield lambda: sessions.open(sampling_params={"logprobs": True}, options={"idempotent_retry": "true"})
    sessions.discard()
    shared_upstream.end()
    http.close()


def files(folder: Path, exported: Trajectories, calls: list[Call]) -> tuple[str, str]:
    rollout, ledger = folder / "rollout.jsonl", folder / "calls.jsonl"
    rollout.write_text("".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in exported))
    ledger.write_text("".join(json.dumps(call.to_json()) + "\n" for call in calls))
    return str(rollout), str(ledger)


def test_two_hundred_turns_conserve_every_token(
    open_session: Callable[[], Session], shared_upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(open_session(), shared_upstream, seed=1, odd_ids=True)
    agent.work(TURNS)

    given_up = agent.session.superseded().generations
    exported, calls = agent.session.finalize(), shared_upstream.calls
    assert all(agent.done[kind] for kind in IN_TURN), agent.done
    assert given_up == agent.done["take back"]
    assert (len(calls), sum(call.outcome == "answered" for call in calls)) == (agent.calls, agent.answered)
    expect(exported).match(shared_upstream, superseded=given_up)

    rollout, ledger = files(tmp_path, exported, calls)
    assert main(["check-trajectory", rollout]) == 0
    assert main(["check-trajectory", rollout, "--ledger", ledger, "--superseded", str(given_up)]) == 0
    assert f"{len(exported)} trajectories" in capsys.readouterr().out


def test_its_seams_are_those_of_the_template(
    open_session: Callable[[], Session], shared_upstream: Upstream, tmp_path: Path
) -> None:
    agent = Agent(open_session(), shared_upstream, seed=2, odd_ids=False)
    agent.work(TURNS // 4)

    given_up = agent.session.superseded().generations
    rollout, ledger = files(tmp_path, agent.session.finalize(), shared_upstream.calls)
    arguments = ["check-trajectory", rollout, "--ledger", ledger, "--superseded", str(given_up)]
    assert main([*arguments, "--tokenizer", str(fixture_path("chatml"))]) == 0
