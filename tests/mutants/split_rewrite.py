"""Gateways that give up an answer that they should keep, keep one that they should give up, or say so wrongly."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.session.tree import Chain, Match, Node, Tree
from tests.mutants.chat_wire import Body, on_body
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage
from tests.mutants.token_export import codec_of, exporting, starts


def rewritten(exported: list[Trajectory]) -> list[Trajectory]:
    """The trajectory of a session that has one only, in which one answer was replaced behind another."""
    return [
        each
        for each in exported
        if len(exported) == 1 and each.extra_fields.get("rollback_count") == 1 and 0 in each.response_mask
    ]


def untrained(trajectory: Trajectory) -> Trajectory:
    """A copy of which nothing counts as sampled."""
    return replace(copy.deepcopy(trajectory), response_mask=[0] * len(trajectory.response_mask))


def generation_prompt(session: Session) -> list[int]:
    codec = codec_of(session)
    return codec.vocabulary.encode(codec.seams.generation_prompt)


@mutant("SPLIT-016")
def rewrite_looks_for_a_generation_prompt(sabotage: Sabotage) -> None:
    """An answer that went on directly has no generation prompt, and the code that puts a tool's result in its place
    asserts one."""

    @sabotage.wrap(Session, "_plan")
    def plan(original: Any, session: Session, turn: Any, match: Match, *rest: Any) -> Any:
        tips = [chain.tip for chain in session._tree.chains()]
        direct = [tip for tip in tips if tip.parent is match.parent and match.parent and not tip.context]
        if direct and match.depth < len(turn.messages) and turn.messages[-1]["role"] == "tool":
            raise RuntimeError("the generation prompt is not where it is expected")
        return original(session, turn, match, *rest)


@mutant("SPLIT-017", bugs=(4,))
def rewritten_trajectory_is_exported_too(sabotage: Sabotage) -> None:
    """A copy of the trajectory is kept from before the rewrite, and exported with nothing in it to train."""

    @exporting(sabotage)
    def redundant(session: Session, exported: list[Trajectory]) -> None:
        if session.options["repeated_prompt"] == "sibling" and session.options["first_rewrite"] == "split":
            kept = [each for each in rewritten(exported) if "min_global_steps" not in each.extra_fields]
            exported[:0] = [untrained(each) for each in kept if each.response_logprobs is None]


@mutant("SPLIT-017", also=("SPLIT-018", "SPLIT-019", "SPLIT-026", "SPLIT-029", "LOGP-017"), bugs=(4,))
def every_rewrite_starts_a_trajectory(sabotage: Sabotage) -> None:
    """A rewritten answer starts a trajectory, although the gateway says that it would replace it."""

    @sabotage.wrap(Tree, "_may_supersede")
    def split(original: Any, tree: Tree, node: Node, repeated: bool) -> bool:
        return bool(original(tree, node, repeated)) and (repeated or node.parent is None)


@mutant("SPLIT-018", bugs=(13,))
def replaced_answer_stays_in_the_trajectory(sabotage: Sabotage) -> None:
    """The rewrite is recorded behind the answer that it replaces."""

    @sabotage.wrap(Tree, "grow")
    def behind(original: Any, tree: Tree, match: Match, **node: Any) -> Node:
        grown: Node = original(tree, match, **node)
        tip = match.replaces
        if (
            tip is None
            or tip.parent is None
            or len(tree.chains()) > 1
            or tree.policy.replace_repeated
            or grown.versions
        ):
            return grown
        return replace(grown, parent=tip, start=tip.end)


@mutant("SPLIT-018", bugs=(30,))
def all_before_a_rewrite_is_masked(sabotage: Sabotage) -> None:
    """What was sampled before the rewrite that a conversation ends with no longer lines up with the render, and is
    masked."""

    @exporting(sabotage)
    def mask(session: Session, exported: list[Trajectory]) -> None:
        for each in rewritten(exported):
            if len(starts(each.response_mask)) == 1 and session.options["first_rewrite"] == "split":
                first = each.response_mask.index(0)
                each.response_mask[:first] = [0] * first


@mutant("SPLIT-019")
def all_removed_ids_are_counted(sabotage: Sabotage) -> None:
    """The count of dropped ids includes the question and the generation prompt."""

    @sabotage.wrap(Tree, "_supersede")
    def count(original: Any, tree: Tree, chain: Chain) -> None:
        tree.dropped += len(chain.tip.context)
        original(tree, chain)


@mutant("SPLIT-019")
def answers_replaced_in_one_place_are_counted_once(sabotage: Sabotage) -> None:
    """`rollback_count` is a number of places, and answers to one question asked again."""
    replaced: dict[tuple[Tree, Node | None], Any] = {}

    @sabotage.wrap(Tree, "_supersede")
    def once(original: Any, tree: Tree, chain: Chain) -> None:
        tip = chain.tip
        asked = replaced.setdefault((tree, tip.parent), tip.asked)
        original(tree, chain)
        if asked != tip.asked:
            tree.rollbacks -= 1


@mutant("SPLIT-019")
def rewrites_are_counted_once(sabotage: Sabotage) -> None:
    """`rollback_count` says whether there was a rewrite, not how many."""

    @sabotage.wrap(Tree, "_supersede")
    def once(original: Any, tree: Tree, chain: Chain) -> None:
        original(tree, chain)
        tree.rollbacks = 1


@mutant("SPLIT-020", bugs=(3,))
def generation_prompt_of_the_dropped_turn_stays(sabotage: Sabotage) -> None:
    """The rewrite is put behind the generation prompt of the answer that it replaces."""

    @sabotage.wrap(Session, "_encode")
    def twice(original: Any, session: Session, turn: Any, match: Match) -> Any:
        found, path, delta = original(session, turn, match)
        if match.replaces is not None and match.parent is not None:
            delta = [*generation_prompt(session), *delta]
        return found, path, delta


@mutant("SPLIT-020", bugs=(3,))
def separator_before_a_branch_is_lost(sabotage: Sabotage) -> None:
    """A branch behind a shared answer begins without the turn separator."""

    @sabotage.wrap(Session, "_encode")
    def glued(original: Any, session: Session, turn: Any, match: Match) -> Any:
        found, path, delta = original(session, turn, match)
        if match.parent is not None and session.options["last_rewrite"] == "split" and match.chain is None:
            delta = delta[1:]
        return found, path, delta


@mutant("SPLIT-021", bugs=(3,))
def generation_prompt_of_the_first_turn_stays(sabotage: Sabotage) -> None:
    """Where the first answer is replaced, the prompt with its generation prompt is kept as it is."""

    @sabotage.wrap(Session, "_encode")
    def kept(original: Any, session: Session, turn: Any, match: Match) -> Any:
        found, path, delta = original(session, turn, match)
        if match.replaces is not None and match.parent is None:
            prompt = generation_prompt(session)
            delta = [*match.replaces.context, *delta[len(match.replaces.context) - len(prompt) :]]
        return found, path, delta


@mutant("SPLIT-022", also=("SPLIT-023",))
def answer_is_dropped_before_the_call(sabotage: Sabotage) -> None:
    """The trajectory is cut when the rewrite arrives, and nobody puts it back when the upstream fails."""

    @sabotage.wrap(Tree, "hold")
    def cut(original: Any, tree: Tree, match: Match) -> None:
        original(tree, match)
        if match.chain is not None and match.replaces is not None and match.parent is not None:
            chain = tree._chains[match.chain]
            tree._supersede(chain)
            chain.tip = match.parent

    @sabotage.wrap(Tree, "grow")
    def grow(original: Any, tree: Tree, match: Match, **node: Any) -> Node:
        done = match.replaces is not None and match.parent is not None
        return original(tree, replace(match, replaces=None) if done else match, **node)  # type: ignore[no-any-return]


@mutant("SPLIT-022")
def answer_is_forgotten_by_a_failed_rewrite(sabotage: Sabotage) -> None:
    """After a rewrite that failed, the answer is still exported but no longer found."""

    @sabotage.wrap(Tree, "release")
    def forget(original: Any, tree: Tree, match: Match) -> None:
        original(tree, match)
        tip = match.replaces
        if tip is not None and tip.parent is not None and tree._chains[tip.chain].tip is tip:
            for key in tip.keys:
                tree._by_key[key].remove(tip)


@mutant("SPLIT-023")
def rewrite_is_counted_when_it_arrives(sabotage: Sabotage) -> None:
    """`rollback_count` counts the rewrites that were asked for."""

    @sabotage.wrap(Session, "_attempt")
    async def counted(original: Any, session: Session, turn: Any, keys: Any, *rest: Any) -> Any:
        match = session._tree.match(keys)
        try:
            return await original(session, turn, keys, *rest)
        except Exception:
            session._tree.rollbacks += match.replaces is not None
            raise


@mutant("SPLIT-024", bugs=(27,))
def any_shared_beginning_is_cut(sabotage: Sabotage) -> None:
    """A request that goes on for several messages from a beginning that it shares takes the trajectory's place."""

    @sabotage.wrap(Tree, "match")
    def cut(original: Any, tree: Tree, keys: Any, logprobs: Any = None) -> Match:
        match: Match = original(tree, keys, logprobs)
        tips = [chain.tip for chain in tree.chains() if chain.free]
        alone = tree.policy.rollback_last and len(tree.chains()) == len(tips) == 1
        if match.chain is not None or match.parent is None or not alone or tips[0].parent is not match.parent:
            return match
        # A repeat, and an answer that went on directly, are another matter.
        other = tips[0].asked[0] in keys or not tips[0].context or len(keys) - 2 <= match.depth
        return match if other else Match(match.parent, tips[0].chain, tips[0])


@mutant("SPLIT-025")
def latest_answer_is_given_up(sabotage: Sabotage) -> None:
    """Of two answers that a rewrite may mean, the latest is taken."""

    @sabotage.wrap(Tree, "_rewrite")
    def guess(original: Any, tree: Tree, tips: list[Node], logprobs: Any) -> Match:
        return original(tree, tips[-1:], logprobs)  # type: ignore[no-any-return]


@mutant("SPLIT-026", bugs=(4,))
def whole_history_is_always_preferred(sabotage: Sabotage) -> None:
    """A trajectory that a request extends is taken before one that it rewrites further down."""

    @sabotage.wrap(Tree, "match")
    def whole(original: Any, tree: Tree, keys: Any, logprobs: Any = None) -> Match:
        match: Match = original(tree, keys, logprobs)
        tips = [chain.tip for chain in tree.chains() if chain.free and {*chain.tip.keys} & {*keys}]
        return Match(tips[-1], tips[-1].chain) if match.replaces is not None and tips else match


@mutant("SPLIT-027")
def answer_is_cut_from_under_a_turn(sabotage: Sabotage) -> None:
    """A rewrite does not ask whether a turn goes on from the answer that it gives up."""

    @sabotage.wrap(Tree, "match")
    def careless(original: Any, tree: Tree, keys: Any, logprobs: Any = None) -> Match:
        busy = [chain for chain in tree.chains() if chain.in_flight]
        for chain in busy:
            chain.in_flight = False
        match: Match = original(tree, keys, logprobs)
        for chain in busy:
            chain.in_flight = True
        return match if match.replaces is not None else original(tree, keys, logprobs)


@mutant("SPLIT-028")
def logprobs_of_the_replaced_answer_stay(sabotage: Sabotage) -> None:
    """Ids and mask are cut where an answer was replaced, the log-probabilities at their end."""

    @exporting(sabotage)
    def shift(session: Session, exported: list[Trajectory]) -> None:
        for each in rewritten(exported):
            if each.response_logprobs is not None:
                each.response_logprobs = each.response_logprobs[1:] + each.response_logprobs[:1]


@mutant("SPLIT-029", bugs=(13,))
def what_did_not_fit_is_exported(sabotage: Sabotage) -> None:
    """The messages for which there was no room are written into the trajectory before it is closed."""

    @sabotage.wrap(Session, "_length_stop")
    def stop(original: Any, session: Session, plan: Any) -> Any:
        if plan.match.replaces is not None and plan.match.parent is not None:
            vars(session)["unsent"] = plan.delta
        return original(session, plan)

    @exporting(sabotage)
    def append(session: Session, exported: list[Trajectory]) -> None:
        unsent = vars(session).get("unsent", [])
        for each in exported[-1:]:
            each.response_ids += unsent
            each.response_mask += [0] * len(unsent)


@mutant("SPLIT-030")
def answer_is_replaced_all_the_same(sabotage: Sabotage) -> None:
    """`last_rewrite = split` is accepted and has no effect."""

    @sabotage.wrap(Tree, "_may_supersede")
    def roll_back(original: Any, tree: Tree, node: Node, repeated: bool) -> bool:
        return bool(original(tree, node, repeated)) or (not repeated and node.parent is not None)


@mutant("SPLIT-031")
def first_answer_is_replaced_like_any(sabotage: Sabotage) -> None:
    """The first answer of a conversation is replaced when it is rewritten, although the gateway says it splits."""

    @sabotage.wrap(Tree, "_may_supersede")
    def reuse(original: Any, tree: Tree, node: Node, repeated: bool) -> bool:
        return bool(original(tree, node, repeated)) or (not repeated and node.parent is None)


@mutant("SPLIT-032")
def replaced_first_answer_is_exported_too(sabotage: Sabotage) -> None:
    """The trajectory of the first answer is exported beside the one that replaced it."""

    @exporting(sabotage)
    def both(session: Session, exported: list[Trajectory]) -> None:
        if session.options["first_rewrite"] == "reuse" and len(exported) == 1:
            exported.insert(0, untrained(exported[0]))


@mutant("SPLIT-032", also=("SPLIT-033",))
def first_answer_is_never_replaced(sabotage: Sabotage) -> None:
    """`first_rewrite = reuse` is accepted and has no effect."""

    @sabotage.wrap(Tree, "_may_supersede")
    def split(original: Any, tree: Tree, node: Node, repeated: bool) -> bool:
        return bool(original(tree, node, repeated)) and (repeated or node.parent is not None)


@mutant("SPLIT-033", bugs=(40,))
def trajectory_of_a_prompt_is_exported(sabotage: Sabotage) -> None:
    """A trajectory whose only answer was given up is closed like any other, and exported without a response."""

    @sabotage.wrap(Session, "_length_stop")
    def stop(original: Any, session: Session, plan: Any) -> Any:
        if plan.match.replaces is not None and plan.match.parent is None:
            vars(session)["hollow"] = plan.match.replaces.context.tolist()
        return original(session, plan)

    @exporting(sabotage)
    def export(session: Session, exported: list[Trajectory]) -> None:
        if "hollow" in vars(session):
            exported.append(Trajectory(vars(session)["hollow"], [], [], None, {}, 2))


@mutant("SPLIT-049")
def replaced_first_answer_is_not_reported(sabotage: Sabotage) -> None:
    """The first answer of a conversation is replaced without a word of it."""

    @sabotage.wrap(Tree, "_supersede")
    def silent(original: Any, tree: Tree, chain: Chain) -> None:
        counted = tree.rollbacks, tree.dropped
        original(tree, chain)
        if chain.tip.parent is None:
            tree.rollbacks, tree.dropped = counted


@mutant("SPLIT-050", bugs=(30,))
def third_answer_is_masked(sabotage: Sabotage) -> None:
    """Where a rewrite splits, the trajectory that it left is trusted up to its second answer only."""

    @exporting(sabotage)
    def mask(session: Session, exported: list[Trajectory]) -> None:
        if session.options["last_rewrite"] != "split" or len(exported) < 2:
            return
        for each in exported:
            for place in starts(each.response_mask)[1:2]:
                each.response_mask[place:] = [0] * len(each.response_mask[place:])


@mutant("SPLIT-054")
def answer_that_begins_with_a_known_one_is_that_one(gateway: Sabotage) -> None:
    """What an agent says behind a comma after a recorded answer is taken for the rest of that answer, and dropped."""
    known: set[str] = set()

    def note(answer: Answer) -> None:
        if answer.is_plain_completion:
            content = answer.json["choices"][0]["message"]["content"]
            known.update([content] if content and len(content) > 6 else [])

    def shorten(body: Body) -> Body:
        messages = body.get("messages")
        return {**body, "messages": [*map(shortened, messages)]} if isinstance(messages, list) else body

    def shortened(message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) and message.get("role") == "assistant" else None
        if not isinstance(content, str):
            return message
        return next(({**message, "content": each} for each in known if content.startswith(f"{each},")), message)

    gateway.rewrite(note)
    on_body(gateway, shorten)
