"""What is right is served. Where it is not, no refusal says anything, and nothing that is absent does.

A gateway that answers everything with 400 refuses whatever is wrong, and one that keeps nothing leaves nothing behind.
So a check that finds nothing wrong passes only where the gateway, asked for nothing but an answer on the same wire,
asks its upstream and gives one. That is tried once per profile and worker: in a session, with a nonce and on a
connection of its own, so that no check sees anything of it.

Where the upstream is unseen, nobody knows what the model says. Then the gateway is asked two questions that nobody has
asked before, and must answer each with a text of its own that is not the question. Whoever calls the upstream after all
is seen from then on.

Never judges how an answer looks: a defect there is for the requirement about it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.client.driving import DriverClient
from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import NoAnswer, Recorder, Reply, client
from conformance.gateway import NotObservable
from conformance.oracles import Violation
from conformance.upstream.client import Upstream
from conformance.vocabulary.asking import CHAT, INVOCATIONS, MESSAGES, RESPONSES, Wire, answer_of
from conformance.vocabulary.session import Session, Sessions

if TYPE_CHECKING:
    from conformance.vocabulary.target import Target

HINT = "The check itself found nothing wrong, nor would it with a gateway that serves nothing."
QUESTION, SAID = "Are you there?", "Here I am."
WIRES: Mapping[str, Wire] = {
    "anthropic-messages": MESSAGES,
    "openai-responses": RESPONSES,
    "invocations": INVOCATIONS,
    "isolation": INVOCATIONS,
    "hooks": INVOCATIONS,
    "delivery": INVOCATIONS,
    "background-tasks": INVOCATIONS,
}
"""What is asked for by profile; a chat request for the others."""


class Controls:
    """The positive controls of one worker."""

    def __init__(self, target: Target) -> None:
        recorder = Recorder(timeout=target.recorder.timeout, trust=target.recorder.trust)
        http = client(recorder, target.gateway.api_key)
        driver = type(target.driver)(target.gateway.url, DriverClient(http), target.gateway.api_key)
        upstream = Upstream(target.upstream.url, target.upstream.tokenizer)
        self._connection = target
        self._target = replace(target, http=http, driver=driver, recorder=recorder, upstream=upstream)
        self._found: dict[str, list[Violation]] = {}

    def of(self, profile: str) -> list[Violation]:
        """What goes wrong when nothing is asked for but what this profile is about. Tried at the first question."""
        if profile not in self._found:
            try:
                self._found[profile] = self._try(profile)
            except NoAnswer:  # a busy machine says nothing about the gateway: once more, and then it does
                self._found[profile] = self._try_again(profile)
        return self._found[profile]

    @property
    def unseen(self) -> str | None:
        """Why the upstream is unseen, as far as is known by now."""
        return self._connection.unseen

    def notice(self, upstream: Upstream) -> bool:
        """See whether a gateway that was never seen to call the upstream does so in the test that is open there. From
        then on it is held to what the model says."""
        if self._connection.unseen is None or not upstream.calls:
            return False
        self._connection.unseen = self._target.unseen = None
        self._found.clear()
        return True

    def close(self) -> None:
        self._target.close()
        self._target.upstream.close()

    def _try_again(self, profile: str) -> list[Violation]:
        try:
            return self._try(profile)
        except NoAnswer as failure:
            return _failed(WIRES.get(profile, CHAT), failure)

    def _try(self, profile: str) -> list[Violation]:
        target, wire = self._target, WIRES.get(profile, CHAT)
        target.upstream.begin()
        target.recorder.begin()
        sessions = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce)
        session = sessions.open()
        try:
            wrong: list[Violation] = []
            if target.unseen is not None:
                wrong = self._hear(wire, session, sessions.open())
            if target.unseen is None:  # also where it was seen just now
                wrong = self._hold_to_script(wire, session)
            if not wrong and profile == "trajectories" and not _exports(session):
                return [_violation(f"{wire.request}, and for what it left", "a trajectory", "none is exported")]
            return wrong
        except NotObservable:
            return []
        except NoAnswer:
            raise
        except ConformanceFailure as failure:
            return _failed(wire, failure)
        finally:
            self.notice(target.upstream)
            sessions.discard()
            target.upstream.end()

    def _hold_to_script(self, wire: Wire, session: Session) -> list[Violation]:
        """Ask for what the model is told to say."""
        upstream = self._target.upstream
        upstream.says(SAID)
        before = len(upstream.calls)
        reply = wire.ask(session, QUESTION)
        if reply.status != 200:
            return _refused(wire, reply)
        if len(upstream.calls) == before:
            answer = f"answered without a call of the upstream: {describe(reply.body)}"
            return [_violation(wire.request, "an answer of the model", answer)]
        if SAID.encode() not in reply.body:
            return [_violation(wire.request, f"an answer with what the model says: {SAID}", describe(reply.body))]
        return []

    def _hear(self, wire: Wire, *asked: Session) -> list[Violation]:
        """Ask each session something else, of a model that nobody scripts."""
        upstream = self._target.upstream
        answers: list[str] = []
        for session, question in zip(asked, _questions(), strict=True):
            upstream.says(SAID)
            reply = wire.ask(session, question, limited=True)
            if self.notice(upstream):
                return []
            if reply.status != 200:
                return _refused(wire, reply)
            answer = answer_of(reply)
            if not answer:
                return [_violation(wire.request, "a text of the model", describe(reply.body))]
            if question in answer:
                return [_violation(wire.request, "an answer of the model, not the question", describe(answer))]
            answers.append(answer)
        if len(set(answers)) == 1:
            return [_violation(f"{wire.request}, and another one", "two answers", f"twice {describe(answers[0])}")]
        return []


def _questions() -> tuple[str, str]:
    """Two that have nothing to do with each other, and that nobody has an answer to by heart."""
    number = secrets.randbelow(9_000_000) + 1_000_000
    return (
        f"What would you do with {number} red apples?",
        f"Tell me in a sentence or two how the weather was on the day number {number + 1} of your life.",
    )


def _exports(session: Session) -> bool:
    try:
        return bool(session.trajectories())
    except NotObservable:
        return bool(session.finalize())


def _refused(wire: Wire, reply: Reply) -> list[Violation]:
    answer = f"refused what is right, too: status {reply.status} with the body {describe(reply.body)}"
    return [_violation(wire.request, "status 200", answer)]


def _failed(wire: Wire, failure: ConformanceFailure) -> list[Violation]:
    return [
        _violation(wire.request, violation.expected, f"{violation.where}: {violation.actual}")
        for violation in failure.violations
    ]


def _violation(request: str, expected: str, actual: str) -> Violation:
    return Violation(f"the control: {request} with nothing wrong in it", expected, actual, HINT)
