"""Area LIVE: what is exported of a conversation with a model that nobody scripts, against the ledger of its engine."""

from __future__ import annotations

import pytest

from conformance.vocabulary.expect import expect, fail
from conformance.vocabulary.live import (
    BRIEF,
    CITIES,
    Talk,
    answered,
    as_property,
    endless,
    ends_by_itself,
    holds,
    is_canonical,
    last_answered,
    most_at_once,
    recorded,
    rescored,
    scored_session,
    until,
)
from conformance.vocabulary.session import Trajectories, user

OVERLAPPING = 256
"""Tokens of an answer that takes longer than it takes to ask for three more."""


@pytest.mark.requirement(id="LIVE-010")
def test_context_is_what_the_engine_received(session, upstream, streamed, target):
    """What stands before each exported generation of a real model is what the engine received for it, over several
    turns and behind the results of tools."""
    Talk(session, target, stream=streamed).about_weather()

    calls = recorded(upstream)
    expect(session.finalize()).have_true_context(calls)


@pytest.mark.requirement(id="LIVE-011")
def test_each_generation_is_exported_once(session, upstream, streamed, target):
    """Each generation that the engine finished is trainable exactly once, but for those that the gateway reports as
    given up."""
    Talk(session, target, stream=streamed).about_weather()
    given_up = session.superseded()

    calls = recorded(upstream)
    expect(session.finalize()).conserve(calls, given_up.generations)


@pytest.mark.requirement(id="LIVE-012")
def test_exported_ids_are_those_that_were_sampled(session, upstream, streamed, target):
    """The ids that are exported as sampled are those that the engine sampled, one by one."""
    Talk(session, target, stream=streamed).about_weather()

    calls = recorded(upstream)
    expect(session.finalize()).are_verbatim(calls)


@pytest.mark.requirement(id="LIVE-013")
def test_end_of_turn_that_was_sampled_is_exported(session, upstream, target):
    """A generation that the model ended is exported with the id with which it did."""
    talk = Talk(session, target)
    until(
        lambda number: talk.turn("Hello"),
        lambda: ends_by_itself(last_answered(upstream), upstream.tokenizer),
        "ended its answer with an id that the engine told",
    )

    last = last_answered(upstream).generation
    ends = []
    for trajectory in session.finalize():
        mask = trajectory.response_mask
        end = len(mask) - mask[::-1].index(1) if 1 in mask else 0
        ends.append(trajectory.response_ids[end - len(last) : end] if end >= len(last) else [])
    expect(ends).contains(last, "the last generations of the trajectories")


@pytest.mark.requirement(id="LIVE-014")
def test_uncommon_ids_are_kept(session, upstream, target):
    """Ids that a model sampled, and that are not those which their text is encoded to, are exported as they were
    sampled, and sent again as they were sampled."""
    talk = Talk(session, target, temperature=1.5)

    def uncommon():
        return [call for call in answered(upstream) if not is_canonical(call.generation, upstream.tokenizer)]

    until(lambda number: talk.turn(f"And in {CITIES[number]}?"), uncommon, "sampled uncommon ids")
    odd = uncommon()[0].generation
    talk.turn("Thank you")

    context = last_answered(upstream).context
    if not holds(context, odd):
        fail("the context of the last call", f"the ids {odd}", upstream.tokenizer.decode(context))
    exported = session.finalize()
    if not any(holds(trajectory.response_ids, odd) for trajectory in exported):
        fail("the trajectories", f"one with the ids {odd}", [trajectory.response_ids for trajectory in exported])


@pytest.mark.requirement(id="LIVE-015")
def test_masks_have_one_entry_for_each_id(session, upstream, target):
    """The masks of a conversation with a real model have an entry for each id of the response, and are 1 as often as
    the engine sampled an id."""
    Talk(session, target).about_weather()
    given_up = session.superseded()

    sampled = sum(len(call.generation) for call in answered(upstream))
    exported = expect(session.finalize()).have_masks().trajectories
    ones = sum(sum(trajectory.response_mask) for trajectory in exported)
    expect(ones + given_up.tokens).equals(sampled, "entries of the masks that are 1, and ids that were given up")


@pytest.mark.requirement(id="LIVE-016")
def test_seams_are_what_the_template_writes(session, upstream, target):
    """Between two generations of a real model stands what the chat template writes there: one end of the turn, the
    messages that are new, and the beginning of the next answer."""
    Talk(session, target).about_weather()

    expect(session.finalize()).have_seams_of(upstream.tokenizer)


@pytest.mark.requirement(id="LIVE-020")
def test_logprobs_are_those_that_the_engine_told(sessions, upstream, target, streamed):
    """The log-probabilities of what a real model sampled are those that its engine told, and 0.0 where nothing was
    sampled."""
    session, fields = scored_session(sessions, target)
    Talk(session, target, stream=streamed, **fields).about_weather()

    calls = recorded(upstream)
    expect(session.finalize()).have_zero_logprobs_in_gaps().have_reported_logprobs(calls)


@pytest.mark.requirement(id="LIVE-021")
def test_model_gives_each_token_its_logprob(sessions, upstream, target, record_property):
    """The model, asked again by another implementation, gives each sampled token the log-probability that was exported,
    in the context that the trajectory says it had, within the tolerance."""
    exported = Trajectories()
    for number in range(4):
        session, fields = scored_session(sessions, target)
        Talk(session, target, **fields).about_weather(*CITIES[2 * number : 2 * number + 2])
        exported += session.finalize()

    scores = rescored(exported, recorded(upstream), upstream)
    record_property("rescore", as_property(scores))
    expect(exported).have_scored_logprobs(scores)


@pytest.mark.requirement(id="LIVE-060")
def test_sessions_are_at_the_engine_at_the_same_time(sessions, upstream, target):
    """Turns of several sessions are at the engine at the same time."""
    fields = endless(sessions.open(), upstream, OVERLAPPING)
    pending = [sessions.open().start(BRIEF, user(f"Weather in {city}"), **fields) for city in CITIES[:4]]
    for request in pending:
        expect(request.reply()).status(200)

    expect(most_at_once(answered(upstream))).satisfies(lambda most: most > 1, "2 or more", "calls at one time")


@pytest.mark.requirement(id="LIVE-061")
def test_overlapping_sessions_are_kept_apart(sessions, upstream, streamed, target):
    """Sessions whose turns overlap at a real engine export each what was sampled for it, and nothing of another."""
    opened = [sessions.open() for _ in range(4)]
    talks = [Talk(session, target, stream=streamed) for session in opened]
    for question in ("How is the weather in {}?", "And what is it like in {} today?"):
        pending = [
            talk.session.start(*talk.messages, user(question.format(city)), **talk.fields)
            for talk, city in zip(talks, CITIES, strict=False)
        ]
        for talk, city, request in zip(talks, CITIES, pending, strict=False):
            reply = request.reply()
            expect(reply).status(200)
            talk.messages += [user(question.format(city)), reply.message]

    calls = recorded(upstream)
    for session, city in zip(opened, CITIES, strict=False):
        own = [call for call in calls if f"in {city}" in call.text]
        exported = session.finalize()
        expect(len(own)).equals(2, f"calls about {city}")
        expect(exported).are_verbatim(own).have_true_context(own).conserve(own)
