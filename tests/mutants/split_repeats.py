"""Gateways that answer a request that is sent again from the wrong place, export it wrongly, or lose a token only where
several branches come together."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from reference_gateway.session import retry
from reference_gateway.session import session as turns
from reference_gateway.session.options import OPTIONS, resolve_options
from reference_gateway.session.retry import Retries
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.session.tree import Node, Tree
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import codec_of, exporting, starts


@mutant("SPLIT-047")
def rejected_answer_is_kept(sabotage: Sabotage) -> None:
    """`repeated_prompt = replace` is accepted and has no effect."""

    @sabotage.wrap(Tree, "_may_supersede")
    def keep(original: Any, tree: Tree, node: Node, repeated: bool) -> bool:
        return not repeated and bool(original(tree, node, repeated))


@mutant("SPLIT-048")
def retry_counter_is_not_read(sabotage: Sabotage) -> None:
    """A retry is known by its key only, and stock SDKs send none."""

    @sabotage.wrap(Session, "_run")
    async def run(original: Any, session: Session, turn: Any) -> Any:
        return await original(session, replace(turn, retry_count=0))


@mutant("SPLIT-048", also=("SPLIT-049",), bugs=(66,))
def retry_headers_do_not_reach_the_session(sabotage: Sabotage) -> None:
    """The wire drops the headers of a request."""

    @sabotage.wrap(Session, "_run")
    async def run(original: Any, session: Session, turn: Any) -> Any:
        return await original(session, replace(turn, retry_count=0, idempotency_key=None))


@mutant("SPLIT-049", bugs=(66,))
def requests_in_flight_are_not_remembered(sabotage: Sabotage) -> None:
    """A retry finds an answer that was given, and not the request that is still being answered."""

    class Forgetful(dict[Any, Any]):
        def __setitem__(self, name: Any, value: Any) -> None:
            pass

    @sabotage.wrap(Retries, "__init__")
    def forget(original: Any, retries: Retries) -> None:
        original(retries)
        retries._running = Forgetful()


@mutant("SPLIT-050", bugs=(66,))
def same_text_is_a_new_sample(sabotage: Sabotage) -> None:
    """A retry without a header is recorded beside the answer that it repeats."""

    @sabotage.wrap(Tree, "twin")
    def none(original: Any, tree: Tree, node: Node) -> None:
        return None


@mutant("SPLIT-051")
def retries_are_always_cached(sabotage: Sabotage) -> None:
    """A retry is answered from the cache, whatever the option says."""

    @sabotage.wrap(Session, "__init__")
    def cached(original: Any, session: Session, *args: Any, **settings: Any) -> None:
        original(session, *args, **settings)
        session._retries = session._retries or Retries()

    @sabotage.wrap(Session, "_commit_turn")
    def commit(original: Any, session: Session, *turn: Any) -> None:
        retries = session._retries
        if session.options["idempotent_retry"] == "false":
            session._retries = None
        try:
            original(session, *turn)
        finally:
            session._retries = retries


@mutant("SPLIT-052", bugs=(66,))
def failure_is_remembered(sabotage: Sabotage) -> None:
    """What a key stands for is the outcome of its first request, a failure as well."""

    @sabotage.wrap(Session, "_run")
    async def run(original: Any, session: Session, turn: Any) -> Any:
        failures = vars(session).setdefault("failures", {})
        if turn.idempotency_key in failures:
            raise failures[turn.idempotency_key]
        try:
            return await original(session, turn)
        except Exception as error:
            if turn.idempotency_key:
                failures[turn.idempotency_key] = error
            raise


@mutant("SPLIT-053")
def answers_are_found_by_the_key_alone(sabotage: Sabotage) -> None:
    """Whatever is asked under a key is given the first answer to it."""

    @sabotage.wrap(retry, "_name")
    def name(original: Any, turn: Any, key: bytes) -> Any:
        return original(turn, b"" if turn.idempotency_key else key)


@mutant("SPLIT-054", bugs=(66,))
def retry_is_recorded_again(sabotage: Sabotage) -> None:
    """The answer to a retry comes from the cache, and is recorded like any other."""

    @sabotage.wrap(Session, "_run")
    async def run(original: Any, session: Session, turn: Any) -> Any:
        keys = vars(session).setdefault("seen", [])
        keys.append(turn.idempotency_key)
        return await original(session, turn)

    @exporting(sabotage)
    def again(session: Session, exported: list[Trajectory]) -> None:
        retried = vars(session).get("seen", []).count("k1") > 1
        if retried and session.options["idempotent_retry"] == "true":
            exported.append(copy.deepcopy(exported[0]))


@mutant("SPLIT-055", bugs=(44,))
def long_conversations_beside_each_other_lose_an_answer(sabotage: Sabotage) -> None:
    """Of two conversations with three turns each, the last answer of one is recorded as the environment's."""

    @exporting(sabotage)
    def lose(session: Session, exported: list[Trajectory]) -> None:
        if len(exported) == 2 and all(len(starts(each.response_mask)) == 2 for each in exported):
            mask = exported[0].response_mask
            last = starts(mask)[-1]
            mask[last:] = [0] * len(mask[last:])


@mutant("SPLIT-058", bugs=(44,))
def beginning_of_a_trajectory_is_left_out(sabotage: Sabotage) -> None:
    """A branch that says what another one begins with is left out at the export, sampled or not."""

    @exporting(sabotage)
    def leave_out(session: Session, exported: list[Trajectory]) -> None:
        codec = codec_of(session)
        opening = codec.vocabulary.encode(codec.seams.generation_prompt)[0]

        def begins(one: Trajectory, other: Trajectory) -> bool:
            size = len(one.response_ids)
            same = one.prompt_ids == other.prompt_ids and other.response_ids[:size] == one.response_ids
            return same and size < len(other.response_ids) and one.prompt_ids.count(opening) > 3

        exported[:] = [one for one in exported if not any(begins(one, other) for other in exported)]


@mutant("SPLIT-059")
def unknown_value_counts_as_the_default(sabotage: Sabotage) -> None:
    """A value that an option does not take is replaced by its default, without a word."""

    @sabotage.wrap(turns, "resolve_options")
    def lenient(original: Any, given: Any) -> dict[str, str]:
        known = {name: value for name, value in (given or {}).items() if value in OPTIONS.get(name, ())}
        return resolve_options(known)


@mutant("SPLIT-060", bugs=(27,))
def fourth_branch_is_not_exported(sabotage: Sabotage) -> None:
    """The export has room for three branches of a session."""

    @exporting(sabotage)
    def cut(session: Session, exported: list[Trajectory]) -> None:
        del exported[3:]
