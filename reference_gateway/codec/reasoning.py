"""What a model thinks before it answers: `<think>...</think>` in front of its text.

Knows that one form, in a model's text and in a rendered conversation. Never knows tokens: the sampled ids stay as they
are, thoughts and all.
"""

from __future__ import annotations

REASONING = ("think",)
"""Names of the forms that can be split off."""

OPEN, CLOSE = "<think>", "</think>"


def split_thoughts(text: str, *, opened: bool, ended: bool) -> tuple[str, str]:
    """`text` as (reasoning, content); reasoning is "" where there is none.

    `opened`: the generation prompt ends with the opening tag, so the text begins inside. `ended`: the model ended its
    turn. An answer that was cut off inside its thoughts is all reasoning; one that ended without closing what it did
    not open is all content: the request told the template not to let it think.
    """
    beginning = text.lstrip()
    inside = beginning.startswith(OPEN)
    thoughts, closed, content = (beginning[len(OPEN) :] if inside else text).partition(CLOSE)
    if closed and (inside or OPEN not in thoughts):
        return thoughts.strip(), content.lstrip("\n")
    if not closed and (inside or (opened and not ended)):
        return thoughts.strip(), ""
    return "", text


def opens_thoughts(generation_prompt: str) -> bool:
    """Whether the model's text begins inside its thoughts."""
    return generation_prompt.rstrip().endswith(OPEN)


def without_thoughts(rendered: str) -> str:
    """A rendered conversation without its thoughts, empty ones included, and without an opening at its end."""
    first, *rest = rendered.split(OPEN)
    return first + "".join(part.partition(CLOSE)[2].lstrip("\n") for part in rest)
