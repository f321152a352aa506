"""What is right is served. Where it is not, no refusal says anything, and nothing that is absent does.

A gateway that answers everything with 400 refuses whatever is wrong, and one that keeps nothing leaves nothing behind.
So a check that finds nothing wrong passes only where the gateway, asked for nothing but an answer on the same wire,
asks its upstream and gives one. That is tried once per profile and worker: in a session, with a nonce and on a
connection of its own, so that no check sees anything of it.

Never judges how an answer looks: a defect there is for the requirement about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.client.driving import DriverClient
from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import NoAnswer, Recorder, Reply, client
from conformance.gateway import NotObservable
from conformance.oracles import Violation
from conformance.upstream.client import Upstream
from conformance.vocabulary.session import Session, Sessions

if TYPE_CHECKING:
    from conformance.vocabulary.target import Target

HINT = "The check itself found nothing wrong, nor would it with a gateway that serves nothing."
QUESTION, SAID = "Are you there?", "Here I am."
ASKED: Mapping[str, Callable[[Session], Reply]] = {
    "a chat request": lambda session: session.chat(QUESTION),
    "a message request": lambda session: session.message(QUESTION),
    "a request for a response": lambda session: session.respond(QUESTION),
    "an invocation": lambda session: session.invoke(QUESTION),
}
WIRES = {
    "anthropic-messages": "a message request",
    "openai-responses": "a request for a response",
    "invocations": "an invocation",
    "isolation": "an invocation",
    "hooks": "an invocation",
    "delivery": "an invocation",
    "background-tasks": "an invocation",
}
"""What is asked for by profile; a chat request for the others."""


class Controls:
    """The positive controls of one worker."""

    def __init__(self, target: Target) -> None:
        recorder = Recorder(timeout=target.recorder.timeout)
        http = client(recorder, target.gateway.api_key)
        driver = type(target.driver)(target.gateway.url, DriverClient(http), target.gateway.api_key)
        upstream = Upstream(target.upstream.url, target.upstream.tokenizer)
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

    def close(self) -> None:
        self._target.close()
        self._target.upstream.close()

    def _try_again(self, profile: str) -> list[Violation]:
        try:
            return self._try(profile)
        except NoAnswer as failure:
            return _failed(WIRES.get(profile, "a chat request"), failure)

    def _try(self, profile: str) -> list[Violation]:
        target, wire = self._target, WIRES.get(profile, "a chat request")
        target.upstream.begin()
        target.recorder.begin()
        session = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce).open()
        try:
            target.upstream.says(SAID)
            reply = ASKED[wire](session)
            if reply.status != 200:
                answer = f"refused what is right, too: status {reply.status} with the body {describe(reply.body)}"
                return [_violation(wire, "status 200", answer)]
            if target.unseen is None and not target.upstream.calls:
                answer = f"answered without a call of the upstream: {describe(reply.body)}"
                return [_violation(wire, "an answer of the model", answer)]
            if SAID.encode() not in reply.body:
                return [_violation(wire, f"an answer with what the model says: {SAID}", describe(reply.body))]
            if profile == "trajectories" and not _exports(session):
                return [_violation(f"{wire}, and for what it left", "a trajectory", "none is exported")]
        except NotObservable:
            return []
        except NoAnswer:
            raise
        except ConformanceFailure as failure:
            return _failed(wire, failure)
        finally:
            session.discard()
            target.upstream.end()
        return []


def _exports(session: Session) -> bool:
    try:
        return bool(session.trajectories())
    except NotObservable:
        return bool(session.finalize())


def _failed(request: str, failure: ConformanceFailure) -> list[Violation]:
    return [
        _violation(request, violation.expected, f"{violation.where}: {violation.actual}")
        for violation in failure.violations
    ]


def _violation(request: str, expected: str, actual: str) -> Violation:
    return Violation(f"the control: {request} with nothing wrong in it", expected, actual, HINT)
