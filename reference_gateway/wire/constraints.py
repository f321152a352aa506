"""What a request says that its answer has to be: JSON of a format, calls that it forces, or both.

Knows what the wires have in common; each reads its own spelling of a tool choice. That a gateway takes such fields at
all is for the gate to say (`fields.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_gateway.types import Constraint, Tool
from reference_gateway.wire.base import Policy, RequestRefused

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request says of calls. `hidden`: there are none, and the model is not told of the tools; `forced`: there
    must be one, of a tool in `names` where these are given. `single`: one and no more."""

    hidden: bool = False
    forced: bool = False
    names: tuple[str, ...] | None = None
    single: bool = False


FREE = Choice()
"""The model may call or not."""
HIDDEN = Choice(hidden=True)
FORCED = Choice(forced=True)


def named(name: Any, where: str) -> Choice:
    """A call of one tool. Raises `RequestRefused`."""
    if not isinstance(name, str) or not name:
        raise RequestRefused(f"{where} must be a non-empty string")
    return Choice(forced=True, names=(name,), single=True)


def allowed(mode: Any, names: Sequence[Any], where: str) -> Choice:
    """A call of one of several tools. Raises `RequestRefused`."""
    if mode != "required":
        raise RequestRefused(
            f'{where}.mode is not supported unless it is "required": leave the other tools out of tools'
        )
    if not names or not all(isinstance(name, str) and name for name in names):
        raise RequestRefused(f"{where}.tools must be a non-empty list of tools with a name")
    return Choice(forced=True, names=tuple(names))


def schema_of(form: Any, where: str, inner: str | None = None, *, any_object: bool = True) -> Schema | None:
    """The JSON Schema that a format asks for; None where it is text. `inner` is the field of the format that holds the
    schema, if not the format itself does; `any_object`: there is a format for JSON without a schema. Raises
    `RequestRefused`."""
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object" and any_object:
        return {"type": "object"}
    if kind != "json_schema":
        kinds = ("text", *(("json_object",) if any_object else ()), "json_schema")
        raise RequestRefused(f"{where}.type must be one of {', '.join(kinds)}")
    holder, path = (form, where) if inner is None else (form.get(inner), f"{where}.{inner}")
    schema = holder.get("schema") if isinstance(holder, Mapping) else None
    if not isinstance(schema, Mapping):
        raise RequestRefused(f"{path}.schema must be an object")
    return schema


def constraint_of(
    schema: Schema | None,
    where: str,
    choice: Choice,
    tools: Sequence[Tool] | None,
    policy: Policy,
    *,
    one_call: bool,
    continues_last: bool = False,
) -> Constraint | None:
    """None where the model is free. `where` is the field that the schema comes from. A forced call goes before a
    format, which is for what the model says. Raises `RequestRefused`."""
    if schema is None and not choice.forced:
        return None
    if continues_last:
        field = "tool_choice" if choice.forced else where
        raise RequestRefused(f"{field} is not supported where the last of the messages is to be gone on with")
    offered = tuple(tool["function"]["name"] for tool in tools or ())
    if not choice.forced:
        if offered and not policy.forced_calls:
            raise RequestRefused(f"{where} is not supported beside tools: this model's calls can't be constrained")
        return Constraint(schema, offered, one_call)
    if not offered:
        raise RequestRefused("tool_choice forces a call, and tools has no function to call")
    for name in choice.names or ():
        if name not in offered:
            raise RequestRefused(f"tool_choice names {name[:80]!r}, which is not a function of tools")
    return Constraint(None, choice.names or offered, one_call or choice.single)
