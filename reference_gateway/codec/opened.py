"""A conversation whose last message stays open: an assistant's, which the model goes on with.

Knows where such a message ends in what a template wrote. Never knows tokens.

A mark that nobody can guess is put behind the message's text, and the render is cut there: what the template writes
behind an answer, and blanks that it takes off one, are behind the mark or in front of it, and never between.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_gateway.codec.chat_template import TemplateRefused
from reference_gateway.codec.vocabulary import new_cut
from reference_gateway.types import Message

_OPEN = new_cut()


def opened(messages: Sequence[Message]) -> list[Message]:
    """The messages, the mark behind the text of the last."""
    *before, last = messages
    return [*before, {**last, "content": last["content"] + _OPEN}]


def until_opening(rendered: str) -> str:
    """What was rendered of `opened` messages, up to the mark. Raises `TemplateRefused` when the template left out the
    message that carries it."""
    before, mark, _ = rendered.rpartition(_OPEN)
    if not mark:
        raise TemplateRefused("the chat template has no place for a last message that is to be continued")
    return before
