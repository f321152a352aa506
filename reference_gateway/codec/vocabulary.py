"""Text <-> token ids, with a wall between what a template writes and what a message says.

Knows a `tokenizer.json` and which of its tokens are control tokens (added tokens marked special). Never knows messages
or templates.

Rendered text mixes both authors, and a tokenizer can't tell `<|im_start|>` written by the template from the same
characters in a user's message. So text that came from a message is *marked*: a cut, a number that nobody can guess, is
put inside every control string in it before rendering. After rendering, what still reads as a control string was
written by the template. It is given a private name, the cuts are removed, and a second tokenizer that knows the control
tokens by their private names only makes the ids. Text without control strings, nearly all text, takes none of these
steps.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Sequence

import orjson
from tokenizers import Tokenizer

from reference_gateway.codec.live import LiveText
from reference_gateway.codec.token_bytes import TokenBytes

LARGEST_ID = 2**32 - 1


class Vocabulary:
    """A tokenizer given as the bytes of its `tokenizer.json`. Raises ValueError when it is not one."""

    def __init__(self, source: bytes) -> None:
        try:
            document = orjson.loads(source)
            self._open = _load(source)
        except Exception as error:  # the library raises bare Exception for anything it can't read
            raise ValueError(f"tokenizer.json can't be read: {error}") from error
        self.token_bytes = TokenBytes(self._open, document)
        """The bytes that a token stands for."""
        tokens = [token for token in document.get("added_tokens") or () if token.get("special")]
        self._ids = {token["content"]: int(token["id"]) for token in tokens}
        self.control_ids = frozenset(self._ids.values())
        """Ids of the control tokens."""
        names = sorted(self._ids, key=len, reverse=True)
        # Nothing can be put inside a single character: such a token can't be told from text, and is left to be text.
        pattern = "|".join(re.escape(name) for name in names if len(name) > 1)
        self._control = re.compile(pattern) if pattern else None
        self._starts = re.compile(f"(?={pattern})") if pattern else None  # finds those that overlap, too
        self._private = {name: f"\ue000{secrets.token_hex(8)}{place}\ue001" for place, name in enumerate(names)}
        for token in tokens:
            token["content"] = self._private[token["content"]]
        # A control token that is also an entry of the base vocabulary gets a new id there; it is mapped back.
        self._guarded = _load(orjson.dumps(document)) if names else self._open
        self._back = {self._guarded.token_to_id(self._private[name]): self._ids[name] for name in names}
        self._same_ids = all(guarded == real for guarded, real in self._back.items())
        self.leaks = [name for name in names if len(name) > 1 and self._ids[name] in _ids(self._guarded, name)]
        """Control tokens that the base vocabulary makes from their characters: no tokenizer can wall them off."""

    @property
    def size(self) -> int:
        """Ids are below it; not each is a token's."""
        return max(self._open.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def token_id(self, text: str) -> int | None:
        """The id of the token that is written `text`, or None."""
        token_id: int | None = self._open.token_to_id(text)
        return token_id

    def text_of(self, token: int) -> str:
        """The text that one id is written as; "" for one outside the vocabulary."""
        return self.decode([token], keep_control=True)

    def encode(self, text: str) -> list[int]:
        """Ids of template text: control strings become control tokens. Adds no token of its own."""
        return _ids(self._open, text)

    def encode_marked(self, text: str, cut: str) -> list[int]:
        """Ids of rendered text in which control strings of messages carry `cut`: those become ordinary tokens."""
        if self._control is not None:
            text = self._control.sub(lambda match: self._private[match[0]], text)
        ids = _ids(self._guarded, text.replace(cut, ""))
        return ids if self._same_ids else [self._back.get(token, token) for token in ids]

    def has_control(self, text: str) -> bool:
        """Whether the characters of a control token stand in `text`."""
        return self._control is not None and self._control.search(text) is not None

    def without_control(self, text: str) -> str:
        """`text` without the characters of control tokens."""
        return text if self._control is None else self._control.sub("", text)

    def place_among_control(self, text: str, place: int) -> int:
        """Where the character stands in `text` that is number `place` of it without control tokens."""
        for match in self._control.finditer(text) if self._control is not None else ():
            if match.start() > place:
                break
            place += len(match[0])
        return place

    def mark(self, texts: Sequence[str], cut: str) -> list[str]:
        """`texts`, which a template writes one after the other, with `cut` inside each control string in them, also
        one that only their concatenation spells."""
        joined = "".join(texts)
        places = deque(match.start() + 1 for match in self._starts.finditer(joined)) if self._starts else deque[int]()
        marked, end = [], 0
        for text in texts:
            start, end = end, end + len(text)
            pieces: list[str] = []
            while places and places[0] <= end:
                pieces += joined[start : places[0]], cut
                start = places.popleft()
            marked.append("".join([*pieces, joined[start:end]]))
        return marked

    def decode(self, ids: Sequence[int], *, keep_control: bool) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD, and ids outside the vocabulary become nothing."""
        known = [token for token in ids if 0 <= token <= LARGEST_ID]
        text: str = self._open.decode(known, skip_special_tokens=not keep_control)
        return text

    def live(self, openings: Sequence[str], stops: Sequence[str] = ()) -> LiveText:
        """The text of ids that come one after the other; see `live.LiveText`."""
        if not openings:
            return LiveText(self._open, hidden=self.control_ids, stops=stops)
        return LiveText(self._open, (*openings, *self._ids), self.control_ids, stops=stops)


def new_cut() -> str:
    """A string that no client can have written: digits, which every template filter leaves alone."""
    return str(secrets.randbelow(9 * 10**29) + 10**29)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    # The batch form leaves out the offsets into the text, a fifth of the work.
    ids: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
    return ids


def _load(source: bytes) -> Tokenizer:
    tokenizer = Tokenizer.from_buffer(source)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
