"""What must hold of all that a random agent did: for each request, for what each session exports, and for both by all
that is judged of every exchange.

Pure but for what it is given: the requests as they were noted, the engine's calls, and what the sessions left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

from conformance import ambient
from conformance.ambient import Left
from conformance.client.failure import ConformanceFailure, describe
from conformance.gateway import Capability
from conformance.oracles import Violation
from conformance.oracles.evidence import Evidence
from conformance.requirements import Catalogue
from conformance.upstream.ledger import ANSWERED, Call
from conformance.vocabulary.expect import expect
from conformance.vocabulary.journey_turn import Attempt, Turn
from conformance.vocabulary.journey_verdict import wrong_answer, wrong_call
from conformance.vocabulary.media import Held
from conformance.vocabulary.random_agent.dialogue import Request
from conformance.vocabulary.random_agent.roamer import Roamer
from conformance.vocabulary.session import Superseded, Trajectories
from conformance.vocabulary.target import Target

CALLS = {"answered": (1,), "failed": (1,), "hung up": (1,), "refused": (0,), "full": (0,), "unsure": (0, 1)}
"""Calls of the engine by what became of a request."""
FOLLOWED = frozenset({"stop", "tool call"})
"""Endings of answers that a conversation goes on from in its trajectory, whatever else is declared."""
UNSURE = 3
"""Turns on which a client hung up, and each of which may be recorded or not."""


def calls_of(requests: Sequence[Request], calls: Sequence[Call]) -> Mapping[Request, list[Call]]:
    """The calls that were made for each request: those that arrived while it was in flight. Of several requests that
    were in flight together, that which the call's text is about."""
    made: dict[Request, list[Call]] = defaultdict(list)
    for call in calls:
        during = [request for request in requests if request.started <= call.arrived <= request.ended]
        if len(during) > 1:
            during = [request for request in during if request.marker in call.text] or during
        for request in during[-1:]:
            made[request].append(call)
    return made


def of_requests(roamers: Sequence[Roamer], made: Mapping[Request, list[Call]]) -> Iterator[Violation]:
    """What is wrong with the calls for each request, and with its answer."""
    every = [request for roamer in roamers for request in roamer.requests]
    every.sort(key=lambda request: request.number)
    owner = {request: roamer for roamer in roamers for request in roamer.requests}
    for place, request in enumerate(every):
        calls = made.get(request, [])
        where = f"{request.number}."
        if len(calls) not in CALLS[request.outcome]:
            expected = " or ".join(map(str, CALLS[request.outcome]))
            yield Violation(f"{where} calls of the engine", expected, str(len(calls)))
        if request.outcome == "full":
            yield from _under(where, _of_full(request))
        if len(calls) != 1:
            continue
        call, roamer = calls[0], owner[request]
        earlier = [other.turn for other in every[:place] if other.number != request.number]
        yield from _under(where, wrong_call(_bounded(request, call, roamer), call, earlier))
        if request.images:
            yield from _under(where, _of_images(request, call))
        elif request.counted not in (None, len(call.context)):
            yield Violation(f"{where} tokens that were counted before", str(len(call.context)), str(request.counted))
        if request.outcome == "answered" and request.reply is not None:
            if not (roamer.room and call.finish_reason == "length"):  # what it is shown then is judged beside it
                attempt = Attempt(request.turn, request.reply)
                usage = ("usage",) if request.images else ()
                yield from _under(where, (v for v in wrong_answer(attempt, call) if v.where not in usage))
            before = made.get(request.follows, []) if request.follows else []
            if before and follows_directly(request, roamer):
                yield from _under(where, _of_history(call, before[0]))


def _bounded(request: Request, call: Call, roamer: Roamer) -> Turn:
    """The turn, with the limit that its session leaves."""
    if not roamer.room:
        return request.turn
    left = roamer.room - len(call.context)
    asked = request.turn.limit
    return replace(request.turn, limit=left if asked is None else min(asked, left))


def _of_full(request: Request) -> Iterator[Violation]:
    reply, over = request.reply, request.turn.over
    assert reply is not None
    if over.endings and reply.finish_reason != over.endings["length"]:
        yield Violation("how it ended, without room", over.endings["length"], reply.finish_reason)
    if reply.text:
        yield Violation("text, without room", "none", describe(reply.text))


def _of_images(request: Request, call: Call) -> Iterator[Violation]:
    try:
        Held("media that the engine received", call.images, call.videos).are(request.images)
    except ConformanceFailure as failure:
        yield from failure.violations


def follows_directly(request: Request, roamer: Roamer) -> bool:
    """Whether the context of this request must begin with that of the request before it and with what was sampled
    there: where the gateway says that conversations grow, that several can, and that it sends tokens."""
    before, declared = request.follows, roamer.target.declaration.capabilities
    if before is None or before.outcome != "answered" or Capability.TOKEN_UPSTREAM not in declared:
        return False
    if roamer.options.get("trajectory") != "conversation" or roamer.options.get("multi_chain") != "true":
        return False
    asked = [bool(each.turn.fields.get("logprobs")) for each in (request, before)]
    same = before.turn.over.family == request.turn.over.family
    return same and asked[0] == asked[1] and before.turn.ending in FOLLOWED and not request.images


def _of_history(call: Call, before: Call) -> Iterator[Violation]:
    history = [*before.context, *before.generation]
    if call.context[: len(history)] != history:
        at = next((n for n, (a, b) in enumerate(zip(history, call.context, strict=False)) if a != b), len(call.context))
        yield Violation(
            "context at the engine",
            "the context of the turn before and what was sampled then, id by id",
            f"another id at {at} of {len(history)}",
        )


# Exports


def of_exports(roamers: Sequence[Roamer], made: Mapping[Request, list[Call]]) -> Iterator[Violation]:
    """What is wrong with what each session exports, and exported while it lived."""
    for roamer in roamers:
        name = f"{roamer.name}: " if roamer.name else ""
        for behind, exported, superseded in roamer.looked:
            requests = roamer.requests[:behind]
            after = f"behind {requests[-1].number}.: " if requests else ""
            yield from _under(f"{name}{after}", _of_export(exported, superseded, requests, made, roamer))
        if roamer.left is not None:
            yield from _under(name, _of_export(*roamer.left, roamer.requests, made, roamer))
            yield from _under(name, _of_rewards(roamer.left[0], roamer))
            yield from _under(name, _of_relations(roamer.left[0], roamer, made))
            yield from _under(name, _of_versions(*roamer.left, roamer, made))


def _of_export(
    exported: Trajectories,
    superseded: Superseded,
    requests: Sequence[Request],
    made: Mapping[Request, list[Call]],
    roamer: Roamer,
) -> list[Violation]:
    """Each answered turn is accounted for, nothing is left of one that failed, and one on which the client hung up is
    there as a whole or not at all."""
    sure = [call for one in requests if one.outcome in ("answered", "unsure") for call in made.get(one, [])]
    unsure = [call for one in requests if one.outcome == "hung up" for call in made.get(one, []) if call.generation]
    whole = [replace(call, outcome=ANSWERED) for call in unsure]
    found: list[list[Violation]] = []
    for count in range(len(whole) + 1) if len(whole) <= UNSURE else (0, len(whole)):
        for chosen in combinations(whole, count):
            calls = sorted([*sure, *chosen], key=lambda call: call.arrived)
            try:
                expect(exported).account_for(calls, superseded)
            except ConformanceFailure as failure:
                found.append(failure.violations)
            else:
                return []
    return min(found, key=len)


def _of_rewards(exported: Trajectories, roamer: Roamer) -> Iterator[Violation]:
    for number, trajectory in enumerate(exported):
        if roamer.reward is not None and trajectory.reward_info != roamer.reward:
            yield Violation(
                f"trajectory {number}, reward_info", describe(roamer.reward), describe(trajectory.reward_info)
            )


def _of_relations(exported: Trajectories, roamer: Roamer, made: Mapping[Request, list[Call]]) -> Iterator[Violation]:
    """A turn that goes on from another one, from which nothing else does, is in the same trajectory."""
    calls = [call for request in roamer.requests for call in made.get(request, []) if request.outcome != "failed"]
    evidence = Evidence(exported, calls)
    places: dict[int, set[int]] = defaultdict(set)
    for track, segments in evidence.segments:
        for segment in segments:
            for one in segment.calls:
                places[id(calls[one.number])].add(track.number)
    for request in roamer.requests:
        before = request.follows
        if request.outcome != "answered" or before is None or not follows_directly(request, roamer):
            continue
        own, other = made.get(request, []), made.get(before, [])
        if len(own) != 1 or len(other) != 1 or not own[0].generation or not other[0].generation:
            continue
        history = [*other[0].context, *other[0].generation]
        following = [call for call in calls if call.context[: len(history)] == history]
        trained = [places[id(own[0])], places[id(other[0])]]
        if len(following) == 1 and all(trained) and not trained[0] & trained[1]:
            yield Violation(
                f"trajectories with what was sampled for {before.number}. and {request.number}.",
                "one, as the one goes on from the other",
                f"{sorted(trained[1])} and {sorted(trained[0])}",
            )


def _of_versions(
    exported: Trajectories, superseded: Superseded, roamer: Roamer, made: Mapping[Request, list[Call]]
) -> list[Violation]:
    """The one trajectory of a session, from which nothing was given up, spans the weights of all its generations."""
    outcomes = {request.outcome for request in roamer.requests}
    if len(exported) != 1 or superseded.generations or outcomes & {"hung up", "unsure"}:
        return []
    calls = [call for one in roamer.requests if one.outcome == "answered" for call in made.get(one, [])]
    versions = [call.weight_version for call in calls if call.generation and isinstance(call.weight_version, int)]
    if not versions or not roamer.has(Capability.WEIGHT_VERSIONS):
        return []
    try:
        expect(exported).span_weight_versions((min(versions), max(versions)))
    except ConformanceFailure as failure:
        return failure.violations
    return []


# What is judged of every exchange


def beside(target: Target, roamers: Sequence[Roamer], calls: Sequence[Call]) -> Iterator[Violation]:
    """What is wrong with the exchanges by the rules that each of them is judged by, as far as they are about what the
    gateway declares."""
    exchanges, tokenizer = target.recorder.exchanges, target.upstream.tokenizer
    left: list[Left] | None = []
    for roamer in roamers:
        if roamer.left is None or left is None:
            left = None
        else:
            left.append(Left(roamer.left[0], roamer.left[1].generations))
    encoded = target.declares("invocations_frames", "json")
    numbers = {id(one.reply.exchange): one.number for roamer in roamers for one in roamer.requests if one.reply}
    for judged in ambient.judge(exchanges, calls, [roamer.session for roamer in roamers], left, tokenizer):
        name = ambient.REQUIREMENTS.get((judged.rule, judged.wire))
        if not judged.violations or name is None or not _applies(name, target):
            continue
        if encoded and judged.rule.startswith(("text", "stream", "frames")):
            continue
        number = numbers.get(id(judged.exchange))
        yield from _under(f"{number}. {name}:" if number else f"{name}:", judged.violations)


def _applies(name: str, target: Target) -> bool:
    catalogue = _catalogue()
    requirement = catalogue.get(name)
    declared = target.declaration
    absent = catalogue.not_applicable(requirement, declared.capabilities, declared.options)
    return absent is None and all(target.observes(need) is None for need in requirement.needs)


@cache
def _catalogue() -> Catalogue:
    return Catalogue.load()


def _under(where: str, violations: Iterator[Violation] | Sequence[Violation]) -> list[Violation]:
    return [replace(violation, where=f"{where} {violation.where}".replace("  ", " ")) for violation in violations]
