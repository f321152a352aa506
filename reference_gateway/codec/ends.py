"""The end of a turn: which tokens a generation can end with, and what of the template each of them stands for.

Knows the text that a template writes behind an answer, and token ids. Never knows a client's message.

A template ends an answer with a text of its own, the *turn end*: ` </s>` in one, `\\n<|EOT|>\\n` in another. A model
ends it with one token. Once that was sampled, what the template has up to its own end token is said, and must not be
put behind the answer again: not the end token, whichever of several it is (`<|eom_id|>` for `<|eot_id|>`), and not the
blank in front of it. Some templates have no end token at all: there the model ends its turn with the token that begins
the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

KNOWN_ENDS = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|end|>",
    "<|EOT|>",
    "<|return|>",
    "<|call|>",
    "</s>",
)
"""Control tokens that published models end a turn with, whether or not the directory lists them."""


@dataclass(frozen=True, slots=True)
class TurnEnds:
    """`tokens` are the ids that a generation can end with. `lengths` maps the role of the message behind an answer, and
    the id that the answer ended with, to how many ids of what the template writes there that id stands for; the role
    "" is any other. `unplaced` are ids of which that can't be told: nothing may be appended behind them."""

    tokens: frozenset[int]
    lengths: Mapping[str, Mapping[int, int]]
    unplaced: frozenset[int]

    def rest(self, ids: list[int], role: str, last_id: int | None) -> list[int] | None:
        """What of `ids`, which the template writes behind an answer and before a message of `role`, is still to be put
        behind one that ended with `last_id`: all of it when that ended nothing. None where it can't be told."""
        if last_id not in self.tokens:
            return ids
        length = self.lengths.get(role, self.lengths[""])[last_id]
        if last_id in self.unplaced or (length and (len(ids) < length or ids[length - 1] not in self.tokens)):
            return None
        return ids[length:]


def turn_ends_of(turn_end: str, texts: Collection[str]) -> tuple[str, ...]:
    """The turn end that a template was seen to write, and the same with each other end token in the place of its own:
    many end a call otherwise than an answer. `texts` are those of the end tokens."""
    own = next((text for text in sorted(texts, key=len, reverse=True) if text and text in turn_end), None)
    if own is None:
        return (turn_end,)
    before, _, behind = turn_end.rpartition(own)
    return (turn_end, *(before + text + behind for text in texts if text != own))


def place_ends(
    listed: Collection[int],
    control: Collection[int],
    turn_end: str,
    fronts: Mapping[str, str],
    encode: Callable[[str], list[int]],
    text_of: Callable[[int], str],
) -> TurnEnds:
    """Find each end token in what stands behind an answer. `listed` are the ids that end a generation by the model's
    files, `control` those of all control tokens; `fronts` maps a role to the text between an answer and the content of
    a message of that role, which begins with `turn_end`."""
    own = encode(turn_end)
    written = {role: encode(front) for role, front in fronts.items()}
    tokens = frozenset(listed)
    if tokens.isdisjoint(own):
        # The template ends an answer with a control token that is listed nowhere, or with those that begin a message.
        ends = {token for token in own if token in control}
        firsts = [[token for token in ids if token in control][:1] for ids in written.values()]
        tokens |= ends or {token for first in firsts for token in first}
    lengths = {
        role: {token: _length(token, own, front, tokens) for token in tokens}
        for role, front in {"": own, **written}.items()
    }
    unplaced = frozenset(token for token in tokens if token not in own and text_of(token) in turn_end)
    return TurnEnds(tokens, lengths, unplaced)


def _length(token: int, own: Sequence[int], front: Sequence[int], tokens: Collection[int]) -> int:
    """How many ids `token` stands for: up to itself where the template writes it, else up to the last end token that
    the template ends an answer with, else none."""
    if token in own:
        return own.index(token) + 1
    ends = [place for place, token_id in enumerate(own) if token_id in tokens]
    if ends:
        return ends[-1] + 1
    return front.index(token) + 1 if token in front else 0
