"""The tools that a client-side agent runs: Python functions, described to the model and called with its arguments.

Knows functions, their signatures and docstrings; never HTTP or events. Whatever a tool does, the model gets a text back
and the turn goes on: an unknown tool, arguments that are no JSON object, an exception.

Source: contract LS-TOL-04..07.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from conformance.oracles.turns import ToolCall, ToolResponse

Tool: TypeAlias = Callable[..., Any] | Mapping[str, Any]
"""A function that the client runs, or the description of a tool of the server, such as `{"type": "file_search"}`."""

_JSON_TYPES: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    tuple: "array",
    set: "array",
    dict: "object",
}

_SECTIONS = ("Args:", "Arguments:", "Parameters:", "Returns:", "Raises:", "Yields:")
"""Headings in a docstring whose indented lines are not for the model."""


class Tools:
    """The tools of an agent. `names` are those that the client runs; `described` is the `tools` of a request.

    Raises TypeError for a tool that is neither callable nor a mapping, ValueError for two functions of one name.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self.described: list[dict[str, Any]] = []
        for tool in tools:
            if isinstance(tool, Mapping):
                self.described.append(dict(tool))
            elif callable(tool):
                described = describe(tool)
                if described["name"] in self._functions:
                    raise ValueError(f"two tools are named {described['name']!r}")
                self._functions[described["name"]] = tool
                self.described.append(described)
            else:
                raise TypeError(f"a tool is a function or a mapping, not {type(tool).__name__}")

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._functions)

    def run(self, call: ToolCall) -> ToolResponse:
        """Run a tool and wait for it. A coroutine function needs `run_async`."""
        result = self._call(call)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            result = RuntimeError("this tool is asynchronous: it needs the AsyncAgent")
        return _response(call, result)

    async def run_async(self, call: ToolCall) -> ToolResponse:
        """Run a tool; await it where it is asynchronous."""
        result = self._call(call)
        if inspect.isawaitable(result):
            result = await _caught(result)
        return _response(call, result)

    def _call(self, call: ToolCall) -> object:
        """What the tool returned; the exception where it raised one."""
        function = self._functions.get(call.tool_name)
        if function is None:
            return _Unknown(call.tool_name)
        try:
            arguments = json.loads(call.arguments or "{}")
            if not isinstance(arguments, dict):
                raise TypeError("the arguments are not a JSON object")
            return function(**arguments)
        except Exception as error:
            return error


class _Unknown:
    def __init__(self, name: str) -> None:
        self.text = f"Unknown tool `{name}` was called."


async def _caught(awaitable: Awaitable[Any]) -> object:
    try:
        return await awaitable
    except Exception as error:
        return error


def _response(call: ToolCall, result: object) -> ToolResponse:
    """A dict with `content` and `metadata` is both of them; anything else is the content. What is not said by the kit
    itself travels as JSON, texts too."""
    metadata: dict[str, Any] = {}
    if isinstance(result, _Unknown):
        return ToolResponse(call.call_id, call.tool_name, result.text)
    if isinstance(result, dict) and "content" in result and set(result) <= {"content", "metadata"}:
        attached = result.get("metadata")
        result, metadata = result["content"], dict(attached) if isinstance(attached, Mapping) else {}
    if not isinstance(result, Exception):
        try:
            return ToolResponse(call.call_id, call.tool_name, json.dumps(result, ensure_ascii=False), metadata)
        except (TypeError, ValueError, RecursionError) as error:
            result = error
    return ToolResponse(call.call_id, call.tool_name, f"Error when running tool: {result}", metadata)


def describe(function: Callable[..., Any]) -> dict[str, Any]:
    """The description of a function for the model: its name, its docstring, and a JSON Schema of its parameters.

    A parameter without a default is required. Its description is that of a line `:param name: ...`, or of a line
    `name: ...` below `Args:` or `Parameters:`. `*args` and `**kwargs` are left out, and so is `self`.
    """
    text, told = _docstring(inspect.getdoc(function) or "")
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # annotations may name what is not importable here
        hints = {}
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        properties[name] = {**_schema(hints.get(name)), **({"description": told[name]} if name in told else {})}
        if parameter.default is parameter.empty:
            required.append(name)
        elif isinstance(parameter.default, str | int | float | bool):
            properties[name]["default"] = parameter.default
    return {
        "type": "function",
        "name": getattr(function, "__name__", type(function).__name__),
        "description": text,
        "parameters": {"type": "object", "properties": properties, "required": required},
    }


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring without its parameters, and what it says of each of them."""
    kept, told = [], {}
    listing = False
    for line in text.splitlines():
        stripped = line.strip()
        name, colon, rest = stripped.partition(":")
        if stripped.startswith(":"):
            listing = False
            parts = stripped[1:].split(":", 1)
            if parts[0].startswith("param ") and len(parts) == 2:
                told[parts[0].split()[-1]] = parts[1].strip()
        elif stripped in _SECTIONS:
            listing = True
        elif listing and line[:1].isspace():
            name = name.split("(")[0].strip()
            if colon and name.isidentifier():
                told[name] = rest.strip()
        else:
            listing = listing and not stripped
            kept.append(line)
    return "\n".join(kept).strip(), told


def _schema(hint: object) -> dict[str, Any]:
    """The JSON Schema of an annotation; anything where it says too little."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return {"enum": list(typing.get_args(hint))}
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return _schema(options[0]) if len(options) == 1 else {"anyOf": [_schema(option) for option in options]}
    if origin is typing.Annotated:
        return _schema(typing.get_args(hint)[0])
    kind = _JSON_TYPES.get(origin or hint)
    if kind == "array":
        items = [argument for argument in typing.get_args(hint) if argument is not ...]
        return {"type": "array", "items": _schema(items[0])} if items else {"type": "array"}
    return {"type": kind} if kind else {}
