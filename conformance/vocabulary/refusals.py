"""Requests that are wrong in one place, on each wire: sent one after the other, and what came back for each.

Knows how each wire is asked and in which envelope it refuses; what can be wrong stands in
`conformance.vocabulary.requests`. A wrong request may be served, as gateways are free to take more than a schema says:
what counts is that the client gets an answer that it can read, and that what was refused has left nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import NoAnswer, Reply
from conformance.oracles import Violation
from conformance.oracles.envelope import leaks
from conformance.upstream.client import Upstream
from conformance.vocabulary.expect import REFUSED, ReplyExpectation, expect
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.requests import Request, Wrong, request
from conformance.vocabulary.session import Session, Sessions

TEN_MEGABYTES = 10_000_000
SHOWN = 5
"""Exchanges of a failure that are traced."""
OTHER_METHODS = ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Wire:
    """One kind of request: how a session makes a right one of the schema's example, with the check's nonce in it, how
    and where it is sent, and the word of `expect` for the envelope of its errors."""

    name: str
    make: Callable[[Session, dict[str, Any]], dict[str, Any]]
    send: Callable[..., Reply]
    url: Callable[[Session], str]
    envelope: Callable[[ReplyExpectation], object]

    @property
    def request(self) -> Request:
        return request(self.name)

    def right(self, session: Session) -> dict[str, Any]:
        """The body of a request with nothing wrong in it."""
        return self.make(session, self.request.example)

    def answers(self, session: Session, wrong: Iterable[Wrong], body: dict[str, Any] | None = None) -> list[Answered]:
        """Send each of these, one after the other, and return what came back. No answer is a failure that says for
        which request there was none."""
        body = self.right(session) if body is None else body
        return [
            Answered(mistake, self._answer(session, mistake, spoiled))
            for mistake, spoiled in _told(wrong, body, session)
        ]

    def _answer(self, session: Session, wrong: Wrong, body: dict[str, Any]) -> Reply:
        try:
            return self.send(session, body)
        except NoAnswer as failure:
            told = [replace(violation, where=f"{wrong}: {violation.where}") for violation in failure.violations]
            raise ConformanceFailure(told) from failure


@dataclass(frozen=True, slots=True)
class Answered:
    """A wrong request and its answer."""

    wrong: Wrong
    reply: Reply


CHAT = Wire(
    "chat#completion",
    make=lambda session, body: session.body(*body.pop("messages"), **body),
    send=Session.send,
    url=lambda session: f"{session.handle.base_url}/chat/completions",
    envelope=ReplyExpectation.has_error_envelope,
)
MESSAGES = Wire(
    "messages#message",
    make=lambda session, body: session.message_body(*body.pop("messages"), **body),
    send=Session.send_message,
    url=lambda session: f"{session.anthropic_url}/v1/messages",
    envelope=ReplyExpectation.has_anthropic_envelope,
)
COUNT = replace(
    MESSAGES,
    name="messages#count",
    make=lambda session, body: session.body(*body.pop("messages"), **body),
    send=lambda session, body: session.send_message(body, path="/v1/messages/count_tokens"),
)
RESPONSES = Wire(
    "responses#response",
    make=lambda session, body: session.response_body(body.pop("input"), **body),
    send=Session.send_response,
    url=lambda session: f"{session.handle.base_url}/responses",
    envelope=ReplyExpectation.has_error_envelope,
)
CONVERSATIONS = replace(
    RESPONSES,
    name="responses#conversation",
    make=lambda session, body: {**body, "items": session.response_body(body.pop("items"))["input"]},
    send=lambda session, body: session.send(body, path="/conversations"),
)
INVOCATIONS = Wire(
    "invocations#invocation",
    make=lambda session, body: session.invocation(**body),
    send=Session.send_invocation,
    url=lambda session: session.invocations_url,
    envelope=ReplyExpectation.has_flat_error,
)


def parts(count: int) -> list[slice]:
    """Slices that cut what can be wrong into this many parts, so that each is sent in a moment."""
    return [slice(number, None, count) for number in range(count)]


def expect_served_or_refused(wire: Wire, session: Session, upstream: Upstream, part: slice) -> None:
    """Each wrong request of this part is served, or refused with a 4xx status in the wire's envelope."""
    __tracebackhide__ = True
    wrong = wire.request.wrong()[part]
    upstream.repeats("Hello", len(wrong))
    _judge(session, wire.answers(session, wrong), lambda answered: _misread(wire, answered))


def expect_refusals_by_field(wire: Wire, session: Session, upstream: Upstream) -> None:
    """Each refusal of a wrong request names the field, or one that it stands in."""
    __tracebackhide__ = True
    _judge(session, refused(wire, session, upstream), _unnamed)


def expect_refusals_to_be_closed(wire: Wire, session: Session, upstream: Upstream) -> None:
    """No refusal of a wrong request shows anything of the gateway's inside."""
    __tracebackhide__ = True
    _judge(
        session,
        refused(wire, session, upstream),
        lambda answered: leaks(answered.reply.body.decode("utf-8", "replace")),
    )


def expect_refusals_leave_nothing(wire: Wire, sessions: Sessions, upstream: Upstream) -> None:
    """A session that refused wrong requests between two right ones exports what one exports that got the right ones
    alone."""
    __tracebackhide__ = True
    wrong = [answered.wrong for answered in refused(wire, sessions.open(), upstream)]
    upstream.repeats("Hello", 4 + len(wrong))
    twin, spoiled = sessions.open(), sessions.open()
    answers: list[Answered] = []
    for session, between in ((twin, []), (spoiled, wrong)):
        for asked in (between, []):
            body = wire.right(session)
            expect(wire.send(session, body)).status(200)
            answers = wire.answers(session, asked, body) or answers
    spoiled.trace_only([answered.reply for answered in answers[:SHOWN]])
    expect(spoiled.trajectories()).same_as(twin.trajectories(), hint="a refused request has left something")


def refused(wire: Wire, session: Session, upstream: Upstream) -> list[Answered]:
    """The wrong requests, one for each place, that the gateway refuses: there is at least one."""
    wrong = wire.request.one_for_each_place()
    upstream.repeats("Hello", len(wrong))
    refusals = [answered for answered in wire.answers(session, wrong) if answered.reply.status in REFUSED]
    if not refusals:
        raise NotTested("the gateway refuses none of the requests with a wrong field")
    return refusals


def expect_large_body(wire: Wire, session: Session, upstream: Upstream) -> None:
    """A right request of 10 MB is served, or refused as too large in the wire's envelope; the next one is served."""
    __tracebackhide__ = True
    upstream.repeats("Hello", 2)
    body = wire.right(session)

    reply = wire.send(session, content=json.dumps(body).encode() + b" " * TEN_MEGABYTES)

    expect(reply).status(200, 413)
    if reply.status == 413:
        wire.envelope(expect(reply))
    expect(wire.send(session, body)).status(200)


def expect_cut_body(wire: Wire, session: Session, upstream: Upstream) -> None:
    """A client that hangs up before the last byte of its request causes no call; the next requests are served."""
    __tracebackhide__ = True
    upstream.repeats("Hello", 6)
    body = wire.right(session)
    content = json.dumps(body).encode()
    with session.connect(wire.url(session)) as connection:
        connection.begin("", content_length=str(len(content) + 1)).write(content)
        # Each request that is served gives the gateway the time to notice what happened on the other connection.
        wire.send(session, body)
        connection.hang_up()

    replies = [wire.send(session, body) for _ in range(4)]

    for reply in replies:
        expect(reply).status(200)
    expect(len(upstream.calls)).equals(5, "upstream calls")


def expect_post_only(wire: Wire, session: Session, upstream: Upstream, method: str) -> None:
    """A right request with another method than POST is answered with 404 or 405, and reaches no upstream. HEAD may be
    answered otherwise, as it asks for nothing, and OPTIONS with 200 or 204, where it asks for what is allowed."""
    __tracebackhide__ = True
    upstream.says("Hello")
    allowed = {"HEAD": range(200, 500), "OPTIONS": (200, 204, 404, 405)}.get(method, (404, 405))

    reply = wire.send(session, wire.right(session) if method in ("PUT", "PATCH") else None, method=method)

    expect(reply).status(*allowed)
    expect(len(upstream.calls)).equals(0, "upstream calls")


def _told(wrong: Iterable[Wrong], body: dict[str, Any], session: Session) -> Iterable[tuple[Wrong, dict[str, Any]]]:
    """The wrong requests, but for those in which one text of several is lost by which the upstream knows the check."""
    for mistake in wrong:
        spoiled = mistake.within(body)
        if len(mistake.path) == 1 or session.is_told(spoiled):
            yield mistake, spoiled


def _judge(session: Session, answers: Iterable[Answered], judge: Callable[[Answered], Sequence[Violation]]) -> None:
    """Hold what a judge finds wrong with each of these. The trace is of those only."""
    __tracebackhide__ = True
    violations: list[Violation] = []
    wrong: list[Reply] = []
    for answered in answers:
        faults = [replace(violation, where=f"{answered.wrong}: {violation.where}") for violation in judge(answered)]
        violations += faults
        wrong += [answered.reply] if faults else []
    if violations:
        session.trace_only(wrong[:SHOWN])
        raise ConformanceFailure(violations)


def _misread(wire: Wire, answered: Answered) -> Sequence[Violation]:
    reply = answered.reply
    if reply.status < 400:
        return []
    if reply.status not in REFUSED:
        actual = f"{reply.status} with the body {describe(reply.body)}"
        return [Violation("status", "an answer, or a refusal with 4xx", actual)]
    try:
        wire.envelope(expect(reply))
    except ConformanceFailure as failure:
        return failure.violations
    return []


def _unnamed(answered: Answered) -> Sequence[Violation]:
    text = answered.reply.body.decode("utf-8", "replace")
    names = answered.wrong.names
    if any(re.search(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])", text) for name in names):
        return []
    return [Violation("message of the refusal", f"one that names {' or '.join(names)}", describe(text))]
