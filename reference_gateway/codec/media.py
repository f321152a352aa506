"""Images and videos of messages, by reference: the gateway fetches nothing and decodes nothing.

Knows the parts that `wire` makes of them: `{"type": "image_url", "image_url": {"url": ...}}`, and the same for
`video_url`. Never knows a network: what a URL means is for the engine, or for a processor that is put in the place of
`References` (`create_app(..., media=...)`).

Invariant: media come in the order of their parts, which is the order of their places in the rendered context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reference_gateway.types import Media, Message

IMAGE, VIDEO = "image_url", "video_url"
_PLACE = {IMAGE: {"type": "image"}, VIDEO: {"type": "video"}}


class References:
    """A `types.MediaExtractor`. An item is the URL or the data URI itself; a video about which its part says more
    (`fps` ...) is the pair of its URL and what it says (contract UA-MM-05)."""

    def extract(self, messages: Sequence[Message]) -> Media:
        """See `types.MediaExtractor`."""
        parts = list(_parts(messages))
        return Media(
            images=tuple(part[IMAGE]["url"] for part in parts if part["type"] == IMAGE),
            videos=tuple(_video(part[VIDEO]) for part in parts if part["type"] == VIDEO),
        )


def placed(messages: Sequence[Message]) -> Sequence[Message]:
    """`messages` as templates expect them: an image or a video is a part that says only that it is there."""
    if not any(isinstance(message.get("content"), list) for message in messages):
        return messages
    return [_placed(message) if isinstance(message.get("content"), list) else message for message in messages]


def _placed(message: Message) -> Message:
    return {**message, "content": [_PLACE.get(part["type"], part) for part in message["content"]]}


def _parts(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if isinstance(message.get("content"), list):
            yield from message["content"]


def _video(video: dict[str, Any]) -> Any:
    settings = {name: value for name, value in video.items() if name != "url"}
    return (video["url"], settings) if settings else video["url"]
