"""What models write that is nearly a call, in the form `<tool_call>{JSON}</tool_call>`, beside a call that is whole.

Knows text and what may come back of it; never a wire. A parser may give up on an answer that it can't read as a whole:
then all of it is content. What none may do is lose some of it, or give what nobody wrote.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from conformance.vocabulary.expect import expect

WHOLE = ("search_the_web", {"q": "found"})
"""The name and the arguments of the call that is whole."""
_WRITTEN = '{"name": "search_the_web", "arguments": {"q": "found"}}'

BROKEN = {
    "broken JSON": '{"name": "search_the_web", "arguments": {"q": }}\n</tool_call>',
    "unclosed string": '{"name": "search_the_web", "arguments": {"q": "lost}}\n</tool_call>',
    "no name": '{"arguments": {"q": "lost"}}\n</tool_call>',
    "no end": '{"name": "search_the_web", "arguments": {"q": "lost"',
}
"""What stands behind the opening tag of a call that is none."""


def behind_broken(broken: str) -> str:
    """The whole call behind the broken one."""
    return f"<tool_call>\n{BROKEN[broken]}\n<tool_call>\n{_WRITTEN}\n</tool_call>"


def before_broken(broken: str) -> str:
    """The whole call in front of the broken one."""
    return f"<tool_call>\n{_WRITTEN}\n</tool_call>\n<tool_call>\n{BROKEN[broken]}"


def nothing_lost_nothing_invented(text: str, calls: Sequence[tuple[Any, Any]], broken: str) -> None:
    """The content and the calls, as names and arguments, of an answer that is one of the two above."""
    expect(list(calls)).satisfies(
        lambda calls: calls in ([], [WHOLE]), f"[{WHOLE}], or no call where all stays text", "the calls"
    )
    expect(text).contains(BROKEN[broken].partition("\n")[0], "the content")
    if not calls:
        expect(text).contains(_WRITTEN, "the content of an answer without calls")


SEVERAL = [{"name": "search_the_web", "arguments": {"q": query}} for query in ("one", "two", "three")]
"""Calls of one tool."""

TEMPTING = {"id": 1234567890123456789, "zip": "01234", "flag": "true"}
"""Arguments that a parser is tempted to change: an integer that no double holds, strings that spell other values."""


def expect_unique(ids: Sequence[str], count: int) -> None:
    """There are that many, none is empty, and no two are the same."""
    __tracebackhide__ = True
    expect(ids).satisfies(lambda ids: len(ids) == count, f"{count} of them", "the ids of the calls")
    expect(ids).satisfies(lambda ids: all(ids) and len(set(ids)) == count, "no two alike", "the ids of the calls")


def value_of(arguments: Any) -> Any:
    """The JSON value of arguments; what is no JSON text stays as it is."""
    try:
        return json.loads(arguments)
    except (TypeError, ValueError):
        return arguments
