"""Turns of one session side by side, and turns that are cut short: nothing is lost, doubled or half done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from session_doubles import CharCodec, responses, sampled, session, shown, text, turn

from reference_gateway.session import Session, SessionClosed
from reference_gateway.session.session import LONG_GENERATION
from reference_gateway.types import Answer, BackendFailed, Message, Turn


def tick(times: int = 8) -> Awaitable[None]:
    """Let everything that can go on go on. Each turn of the loop runs what was ready before it."""

    async def turns() -> None:
        for _ in range(times):
            turned = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turned.set_result, None)
            await turned

    return turns()


def start(s: Session, history: str | Turn) -> asyncio.Task[Answer]:
    return asyncio.ensure_future(s.run(turn(history) if isinstance(history, str) else history))


def snapshot(s: Session) -> tuple[Any, ...]:
    state = s.state()
    del state["updated_at"]
    return state, [t.to_json() for t in s.trajectories()]


def test_con_01_two_turns_are_in_the_backend_at_once() -> None:
    async def scenario() -> None:
        s, backend = session("A1", "A2", held=True)
        tasks = [start(s, "U hi"), start(s, "U other")]
        await backend.in_flight(2)
        backend.release(1)
        await tasks[1]
        backend.release(0)
        await tasks[0]
        assert responses(s) == ["A2", "A1"]  # the order of completion (UA-CON-04)
        assert {call.session_id for call in backend.calls} == {"s1"}

    asyncio.run(scenario())


class SlowReader(CharCodec):
    """Reads a long generation only once it is told to, and says when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go_on = threading.Event(), threading.Event()

    def decode(self, tokens: Sequence[int], tools: Any) -> Message:
        if len(tokens) >= LONG_GENERATION:
            self.reading.set()
            assert self.go_on.wait(10), "nothing else ran while a long generation was decoded"
        return super().decode(tokens, tools)


def test_other_turns_go_on_while_a_long_generation_is_decoded() -> None:
    async def scenario() -> None:
        codec = SlowReader()
        long, _ = session("A" * LONG_GENERATION, codec=codec)
        short, _ = session("B", codec=codec)
        task = start(long, "U hi")
        await asyncio.to_thread(codec.reading.wait, 10)
        await short.run(turn("U hi"))
        assert (responses(short), responses(long)) == (["B"], [])
        codec.go_on.set()
        await task
        assert responses(long) == ["A" * LONG_GENERATION]

    asyncio.run(scenario())


@pytest.mark.parametrize("ending", ["cancel", "abort"])
def test_a_turn_that_ends_while_it_is_decoded_commits_nothing(ending: str) -> None:
    async def scenario() -> None:
        codec = SlowReader()
        s, _ = session("A" * LONG_GENERATION, codec=codec)
        task = start(s, "U hi")
        await asyncio.to_thread(codec.reading.wait, 10)
        if ending == "cancel":
            task.cancel()
        else:
            s.abort()
        codec.go_on.set()
        with pytest.raises(asyncio.CancelledError if ending == "cancel" else SessionClosed):
            await task
        assert responses(s) == []

    asyncio.run(scenario())


def test_con_02_serialized_turns_never_overlap_and_keep_their_order() -> None:
    async def scenario() -> None:
        s, backend = session("A1", "A2", "A3", held=True, concurrency="serialized")
        tasks = [start(s, history) for history in ("U a", "U b", "U c")]
        for number in range(3):
            await backend.in_flight(number + 1)
            await tick()
            assert len(backend.calls) == number + 1
            backend.release(number)
            await tasks[number]
        assert responses(s) == ["A1", "A2", "A3"]

    asyncio.run(scenario())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2)], ids=["in-order", "branch-first"])
def test_con_03_parallel_continuations_of_siblings_take_distinct_chains(order: tuple[int, ...]) -> None:
    async def scenario() -> None:
        s, backend = session("S", "S", "S", *"wxyz", held=True)
        for number in range(3):
            task = start(s, "U hi")
            await backend.in_flight(number + 1)
            backend.release(number)
            await task
        assert len(set(s.state()["active_chain_tip_hashes"])) == 1
        tasks = []
        for number in range(4):
            tasks.append(start(s, "U hi, A S, U go"))
            await backend.in_flight(number + 4)
        for number in order:
            backend.release(number + 3)
            await tasks[number]
        assert s.state()["active_chain_ids"] == [1, 2, 3, 4]
        chains = {chain.id: text(chain.tip.sampled) for chain in s._tree.chains()}
        assert chains == {3: "w", 2: "x", 1: "y", 4: "z"}
        branch = next(t for t in s.trajectories() if text(t.response_ids) == "z")
        assert shown(branch) == ("user:hi\nassistant:Suser:go\nassistant:", "z", "1x1", 5)

    asyncio.run(scenario())


def test_cap_08_a_turn_that_only_matches_a_chain_in_flight_does_not_close_it() -> None:
    async def scenario() -> None:
        s, backend = session("A1", "A2", held=True, prompt_length=20, response_length=25)
        first = start(s, "U hi")
        await backend.in_flight(1)
        backend.release(0)
        await first
        running = start(s, "U hi, A A1, U m")
        await backend.in_flight(2)
        oversized = await s.run(turn("U hi, A A1, U much-too-long-for-this"))
        assert oversized.finish_reason == "length"
        backend.release(1)
        await running
        (trajectory,) = s.trajectories()
        assert text(trajectory.response_ids) == "A1user:m\nassistant:A2"
        assert trajectory.extra_fields == {}

    asyncio.run(scenario())


ENDINGS: dict[str, Callable[[Session], Any]] = {
    "finalize": Session.finalize,
    "abort": Session.abort,
    "complete": Session.complete,
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("concurrency", ["overlap", "serialized"])
def test_con_07_an_ending_does_not_wait_and_late_answers_are_refused(ending: str, concurrency: str) -> None:
    async def scenario() -> None:
        s, backend = session("A1", "A2", "A3", held=True, concurrency=concurrency)
        first = start(s, "U hi")
        await backend.in_flight(1)
        backend.release(0)
        await first
        late = [start(s, "U hi, A A1, U m"), start(s, "U other")]
        await tick()
        committed = ENDINGS[ending](s)
        if ending == "finalize":
            assert [text(t.response_ids) for t in committed] == ["A1"]
        for number in range(1, len(backend.calls)):
            backend.release(number)
        for task in late:
            with pytest.raises(SessionClosed, match=f"session s1 is {s.phase.value.lower()}"):
                await task
        assert responses(s) == (["A1"] if ending == "complete" else [])
        with pytest.raises(SessionClosed):
            await s.run(turn("U hi"))

    asyncio.run(scenario())


@pytest.mark.parametrize("options", [{}, {"concurrency": "serialized"}, {"idempotent_retry": "true"}], ids=str)
@pytest.mark.parametrize("ticks", range(8))
@pytest.mark.parametrize("rewrite", [False, True])
def test_a_turn_cancelled_at_any_point_is_committed_whole_or_not_at_all(
    options: dict[str, str], ticks: int, rewrite: bool
) -> None:
    """`ticks` turns of the loop pass before the cancellation: that is every await of a turn, and then some."""

    async def scenario() -> None:
        s, backend = session(*["A1", "A2", *["F"] * 3], held=True, **options)
        for number, history in enumerate(["U hi", "U hi, A A1, U m"]):
            task = start(s, history)
            await backend.in_flight(number + 1)
            backend.release(number)
            await task
        before = snapshot(s)
        history = "U hi, A A1, U m, U err" if rewrite else "U hi, A A1, U m, A A2, U n"
        backend.held = ticks < 5  # later ones find the turn done
        task = start(s, Turn(turn(history).messages, idempotency_key="k"))
        await tick(ticks)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, asyncio.CancelledError):
            assert snapshot(s) == before
            assert s.in_flight == 0
            backend.held = False
            await s.run(turn(history))
        assert s.state()["active_chain_ids"] == [1]
        assert s.state()["rollback_count"] == rewrite
        assert responses(s)[0].endswith("F")

    asyncio.run(scenario())


@pytest.mark.parametrize("failure", ["backend", "decode", "omitted", "misaligned", "encode", "journal"])
def test_con_06_a_turn_that_fails_anywhere_leaves_the_chain_free_and_as_it_was(failure: str) -> None:
    broken = [False]

    class Codec(CharCodec):
        def encode_suffix(self, *args: Any) -> list[int] | None:
            if broken[0] and failure == "encode":
                raise ValueError("no such role")
            return super().encode_suffix(*args)

    def refuse() -> None:
        if broken[0] and failure == "decode":
            raise ValueError("no text")

    def journal(record: Any) -> None:
        if broken[0] and failure == "journal":
            raise OSError("disk full")

    good = sampled("A1", logprobs=[-1.0, -1.0])
    bad = {
        "backend": RuntimeError("boom"),
        "omitted": sampled("A1"),
        "misaligned": sampled("A1", logprobs=[-1.0]),
        "encode": good,
    }.get(failure, good)

    async def scenario() -> None:
        steps = [good, good] if failure == "encode" else [good, bad, good]
        s, _ = session(*steps, codec=Codec(refuse=refuse), sampling_params={"logprobs": True})
        s.journal = journal
        await s.run(turn("U hi"))
        before = snapshot(s)
        broken[0] = True
        with pytest.raises((RuntimeError, ValueError, OSError)) as raised:
            await s.run(turn("U hi, A A1, U m"))
        assert snapshot(s) == before
        if failure == "omitted":
            assert isinstance(raised.value, BackendFailed)
            assert "omitted logprobs when requested" in str(raised.value)
        if failure == "misaligned":
            assert "1 logprobs for 2 tokens" in str(raised.value)
        broken[0] = False
        await s.run(turn("U hi, A A1, U m"))
        assert s.state()["active_chain_ids"] == [1]

    asyncio.run(scenario())


def test_com_01_a_failed_first_turn_records_nothing_and_takes_no_chain_id() -> None:
    async def scenario() -> None:
        s, _ = session(RuntimeError("boom"), "A")
        with pytest.raises(RuntimeError, match="boom"):
            await s.run(turn("U hi"))
        assert (s.trajectories(), s.state()["active_chain_ids"]) == ([], [])
        await s.run(turn("U hi"))
        assert s.state()["active_chain_ids"] == [1]

    asyncio.run(scenario())


class TestIdempotentRetry:
    """Option `idempotent_retry`."""

    @staticmethod
    def keyed(history: str = "U hi", key: str | None = "k", retry_count: int = 0) -> Turn:
        return turn(history, idempotency_key=key, retry_count=retry_count)

    def test_a_retry_of_an_answered_turn_gets_its_answer(self) -> None:
        async def scenario() -> None:
            s, backend = session("A1", idempotent_retry="true")
            first = await s.run(self.keyed())
            assert await s.run(self.keyed()) == first
            assert await s.run(self.keyed(retry_count=1)) == first
            assert (len(backend.calls), responses(s)) == (1, ["A1"])

        asyncio.run(scenario())

    def test_a_counted_retry_without_a_key_is_found_by_its_messages(self) -> None:
        async def scenario() -> None:
            s, backend = session("A1", "A2", idempotent_retry="true")
            first = await s.run(self.keyed(key=None))
            assert await s.run(self.keyed(key=None, retry_count=1)) == first
            assert len(backend.calls) == 1
            await s.run(self.keyed(key=None))  # no retry: the client wants another answer
            assert responses(s) == ["A1", "A2"]

        asyncio.run(scenario())

    def test_a_retry_waits_for_the_attempt_that_still_runs(self) -> None:
        async def scenario() -> None:
            s, backend = session("A1", held=True, idempotent_retry="true")
            first = start(s, self.keyed())
            await backend.in_flight(1)
            second = start(s, self.keyed(retry_count=1))
            await tick()
            backend.release(0)
            assert await first == await second
            assert (len(backend.calls), responses(s)) == (1, ["A1"])

        asyncio.run(scenario())

    @pytest.mark.parametrize("lost", ["cancelled", "failed"])
    def test_a_retry_of_a_lost_attempt_samples_once(self, lost: str) -> None:
        async def scenario() -> None:
            s, backend = session("A1", "A2", "A3", held=True, idempotent_retry="true")
            first = start(s, self.keyed())
            await backend.in_flight(1)
            retries = [start(s, self.keyed(retry_count=1)) for _ in range(2)]
            await tick()
            if lost == "failed":
                backend.failures.add(0)
                backend.release(0)
            else:
                first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await backend.in_flight(2)
            backend.release(1)
            answers = await asyncio.gather(*retries)
            assert answers[0] == answers[1]
            assert (len(backend.calls), responses(s)) == (2, ["A2"])

        asyncio.run(scenario())

    def test_trie_06_the_same_text_again_is_the_same_node(self) -> None:
        async def scenario() -> None:
            s, _ = session("A1", "A1", "A2", idempotent_retry="true")
            for _ in range(3):
                await s.run(self.keyed(key=None))
            assert responses(s) == ["A1", "A2"]

        asyncio.run(scenario())

    def test_off_every_retry_samples(self) -> None:
        async def scenario() -> None:
            s, _ = session("A1", "A2")
            await s.run(self.keyed())
            await s.run(self.keyed(retry_count=1))
            assert responses(s) == ["A1", "A2"]

        asyncio.run(scenario())


def test_wait_for_completion() -> None:
    async def scenario() -> None:
        s, _ = session()
        with pytest.raises(TimeoutError):
            await s.wait_for_completion(0)
        s.complete()
        await s.wait_for_completion(0)
        aborted, _ = session()
        waiting = asyncio.ensure_future(aborted.wait_for_completion())
        await tick()
        aborted.abort()
        with pytest.raises(RuntimeError, match="aborted"):
            await waiting

    asyncio.run(scenario())
