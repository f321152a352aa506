"""The text of a generation while it is being sampled: only what the whole answer is sure to begin with.

Knows token ids and the openings of tool calls. Never knows a wire.

Held back: bytes that are no whole character yet; white space at the end, since an answer that is only a call has none;
everything from what may be a stop string; and, where calls are parsed, everything from what may be the opening of one.
So what was shown is a prefix of the content of the whole answer, and what is missing comes with that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
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


class LiveText:
    """`ends` are the texts, and `end_ids` the ids, from which on the whole answer is needed to tell what is said: where
    calls are parsed, their openings and control tokens, which are taken out of what stands beside a call. `stops` are
    the texts that end the answer."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        ends: Sequence[str] = (),
        end_ids: Collection[int] = (),
        stops: Sequence[str] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._ends, self._end_ids = tuple(ends), end_ids
        self._end = _first(self._ends) if ends else None
        self._before_stops = HeldBack(stops) if stops else None
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held = ""
        self._ended = False

    def feed(self, ids: Sequence[int]) -> str:
        """What may be shown now that these ids were sampled too; "" when that is nothing."""
        if self._ended:
            return ""
        said = ""
        for token in ids:
            if token in self._end_ids:
                self._ended = True
                break
            said += self._stream.step(self._tokenizer, token) or ""
        if self._before_stops is not None:
            said = self._before_stops.feed(said)
            self._ended = self._ended or self._before_stops.reached
        self._held += said
        found = self._end.search(self._held) if self._end is not None else None
        if found is not None and found[0] in self._ends:
            self._ended = True
        text = (self._held if found is None else self._held[: found.start()]).rstrip()
        self._held = self._held[len(text) :]
        return text


@cache
def _first(texts: tuple[str, ...]) -> re.Pattern[str]:
    """Finds where one of the texts begins, or may begin when more is known."""
    begun = {text[:end] for text in texts for end in range(1, len(text))}
    return re.compile("|".join([*map(re.escape, texts), *(re.escape(text) + r"\Z" for text in sorted(begun))]))
