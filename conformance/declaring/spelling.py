"""A word that nobody knows, and what may have been meant by it."""

from __future__ import annotations

from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such word, in a sentence, with the one that it is most like."""
    from difflib import get_close_matches  # slow to import, and needed for this text only

    spelled = {word.replace("_", "-"): str(word) for word in known}
    near = get_close_matches(name.lower().replace("_", "-"), spelled, n=1)
    return f"no {what} is named {name!r}" + (f"; did you mean {spelled[near[0]]!r}?" if near else "")
