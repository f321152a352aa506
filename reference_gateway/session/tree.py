"""The prefix tree of one session: which tokens a request continues, and what is exported in the end.

Two rules:

1. A token, once committed, stays as and where it is. Nodes are immutable, nothing is ever cut out of a token list.
2. A sampled token is trainable once: it belongs to the one chain that committed it.

Theory of operation. A committed generation is a `Node`: the context tokens that it adds to its parent's (put there by
the gateway), the tokens that were sampled behind them, and the keys of the message history that they stand for. A
path from a root to a node is what the model saw. A *chain* is a name for a path that grows: it has a tip, and it owns
the nodes that were committed under its id, which are always the end of its path. What stands before them was committed
by another chain and is carried as prompt. One chain is exported as one trajectory.

A turn goes through four steps. Between the first and the last the tree may change; nothing of the turn is in it yet.

    match(keys)           where to continue: pure
    hold(match)           its chain is in flight, until `release`
    grow(match, ...)      the node to commit, or stop(match, ...) the closing of a chain that is full: pure
    apply(record)         the one change of state; cannot fail, and replaying all records rebuilds the tree

A request is given as the keys of its prefixes (identity.py), so the tree compares 32 bytes and never reads a message.
Where it continues, from the deepest prefix to the shallowest (contract UA-CHN, UA-RB):

    the prefix is                        | and                                     | then
    -------------------------------------|-----------------------------------------|---------------------------------
    the whole history of a node          | a tip of it is free: the newest         | its chain is continued
                                         | none: every tip has a turn in flight,   | a new chain branches off the
                                         | or others continued it already          | newest
    all before a tip's last assistant,   | the policy takes it, and just one tip   | the tip's parent is continued by
    and the request goes on otherwise    |                                         | the tip's chain, tip superseded
                                         | the policy takes it, and several tips   | a new chain branches off the
                                         |                                         | newest's parent: no guess
                                         | the policy does not                     | look at shallower prefixes
    nothing                              |                                         | a new chain, from the root

The request that ends where a tip's last assistant began is a repeat, not a rewrite, and has a policy of its own. A
chain that was closed is exported and never continued. A chain that has logprobs is continued by turns that have them,
and one that has none by turns that have none; otherwise the turn branches off, so that a trajectory is aligned or has
none.

Never here: asyncio, a clock, HTTP, a codec, a message.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reference_gateway.context import Run
from reference_gateway.types import LogprobsOf, Media

NO_MEDIA = Media()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One committed generation. `logprobs` has one entry per sampled token, or is None; `logprobs_of` says what they
    are of, where the backend does.

    `asked` and `keys` identify the path's messages without and with the sampled assistant message; there are two
    spellings when clients can echo it in two ways. `depth` counts the path's messages, `turns` those of user and
    assistant, `start` the tokens before `context`. `replaces` is the sequence number of the node that it supersedes.
    """

    sequence: int
    chain: int
    parent: Node | None
    replaces: int | None
    asked: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    depth: int
    turns: int
    start: int
    context: Run
    sampled: Run
    logprobs: array[float] | None
    versions: tuple[int, int] | None
    media: Media
    routed_experts: Any = None
    logprobs_of: LogprobsOf | None = None

    @property
    def end(self) -> int:
        """Tokens of the path, this node's included."""
        return self.start + len(self.context) + len(self.sampled)

    def path(self) -> list[Node]:
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes


@dataclass(frozen=True, slots=True)
class Stop:
    """A chain that is full is closed. `replaces` is the sequence number of the tip that is superseded by that."""

    sequence: int
    chain: int
    replaces: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Match:
    """Where a turn continues. `parent` None: from the root. `chain` None: on a new chain. `replaces`: the tip that is
    superseded when the turn commits. `parent` covers the first `depth` messages of the request."""

    parent: Node | None = None
    chain: int | None = None
    replaces: Node | None = None

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth

    @property
    def start(self) -> int:
        return 0 if self.parent is None else self.parent.end


FRESH = Match()


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of answers that the client rejected (contract section 5)."""

    multi_chain: bool = True
    reuse_first: bool = False
    rollback_last: bool = True
    replace_repeated: bool = False


@dataclass(slots=True, eq=False)
class Chain:
    """A path that grows. `sequence` is that of its last commit or of its closing: chains are exported in that order."""

    id: int
    tip: Node
    sequence: int
    in_flight: bool = False
    closed: bool = False
    reason: str | None = None
    rollbacks: int = 0
    dropped: int = 0

    @property
    def free(self) -> bool:
        return not (self.closed or self.in_flight)

    def split(self) -> tuple[list[Node], list[Node]]:
        """The path in two: what other chains committed (prompt), and what this one did (prompt, then response)."""
        path = self.tip.path()
        own = next(i for i, node in enumerate(path) if node.chain == self.id)
        return path[:own], path[own:]


class Tree:
    """All nodes of one session. `rollbacks` and `dropped` count superseded generations and their sampled tokens."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.rollbacks = 0
        self.dropped = 0
        self._sequence = 0
        self._last_chain = 0
        self._chains: dict[int, Chain] = {}
        self._by_key: dict[bytes, list[Node]] = {}
        self._by_asked: dict[bytes, list[Node]] = {}

    # -- reading

    def chains(self) -> list[Chain]:
        """In the order of export: by last commit or closing."""
        return sorted(self._chains.values(), key=lambda chain: chain.sequence)

    def answered(self, key: bytes) -> Iterator[Node]:
        """The generations that answered exactly this request and still count, the newest first."""
        return reversed(self._by_asked.get(key, []))

    def twin(self, node: Node) -> Node | None:
        """A committed generation with the same message in the same place as `node`, which is not committed yet."""
        for other in self._by_key.get(node.keys[0], ()):
            if other.parent is node.parent and other.asked == node.asked:
                return other
        return None

    # -- one turn

    def match(self, keys: Sequence[bytes], logprobs: bool | None = None) -> Match:
        """Where a request continues. `keys[i]` identifies its first i messages, `keys[0]` its tools. `logprobs`:
        whether this turn records them; None if chains need not be of one kind."""
        last = len(keys) - 1
        for depth in range(last, 0, -1):
            same = [node for node in self._by_key.get(keys[depth], ()) if not self._is_closed_tip(node)]
            if same:
                return self._continue(same, logprobs)
            tips = [
                node
                for node in self._by_asked.get(keys[depth], ())
                if self._is_free_tip(node) and self._may_supersede(node, repeated=depth == last)
            ]
            if tips:
                return self._rewrite(tips, logprobs)
        return FRESH

    def hold(self, match: Match) -> None:
        """A turn is in flight on the match's chain: it is not selected again until `release`."""
        if match.chain is not None:
            self._chains[match.chain].in_flight = True

    def release(self, match: Match) -> None:
        chain = self._chains.get(match.chain) if match.chain is not None else None
        if chain is not None:
            chain.in_flight = False

    def grow(
        self,
        match: Match,
        *,
        asked: tuple[bytes, ...],
        keys: tuple[bytes, ...],
        depth: int,
        turns: int,
        context: Sequence[int],
        sampled: Sequence[int],
        logprobs: Sequence[float] | None = None,
        versions: tuple[int, int] | None = None,
        media: Media = NO_MEDIA,
        routed_experts: Any = None,
        logprobs_of: LogprobsOf | None = None,
    ) -> Node:
        """The node that commits a turn. `depth` and `turns` count what the turn adds, its assistant included."""
        if logprobs is not None and len(logprobs) != len(sampled):
            raise ValueError(f"{len(logprobs)} logprobs for {len(sampled)} sampled tokens")
        chain = self._chains.get(match.chain) if match.chain is not None else None
        if chain is not None and chain.closed:
            chain = None  # closed by another turn's new chain (multi_chain false) while this one was in flight
        parent = match.parent
        return Node(
            sequence=self._sequence + 1,
            chain=self._last_chain + 1 if chain is None else chain.id,
            parent=parent,
            replaces=None if chain is None or match.replaces is None else match.replaces.sequence,
            asked=asked,
            keys=keys,
            depth=match.depth + depth,
            turns=turns + (0 if parent is None else parent.turns),
            start=match.start,
            context=Run(context),
            sampled=Run(sampled),
            logprobs=None if logprobs is None else array("d", logprobs),
            versions=versions,
            media=media,
            routed_experts=routed_experts,
            logprobs_of=None if logprobs is None else logprobs_of,
        )

    def stop(self, match: Match, reason: str) -> Stop | None:
        """The closing of the match's chain, which has no room for the turn. None when it would have been a new chain:
        then nothing is recorded (contract UA-CAP-02)."""
        if match.chain is None:
            return None
        replaces = None if match.replaces is None else match.replaces.sequence
        return Stop(self._sequence + 1, match.chain, replaces, reason)

    def apply(self, record: Node | Stop) -> None:
        self._sequence = record.sequence
        if isinstance(record, Stop):
            self._close(record)
        else:
            self._attach(record)

    # -- how

    def _continue(self, same: list[Node], logprobs: bool | None) -> Match:
        free = [node for node in same if self._is_free_tip(node) and _records(node, logprobs)]
        if free:
            tip = max(free, key=_age)
            return Match(tip, tip.chain)
        return Match(max(same, key=_age))

    def _rewrite(self, tips: list[Node], logprobs: bool | None) -> Match:
        newest = max(tips, key=_age)
        if len(tips) > 1 or not _records(newest, logprobs):
            return Match(newest.parent)
        return Match(newest.parent, newest.chain, newest)

    def _is_free_tip(self, node: Node) -> bool:
        chain = self._chains[node.chain]
        return chain.tip is node and chain.free

    def _is_closed_tip(self, node: Node) -> bool:
        chain = self._chains[node.chain]
        return chain.tip is node and chain.closed

    def _may_supersede(self, node: Node, repeated: bool) -> bool:
        if repeated:
            return self.policy.replace_repeated
        return self.policy.reuse_first if node.parent is None else self.policy.rollback_last

    def _attach(self, node: Node) -> None:
        chain = self._chains.get(node.chain)
        if chain is None:
            if not self.policy.multi_chain:
                for other in self._chains.values():
                    other.closed = True
            self._last_chain = node.chain
            self._chains[node.chain] = Chain(node.chain, node, node.sequence)
        else:
            if node.replaces is not None:
                self._supersede(chain)
            chain.tip, chain.sequence = node, node.sequence
        for key in node.keys:
            self._by_key.setdefault(key, []).append(node)
        for key in node.asked:
            self._by_asked.setdefault(key, []).append(node)

    def _close(self, stop: Stop) -> None:
        chain = self._chains[stop.chain]
        if stop.replaces is not None:
            parent = chain.tip.parent
            self._supersede(chain)
            if parent is None or parent.chain != chain.id:
                # Nothing of its own is left: a trajectory that is all prompt is nothing to learn from (UA-RB-10).
                del self._chains[chain.id]
                return
            chain.tip = parent
        chain.closed, chain.reason, chain.sequence = True, stop.reason, stop.sequence

    def _supersede(self, chain: Chain) -> None:
        tip = chain.tip
        for index, keys in ((self._by_key, tip.keys), (self._by_asked, tip.asked)):
            for key in keys:
                index[key].remove(tip)
        chain.rollbacks += 1
        chain.dropped += len(tip.sampled)
        self.rollbacks += 1
        self.dropped += len(tip.sampled)


def _age(node: Node) -> int:
    return node.sequence


def _records(node: Node, logprobs: bool | None) -> bool:
    return logprobs is None or (node.logprobs is not None) == logprobs
