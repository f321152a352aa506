"""`[name(key=value, ...), ...]`, as Llama 3.2 and 4 write it: a Python list of calls that is read and never run.

The list is the whole answer, or stands between `<|python_start|>` and `<|python_end|>`. Values are Python's literals
and JSON's words. It is read here and not by `ast`, which holds up the process for a second for a megabyte, respells
names, and knows neither a tool named `get-weather` nor an argument named `from`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, new_call, of_tools, read_spans
from reference_gateway.tools.arguments import MAX_DEPTH, Source, parse_json
from reference_gateway.types import Tool

_START, _END = "<|python_start|>", "<|python_end|>"
_OPENING = re.compile(re.escape(_START))
_SPACE = re.compile(r"\s*")
_FUNCTION = re.compile(r"([^\W\d][\w.-]*)\s*\(")
_KEYWORD = re.compile(r"([^\W\d]\w*)\s*=")
_WORD = re.compile(r"[^\W\d]\w*")
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_INTEGER = re.compile(r"[-+]?(?:0[xXoObB]\w+|[1-9][0-9_]*|0)(?![\w.])")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9][0-9_]*)?(?![\w.])"
)
_QUOTE = re.compile(r"([rR]?)[uU]?('''|\"\"\"|'|\")")
_BODY = {
    "'": re.compile(r"([^'\\]*+(?:\\.[^'\\]*+)*+)'", re.DOTALL),
    '"': re.compile(r'([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL),
    "'''": re.compile(r"([^'\\]*+(?:(?:\\.|'(?!''))[^'\\]*+)*+)'''", re.DOTALL),
    '"""': re.compile(r'([^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+)"""', re.DOTALL),
}
"""Quotes -> what stands between them, and the quotes that end it."""
_ESCAPE = r"\\(?:[\\'\"abfnrtv\n0-7]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
_ONLY_ESCAPES = re.compile(rf"[^\\]*+(?:{_ESCAPE}[^\\]*+)*+")
_BACKSLASH = re.compile(rf"({_ESCAPE})|\\")


def parse_pythonic(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`. A list between the marks ends before the next `<|python_start|>`."""
    signatures = Signatures(tools)

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        limit = text.find(_START, start)
        calls, end = _calls(text[start:limit] if limit >= 0 else text[start:], signatures)
        end = _skip(text, start + end)
        if text.startswith(_END, end):
            end += len(_END)
        elif end != len(text):
            raise NoCall("nothing else stands between the marks")
        return calls, end

    bare = text.strip().removesuffix(_END)
    if bare.startswith("["):
        try:
            calls, end = _calls(bare, signatures)
        except ValueError:
            pass
        else:
            if _skip(bare, end) == len(bare) and of_tools(calls, signatures):
                return "", calls
    return read_spans(text, _OPENING, read)


def _calls(text: str, signatures: Signatures) -> tuple[list[Call], int]:
    """The calls of the list that `text` begins with, and where it ends."""
    calls: list[Call] = []
    place = _behind("[", text, 0)
    while not calls or not text.startswith("]", place):
        function = _FUNCTION.match(text, place)
        if function is None:
            raise NoCall("a function is called by its name")
        arguments, place = _arguments(text, function.end())
        # Python spells values that JSON can't: what comes back from JSON can be rendered, hashed and sent.
        calls.append(new_call(function[1], parse_json(json.dumps(arguments)), signatures))
        place = _next(text, place, "]")
    return calls, place + 1


def _arguments(text: str, place: int) -> tuple[dict[str, Any], int]:
    arguments: dict[str, Any] = {}
    place = _skip(text, place)
    while not text.startswith(")", place):
        keyword = _KEYWORD.match(text, place)
        if keyword is None or keyword[1] in arguments:
            raise NoCall("an argument has a name, and is given once")
        arguments[keyword[1]], place = _value(text, keyword.end(), MAX_DEPTH)
        place = _next(text, place, ")")
    return arguments, place + 1


def _value(text: str, place: int, levels: int) -> tuple[Any, int]:
    """The literal at `place`, with at most that many levels of nesting, and where it ends."""
    place = _skip(text, place)
    if not levels:
        raise NoCall("nested too deeply")
    if text.startswith(("[", "("), place):
        return _list(text, place, levels)
    if text.startswith("{", place):
        return _dict(text, place, levels)
    if quote := _QUOTE.match(text, place):
        return _string(text, quote)
    if number := _INTEGER.match(text, place):
        return int(number[0], 0), number.end()
    if number := _FLOAT.match(text, place):
        return float(number[0]), number.end()
    word = _WORD.match(text, place)
    if word is None or word[0] not in _WORDS:
        raise NoCall("an argument is a literal")
    return _WORDS[word[0]], word.end()


def _string(text: str, quote: re.Match[str]) -> tuple[str, int]:
    body = _BODY[quote[2]].match(text, quote.end())
    if body is None:
        raise NoCall("a string ends")
    return body[1] if quote[1] else _unescaped(body[1]), body.end()


def _list(text: str, place: int, levels: int) -> tuple[Any, int]:
    """A list or a tuple, or a value in parentheses."""
    end = "]" if text[place] == "[" else ")"
    items: list[Any] = []
    comma = False
    place = _skip(text, place + 1)
    while not text.startswith(end, place):
        item, place = _value(text, place, levels - 1)
        items.append(item)
        place = _skip(text, place)
        comma = text.startswith(",", place)
        place = _next(text, place, end)
    return (items[0] if end == ")" and len(items) == 1 and not comma else items), place + 1


def _dict(text: str, place: int, levels: int) -> tuple[dict[str, Any], int]:
    items: dict[str, Any] = {}
    place = _skip(text, place + 1)
    while not text.startswith("}", place):
        quote = _QUOTE.match(text, place)
        if quote is None:
            raise NoCall("a key is a string")
        key, place = _string(text, quote)
        if key in items:
            raise NoCall("a key is given once")
        items[key], place = _value(text, _behind(":", text, place), levels - 1)
        place = _next(text, place, "}")
    return items, place + 1


def _skip(text: str, place: int) -> int:
    """The first place from `place` on that is no white space."""
    space = _SPACE.match(text, place)
    return space.end() if space else place


def _behind(mark: str, text: str, place: int) -> int:
    """The place behind `mark` and white space around it."""
    place = _skip(text, place)
    if not text.startswith(mark, place):
        raise NoCall(f"{mark} is missing")
    return _skip(text, place + 1)


def _next(text: str, place: int, end: str) -> int:
    """The place of the next thing in a list that goes on behind a comma, or of its `end`."""
    place = _skip(text, place)
    return place if text.startswith(end, place) else _behind(",", text, place)


def _unescaped(body: str) -> str:
    """What stands between two quotes, its escapes read as Python does. A backslash that begins none is a backslash."""
    if "\\" not in body:
        return body
    if not _ONLY_ESCAPES.fullmatch(body):
        body = _BACKSLASH.sub(lambda escape: escape[1] or "\\\\", body)
    string = body.encode("latin-1", "backslashreplace").decode("unicode_escape")
    # Two surrogates are how JSON writes one character, and models that were shown JSON. One of them is refused.
    return string.encode("utf-16", "surrogatepass").decode("utf-16")
