"""What the gateway under test sends by itself: pushed answers, and news of its background tasks (docs/invocations.md).

Knows JSON objects in order of arrival, and how the next ones are answered; nothing of HTTP and nothing of what they
mean. A post belongs to the test whose nonce stands anywhere in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

PATH = "/inbox"
"""Where a gateway posts, below the upstream's URL."""


@dataclass(slots=True)
class Post:
    """One post. `index` counts those of one nonce from 0; `status` is how it was answered, None while it is held.
    `arrived` and `answered` are seconds, as in `ledger.Call`."""

    index: int
    body: dict[str, Any]
    arrived: float
    status: int | None = None
    answered: float | None = None

    @property
    def text(self) -> str:
        """The body as JSON text, in which `when` is looked for."""
        return json.dumps(self.body, ensure_ascii=False)

    def to_json(self) -> dict[str, Any]:
        return {attribute.name: getattr(self, attribute.name) for attribute in fields(self)}


@dataclass(slots=True)
class Answering:
    """How the next posts in which `when` occurs are answered, `times` of them: with `status`, once `released`."""

    when: str | None = None
    status: int = 200
    times: int = 1
    released: bool = True

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Answering:
        """Raises ValueError that names the field."""
        when, status, times = document.get("when"), document.get("status", 200), document.get("times", 1)
        if not isinstance(when, str | None):
            raise ValueError(f"when must be a string or null, not {when!r}")
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"status must be 200 to 599, not {status!r}")
        if type(times) is not int or not 1 <= times <= 1000:
            raise ValueError(f"times must be a count from 1 to 1000, not {times!r}")
        return cls(when, status, times, released=not document.get("hold"))


@dataclass(slots=True)
class Inbox:
    """The posts of one test, and what was said in advance of them."""

    posts: list[Post] = field(default_factory=list)
    answers: list[Answering] = field(default_factory=list)

    def arrive(self, body: dict[str, Any]) -> tuple[Post, Answering]:
        """Record a post, and take what answers it."""
        post = Post(len(self.posts), body, time.monotonic())
        self.posts.append(post)
        for answering in self.answers:
            if answering.times and (answering.when is None or answering.when in post.text):
                answering.times -= 1
                return post, answering
        return post, Answering()

    def release(self) -> None:
        """Let every held post be answered."""
        for answering in self.answers:
            answering.released = True

    def with_text(self, when: str | None) -> list[Post]:
        """The posts in which `when` occurs; all for None."""
        return [post for post in self.posts if when is None or when in post.text]
