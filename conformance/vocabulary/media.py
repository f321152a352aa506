"""Images and videos as checks know them: how clients send them on each wire, and what somebody behind the gateway has.

Knows the parts of messages, and lists of media items; never a gateway's processor. An item is known by the URL or the
data that stands in it: it may be handed on as it came, or in an object of the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.gateway import Trajectory
from conformance.oracles import Violation
from conformance.upstream.client import Upstream
from conformance.upstream.pictures import data_uri, png
from conformance.vocabulary.session import Message

Part = dict[str, Any]

DARK, GREY, LIGHT = (data_uri("image/png", png(shade)) for shade in (10, 120, 240))
"""Images that any gateway can read without a network: one pixel each."""
PHOTO = "http://pictures.invalid/pier.png"
FILM, CLIP = "http://pictures.invalid/tide.mp4", "https://pictures.invalid/gull.mp4"
"""URLs that lead nowhere, for gateways that hand URLs on."""
_NAMES = {DARK: "the dark image", GREY: "the grey image", LIGHT: "the light image"}


def text(words: str) -> Part:
    return {"type": "text", "text": words}


def image(url: str, **fields: Any) -> Part:
    """A part of a chat message. `fields` stand beside the URL."""
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def video(url: str, **fields: Any) -> Part:
    """A part of a chat message. `fields` stand beside the URL."""
    return {"type": "video_url", "video_url": {"url": url, **fields}}


def look(words: str, *urls: str, role: str = "user", **fields: Any) -> Message:
    """A chat message with a text, and images behind it."""
    return {"role": role, "content": [text(words), *map(image, urls)], **fields}


def block(url: str) -> Part:
    """An image as an Anthropic message has it: by its data where it is a `data:` URI, else by its URL."""
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def input_image(url: str) -> Part:
    """An image as a message of the Responses wire has it."""
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def placed(messages: Sequence[Message]) -> list[Message]:
    """The messages as chat templates expect them: a part with an image or a video says only that it is there."""
    return [
        {**message, "content": [_placed(part) for part in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in messages
    ]


def sent(upstream: Upstream, number: int) -> Held:
    """What the upstream received with call `number` of the check. A failure when there is no such call."""
    calls = upstream.calls
    if len(calls) <= number:
        raise ConformanceFailure([Violation("upstream calls", f"at least {number + 1}", str(len(calls)))])
    return Held(f"media that the upstream received with call {number}", calls[number].images, calls[number].videos)


def exported(trajectories: Sequence[Trajectory], number: int = -1) -> Held:
    """What trajectory `number` of a session exports, by default the last one's."""
    where = "multi_modal_data of the last trajectory" if number == -1 else f"multi_modal_data of trajectory {number}"
    if not trajectories or number >= len(trajectories):
        raise ConformanceFailure([Violation(where, "a trajectory", f"{len(trajectories)} trajectories")])
    data = trajectories[number].multi_modal_data
    if not isinstance(data, Mapping | None):
        raise ConformanceFailure([Violation(where, "an object or null", describe(data))])
    return Held(where, (data or {}).get("images"), (data or {}).get("videos"))


@dataclass(frozen=True, slots=True)
class Held:
    """The media that somebody has, each kind a list or null."""

    where: str
    images: Any
    videos: Any

    def are(self, images: Sequence[str] = (), videos: Sequence[str] = (), hint: str = "") -> None:
        """These and no others, each once, in this order."""
        __tracebackhide__ = True
        pairs = (("images", self.images, images), ("videos", self.videos, videos))
        _hold(
            [
                violation
                for kind, actual, urls in pairs
                for violation in _differences(f"{self.where}, {kind}", actual, urls, hint)
            ]
        )

    def are_null(self, *kinds: str) -> None:
        """There is nothing of these kinds: null or absent, not an empty list."""
        __tracebackhide__ = True
        values = {kind: getattr(self, kind) for kind in kinds}
        _hold(
            [
                Violation(f"{self.where}, {kind}", "null", describe(value))
                for kind, value in values.items()
                if value is not None
            ]
        )

    def say_of(self, url: str, *values: Any) -> None:
        """The one video is that of `url`, and these values stand beside it."""
        __tracebackhide__ = True
        self.are(videos=[url])
        leaves = list(_leaves(self.videos))
        missing = [value for value in values if value not in leaves]
        where = f"{self.where}, videos[0]"
        _hold([Violation(where, f"{describe(value)} beside its URL", describe(self.videos[0])) for value in missing])


def refused_or_handed_on(reply: Reply, upstream: Upstream, url: str) -> bool:
    """Whether the request was refused, with a client error and before the upstream was called. Where it was not, the
    upstream must have received the image or the video; anything else is a failure."""
    __tracebackhide__ = True
    calls = upstream.calls
    if 400 <= reply.status < 500:
        _hold([Violation("upstream", "no call for a request that is refused", f"{len(calls)} calls")] if calls else [])
        return True
    if reply.status != 200:
        _hold([Violation("status", "4xx, as media are not declared", f"{reply.status} {describe(reply.body)}")])
    items = [item for call in calls for item in (*(call.images or ()), *(call.videos or ()))]
    if not any(_shows(item, url) for item in items):
        what = "the media of a request that is answered"
        _hold([Violation(what, "handed on to the upstream, or refused with 4xx", "accepted, and left out in silence")])
    return False


def _placed(part: Any) -> Any:
    kinds = {"image_url": "image", "video_url": "video"}
    kind = part.get("type") if isinstance(part, Mapping) else None
    return {"type": kinds[kind]} if kind in kinds else part


def _differences(where: str, actual: Any, urls: Sequence[str], hint: str) -> Iterator[Violation]:
    items = [] if actual is None else actual
    if not isinstance(items, list):
        yield Violation(where, "a list or null", describe(items))
    elif len(items) != len(urls) or not all(map(_shows, items, urls)):
        yield Violation(where, _listed(urls), _listed(items), hint)


def _shows(item: Any, url: str) -> bool:
    """Whether this URL, or the data of this `data:` URI, stands anywhere in the item."""
    data = url.partition(";base64,")[2] if url.startswith("data:") else url
    return any(isinstance(leaf, str) and data in leaf for leaf in _leaves(item))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    else:
        yield value


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(_named, items)) or "none"


def _named(item: Any) -> str:
    name = _NAMES.get(item) if isinstance(item, str) else None
    return name or describe(item, 80)


def _hold(violations: Sequence[Violation]) -> None:
    if violations:
        raise ConformanceFailure(violations)
