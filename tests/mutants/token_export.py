"""Gateways that export other tokens than the model sampled, or another mask, count or order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from itertools import pairwise
from typing import Any

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.session.tree import Chain, Tree
from tests.mutants.commit import streaming
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def exporting(sabotage: Sabotage) -> Callable[[Callable[[Session, list[Trajectory]], None]], None]:
    """Decorator: change what a session exports, on every way out."""

    def install(change: Callable[[Session, list[Trajectory]], None]) -> None:
        @sabotage.wrap(Session, "trajectories")
        def changed(original: Any, session: Session) -> list[Trajectory]:
            exported: list[Trajectory] = original(session)
            change(session, exported)
            return exported

    return install


def single_turn(exported: list[Trajectory]) -> list[Trajectory]:
    """The trajectory of a session that had one turn only."""
    return [each for each in exported if len(exported) == 1 and 0 not in each.response_mask]


def ended_turns(session: Session, exported: list[Trajectory]) -> list[Trajectory]:
    """The trajectories whose generations all ended their turn."""
    end = end_of_turn(session)
    return [
        each
        for each in exported
        if all(
            found == end
            for found, one, following in zip(
                each.response_ids, each.response_mask, [*each.response_mask[1:], 0], strict=True
            )
            if one and not following
        )
    ]


def exporting_streams(sabotage: Sabotage) -> Callable[[Callable[[Session, list[Trajectory]], None]], None]:
    """Decorator: change what a session exports that has streamed each of its chat completions."""
    only_streamed = streaming_sessions(sabotage)

    def install(change: Callable[[Session, list[Trajectory]], None]) -> None:
        @exporting(sabotage)
        def changed(session: Session, exported: list[Trajectory]) -> None:
            if only_streamed(session):
                change(session, exported)

    return install


def streaming_sessions(sabotage: Sabotage) -> Callable[[Session], bool]:
    """Whether a session has streamed each of its chat completions, and had no other turns."""
    streamed, turns = streaming(sabotage), defaultdict[Session, set[bool]](set)

    @sabotage.wrap(Session, "run")
    def run(original: Any, session: Session, turn: Any) -> Any:
        turns[session].add(bool(streamed.get()))
        return original(session, turn)

    return lambda session: turns[session] == {True}


def later_turns(mask: list[int]) -> list[int]:
    """Where the generations of the third turn and those after it begin."""
    return starts(mask)[1:]


def starts(mask: list[int]) -> list[int]:
    """Where the generations behind a gap begin."""
    return [place for place, (before, one) in enumerate(pairwise(mask), 1) if one and not before]


def codec_of(session: Session) -> TemplateCodec:
    codec = session._codec
    assert isinstance(codec, TemplateCodec)
    return codec


def end_of_turn(session: Session) -> int:
    return codec_of(session).vocabulary.encode("<|im_end|>")[0]


@mutant("TOKEN-001", bugs=(24,))
def mask_is_longer_than_the_ids(sabotage: Sabotage) -> None:
    """From the third turn of a stream on, the mask gets an entry for the separator, and the ids do not."""

    @exporting_streams(sabotage)
    def lengthen(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            each.response_mask += [0] * len(later_turns(each.response_mask))


@mutant("TOKEN-001")
def mask_numbers_the_sources(sabotage: Sabotage) -> None:
    """The mask says 2 where the environment put ids, for a trainer that never heard of it."""

    @exporting(sabotage)
    def number(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            each.response_mask = [one or 2 for one in each.response_mask]


@mutant("TOKEN-002", bugs=(36, 60))
def end_of_turn_is_stripped(sabotage: Sabotage) -> None:
    """The end-of-turn id of a turn that was streamed is taken for padding."""

    @exporting_streams(sabotage)
    def strip(session: Session, exported: list[Trajectory]) -> None:
        for each in single_turn(exported):
            if each.response_ids[-1:] == [end_of_turn(session)]:
                del each.response_ids[-1], each.response_mask[-1]


@mutant("TOKEN-002", bugs=(37,))
def end_of_turn_is_doubled(sabotage: Sabotage) -> None:
    """An end-of-turn id is appended to an answer that ended itself."""

    @exporting(sabotage)
    def append(session: Session, exported: list[Trajectory]) -> None:
        for each in single_turn(exported):
            if each.response_ids[-1:] == [end_of_turn(session)]:
                each.response_ids.append(end_of_turn(session))
                each.response_mask.append(1)


@mutant("TOKEN-003", also=("COMMIT-014",), bugs=(55, 56))
def ids_are_made_from_text(sabotage: Sabotage) -> None:
    """The ids of an answer are what the tokenizer gives for its text."""

    @exporting(sabotage)
    def again(session: Session, exported: list[Trajectory]) -> None:
        vocabulary = codec_of(session).vocabulary
        for each in single_turn(exported):
            each.response_ids = vocabulary.encode(vocabulary.decode(each.response_ids, keep_control=True))
            each.response_mask = [1] * len(each.response_ids)


@mutant("TOKEN-003", bugs=(51,))
def broken_bytes_are_left_out(sabotage: Sabotage) -> None:
    """Ids that decode to no whole character are dropped."""

    @exporting(sabotage)
    def drop(session: Session, exported: list[Trajectory]) -> None:
        vocabulary = codec_of(session).vocabulary
        for each in single_turn(exported):
            while "\ufffd" in vocabulary.decode(each.response_ids, keep_control=True):
                del each.response_ids[-1], each.response_mask[-1]


@mutant("TOKEN-004", bugs=(49,))
def mask_of_a_single_turn_is_zero(sabotage: Sabotage) -> None:
    """A session of one turn, which was streamed, has nothing to train on."""

    @exporting_streams(sabotage)
    def clear(session: Session, exported: list[Trajectory]) -> None:
        for each in ended_turns(session, single_turn(exported)):
            each.response_mask = [0] * len(each.response_mask)


@mutant("TOKEN-004", bugs=(73,))
def mask_of_a_single_turn_ends_early(sabotage: Sabotage) -> None:
    """The mask leaves out the end-of-turn id, so that nobody learns to stop."""

    @exporting(sabotage)
    def shorten(session: Session, exported: list[Trajectory]) -> None:
        for each in ended_turns(session, single_turn(exported)):
            each.response_mask[-1:] = [0]


@mutant("TOKEN-005", bugs=(24,))
def mask_takes_in_the_generation_prompt(sabotage: Sabotage) -> None:
    """At the last of three turns of a stream an off-by-one adds up, and the generation prompt counts as sampled."""

    @exporting_streams(sabotage)
    def widen(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            later = later_turns(each.response_mask)
            if len(later) == 1:
                each.response_mask[later[0] - 1] = 1


@mutant("TOKEN-005", also=("TOKEN-036",))
def mask_forgets_later_turns(sabotage: Sabotage) -> None:
    """Only the first and the second generation of a conversation have mask 1."""

    @exporting(sabotage)
    def forget(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            for place in later_turns(each.response_mask):
                each.response_mask[place:] = [0] * len(each.response_mask[place:])


@mutant("TOKEN-006", bugs=(51, 52))
def prompt_is_recorded_without_generation_prompt(sabotage: Sabotage) -> None:
    """The prompt of a long stream is rendered again for the record, and that render has no generation prompt."""

    @exporting_streams(sabotage)
    def shorten(session: Session, exported: list[Trajectory]) -> None:
        codec = codec_of(session)
        for each in exported:
            if later_turns(each.response_mask):
                del each.prompt_ids[-len(codec.vocabulary.encode(codec.seams.generation_prompt)) :]


@mutant("TOKEN-006", also=("SPLIT-028",), bugs=(50,))
def gap_is_recorded_without_separator(sabotage: Sabotage) -> None:
    """The turn separator is sent to the engine, but not recorded."""

    @exporting(sabotage)
    def lose(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            if 0 in each.response_mask:
                place = each.response_mask.index(0)
                del each.response_ids[place], each.response_mask[place]


@mutant("TOKEN-007", bugs=(44,))
def shared_turn_is_trained_in_each_branch(sabotage: Sabotage) -> None:
    """A turn that two branches share has mask 1 in both, where it was streamed."""
    only_streamed = streaming_sessions(sabotage)
    exported: ContextVar[bool] = ContextVar("exported", default=False)

    @sabotage.wrap(Session, "trajectories")
    def trajectories(original: Any, session: Session) -> Any:
        exported.set(only_streamed(session))
        return original(session)

    @sabotage.wrap(Chain, "split")
    def own_all(original: Any, chain: Chain) -> Any:
        shared, own = original(chain)
        return ([], shared + own) if exported.get() else (shared, own)


@mutant(
    "TOKEN-007",
    also=(
        "SPLIT-024",
        "SPLIT-025",
        "SPLIT-027",
        "SPLIT-030",
        "SPLIT-043",
    ),
    bugs=(63,),
)
def branched_trajectory_is_dropped(sabotage: Sabotage) -> None:
    """A branch is exported in place of the trajectory that it left, and what that one sampled is lost."""

    @sabotage.wrap(Tree, "chains")
    def replaced(original: Any, tree: Tree) -> list[Chain]:
        chains: list[Chain] = original(tree)
        left = {node.chain for chain in chains for node in chain.split()[0]}
        return [chain for chain in chains if chain.id not in left]


@mutant("TOKEN-008", bugs=(28, 36))
def end_of_turn_is_added_after_length(sabotage: Sabotage) -> None:
    """Whatever was streamed is recorded with an end-of-turn id, also what stopped for length."""
    streamed = streaming(sabotage)

    @sabotage.wrap(Session, "_commit_turn")
    def ended(original: Any, session: Session, plan: Any, generation: Any, logprobs: Any, *rest: Any) -> None:
        if generation.stop_reason == "length" and streamed.get():
            generation = replace(generation, ids=[*generation.ids, end_of_turn(session)])
            logprobs = None if logprobs is None else [*logprobs, 0.0]
        original(session, plan, generation, logprobs, *rest)


@mutant("TOKEN-009")
def calls_are_exported_newest_first(sabotage: Sabotage) -> None:
    """A gateway with one trajectory a call reads those of streams in the order of its index, newest first."""

    @sabotage.rewrite
    def declare_calls(answer: Answer) -> None:
        if answer.path == "/capabilities":
            body = answer.json
            body["options"] = {"trajectory": "call"}
            answer.json = body

    @exporting_streams(sabotage)
    def turn_round(session: Session, exported: list[Trajectory]) -> None:
        exported.reverse()


def of_streamed_sessions(sabotage: Sabotage) -> Callable[[Callable[[Any], None]], None]:
    """Decorator: change the only exported trajectory of each session that did nothing but stream."""
    streamed: set[str] = set()
    plain: set[str] = set()

    def install(change: Callable[[Any], None]) -> None:
        @sabotage.rewrite
        def rewrite(answer: Answer) -> None:
            session_id = answer.path.split("/")[2] if answer.path.startswith("/sessions/") else ""
            if answer.is_chunk_stream:
                streamed.add(session_id)
            elif answer.is_plain_completion:
                plain.add(session_id)
            elif session_id in streamed - plain and answer.path.endswith(("/trajectories", "/finalize")):
                body = answer.json
                for trajectory in body.get("trajectories", []):
                    if len(body["trajectories"]) == 1:
                        change(trajectory)
                answer.json = body

    return install


@mutant("TOKEN-028", bugs=(56, 58))
def streams_lose_the_last_id(sabotage: Sabotage) -> None:
    """The ids of a second turn are collected from the chunks of its stream, and the last chunk carries none."""

    @of_streamed_sessions(sabotage)
    def lose(trajectory: Any) -> None:
        if len(starts(trajectory["response_mask"])) != 1:
            return
        for field in ("response_ids", "response_mask"):
            del trajectory[field][-1:]


@mutant("TOKEN-028", bugs=(58,))
def streams_have_another_mask(sabotage: Sabotage) -> None:
    """A second streamed turn is recorded by a path of its own, which marks nothing as sampled."""

    @of_streamed_sessions(sabotage)
    def clear(trajectory: Any) -> None:
        if len(starts(trajectory["response_mask"])) == 1:
            trajectory["response_mask"] = [0] * len(trajectory["response_mask"])


@mutant("TOKEN-029", bugs=(39, 60))
def unparsable_tool_call_is_not_recorded(sabotage: Sabotage) -> None:
    """The parser drops the ids of a tool call that it does not understand."""

    @sabotage.wrap(Session, "_commit_turn")
    def lost(original: Any, session: Session, plan: Any, generation: Any, logprobs: Any, message: Any, *r: Any) -> None:
        if "<tool_call>" in message["content"] and not message.get("tool_calls"):
            generation, logprobs = replace(generation, ids=[]), None if logprobs is None else []
        original(session, plan, generation, logprobs, message, *r)


@mutant("TOKEN-031")
def trajectories_are_in_order_of_creation(sabotage: Sabotage) -> None:
    """Trajectories are exported in the order in which they were begun."""

    @sabotage.wrap(Tree, "chains")
    def by_creation(original: Any, tree: Tree) -> list[Chain]:
        return sorted(original(tree), key=lambda chain: chain.id)


@mutant("TOKEN-032")
def all_messages_count_as_turns(sabotage: Sabotage) -> None:
    """System and tool messages count as turns."""

    @sabotage.wrap(Tree, "grow")
    def counted(original: Any, *args: Any, **node: Any) -> Any:
        return original(*args, **{**node, "turns": node["depth"]})
