"""Gateways that go on from the wrong answer, mix up branches, or mind histories that they did not make."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.session.tree import FRESH, Match, Node, Tree
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import codec_of, exporting


def newest(tips: list[Node]) -> Node | None:
    return max(tips, key=lambda tip: tip.sequence, default=None)


def continues(match: Match) -> bool:
    """Does the turn extend a trajectory, and rewrite nothing?"""
    return match.parent is not None and match.chain is not None and match.replaces is None


def spans(ids: list[int], opening: list[int], closing: int) -> list[tuple[int, int]]:
    """Where turns stand that begin behind `opening` and end with `closing`."""
    found = []
    for place in range(len(ids)):
        start = place + len(opening)
        if ids[place:start] == opening and closing in ids[start:]:
            found.append((start, ids.index(closing, start) + 1))
    return found


@mutant("SPLIT-001", bugs=(5, 25))
def latest_answer_is_taken_for_the_picked_one(sabotage: Sabotage) -> None:
    """Best of n: the conversation goes on with the latest answer, whichever the agent picked."""

    @sabotage.wrap(Tree, "match")
    def latest(original: Any, tree: Tree, keys: Any, logprobs: Any = None) -> Match:
        match: Match = original(tree, keys, logprobs)
        if match.parent is None or match.chain is None or match.replaces:
            return match
        tip = newest([chain.tip for chain in tree.chains() if chain.free and chain.tip.asked == match.parent.asked])
        return match if tip is None else Match(tip, tip.chain)


@mutant("SPLIT-002")
def first_of_equal_answers_goes_on(sabotage: Sabotage) -> None:
    """Of two answers with the same text the older one is found first."""

    @sabotage.wrap(Tree, "_continue")
    def oldest(original: Any, tree: Tree, same: list[Node], logprobs: Any) -> Match:
        free = [node for node in same if tree._is_free_tip(node)]
        return original(tree, free[:1] or same, logprobs)  # type: ignore[no-any-return]


@mutant("SPLIT-003", bugs=(38,))
def latest_history_that_fits_goes_on(sabotage: Sabotage) -> None:
    """The parent of a request is the latest trajectory that fits, not the longest."""

    @sabotage.wrap(Tree, "match")
    def latest(original: Any, tree: Tree, keys: Any, logprobs: Any = None) -> Match:
        match: Match = original(tree, keys, logprobs)
        tip = newest([chain.tip for chain in tree.chains() if chain.free and {*chain.tip.keys} & {*keys}])
        return match if tip is None or match.replaces else Match(tip, tip.chain)


@mutant("SPLIT-004")
def new_turn_is_opened_behind_an_answer(sabotage: Sabotage) -> None:
    """A request with nothing new gets a generation prompt all the same."""

    @sabotage.wrap(Session, "_encode")
    def opened(original: Any, session: Session, turn: Any, match: Match) -> Any:
        found, path, delta = original(session, turn, match)
        if match.parent is not None and match.depth == len(turn.messages):
            codec = codec_of(session)
            delta = codec.vocabulary.encode(codec.seams.generation_prompt)
        return found, path, delta


@mutant("SPLIT-005", bugs=(25,))
def changed_history_closes_the_long_one(sabotage: Sabotage) -> None:
    """A conversation of several turns is done when another one begins with a system message."""

    @sabotage.wrap(Tree, "_attach")
    def close(original: Any, tree: Tree, node: Node) -> None:
        if node.parent is None and node.depth == 3:
            for chain in tree.chains():
                chain.closed = chain.closed or len(chain.split()[1]) == 2
        original(tree, node)


@mutant("SPLIT-006", bugs=(5,))
def agent_is_taken_back_once(sabotage: Sabotage) -> None:
    """An agent may hand over and come back, but only once: then its history is encoded anew."""

    @sabotage.wrap(Tree, "match")
    def counted(original: Any, tree: Tree, keys: Any, logprobs: Any = None) -> Match:
        match: Match = original(tree, keys, logprobs)
        chains = tree.chains()
        if match.chain is None or match.replaces or chains[-1].id == match.chain:
            return match
        returns = vars(tree).setdefault("returns", [])
        returns.append(match.chain)
        return FRESH if returns.count(match.chain) > 1 else match


@mutant("SPLIT-007", bugs=(27,))
def compaction_replaces_the_long_history(sabotage: Sabotage) -> None:
    """The summary of a long conversation takes its place, and what it held is lost."""

    @sabotage.wrap(Tree, "_attach")
    def forget(original: Any, tree: Tree, node: Node) -> None:
        if (node.parent, node.depth, node.turns, len(tree._chains)) == (None, 4, 3, 1):
            (long,) = tree._chains.values()
            if len(long.split()[1]) >= 3:
                del tree._chains[long.id]
                tree._by_key.clear()
                tree._by_asked.clear()
        original(tree, node)


@mutant("SPLIT-008")
def imported_answers_are_trained(sabotage: Sabotage) -> None:
    """The prompt ends where the first of several assistant turns begins, also in a history from elsewhere."""

    @exporting(sabotage)
    def earlier(session: Session, exported: list[Trajectory]) -> None:
        codec = codec_of(session)
        opening, closing = codec.vocabulary.encode(codec.seams.generation_prompt), codec.vocabulary.encode("<|im_end|>")
        for each in exported if len(exported) == 1 else ():
            imported = spans(each.prompt_ids, opening, closing[0])
            for start, end in imported[:1] if len(imported) > 1 else ():
                moved = each.prompt_ids[start:]
                each.response_mask = [1] * (end - start) + [0] * (len(moved) - end + start) + each.response_mask
                each.response_ids = moved + each.response_ids
                each.response_logprobs = None
                each.prompt_ids = each.prompt_ids[:start]


@mutant("SPLIT-009")
def change_of_tools_begins_the_export_anew(sabotage: Sabotage) -> None:
    """A long conversation that goes on under other tools is exported from there on."""

    @sabotage.wrap(Session, "_run")
    async def run(original: Any, session: Session, turn: Any) -> Any:
        answer = await original(session, turn)
        before, vars(session)["tools"] = vars(session).get("tools", turn.tools), turn.tools
        if before != turn.tools and len(turn.messages) > 3:
            for chain in session._tree.chains():
                if len(chain.split()[1]) == 2:
                    del session._tree._chains[chain.id]
        return answer


@mutant("SPLIT-010")
def open_trajectory_is_exported_first(sabotage: Sabotage) -> None:
    """Where one trajectory is open at a time, it is exported in front of those that were closed."""

    @exporting(sabotage)
    def first(session: Session, exported: list[Trajectory]) -> None:
        if exported and not session._tree.policy.multi_chain:
            exported.insert(0, exported.pop())


@mutant("SPLIT-010")
def closed_trajectory_is_thrown_away(sabotage: Sabotage) -> None:
    """Where one trajectory is open at a time, opening the next one overwrites it."""

    @sabotage.wrap(Tree, "_attach")
    def overwrite(original: Any, tree: Tree, node: Node) -> None:
        original(tree, node)
        if not tree.policy.multi_chain:
            for chain in tree.chains():
                if chain.closed:
                    del tree._chains[chain.id]


@mutant("SPLIT-011")
def failed_conversation_takes_a_number(sabotage: Sabotage) -> None:
    """The number of a conversation is taken when its first request arrives, whatever becomes of it."""

    @sabotage.wrap(Session, "_attempt")
    async def numbered(original: Any, session: Session, *turn: Any) -> Any:
        try:
            return await original(session, *turn)
        except Exception:
            session._tree._last_chain += 1
            raise


@mutant("SPLIT-012")
def one_digest_covers_the_session(sabotage: Sabotage) -> None:
    """The tip of each conversation is digested together with the number of turns of the whole session."""

    @sabotage.wrap(Session, "state")
    def state(original: Any, session: Session) -> dict[str, Any]:
        found: dict[str, Any] = original(session)
        salt = str(session._tree._sequence)
        tips = [hashlib.sha256((salt + tip).encode()).hexdigest() for tip in found["active_chain_tip_hashes"]]
        return {**found, "active_chain_tip_hashes": tips}


@mutant("SPLIT-012")
def tip_is_cut_short(sabotage: Sabotage) -> None:
    """The tips are shown with as many digits as a person wants to read."""

    @sabotage.wrap(Session, "state")
    def state(original: Any, session: Session) -> dict[str, Any]:
        found: dict[str, Any] = original(session)
        return {**found, "active_chain_tip_hashes": [tip[:12] for tip in found["active_chain_tip_hashes"]]}


@mutant("SPLIT-013")
def history_may_not_end_with_an_answer(sabotage: Sabotage) -> None:
    """A request whose last new message is the assistant's trips over an assertion."""

    @sabotage.wrap(TemplateCodec, "encode_suffix")
    def refuse(original: Any, codec: TemplateCodec, history: Any, suffix: Any, *rest: Any, **how: Any) -> Any:
        if suffix[-1]["role"] == "assistant" and not how.get("continues_last"):
            raise RuntimeError("the last message must not be the assistant's")
        return original(codec, history, suffix, *rest, **how)


@mutant("SPLIT-013", also=("SPLIT-014", "SPLIT-015"))
def answer_may_only_come_first(sabotage: Sabotage) -> None:
    """The incremental encoding asserts that an assistant message is the first new one, and the assertion is a 500."""

    @sabotage.wrap(Session, "_encode")
    def refuse(original: Any, session: Session, turn: Any, match: Match) -> Any:
        if continues(match) and any(message["role"] == "assistant" for message in turn.messages[match.depth + 1 :]):
            raise RuntimeError("an assistant message is only legal first")
        return original(session, turn, match)


def _calls_bare(message: Any) -> bool:
    calls = message.get("tool_calls") or ()
    return any(call["function"]["arguments"] in ({}, "{}") for call in calls)


@mutant("SPLIT-014")
def foreign_answer_is_left_out_of_the_context(sabotage: Sabotage) -> None:
    """A foreign call without arguments is not put into the context; the model never sees it."""

    @sabotage.wrap(Session, "_encode")
    def leave_out(original: Any, session: Session, turn: Any, match: Match) -> Any:
        if continues(match):
            new = [message for message in turn.messages[match.depth + 1 :] if not _calls_bare(message)]
            turn = replace(turn, messages=[*turn.messages[: match.depth + 1], *new])
        return original(session, turn, match)


@mutant("SPLIT-015")
def every_assistant_turn_is_trained(sabotage: Sabotage) -> None:
    """The mask is found by the role headers in the ids: an assistant turn is 1, also one of which nothing was
    sampled."""

    @exporting(sabotage)
    def by_header(session: Session, exported: list[Trajectory]) -> None:
        codec = codec_of(session)
        opening, closing = codec.vocabulary.encode(codec.seams.generation_prompt), codec.vocabulary.encode("<|im_end|>")
        for each in exported:
            for start, end in spans(each.response_ids, opening, closing[0]):
                if not any(each.response_mask[start:end]):
                    each.response_mask[start:end] = [1] * (end - start)
