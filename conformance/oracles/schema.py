"""JSON Schema as an oracle: every way in which a document misses its schema, in the order of the document.

Knows JSON Schema and the files in `schemas/`; never what a field means. Two rules are stricter than JSON Schema's own:
an integer is written without a fraction (`1.0` breaks typed clients), and `true` is not a number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from conformance.oracles import Violation
from conformance.oracles.wording import Path, brief, described, written

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation before it is worded: its place in the document is still a path, so that findings can be ordered."""

    path: Path
    expected: str
    actual: str
    hint: str = ""


def mismatches(document: object, name: str, at: Path = ()) -> list[Finding]:
    """Where `document`, which stands at `at` of a larger one, misses `schemas/<name>.json`; `file#part` means a part of
    that file's `$defs`."""
    findings: list[Finding] = []
    instance: Any = document
    for error in _validator(name).iter_errors(instance):
        for finding in _findings(error):
            if finding not in findings:
                findings.append(finding)
    return [replace(finding, path=(*at, *finding.path)) for finding in findings]


@cache
def parts(name: str) -> tuple[str, ...]:
    """The parts of `schemas/<name>.json`, in its order."""
    return tuple(_read(name)["$defs"])


def in_reading_order(document: object, findings: Iterable[Finding], root: str = "body") -> list[Violation]:
    """Word the findings in the order in which a reader of `document` meets them; what is missing comes after what is
    there."""
    ordered = sorted(findings, key=lambda finding: _position(document, finding.path))
    return [
        Violation(written(finding.path, root), finding.expected, finding.actual, finding.hint) for finding in ordered
    ]


def _position(document: object, path: Path) -> tuple[int, ...]:
    position = []
    for step in path:
        if isinstance(document, dict) and step in document:
            position.append(list(document).index(step))
            document = document[step]
        elif isinstance(document, list) and isinstance(step, int) and 0 <= step < len(document):
            position.append(step)
            document = document[step]
        else:
            return (*position, 1 << 30)
    return tuple(position)


def _findings(error: ValidationError) -> list[Finding]:
    path: Path = tuple(error.absolute_path)
    keyword, schema = error.validator, _mapping(error.schema)
    value: Any = error.instance
    hint = str(schema.get("$comment", ""))
    match keyword:
        case "required":
            properties = _mapping(schema.get("properties"))
            return [
                Finding((*path, key), _wanted(_mapping(properties.get(key))), "nothing: the field is missing")
                for key in schema["required"]
                if key not in value
            ]
        case "additionalProperties":
            known = _mapping(schema.get("properties"))
            allowed = ", ".join(known)
            return [
                Finding((*path, key), f"no field besides {allowed}", brief(value[key]))
                for key in value
                if key not in known
            ]
        case "type" | "const" | "enum" | "minimum" | "minLength" | "minItems" | "maxItems":
            return [Finding(path, _wanted(schema), described(value), hint)]
        case _:
            return [Finding(path, _wanted(schema), error.message, hint)]


def _wanted(schema: Mapping[str, Any]) -> str:
    """What a sub-schema asks for, as a phrase."""
    if "const" in schema:
        return brief(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(brief(value) for value in schema["enum"])
    types = schema.get("type", [])
    phrase = " or ".join(_article(kind) for kind in ([types] if isinstance(types, str) else types)) or "a value"
    if schema.get("minLength") == 1:
        phrase = phrase.replace("a string", "a non-empty string")
    if schema.get("minItems") == 1:
        phrase = phrase.replace("an array", "a non-empty array")
    if "minimum" in schema:
        phrase += f" of at least {schema['minimum']}"
    return phrase


def _article(word: str) -> str:
    if word == "null":
        return word
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def is_integer(_: object, value: object) -> bool:
    """What counts as an integer here, for a validator's type checker."""
    return isinstance(value, int) and not isinstance(value, bool)


@cache
def _validator(name: str) -> Validator:
    file, _, part = name.partition("#")
    schema = _read(file)
    if part:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    made: Validator = extend(Draft202012Validator, type_checker=types)(schema)  # type: ignore[no-untyped-call]
    return made


@cache
def _read(name: str) -> dict[str, Any]:
    text = files("conformance.oracles").joinpath("schemas", f"{name}.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
