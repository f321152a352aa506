"""Gateways that answer a request that is sent again from the wrong place, export it wrongly, or lose a token only where
several branches come together."""

from __future__ import annotations

from typing import Any

from reference_gateway.session import retry
from reference_gateway.session import session as turns
from reference_gateway.session.options import OPTIONS, resolve_options
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.session.tree import Node, Tree
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import codec_of, exporting, starts


@mutant("SPLIT-045")
def rejected_answer_is_kept(sabotage: Sabotage) -> None:
    """`repeated_prompt = replace` is accepted and has no effect."""

    @sabotage.wrap(Tree, "_may_supersede")
    def keep(original: Any, tree: Tree, node: Node, repeated: bool) -> bool:
        return not repeated and bool(original(tree, node, repeated))


@mutant("SPLIT-046", bugs=(66,))
def same_text_is_a_new_sample(sabotage: Sabotage) -> None:
    """A retry without a header is recorded beside the answer that it repeats."""

    @sabotage.wrap(Tree, "twin")
    def none(original: Any, tree: Tree, node: Node) -> None:
        return None


@mutant("SPLIT-047")
def answers_are_found_by_the_key_alone(sabotage: Sabotage) -> None:
    """Whatever is asked under a key is given the first answer to it."""

    @sabotage.wrap(retry, "_name")
    def name(original: Any, turn: Any, key: bytes) -> Any:
        return original(turn, b"" if turn.idempotency_key else key)


@mutant("SPLIT-048", bugs=(44,))
def long_conversations_beside_each_other_lose_an_answer(sabotage: Sabotage) -> None:
    """Of two conversations with three turns each, the last answer of one is recorded as the environment's."""

    @exporting(sabotage)
    def lose(session: Session, exported: list[Trajectory]) -> None:
        if len(exported) == 2 and all(len(starts(each.response_mask)) == 2 for each in exported):
            mask = exported[0].response_mask
            last = starts(mask)[-1]
            mask[last:] = [0] * len(mask[last:])


@mutant("SPLIT-051", bugs=(44,))
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


@mutant("SPLIT-052")
def unknown_value_counts_as_the_default(sabotage: Sabotage) -> None:
    """A value that an option does not take is replaced by its default, without a word."""

    @sabotage.wrap(turns, "resolve_options")
    def lenient(original: Any, given: Any) -> dict[str, str]:
        known = {name: value for name, value in (given or {}).items() if value in OPTIONS.get(name, ())}
        return resolve_options(known)


@mutant("SPLIT-053", bugs=(27,))
def fifth_branch_is_not_exported(sabotage: Sabotage) -> None:
    """The export has room for four branches that are open."""

    @exporting(sabotage)
    def cut(session: Session, exported: list[Trajectory]) -> None:
        if session._tree.policy.multi_chain:
            del exported[4:]
