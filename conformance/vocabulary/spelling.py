"""Ids that a model may sample although the tokenizer never gives them for their text.

Knows one tokenizer. What cannot be said with it (a character tokenizer has one spelling of each text) ends the check
as `not_tested`.
"""

from __future__ import annotations

from conformance.tokenizer import Tokenizer
from conformance.vocabulary.outcome import NotTested

_CHARACTERS = "\U0001f600\U00010348\u2603"
"""Characters that byte-level tokenizers need several ids for; the first one that does is taken."""


def respelled(tokenizer: Tokenizer, text: str) -> list[int]:
    """Other ids than `encode(text)` gives, with the same text: a character at a time."""
    ids = [token_id for character in text for token_id in tokenizer.encode(character)]
    if ids == tokenizer.encode(text) or tokenizer.decode(ids) != text:
        raise NotTested(f"the tokenizer {tokenizer.name!r} has one spelling of {text!r} only")
    return ids


def broken_character(tokenizer: Tokenizer, before: str) -> list[int]:
    """The ids of `before`, and then those of a character without the last: their bytes are no UTF-8."""
    for character in _CHARACTERS:
        ids = tokenizer.encode(character)
        if len(ids) > 1 and tokenizer.decode(ids[:-1]) != character:
            return tokenizer.encode(before) + ids[:-1]
    raise NotTested(f"the tokenizer {tokenizer.name!r} writes each character with one id")


def control_token(tokenizer: Tokenizer) -> str:
    """The text of the end-of-turn token, where that is a control token and no ordinary text."""
    if tokenizer.is_special(tokenizer.end_of_turn):
        return tokenizer.end_of_turn_text
    raise NotTested(f"the tokenizer {tokenizer.name!r} ends turns with an ordinary character")
