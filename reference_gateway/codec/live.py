"""The text of a generation while it is being sampled: only what the whole answer is sure to begin with.

Knows token ids and the openings of tool calls. Never knows a wire.

Held back: bytes that are no whole character yet; white space at the end, since an answer that is only a call has none;
and, where calls are parsed, everything from what may be the opening of one. So what was shown is a prefix of the
content of the whole answer, and what is missing comes with that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

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
    """`openings` are the texts with which a call begins; `shown` takes control tokens out of what is shown."""

    def __init__(self, tokenizer: Tokenizer, openings: Sequence[str], shown: Callable[[str], str]) -> None:
        self._tokenizer = tokenizer
        self._openings = tuple(openings)
        self._opening = _opening(openings) if openings else None
        self._shown = shown
        self._stream = DecodeStream(skip_special_tokens=not openings)
        self._held = ""
        self._calling = False

    def feed(self, ids: Sequence[int]) -> str:
        """What may be shown now that these ids were sampled too; "" when that is nothing."""
        if self._calling:
            return ""
        self._held += "".join([self._stream.step(self._tokenizer, token) or "" for token in ids])
        found = self._opening.search(self._held) if self._opening is not None else None
        self._calling = found is not None and found[0] in self._openings
        text = (self._held if found is None else self._held[: found.start()]).rstrip()
        self._held = self._held[len(text) :]
        return self._shown(text)


def _opening(openings: Sequence[str]) -> re.Pattern[str]:
    """Finds where a call begins, or may begin when more is known."""
    whole = [re.escape(opening) for opening in openings]
    begun = [re.escape(opening[:end]) + r"\Z" for opening in openings for end in range(len(opening) - 1, 0, -1)]
    return re.compile("|".join([*whole, *begun]))
