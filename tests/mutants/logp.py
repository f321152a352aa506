"""Mutants of area LOGP: logprobs are lost, shifted, made up or put where none were; weight versions are mixed up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import reference_gateway.backends.base as base
import reference_gateway.backends.vllm as vllm
import reference_gateway.session.trajectory as trajectory
from reference_gateway.session import Session
from reference_gateway.session.tree import Chain, Node, Tree
from reference_gateway.types import BackendFailed, Generation
from reference_gateway.wire.base import DEFAULT_SAMPLING
from tests.mutants.commit import streaming
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import exporting

Read = Callable[[Any, Session, Generation, bool], list[float] | None]
Versions = tuple[int, int]


def _reading(gateway: Sabotage) -> Callable[[Read], None]:
    """Decorator: `read(right, session, generation, requested)` are the logprobs of a turn that are recorded."""

    def install(read: Read) -> None:
        @gateway.wrap(Session, "_checked_logprobs")
        def checked(original: Any, self: Session, generation: Generation, requested: bool) -> Any:
            return read(lambda: original(self, generation, requested), self, generation, requested)

    return install


def _is_odd(generation: Generation) -> bool:
    return generation.logprobs is None or len(generation.logprobs) != len(generation.ids)


@mutant("LOGP-001", bugs=(62,))
def last_id_has_two_logprobs(gateway: Sabotage) -> None:
    """The exporter appends a logprob for an end-of-turn id that it adds only where the engine left it out."""

    @exporting(gateway)
    def append(session: Session, exported: list[Any]) -> None:
        ended = session._codec.vocabulary.control_ids  # type: ignore[attr-defined]
        for each in exported:
            if each.response_logprobs and each.response_ids[-1] not in ended:
                each.response_logprobs.append(0.0)


@mutant(
    "LOGP-001", also=("LOGP-002", "LOGP-003", "LOGP-004", "LOGP-005", "LOGP-011", "LOGP-013", "SPLIT-028"), bugs=(8, 32)
)
def gaps_have_no_logprobs(gateway: Sabotage) -> None:
    """Only sampled ids have a logprob, so that a trajectory of several turns has too few."""

    @exporting(gateway)
    def leave_out(session: Session, exported: list[Any]) -> None:
        for each in exported:
            if each.response_logprobs:
                each.response_logprobs = [
                    value for value, one in zip(each.response_logprobs, each.response_mask, strict=True) if one
                ]


@mutant("LOGP-002", bugs=(62,))
def logprobs_of_a_cut_answer_end_early(gateway: Sabotage) -> None:
    """The last logprob is taken for that of the end-of-turn id, and zeroed, also where it was cut for length."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        logprobs: list[float] | None = right()
        return [*logprobs[:-1], 0.0] if logprobs and generation.stop_reason == "length" else logprobs


@mutant("LOGP-002", bugs=(56,))
def streamed_turns_have_zeros(gateway: Sabotage) -> None:
    """The logprobs of a streamed turn are not collected from its chunks."""
    streamed = streaming(gateway)

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        logprobs: list[float] | None = right()
        return [0.0] * len(logprobs) if logprobs and streamed.get() else logprobs


@mutant("LOGP-002", also=("LOGP-004", "LOGP-005", "LOGP-011", "LOGP-013", "SPLIT-028"), bugs=(30, 32))
def logprobs_are_shifted_by_one(gateway: Sabotage) -> None:
    """Each logprob is that of the id before."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        logprobs: list[float] | None = right()
        return [0.0, *logprobs[:-1]] if logprobs else logprobs


@mutant("LOGP-003")
def gaps_repeat_the_last_logprob(gateway: Sabotage) -> None:
    """The ids between two turns get the logprob of the id before them."""

    @exporting(gateway)
    def repeat(session: Session, exported: list[Any]) -> None:
        for each in exported:
            for place, one in enumerate(each.response_mask):
                if each.response_logprobs and not one:
                    each.response_logprobs[place] = each.response_logprobs[place - 1]


@mutant("LOGP-004", bugs=(30,))
def branch_loses_the_logprobs_of_its_first_turn(gateway: Sabotage) -> None:
    """The logprobs of a branch are lined up by the length of its trunk, and its first turn is zeroed."""

    @gateway.wrap(trajectory, "_logprobs")
    def logprobs(original: Any, own: list[Node]) -> list[float] | None:
        values: list[float] | None = original(own)
        if values is not None and own[0].parent is not None:
            values[: len(own[0].sampled)] = [0.0] * len(own[0].sampled)
        return values


@mutant("LOGP-005")
def no_logprobs_for_no_ids_are_none(gateway: Sabotage) -> None:
    """A turn that sampled nothing counts as one without logprobs, and then the trajectory has none."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        return right() or None


@mutant("LOGP-006")
def volunteered_logprobs_are_recorded(gateway: Sabotage) -> None:
    """Whatever logprobs an engine sends are recorded, asked for or not."""

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, self: Session, plan: Any, generation: Generation, logprobs: Any, *rest: Any) -> None:
        volunteered = logprobs is None and not _is_odd(generation)
        original(self, plan, generation, generation.logprobs if volunteered else logprobs, *rest)


@mutant("LOGP-007")
def volunteered_logprobs_are_dropped(gateway: Sabotage) -> None:
    """Logprobs are recorded for the turns that ask for them only, whatever the session was created with."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        return right() if requested else None


@mutant("LOGP-008")
def first_turn_may_omit_its_logprobs(gateway: Sabotage) -> None:
    """A first turn decides by what the engine sends whether its conversation has logprobs at all."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        if generation.logprobs is None and not session._tree.chains():
            return None
        return right()


@mutant("LOGP-008", also=("LOGP-010", "LOGP-011"), bugs=(8, 18))
def omitted_logprobs_are_zeros(gateway: Sabotage) -> None:
    """Where an engine omits the logprobs, zeros are put in their place."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        return [0.0] * len(generation.ids) if requested and generation.logprobs is None else right()


@mutant("LOGP-009", bugs=(62,))
def misaligned_logprobs_are_dropped(gateway: Sabotage) -> None:
    """Logprobs of the wrong number are dropped, with a line in the log; the first turn has none then."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        if generation.logprobs is not None and _is_odd(generation) and not session._tree.chains():
            return None
        return right()


@mutant("LOGP-009", also=("LOGP-010", "LOGP-011"), bugs=(62,))
def misaligned_logprobs_are_fitted(gateway: Sabotage) -> None:
    """Logprobs of the wrong number are padded with zeros, or cut."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        if requested and generation.logprobs is not None and _is_odd(generation):
            return [*generation.logprobs, *[0.0] * len(generation.ids)][: len(generation.ids)]
        return right()


@mutant("LOGP-010")
def conversation_stays_reserved_after_bad_logprobs(gateway: Sabotage) -> None:
    """What a turn has reserved is released when the engine fails, but not when its logprobs are bad."""
    reserved: list[tuple[Tree, int]] = []

    @gateway.wrap(Tree, "release")
    def release(original: Any, self: Tree, match: Any) -> None:
        original(self, match)
        for tree, chain in reserved:
            if tree is self and chain in self._chains:
                self._chains[chain].in_flight = True

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        try:
            logprobs: list[float] | None = right()
        except BackendFailed:
            reserved.extend((session._tree, chain.id) for chain in session._tree.chains() if chain.in_flight)
            raise
        return logprobs


@mutant("LOGP-010", bugs=(8,))
def turn_is_recorded_before_its_logprobs_are_checked(gateway: Sabotage) -> None:
    """A later turn is recorded first, and fails then for its logprobs."""
    plans: dict[Session, Any] = {}

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        plans[self] = original(self, *args)
        return plans[self]

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        try:
            logprobs: list[float] | None = right()
        except BackendFailed:
            made = plans[session]
            if made.match.parent is not None and session._strict_logprobs:
                message = session._codec.decode(generation.ids, None)
                session._commit_turn(made, generation, None, message, made.match.parent.media)
            raise
        return logprobs


@mutant("LOGP-011", bugs=(8, 18, 32))
def opportunist_fills_in_zeros(gateway: Sabotage) -> None:
    """A session that takes what logprobs there are gets zeros where there are none, to keep them aligned."""

    @_reading(gateway)
    def read(right: Any, session: Session, generation: Generation, requested: bool) -> list[float] | None:
        if not session._strict_logprobs and requested and generation.logprobs is None:
            return [0.0] * len(generation.ids)
        return right()


@mutant("LOGP-012")
def toggled_logprobs_are_an_assertion(gateway: Sabotage) -> None:
    """A conversation whose turns asked for logprobs, and do no more, trips an assertion."""
    gateway.configure(sampling=DEFAULT_SAMPLING | {"logprobs"})

    @gateway.wrap(Tree, "match")
    def match(original: Any, self: Tree, keys: Any, logprobs: bool | None = None) -> Any:
        found = original(self, keys, None)
        if found.chain and found.parent and found.parent.logprobs is not None and not logprobs:
            raise AssertionError("logprobs of the turns do not line up")
        return found


@mutant("LOGP-013", bugs=(8, 18))
def toggled_logprobs_are_filled_up(gateway: Sabotage) -> None:
    """Turns that have logprobs and turns that have none go into one trajectory, filled up with zeros."""
    gateway.configure(sampling=DEFAULT_SAMPLING | {"logprobs"})

    @gateway.wrap(Tree, "match")
    def match(original: Any, self: Tree, keys: Any, logprobs: bool | None = None) -> Any:
        return original(self, keys, None)

    @gateway.wrap(trajectory, "_logprobs")
    def logprobs(original: Any, own: list[Node]) -> list[float] | None:
        if len({node.logprobs is None for node in own}) == 1:
            return original(own)
        values: list[float] = []
        for node in own:
            values += [0.0] * (len(node.context) if node is not own[0] else 0)
            values += node.logprobs or [0.0] * len(node.sampled)
        return values


@mutant("LOGP-014", bugs=(14,))
def pair_of_versions_counts_as_its_first(gateway: Sabotage) -> None:
    """Of an engine that changed its weights in the course of a turn, the version at the start is noted."""

    @gateway.wrap(vllm, "_versions")
    def versions(original: Any, found: Any, spans: Any) -> Versions | None:
        return original(found[0] if isinstance(found, list) else found, spans)


@mutant("LOGP-014", also=("LOGP-015", "LOGP-017"), bugs=(14,))
def last_version_counts(gateway: Sabotage) -> None:
    """The version of the last turn overwrites those before."""

    def last(chain: Chain, own: list[Node]) -> Versions | None:
        return own[-1].versions

    _noting(gateway, last)


@mutant("LOGP-015")
def versions_belong_to_the_session(gateway: Sabotage) -> None:
    """All trajectories of a session have the versions that any of them saw."""

    @exporting(gateway)
    def spread(session: Session, exported: list[Any]) -> None:
        spans = [each.extra_fields for each in exported if "min_global_steps" in each.extra_fields]
        for each in exported if spans else ():
            each.extra_fields["min_global_steps"] = min(one["min_global_steps"] for one in spans)
            each.extra_fields["max_global_steps"] = max(one["max_global_steps"] for one in spans)


@mutant("LOGP-016")
def unknown_version_is_zero(gateway: Sabotage) -> None:
    """The versions of several turns are added up from 0, which is exported where no engine reported any."""

    @exporting(gateway)
    def fill(session: Session, exported: list[Any]) -> None:
        for each in exported:
            if 0 in each.response_mask:
                each.extra_fields = {"min_global_steps": 0, "max_global_steps": 0, **each.extra_fields}


@mutant("LOGP-017", bugs=(14,))
def version_of_a_replaced_answer_stays(gateway: Sabotage) -> None:
    """The ids of a replaced answer are taken back, and the version that it was sampled with is not."""
    seen: dict[tuple[int, int], list[Versions]] = {}

    @gateway.wrap(Tree, "_attach")
    def attach(original: Any, self: Tree, node: Node) -> None:
        original(self, node)
        if node.versions is not None:
            seen.setdefault((id(self), node.chain), []).append(node.versions)

    @exporting(gateway)
    def note(session: Session, exported: list[Any]) -> None:
        for chain, each in zip(session._tree.chains(), exported, strict=True):
            versions = seen.get((id(session._tree), chain.id))
            if versions:
                each.extra_fields["min_global_steps"] = min(lowest for lowest, _ in versions)
                each.extra_fields["max_global_steps"] = max(highest for _, highest in versions)


def _noting(gateway: Sabotage, versions: Callable[[Chain, list[Node]], Versions | None]) -> None:
    @gateway.wrap(trajectory, "_extra_fields")
    def extra_fields(original: Any, chain: Chain, own: list[Node], mark: str) -> dict[str, Any]:
        extra: dict[str, Any] = original(chain, own, mark)
        found = versions(chain, own)
        for place, name in enumerate(("min_global_steps", "max_global_steps")):
            extra.pop(name, None)
            if found is not None:
                extra[name] = found[place]
        return extra


@mutant("LOGP-018")
def any_number_is_a_logprob(gateway: Sabotage) -> None:
    """What comes as a number is recorded."""
    gateway.patch(base, "check_logprobs", lambda logprobs: None)
