"""The text of a generation while it is being sampled: only what the whole answer is sure to begin with.

Knows token ids and the openings of tool calls. Never knows a wire.

Held back: bytes that are no whole character yet; white space at the end, since an answer that is only a call has none;
everything from what may be a stop string; and, where calls are parsed, everything from what may be the opening of one.
So what was shown is a prefix of the content of the whole answer, and what is missing comes with that.

Each id costs the same, however many were held back before it: white space is kept in pieces, and a model that goes on
with what is no character is not listened to any more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from reference_gateway.codec.stops import HeldBack

OPENINGS: Mapping[str, tuple[str, ...]] = {
    "hermes": ("<tool_call>",),
    "qwen": ("<tool_call>",),
    "qwen3_coder": ("<tool_call>", "<function="),
    "mistral": ("[TOOL_CALLS]",),
    "glm45": ("<tool_call>",),
}
"""Tool parsers whose calls begin with one of these texts. With any other, an answer to a request with tools is shown
when it is whole."""


class TextChanged(RuntimeError):
    """The answer does not begin with what was shown of it."""


MOST_BYTES = 16
"""More ids than a character has. With each that comes, the decoder looks again at all that are no character yet."""


class LiveText:
    """`ends` are the texts, and `end_ids` the ids, from which on the whole answer is needed to tell what is said: where
    calls are parsed, their openings and control tokens, which are taken out of what stands beside a call. `hidden` are
    the ids that are never shown. `stops` are the texts that end the answer."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        ends: Sequence[str] = (),
        end_ids: Collection[int] = (),
        hidden: Collection[int] = (),
        stops: Sequence[str] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._ends, self._end_ids, self._hidden = tuple(ends), end_ids, hidden
        self._end = _first(self._ends) if ends else None
        self._before_stops = HeldBack(stops) if stops else None
        self._stream = DecodeStream(skip_special_tokens=True)
        self._undecoded = 0
        self._space: list[str] = []
        self._begun = ""
        self._ended = False

    @property
    def stop(self) -> str | None:
        """The stop string that the text has come to."""
        return None if self._before_stops is None else self._before_stops.stop

    def feed(self, ids: Sequence[int]) -> str:
        """What may be shown now that these ids were sampled too; "" when that is nothing."""
        if self._ended:
            return ""
        decoded = "".join(self._decoded(ids))
        if self._before_stops is not None:
            decoded = self._before_stops.feed(decoded)
            self._ended = self._ended or self._before_stops.reached
        text = self._begun + decoded
        match = self._end.search(text) if self._end is not None else None
        begins = len(text) if match is None else match.start()
        if match is not None and match[0] in self._ends:
            self._ended = True
        self._begun = text[begins:]
        shown = text[:begins].rstrip()
        if not shown:
            self._space.append(text[:begins])
            return ""
        before = "".join(self._space)
        self._space = [text[len(shown) : begins]]
        return before + shown

    def _decoded(self, ids: Sequence[int]) -> Iterator[str]:
        for token in ids:
            if self._ended:
                return
            if token in self._end_ids:
                self._ended = True
            elif token not in self._hidden and self._tokenizer.id_to_token(token) is not None:
                text = self._step(token)
                self._undecoded = 0 if text else self._undecoded + 1
                self._ended = self._undecoded > MOST_BYTES
                yield text

    def _step(self, token: int) -> str:
        try:
            return self._stream.step(self._tokenizer, token) or ""
        except Exception:  # the library's, where a decoder rewrites what it gave before: the whole answer is right
            self._undecoded = MOST_BYTES
            return ""


@cache
def _first(texts: tuple[str, ...]) -> re.Pattern[str]:
    """Finds where one of the texts begins, or may begin when more is known."""
    begun = {text[:end] for text in texts for end in range(1, len(text))}
    return re.compile("|".join([*map(re.escape, texts), *(re.escape(text) + r"\Z" for text in sorted(begun))]))
