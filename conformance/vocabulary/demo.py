"""What a check asks of the demo that a gateway has: of its hooks, its destinations and its background task.

Knows the field `demo` of an invocation and the posts of the inbox (docs/invocations.md); never how a gateway is built.
Whoever is meant carries the nonce of the check in its id, so that what is posted finds its test.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.invocations import InvocationReply, as_declared
from conformance.oracles import Violation
from conformance.upstream.client import Upstream
from conformance.upstream.inbox import Post
from conformance.vocabulary.session import Session

if TYPE_CHECKING:
    from conformance.vocabulary.target import Target

SAID = "A herring"
"""What the model answers, and what a push must therefore say."""


def described(reply: InvocationReply) -> dict[str, Any]:
    """What the response hook says that it was called with."""
    return _described(reply.text)


def _described(text: Any) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (TypeError, ValueError):
        document = None
    if not isinstance(document, dict):
        what = "what the demo's response hook returned"
        raise ConformanceFailure([Violation(what, "JSON that says what it was called with", describe(text))])
    return document


class Deliveries:
    """Invocations of one session whose answers go to others, and what was posted of them. The client that asks is
    `web`."""

    def __init__(self, session: Session, upstream: Upstream, target: Target) -> None:
        self.session, self.upstream, self._target = session, upstream, target

    def token(self, channel: str) -> str:
        """The identity of this check's user on a channel."""
        return f"{channel}:{self.upstream.nonce}"

    def ask(
        self, target: Any, *linked: str, message: str = "What is silver?", stream: bool = False, **asked: Any
    ) -> InvocationReply:
        """Ask for an answer to `target`. `linked` are the channels that the user is on, the last active one first;
        `asked` is more of what the demo takes."""
        self.upstream.says(SAID)
        known = {self.token(channel): {"name": f"Al on {channel}"} for channel in linked}
        demo = {"origin": self.token("web"), "linked": known, "target": target, **asked}
        return as_declared(self.session.invoke(message, stream=stream, demo=demo), self._target)

    def pushed(self, *channels: str, least: int = 1) -> list[Post]:
        """What was pushed, once each of these channels has got that much."""
        for channel in channels:
            wait_for_posts(self.session, self.upstream, least, f'"to": "{self.token(channel)}')
        return [post for post in self.upstream.posts if "to" in post.body]

    def heard(self, *channels: str, least: int = 1) -> dict[str, list[tuple[Any, Any]]]:
        """Role and text of what was pushed and taken, by channel, once each of these channels has got that much."""
        heard: dict[str, list[tuple[Any, Any]]] = {}
        for post in self.pushed(*channels, least=least):
            if post.status == 200:
                channel = str(post.body["to"]).partition(":")[0]
                heard.setdefault(channel, []).append((post.body.get("role"), post.body.get("text")))
        return heard

    def descriptions(self, *channels: str, least: int = 1) -> dict[str, dict[str, Any]]:
        """What the response hook says that it was called with, by the channel and the role of the push."""
        return {
            f"{channel} {role}": _described(text)
            for channel, pushes in self.heard(*channels, least=least).items()
            for role, text in pushes
        }

    def report(self) -> dict[str, Any]:
        """The report of the delivery."""
        report = wait_for_posts(self.session, self.upstream, 1, '"report": ')[0].body["report"]
        if not isinstance(report, dict):
            raise ConformanceFailure([Violation("report", "a JSON object", describe(report))])
        return report


def wait_for_posts(session: Session, upstream: Upstream, count: int, when: str) -> list[Post]:
    """The posts in which `when` occurs, once there are that many. A failure when there never are."""
    try:
        return upstream.wait_for_posts(count, when, session.time_left)
    except TimeoutError as error:
        raise ConformanceFailure([Violation("the inbox", f"{count} posts with {when}", str(error))]) from error
