"""One session: takes turns, keeps what was committed, gives it out as trajectories.

Knows turns, tokens and the session's own settings; never HTTP, a template or an engine. A turn is

    match -> codec.encode -> budget -> backend.generate -> codec.decode -> commit

with one await, in the backend, and for a long generation one more while it is decoded beside the loop. What comes
before them reserves nothing but the chain, what comes after them is one synchronous step, so a turn that is refused,
that fails anywhere or is cancelled leaves the session as it was. A turn whose session was closed meanwhile commits
nothing (contract UA-CON-07).
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from reference_gateway import isolation
from reference_gateway.context import Context, Run
from reference_gateway.session.budget import LENGTH_MARKS, Budget, positive
from reference_gateway.session.conversations import Conversations
from reference_gateway.session.ends import finish_reason, require_ended, stop_strings
from reference_gateway.session.errors import SessionClosed
from reference_gateway.session.histories import Histories
from reference_gateway.session.identity import extend, identify, identify_echo, identify_tools, prefix_keys
from reference_gateway.session.options import identity_rules, policy, resolve_options
from reference_gateway.session.retry import Retries
from reference_gateway.session.settings import Settings, object_of
from reference_gateway.session.trajectory import Trajectory, context_of, export, media
from reference_gateway.session.tree import FRESH, NO_MEDIA, Match, Node, Stop, Tree
from reference_gateway.session.turns import Turns
from reference_gateway.tools.stores import Files
from reference_gateway.types import (
    Answer,
    Backend,
    BackendFailed,
    Codec,
    Generation,
    Media,
    MediaExtractor,
    Message,
    Stopped,
    Streaming,
    Token,
    Turn,
)

ENVELOPE = frozenset({"model", "messages", "tools", "stream", "n"})
"""Never sampling parameters, whoever sets them (contract UA-SMP-03)."""

LONG_GENERATION = 2048
"""Ids of a generation that is decoded in a thread, so that the turns of other sessions go on meanwhile. Shorter ones
take a few milliseconds at most, and to hand them over would cost more than it gives."""


class Phase(StrEnum):
    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    FINALIZED = "FINALIZED"
    ABORTED = "ABORTED"


@dataclass(frozen=True, slots=True)
class _Plan:
    """A turn that is ready to be sent: where it continues, and the tokens and identities that it adds there. `asked`
    are the keys of what it goes on from, `before` those of what stands before its assistant message; `answers` is how
    many messages its answer is, 0 where it is the end of the last one."""

    match: Match
    asked: tuple[bytes, ...]
    before: tuple[bytes, ...]
    answers: int
    path: list[Node]
    context: Context
    delta: Run
    suffix: Sequence[Message]


class Session:
    """`clock` gives seconds since the epoch. `journal` is called with each record (a committed `Node` or a `Stop`)
    before it is applied; if it raises, nothing was committed."""

    def __init__(
        self,
        session_id: str,
        codec: Codec,
        backend: Backend,
        settings: Settings | None = None,
        *,
        media: MediaExtractor | None = None,
        clock: Callable[[], float] = time.time,
        journal: Callable[[Node | Stop], None] | None = None,
    ) -> None:
        settings = settings or Settings()
        self.session_id = session_id
        self.options = resolve_options(settings.options)
        self.metadata = object_of("metadata", settings.metadata)
        self.phase = Phase.ACTIVE
        self.reward_info: dict[str, Any] = {}
        self.in_flight = 0
        self._conversations: dict[bytes, Conversations] = {}
        self._files: dict[bytes, Files] = {}
        self.histories = Histories()
        self.turns = Turns(session_id)
        self._sampling = object_of("sampling_params", settings.sampling_params)
        self._budget = Budget(self.options["budget"], settings.prompt_length, settings.response_length)
        self._codec = codec
        self._backend = backend
        self._extract = media
        self.journal = journal
        self._rules = identity_rules(self.options)
        self._strict_logprobs = self.options["logprobs"] == "strict"
        self._tree = Tree(policy(self.options))
        self._retries = Retries() if self.options["idempotent_retry"] == "true" else None
        self._serial = asyncio.Lock() if self.options["concurrency"] == "serialized" else None
        self._ended = asyncio.Event()
        self._clock = clock
        self.created_at = self.updated_at = clock()

    # -- turns

    async def run(self, turn: Turn) -> Answer:
        """Answer one turn and commit it. Raises `SessionClosed`, `InvalidField`, `BackendFailed` for unusable logprobs,
        and whatever the codec or the backend raise."""
        self._require_active()
        self.in_flight += 1
        try:
            if self._serial is None:
                return await self._run(turn)
            async with self._serial:
                self._require_active()
                return await self._run(turn)
        finally:
            self.in_flight -= 1

    @property
    def sampling_params(self) -> Mapping[str, Any]:
        """What its turns are sampled with where a request does not say otherwise."""
        return self._sampling

    def count(self, turn: Turn) -> int:
        """Tokens of the context that this turn would be sent with now. Nothing changes; raises as `run` does."""
        self._require_active()
        sampling, _ = self._effective_sampling(turn)
        identities, keys = self._identified(turn)
        return len(self._plan(turn, self._match(turn, keys, sampling), keys, identities).context)

    def stop_strings(self, sampling: Mapping[str, Any]) -> Sequence[str]:
        """Those under which a turn with these sampling parameters is sampled."""
        return stop_strings({**self._sampling, **sampling})

    async def _run(self, turn: Turn) -> Answer:
        sampling, asked_tokens = self._effective_sampling(turn)
        identities, keys = self._identified(turn)
        if self._retries is None:
            return await self._attempt(turn, keys, identities, sampling, asked_tokens)
        async with self._retries.attempt(turn, keys[-1]) as answered:
            self._require_active()
            if answered is not None:
                return answered
            answer = await self._attempt(turn, keys, identities, sampling, asked_tokens)
            self._retries.record(turn, keys[-1], answer)
            return answer

    async def _attempt(
        self, turn: Turn, keys: list[bytes], identities: list[bytes], sampling: dict[str, Any], asked_tokens: int | None
    ) -> Answer:
        recorded = _requested(sampling.get("logprobs"))
        plan = self._plan(turn, self._match(turn, keys, sampling), keys, identities)
        remaining = self._budget.remaining(plan.match, len(plan.delta))
        if remaining is not None and remaining <= 0:
            return self._length_stop(plan)
        max_tokens = asked_tokens if remaining is None else min(asked_tokens or remaining, remaining)
        if max_tokens is not None:
            sampling["max_tokens"] = max_tokens
        if turn.logprobs and not recorded:
            sampling["logprobs"] = True
        with self._held(plan.match):
            added, sent = self._media(plan)
            generation = await self._generate(plan.context, sampling, sent, turn)
            self._require_active()
            logprobs = self._checked_logprobs(generation, recorded or turn.logprobs)
            stops = stop_strings(sampling)
            if len(generation.ids) < LONG_GENERATION:
                message, stopped = self._read(generation, turn, stops)
            else:
                message, stopped = await asyncio.to_thread(self._read, generation, turn, stops)
                self._require_active()
            kept = logprobs if recorded or not self._strict_logprobs else None
            self._commit_turn(plan, generation, kept, _whole(message, turn), added)
        return Answer(
            message=message,
            finish_reason=finish_reason(generation.stop_reason, message, stopped),
            prompt_tokens=len(plan.context),
            completion_tokens=len(generation.ids),
            stop_sequence=None if stopped is None else stopped.stop,
            tokens=self._tokens(generation.ids, logprobs or ()) if turn.logprobs else None,
        )

    async def _generate(self, context: Context, sampling: dict[str, Any], media: Media, turn: Turn) -> Generation:
        about: dict[str, Any] = {"session_id": self.session_id, "media": media}
        if turn.constraint is not None:
            about["grammar"] = self._codec.grammar(turn.constraint, turn.tools, context)
        progress = turn.progress
        if progress is None:
            generation = await self._backend.generate(context, sampling, **about)
        else:
            progress.started(len(context))
            generation = await cast(Streaming, self._backend).generate(context, sampling, **about, progress=progress)
        require_ended(generation)
        return generation

    def _read(self, generation: Generation, turn: Turn, stops: Sequence[str]) -> tuple[Message, Stopped | None]:
        """What is shown of a generation, and where a stop string ended it. Called in a thread of its own where that
        takes long."""
        stopped = self._stopped(generation, stops)
        return self._shown(generation, turn, stopped), stopped

    def _stopped(self, generation: Generation, stops: Sequence[str]) -> Stopped | None:
        """Where its text reaches a stop string: what the engine says, and where it does not say, what the text does."""
        matched = generation.matched if isinstance(generation.matched, str) else ""
        return self._codec.find_stop(generation.ids, stops, matched or None) if stops or matched else None

    def _identified(self, turn: Turn) -> tuple[list[bytes], list[bytes]]:
        identities = [identify(message, self._rules) for message in turn.messages]
        return identities, prefix_keys(identify_tools(turn.tools, isolation.partition()), identities)

    def _match(self, turn: Turn, keys: list[bytes], sampling: Mapping[str, Any]) -> Match:
        recorded = _requested(sampling.get("logprobs")) if self._strict_logprobs else None
        match = self._tree.match(keys, recorded)
        if not turn.continues_last:
            return match
        if match.parent is not None and match.depth == len(turn.messages) and self._is_cut_off(match.parent, turn):
            return match
        # The message to go on with is text of the client's, also where it is the text of an answer that has ended.
        return self._tree.match(keys[:-1], recorded)

    def _is_cut_off(self, node: Node, turn: Turn) -> bool:
        """Whether the turn's last message ends as this generation does, and the generation has not ended."""
        if node.sampled and self._codec.ends_turn(node.sampled[-1]):
            return False
        last: str = self._codec.decode(node.sampled.tolist(), turn.tools)["content"]
        return str(turn.messages[-1]["content"]).endswith(last)

    def _shown(self, generation: Generation, turn: Turn, stopped: Stopped | None) -> Message:
        """The message that the client is shown, and will echo: without the stop string, and with one call where it
        wants no more. What was sampled stays whole; the message is identified as it is shown, so that a client that
        sends it back continues the chain."""
        how: dict[str, Any] = {"continues_last": True} if turn.continues_last else {}
        if stopped is not None:
            how["until"] = stopped.place
        message = self._codec.decode(generation.ids, turn.tools, **how)
        calls = message.get("tool_calls")
        return {**message, "tool_calls": calls[:1]} if turn.one_call and calls else message

    def _tokens(self, ids: Sequence[int], logprobs: Sequence[float]) -> list[Token]:
        return [
            Token(self._codec.token_bytes(token_id), logprob) for token_id, logprob in zip(ids, logprobs, strict=True)
        ]

    def _effective_sampling(self, turn: Turn) -> tuple[dict[str, Any], int | None]:
        sampling = {name: value for name, value in self._sampling.items() if name not in ENVELOPE}
        sampling |= turn.sampling
        asked = sampling.pop("max_tokens", None)
        if turn.max_tokens is not None:
            asked = turn.max_tokens
        elif "max_tokens" not in self._sampling:
            return sampling, None
        return sampling, positive("max_tokens", asked)

    def _plan(self, turn: Turn, match: Match, keys: list[bytes], identities: list[bytes]) -> _Plan:
        match, path, added = self._encode(turn, match)
        delta = Run(added)
        # A history can be known under two keys (identity.py): what is added is identified behind each of them.
        beginnings = (keys[0],) if match.parent is None else match.parent.keys
        suffix, new = turn.messages[match.depth :], identities[match.depth :]
        if turn.continues_last:
            new = new[:-1]  # it is identified with what is sampled behind it
        asked = before = tuple(dict.fromkeys(extend(key, new) for key in beginnings))
        if not suffix and turn.continues_last and match.parent is not None:
            before = match.parent.asked
        return _Plan(
            match, asked, before, 0 if turn.continues_last else 1, path, context_of(path, delta), delta, suffix
        )

    def _encode(self, turn: Turn, match: Match) -> tuple[Match, list[Node], list[int]]:
        how = {"continues_last": True} if turn.continues_last else {}
        if match.parent is None:
            return match, [], self._codec.encode(turn.messages, turn.tools, turn.template_kwargs, **how)
        path = match.parent.path()
        history, suffix = turn.messages[: match.depth], turn.messages[match.depth :]
        if not suffix:
            return match, path, []
        last_id = match.parent.sampled[-1] if match.parent.sampled else None
        delta = self._codec.encode_suffix(history, suffix, turn.tools, turn.template_kwargs, last_id, **how)
        if delta is not None:
            return match, path, delta
        full = self._codec.encode(turn.messages, turn.tools, turn.template_kwargs, **how)
        if full[: match.start] == context_of(path):
            return match, path, full[match.start :]
        return FRESH, [], full

    def _media(self, plan: _Plan) -> tuple[Media, Media]:
        """What the turn adds, and all that its context refers to."""
        if self._extract is None:
            return NO_MEDIA, NO_MEDIA
        added = self._extract.extract(plan.suffix)
        return added, media(plan.path, added)

    def _length_stop(self, plan: _Plan) -> Answer:
        stop = self._tree.stop(plan.match, LENGTH_MARKS[self._budget.kind][1])
        if stop is not None:
            self._commit(stop)
        return Answer({"role": "assistant", "content": ""}, "length", len(plan.context), 0)

    def _checked_logprobs(self, generation: Generation, requested: bool) -> list[float] | None:
        logprobs, count = generation.logprobs, len(generation.ids)
        if requested:
            if logprobs is None and count:
                raise BackendFailed("the backend omitted logprobs when requested")
            if logprobs is not None and len(logprobs) != count:
                raise BackendFailed(f"the backend returned {len(logprobs)} logprobs for {count} tokens")
            return logprobs or []
        if self._strict_logprobs or logprobs is None or len(logprobs) != count:
            return None
        return logprobs

    def _commit_turn(
        self, plan: _Plan, generation: Generation, logprobs: list[float] | None, message: Message, added: Media
    ) -> None:
        before = plan.before
        own = identify(message, self._rules)
        echoed = identify_echo(message, self._rules) if message.get("tool_calls") else own
        node = self._tree.grow(
            plan.match,
            asked=plan.asked,
            keys=tuple(dict.fromkeys((extend(before[0], (own,)), extend(before[-1], (echoed,))))),
            depth=len(plan.suffix) + plan.answers,
            turns=sum(message["role"] in ("user", "assistant") for message in plan.suffix) + plan.answers,
            context=plan.delta,
            sampled=generation.ids,
            logprobs=logprobs,
            versions=generation.versions,
            media=added,
            routed_experts=generation.routed_experts,
            logprobs_of=generation.logprobs_of,
        )
        if self._retries is not None and plan.match.chain is None and self._tree.twin(node) is not None:
            self._touch()
            return  # the retry of a turn gave its text again: it is there already (contract UA-TRIE-06)
        self._commit(node)

    def _commit(self, record: Node | Stop) -> None:
        if self.journal is not None:
            self.journal(record)
        self._tree.apply(record)
        self._touch()

    @contextmanager
    def _held(self, match: Match) -> Iterator[None]:
        self._tree.hold(match)
        try:
            yield
        finally:
            self._tree.release(match)

    # -- reading

    @property
    def conversations(self) -> Conversations:
        """Those of the isolation keys that the request in progress has."""
        return self._conversations.setdefault(isolation.partition(), Conversations())

    @property
    def files(self) -> Files:
        """Those of the isolation keys that the request in progress has."""
        return self._files.setdefault(isolation.partition(), Files())

    def state(self) -> dict[str, Any]:
        """A snapshot as JSON (contract UA-LC-11). `num_trajectories` counts the closed ones."""
        chains = self._tree.chains()
        active = sorted((chain for chain in chains if not chain.closed), key=lambda chain: chain.id)
        return {
            "session_id": self.session_id,
            "phase": self.phase.value,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "num_trajectories": len(chains) - len(active),
            "has_active_trajectory": bool(active),
            "num_active_chains": len(active),
            "active_chain_ids": [chain.id for chain in active],
            "active_chain_tip_hashes": [chain.tip.keys[0].hex() for chain in active],
            "rollback_count": self._tree.rollbacks,
            "rollback_dropped_trainable_tokens_total": self._tree.dropped,
            "reward_info": copy.deepcopy(self.reward_info),
            "options": dict(self.options),
            "metadata": copy.deepcopy(self.metadata),
        }

    def trajectories(self) -> list[Trajectory]:
        """What `finalize` would return now: copies, in the order of the last commit or closing."""
        mark = LENGTH_MARKS[self._budget.kind][0]
        return [export(chain, self.reward_info, mark) for chain in self._tree.chains()]

    # -- ends

    def set_reward(self, reward_info: Mapping[str, Any] | None) -> None:
        """Replace the reward, not merge; None keeps the one before (contract UA-RWD-02)."""
        self._require_active()
        self._reward(reward_info)

    def complete(self, reward_info: Mapping[str, Any] | None = None) -> None:
        """No more turns; readable until finalized. May be repeated, the last reward that is not None wins."""
        if self.phase is not Phase.COMPLETED:
            self._require_active()
        self._reward(reward_info)
        self._end(Phase.COMPLETED)

    def finalize(self) -> list[Trajectory]:
        """The trajectories, the last time. Does not wait for turns in flight. `SessionClosed` once it was ended."""
        if self.phase is not Phase.COMPLETED:
            self._require_active()
        trajectories = self.trajectories()
        self._end(Phase.FINALIZED)
        self._discard()
        return trajectories

    def abort(self) -> None:
        """Discard everything. Idempotent, and nothing on a finalized session."""
        if self.phase in (Phase.FINALIZED, Phase.ABORTED):
            return
        self._end(Phase.ABORTED)
        self._discard()

    async def wait_for_completion(self, timeout: float | None = None) -> None:
        """Returns once the session is completed or finalized. `TimeoutError` after `timeout` seconds, `RuntimeError`
        if it was aborted (contract UA-LC-12)."""
        if not self._ended.is_set():
            await asyncio.wait_for(self._ended.wait(), timeout)
        if self.phase is Phase.ABORTED:
            raise RuntimeError(f"session {self.session_id} is aborted")

    def _reward(self, reward_info: Mapping[str, Any] | None) -> None:
        if reward_info is not None:
            self.reward_info = object_of("reward_info", reward_info)
            self._touch()

    def _end(self, phase: Phase) -> None:
        self.phase = phase
        self._ended.set()
        self._touch()

    def _discard(self) -> None:
        self._tree = Tree(self._tree.policy)
        self._conversations = {}
        self._files = {}
        self.histories = Histories()
        self.turns = Turns(self.session_id)

    def _require_active(self) -> None:
        if self.phase is not Phase.ACTIVE:
            raise SessionClosed(self.session_id, self.phase.value)

    def _touch(self) -> None:
        self.updated_at = max(self.updated_at, self._clock())


def _whole(message: Message, turn: Turn) -> Message:
    """The message as the history has it: behind what the turn goes on with."""
    return {**message, "content": turn.messages[-1]["content"] + message["content"]} if turn.continues_last else message


def _requested(logprobs: Any) -> bool:
    # An engine takes a number here as well: 0 still asks for the sampled token's own.
    return logprobs is not None and logprobs is not False
