"""Mutants of area CONC: turns of one session that run at the same time get in each other's way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

from reference_gateway import isolation
from reference_gateway.session import Session
from reference_gateway.session.tree import FRESH, Match, Node, Tree
from reference_gateway.types import Answer, BackendFailed, BackendRefused, Generation, Turn
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import exporting

Attempt = Callable[[Any, Session, Turn, list[bytes]], Awaitable[Answer]]
BUSY = 6
MANY = 3
OVERLAPPING = ("CONC-002", "CONC-003", "CONC-004", "CONC-005")


def around_attempts(gateway: Sabotage, attempt: Attempt) -> None:
    """`attempt(run, session, turn, keys)` stands in for a turn that is no retry; `await run()` is the turn itself."""

    @gateway.wrap(Session, "_attempt")
    def run(original: Any, self: Session, turn: Turn, keys: list[bytes], *rest: Any) -> Any:
        return attempt(lambda: original(self, turn, keys, *rest), self, turn, keys)


def _in_flight(tree: Tree) -> list[Node]:
    return [chain.tip for chain in tree.chains() if chain.in_flight]


@mutant("CONC-001")
def first_turns_of_a_session_are_serialised(gateway: Sabotage) -> None:
    """A session without a trajectory runs one chat completion at a time, so that only one of them creates it."""
    locks: dict[Session, asyncio.Lock] = {}
    chat = on_this_wire(gateway)

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        if not chat.get() or session._tree.chains() or session._serial is not None or session._retries is not None:
            return await run()
        async with locks.setdefault(session, asyncio.Lock()):
            return await run()

    around_attempts(gateway, attempt)


@mutant("CONC-001", also=(*OVERLAPPING, "BUDGET-018", "SPLIT-027", "ISO-007", "ISO-008"), bugs=(6,))
def lock_of_the_session_is_held_for_the_whole_turn(gateway: Sabotage) -> None:
    """A session runs one turn at a time, whatever it was created with."""

    @gateway.wrap(Session, "__init__")
    def init(original: Any, self: Session, *args: Any, **fields: Any) -> None:
        original(self, *args, **fields)
        self._serial = asyncio.Lock()


@mutant("CONC-002")
def other_busy_conversation_makes_a_turn_fresh(gateway: Sabotage) -> None:
    """While another conversation has a turn in flight, every turn starts a trajectory of its own."""

    @gateway.wrap(Tree, "match")
    def match(original: Any, self: Tree, keys: Any, logprobs: bool | None = None) -> Match:
        found: Match = original(self, keys, logprobs)
        if found.parent is None:
            return found
        root = found.parent.path()[0]
        return FRESH if any(tip.path()[0].asked != root.asked for tip in _in_flight(self)) else found


@mutant("CONC-003", also=("CONC-004", "BUDGET-018", "SPLIT-027"))
def nothing_marks_a_trajectory_as_taken(gateway: Sabotage) -> None:
    """The newest trajectory that fits is selected, also while a turn of it is in flight."""
    gateway.patch(Tree, "hold", lambda self, match: None)


@mutant("CONC-003")
def only_the_newest_of_equal_answers_is_continued(gateway: Sabotage) -> None:
    """Where the newest of several equal answers is taken, a new trajectory starts, and the others stay as they are."""

    @gateway.wrap(Tree, "_continue")
    def go_on(original: Any, self: Tree, same: list[Node], logprobs: bool | None) -> Match:
        newest = max(same, key=lambda node: node.sequence)
        return Match(newest) if self._chains[newest.chain].in_flight else original(self, same, logprobs)


@mutant("CONC-004")
def continuation_of_a_busy_trajectory_is_refused(gateway: Sabotage) -> None:
    """A turn that could only continue a trajectory with a turn in flight is refused, once three are in flight."""

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        match, busy = session._tree.match(keys), _in_flight(session._tree)
        if match.parent is not None and match.chain is None and match.parent in busy and len(busy) >= MANY:
            raise BackendRefused("a turn of this conversation is in flight")
        return await run()

    around_attempts(gateway, attempt)


@mutant("CONC-005")
def turns_get_their_place_when_they_begin(gateway: Sabotage) -> None:
    """Trajectories are exported in the order in which their last turns began."""
    begun: dict[tuple[int, int], int] = {}
    places = count(1)  # the id of a plan may be that of an earlier one

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        made = original(self, *args)
        begun[id(self), id(made)] = next(places)
        return made

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, made: Any, *rest: Any) -> None:
        original(self, made, *rest)
        last = self._tree.chains()[-1]
        begun[id(self), -last.id] = begun.get((id(self), id(made)), 0)

    @exporting(gateway)
    def sort(session: Session, exported: list[Any]) -> None:
        order = [begun.get((id(session), -chain.id), 0) for chain in session._tree.chains()]
        exported[:] = [each for _, each in sorted(zip(order, exported, strict=True), key=lambda pair: pair[0])]


@mutant("CONC-006")
def serialised_turns_overlap(gateway: Sabotage) -> None:
    """A session takes the option to run one turn at a time, and does nothing about it."""

    @gateway.wrap(Session, "__init__")
    def init(original: Any, self: Session, *args: Any, **fields: Any) -> None:
        original(self, *args, **fields)
        self._serial = None


@mutant("CONC-007", bugs=(41,))
def answer_is_read_from_the_session(gateway: Sabotage) -> None:
    """A turn reads its answer from its user's part of the session when it ends, where another turn of that user may
    have left its own."""
    latest: dict[tuple[Session, bytes], tuple[int, bytes, Answer]] = {}

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        place = (session, isolation.partition())
        number = latest[place][0] if place in latest else 0
        answer: Answer = await run()
        if place in latest and latest[place][0] != number and latest[place][1] != keys[-1]:
            return latest[place][2]
        if answer.completion_tokens:
            latest[place] = (number + 1, keys[-1], answer)
        return answer

    around_attempts(gateway, attempt)


@mutant("CONC-008")
def prompt_is_read_from_the_session(gateway: Sabotage) -> None:
    """The prompt of a new trajectory is kept in its user's part of the session until the turn ends, and the user's next
    turn overwrites it."""
    prompts: dict[tuple[Session, bytes], list[int]] = {}

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        made = original(self, *args)
        place = (self, isolation.partition())
        prompts[place] = made.delta if made.match.parent is None else prompts.get(place, [])
        return made

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, made: Any, *rest: Any) -> None:
        delta = prompts[self, isolation.partition()]
        original(self, replace(made, delta=delta) if made.match.parent is None else made, *rest)


@mutant("CONC-008", also=("CONC-005",), bugs=(6,))
def turn_is_appended_to_what_another_left(gateway: Sabotage) -> None:
    """A turn that ends goes behind whatever the session holds by then, if that is more than when it began."""
    sizes: dict[int, int] = {}

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        made = original(self, *args)
        sizes[id(made)] = len(self._tree.chains())
        return made

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, made: Any, *rest: Any) -> None:
        chains = self._tree.chains()
        late = made.match.parent is None and len(chains) > sizes[id(made)] and chains[-1].tip.asked != made.asked
        match = Match(chains[-1].tip, chains[-1].id) if late else made.match
        original(self, replace(made, match=match), *rest)


@mutant("CONC-009")
def request_in_flight_is_a_conflict(gateway: Sabotage) -> None:
    """The turns in flight are kept by what they ask, and a second of the same is refused."""
    asked: set[tuple[Session, bytes]] = set()

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        name = (session, keys[-1])
        if name in asked and not session._tree.chains() and session._retries is None:
            raise BackendRefused("this request is in flight")
        asked.add(name)
        try:
            return await run()
        finally:
            asked.discard(name)

    around_attempts(gateway, attempt)


@mutant("CONC-010", bugs=(48,))
def tokenizer_is_borrowed_under_load(gateway: Sabotage) -> None:
    """A tokenizer that serves one thread at a time fails as soon as some turns run at once."""
    running: list[Session] = []

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        if len(running) >= BUSY:
            raise BackendFailed("Already borrowed")
        running.append(session)
        try:
            return await run()
        finally:
            running.remove(session)

    around_attempts(gateway, attempt)


@mutant("CONC-010", bugs=(41,))
def sessions_share_a_buffer(gateway: Sabotage) -> None:
    """Under load, a turn is recorded with the ids that came in last, of whichever session."""
    running: list[Session] = []
    ids: list[int] = []

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        running.append(session)
        try:
            return await run()
        finally:
            running.remove(session)

    around_attempts(gateway, attempt)

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, made: Any, generation: Generation, *rest: Any) -> None:
        mixed = len(set(running)) >= BUSY and ids
        ids[:] = generation.ids
        original(self, made, replace(generation, ids=[*ids[:-1], ids[0], ids[-1]]) if mixed else generation, *rest)


@mutant("CONC-011", bugs=(29,))
def given_up_turn_counts_as_running(gateway: Sabotage) -> None:
    """A turn whose client hung up stays in the list of running turns, and the same request is refused as a double."""
    given_up: set[tuple[Session, bytes]] = set()

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        if (session, keys[-1]) in given_up:
            raise BackendRefused("this request is in flight")
        try:
            return await run()
        except asyncio.CancelledError:
            given_up.add((session, keys[-1]))
            raise

    around_attempts(gateway, attempt)


@mutant("CONC-011", also=("COMMIT-015", "COMMIT-016"), bugs=(29,))
def hang_up_leaves_the_trajectory_reserved(gateway: Sabotage) -> None:
    """The trajectory that a turn continues is released when the turn ends, and a turn that was given up never does."""
    gone: list[tuple[Tree, int]] = []

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        match = session._tree.match(keys)
        try:
            return await run()
        except asyncio.CancelledError:
            if match.chain is not None:
                gone.append((session._tree, match.chain))
                session._tree.hold(match)
            raise

    around_attempts(gateway, attempt)
