"""What the fields of a request leave a model free to say: whether a text is within the constraints of engines.

Knows the names under which vLLM, SGLang and llama.cpp take a constraint, and the tool choice of chat; of constraints,
JSON Schema, regular expressions, lists of choices and the structural tags of xgrammar
(https://xgrammar.mlc.ai/docs, structural tag). Grammars in a language of their own are not read: what they leave free
is not known. Judges whole texts, never a beginning of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

Fields = Mapping[str, Any]
_SPACE = " \t\n\r"
Ends = set[int]
"""Places of a text at which something that began at another may have ended."""


class Unreadable(Exception):
    """A constraint in words that are not known here."""


_UNREADABLE = (Unreadable, Unresolvable, LookupError, TypeError, ValueError, AttributeError)
"""What comes of reading a constraint that is not written as is known here."""


def free_to_say(fields: Fields, text: str, calls: Sequence[Mapping[str, Any]] = ()) -> bool | None:
    """Does a request with these fields leave its model free to answer with `text`, in which these `calls` are made?
    None where a constraint can't be read, and no other excludes the text."""
    chosen: Callable[[str], bool | None] = partial(_chosen, fields, calls)
    known: list[bool | None] = []
    for holds in (chosen, *_constraints(fields)):
        try:
            known.append(holds(text))
        except _UNREADABLE:
            known.append(None)
    return False if False in known else None if None in known else True


def _chosen(fields: Fields, calls: Sequence[Mapping[str, Any]], _: str) -> bool:
    """As an engine holds its model to the tool choice of a chat request: to functions, and to their parameters."""
    choice, tools = fields.get("tool_choice"), fields.get("tools") or ()
    parameters = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    if isinstance(choice, Mapping) and "function" in choice:
        parameters = {name: schema for name, schema in parameters.items() if name == choice["function"]["name"]}
    elif choice != "required":
        return True
    return bool(calls) and all(
        call["name"] in parameters and _validator(parameters[call["name"]]).is_valid(call["arguments"])
        for call in calls
    )


def _constraints(fields: Fields) -> Iterator[Callable[[str], bool | None]]:
    """Each constraint of the request, as a test of a whole text."""
    nested = fields.get("structured_outputs")
    for name, value in (*fields.items(), *(nested.items() if isinstance(nested, Mapping) else ())):
        kind = _KINDS.get(name)
        if kind is not None and value is not None and value is not False:
            yield partial(kind, value)


def _json(schema: Any, text: str) -> bool:
    schema = _read(schema)
    validator = _validator(schema)
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return validator.is_valid(value) and _in_order(schema, value)


def _any_object(_: Any, text: str) -> bool:
    return _json({"type": "object"}, text)


def _regex(pattern: Any, text: str) -> bool:
    return len(text) in _regex_ends(pattern, text, 0)


def _choice(choices: Any, text: str) -> bool:
    return text in choices


def _unread(_: Any, __: str) -> None:
    """A grammar in a language of its own."""


def _tag(tag: Any, text: str) -> bool:
    tag = _read(tag)
    if "structures" in tag:  # as structural tags were written first
        tags = [
            {**structure, "content": {"type": "json_schema", "json_schema": structure["schema"]}}
            for structure in tag["structures"]
        ]
        return len(text) in _triggered({"triggers": tag["triggers"], "tags": tags}, text, 0)
    return len(text) in _ends(tag["format"], text, 0)


def _format(form: Any, text: str) -> bool | None:
    """`response_format`, where a gateway talks chat to its engine."""
    kind = form["type"]
    if kind == "json_schema":
        return _json(form["json_schema"]["schema"], text)
    known: dict[str, Callable[[Any, str], bool | None]] = {"json_object": _any_object, "structural_tag": _tag}
    return kind == "text" or known.get(kind, _unread)(form, text)


_KINDS: Mapping[str, Callable[[Any, str], bool | None]] = {
    **dict.fromkeys(("json", "guided_json", "json_schema"), _json),
    **dict.fromkeys(("json_object", "guided_json_object"), _any_object),
    **dict.fromkeys(("regex", "guided_regex"), _regex),
    **dict.fromkeys(("choice", "guided_choice"), _choice),
    **dict.fromkeys(("grammar", "guided_grammar", "ebnf"), _unread),
    "structural_tag": _tag,
    "response_format": _format,
}


# Structural tags


def _ends(form: Any, text: str, start: int) -> Ends:
    """Where what began at `start` may have ended, if it is of this format."""
    return _FORMATS[form["type"]](form, text, start)


def _constant(form: Any, text: str, start: int) -> Ends:
    return {start + len(form["value"])} if text.startswith(form["value"], start) else set()


def _value(form: Any, text: str, start: int) -> Ends:
    if form.get("style", "json") != "json":
        return _members(form, text, start)
    schema = _read(form["json_schema"])
    validator = _validator(schema)
    try:
        value, end = json.JSONDecoder().raw_decode(text, len(text) - len(text[start:].lstrip(_SPACE)))
    except ValueError:
        return set()
    return {end} if validator.is_valid(value) and _in_order(schema, value) else set()


def _members(form: Any, text: str, start: int) -> Ends:
    """An object whose members stand each in tags, text as it is and other values as JSON."""
    schema, member = _read(form["json_schema"]), _STYLES[form["style"]]
    validator, types = _validator(schema), schema.get("properties", {})
    ends: Ends = set()
    members: dict[str, Any] = {}
    place: int | None = start
    while place is not None:
        if validator.is_valid(members):
            ends.add(place)
        found = member.match(text, place)
        place = found and found.end()
        if found:
            name, value = found.groups()
            members[name] = value if types.get(name, {}).get("type") == "string" else _read_or_text(value)
    return ends


def _read_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _regex_ends(pattern: Any, text: str, start: int) -> Ends:
    try:
        compiled = re.compile(pattern)
    except re.error:
        raise Unreadable from None
    return {end for end in range(start, len(text) + 1) if compiled.fullmatch(text, start, end)}


def _pattern(form: Any, text: str, start: int) -> Ends:
    return _regex_ends(form["pattern"], text, start)


def _anything(_: Any, text: str, start: int) -> Ends:
    return set(range(start, len(text) + 1))


def _sequence(form: Any, text: str, start: int) -> Ends:
    ends = {start}
    for element in form["elements"]:
        ends = {end for place in ends for end in _ends(element, text, place)}
    return ends


def _either(form: Any, text: str, start: int) -> Ends:
    return {end for element in form["elements"] for end in _ends(element, text, start)}


def _tagged(form: Any, text: str, start: int) -> Ends:
    inside = start + len(form["begin"])
    if not text.startswith(form["begin"], start):
        return set()
    closings = form["end"] if isinstance(form["end"], list) else [form["end"]]
    return {
        place + len(closing)
        for place in _ends(form["content"], text, inside)
        for closing in closings
        if text.startswith(closing, place)
    }


def _separated(form: Any, text: str, start: int) -> Ends:
    ends: Ends = set() if form.get("at_least_one") else {start}
    behind = _any_of(form["tags"], text, {start})
    while behind - ends:
        ends |= behind
        if form.get("stop_after_first"):
            break
        separator = form["separator"]
        behind = _any_of(
            form["tags"], text, {end + len(separator) for end in behind if text.startswith(separator, end)}
        )
    return ends


def _triggered(form: Any, text: str, start: int) -> Ends:
    """Free text, but behind a trigger, which begins one of the tags."""
    ends: Ends = set()
    waiting, seen, first = {start}, {start}, True
    while waiting:
        behind: Ends = set()
        for place in waiting:
            trigger = min(
                (at for trigger_text in form["triggers"] if (at := text.find(trigger_text, place)) >= 0), default=None
            )
            if not (first and form.get("at_least_one")):
                ends |= set(range(place, (len(text) if trigger is None else trigger) + 1))
            if trigger is not None:
                behind |= _any_of(form["tags"], text, {trigger})
        first = False
        if form.get("stop_after_first"):
            return ends | behind
        waiting, seen = behind - seen, seen | behind
    return ends


def _any_of(tags: Any, text: str, places: Ends) -> Ends:
    return {end for place in places for tag in tags for end in _tagged(tag, text, place)}


_STYLES: Mapping[str, re.Pattern[str]] = {
    "qwen_xml": re.compile(r"\s*<parameter=([^>]+)>\n?(.*?)\n?</parameter>", re.DOTALL),
    "glm_xml": re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL),
}
"""Styles of an object that is not written as JSON -> a member of it."""

_FORMATS: Mapping[str, Callable[[Any, str, int], Ends]] = {
    "const_string": _constant,
    "json_schema": _value,
    "regex": _pattern,
    "any_text": _anything,
    "sequence": _sequence,
    "or": _either,
    "tag": _tagged,
    "tags_with_separator": _separated,
    "triggered_tags": _triggered,
}


def _read(document: Any) -> Any:
    """A constraint is given as JSON or as its text."""
    return json.loads(document) if isinstance(document, str) else document


def _in_order(schema: Any, value: Any) -> bool:
    """Engines have the members of an object that its schema names written in the order in which it names them."""
    if not isinstance(schema, Mapping) or not isinstance(value, Mapping):
        return True
    named = schema.get("properties", {})
    written = [name for name in value if name in named]
    return written == [name for name in named if name in value] and all(
        _in_order(named[name], value[name]) for name in written
    )


def _validator(schema: Any) -> Draft202012Validator:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        raise Unreadable from None
    return Draft202012Validator(schema, registry=Registry())  # which fetches nothing
