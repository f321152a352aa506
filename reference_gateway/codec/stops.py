"""Stop strings: the text of an answer ends before the first of them, and what was sampled does not.

Knows text. Never knows ids or an engine. Engines that give out ids keep those of the stop string, so the gateway finds
it in the text that it makes of them. A stop string is reached where its last character is; of several that end there
the longest is meant. Everything here takes time in proportion to the text, whatever the stop strings are.
"""

from __future__ import annotations

from collections.abc import Sequence


def first_stop(text: str, stops: Sequence[str], start: int = 0) -> tuple[int, str] | None:
    """The place and the name of the stop string that `text` reaches first, from `start` on."""
    reached = [(place + len(stop), place, stop) for stop in stops if (place := text.find(stop, start)) >= 0]
    if not reached:
        return None
    _, place, stop = min(reached)
    return place, stop


class HeldBack:
    """Lets a text through that comes in pieces, but for its end as long as that may be the beginning of a stop string,
    and for everything from a stop string on."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._begun = [_Begun(stop) for stop in stops]
        self._held = ""
        self.stop: str | None = None
        """The stop string that the text has come to."""

    @property
    def reached(self) -> bool:
        """Whether the text has come to a stop string."""
        return self.stop is not None

    def feed(self, piece: str) -> str:
        """What is known to stand before every stop string, now that `piece` came too."""
        if self.stop is not None:
            return ""
        self._held += piece
        for number, character in enumerate(piece, 1):
            whole = [begun.stop for begun in self._begun if begun.feed(character)]
            if whole:
                self.stop = max(whole, key=len)
                end = len(self._held) - len(piece) + number
                return self._held[: end - len(self.stop)]
        kept = max(begun.length for begun in self._begun)
        text = self._held[: len(self._held) - kept]
        self._held = self._held[len(text) :]
        return text


class _Begun:
    """How much of the end of a text is the beginning of one stop string (Knuth, Morris and Pratt)."""

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.length = 0
        self._shorter = [0]
        for character in stop[1:]:
            self._shorter.append(self._longer(self._shorter[-1], character))

    def feed(self, character: str) -> bool:
        """Whether the stop string is whole with this character."""
        self.length = self._longer(self.length, character)
        return self.length == len(self.stop)

    def _longer(self, length: int, character: str) -> int:
        while length and self.stop[length] != character:
            length = self._shorter[length - 1]
        return length + (self.stop[length] == character)
