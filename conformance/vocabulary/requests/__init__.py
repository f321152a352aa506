"""The requests of each wire as JSON Schema, and what can be wrong with one, field by field.

Knows JSON Schema and the files beside it, one for each wire; never HTTP, a gateway or what a field means. A schema says
what the wire's documentation allows, so a gateway may well take more. Its example is a whole request that every gateway
of that wire can serve. Invariants: what is wrong is generated from the schema alone, in the same order on each run, and
a wrong request differs from the example in exactly one place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from conformance.client.http import ABSENT
from conformance.oracles.schema import is_integer
from conformance.oracles.wording import Path, brief, written

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]

LEVELS = 50
"""How deep the deep value is: enough for what recurses without care, and nothing that a JSON parser refuses."""

DEEP: Any = 7
for _ in range(LEVELS // 2):
    DEEP = {"deep": [DEEP]}

OF_EACH_TYPE: tuple[Any, ...] = (None, True, 7, 0, -1, 1.5, "wrong", "", [7], [], {"wrong": 7}, {})
"""Values of each JSON type, empty and not; one that the schema allows in a place is not wrong there."""

ELSEWHERE: tuple[Any, ...] = (True, -1, 1.5, "wrong", [7], {"wrong": 7}, 2**63)
"""The same for a field that the example does not have, as many gateways ignore it."""

EXTREMES: tuple[Any, ...] = (2**63, -(2**63) - 1, 1e308)
"""Numbers at which number types end. They are tried wherever a number may stand, allowed or not."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value for one place of a request that its schema does not allow there; `ABSENT`: a field that must be given is
    left out."""

    path: Path
    value: Any

    def __str__(self) -> str:
        return f"{written(self.path)} {'left out' if self.value is ABSENT else f'= {brief(self.value, 40)}'}"

    @property
    def names(self) -> list[str]:
        """The fields on the way to the place, the outermost first."""
        return [step for step in self.path if isinstance(step, str)]

    def within(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request with this in it."""
        spoiled: dict[str, Any] = deepcopy(dict(request))
        place: Any = spoiled
        *way, last = self.path
        for step in way:
            place = place[step]
        if self.value is ABSENT:
            del place[last]
        else:
            place[last] = self.value
        return spoiled


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of request. `validator` is one for the file that `schema` stands in, which has what it refers to."""

    name: str
    schema: Schema
    validator: Validator = field(repr=False)

    @property
    def example(self) -> dict[str, Any]:
        """A whole request, deep enough that each part of the schema stands in it."""
        example: dict[str, Any] = deepcopy(self.schema["examples"][0])
        return example

    def allows(self, body: Any) -> bool:
        """Whether the schema allows this request."""
        return _allows(self.validator, self.schema, body)

    def wrong(self) -> tuple[Wrong, ...]:
        """All that can be wrong with the example, in the order of the schema."""
        return _wrong(self.name)

    def one_for_each_place(self) -> list[Wrong]:
        """One wrong value for each place of the example, of another type from place to place."""
        places: dict[Path, list[Wrong]] = {}
        example = self.example
        for mistake in self.wrong():
            if _stands(mistake.path, example):
                places.setdefault(mistake.path, []).append(mistake)
        return [mistakes[number % len(mistakes)] for number, mistakes in enumerate(places.values())]


@cache
def request(name: str) -> Request:
    """The request `file#part`: a part of the `$defs` of one of these files, such as `responses#conversation`."""
    file, _, part = name.partition("#")
    root = json.loads(files(__package__).joinpath(f"{file}.json").read_text("utf-8"))
    return Request(name, root["$defs"][part], _Validator(root))


@cache
def _wrong(name: str) -> tuple[Wrong, ...]:
    asked = request(name)
    return tuple(_Walk(asked.validator).below(asked.schema, asked.example, ()))


class _Walk:
    """One walk over a request. A field that stands in several items of a list gets every wrong value in the last of
    them, and one in each of the others."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._met: Counter[int] = Counter()

    def below(self, schema: Schema, value: Any, path: Path) -> Iterator[Wrong]:
        """What can be wrong below `value`, which stands at `path` and which `schema` allows."""
        schema = _fitting(self._validator, schema, value)
        if isinstance(value, dict):
            known, required = schema.get("properties", {}), schema.get("required", ())
            others = schema.get("additionalProperties")
            for name in [*known, *(name for name in value if name not in known and others)]:
                part, where = known.get(name, others), (*path, name)
                if name in value:
                    yield from self._at(part, where, name in required)
                    yield from self.below(part, value[name], where)
                else:
                    yield from (
                        Wrong(where, wrong_value)
                        for wrong_value in ELSEWHERE
                        if not _allows(self._validator, part, wrong_value)
                    )
        elif isinstance(value, list) and "items" in schema:
            for place in reversed(range(len(value))):
                yield from self._at(schema["items"], (*path, place))
                yield from self.below(schema["items"], value[place], (*path, place))

    def _at(self, schema: Schema, path: Path, required: bool = False) -> Iterator[Wrong]:
        values = [value for value in OF_EACH_TYPE if not _allows(self._validator, schema, value)]
        values += [ABSENT] if required else []
        values += EXTREMES if _allows(self._validator, schema, 1) else ()
        met, self._met[id(schema)] = self._met[id(schema)], self._met[id(schema)] + 1
        yield from (Wrong(path, value) for value in (values if not met else values[met % len(values) :][:1]))
        if len(path) == 1:
            yield Wrong(path, DEEP)


def _stands(path: Path, value: Any) -> bool:
    for step in path:
        if isinstance(value, dict) and step not in value:
            return False
        value = value[step]
    return True


def _fitting(validator: Validator, schema: Schema, value: Any) -> Schema:
    """The part of the schema that says what stands in `value`: behind references, and of several the first that
    allows it."""
    root: Any = validator.schema
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        return next(
            _fitting(validator, option, value) for option in schema["anyOf"] if _allows(validator, option, value)
        )
    return schema


def _allows(validator: Validator, schema: Schema, value: Any) -> bool:
    return validator.evolve(schema=schema).is_valid(value)


_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
)
