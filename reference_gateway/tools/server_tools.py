"""Tools that the gateway runs itself while it makes a response, so that the client sees one response and no call.

Knows what a tool is to the model (a function), to the request that asks for it (an entry of `tools`) and to the client
(an item). Never knows tokens, sessions or HTTP. A tool that fails answers the model with a sentence; it never fails the
response (contract LS-TOL-05).
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

from reference_gateway.tools.arguments import dump_arguments
from reference_gateway.types import Tool

SERVER_LABEL = "gateway"
"""The `server_label` under which a request asks for the gateway's own functions: `{"type": "mcp", "server_label":
"gateway"}`."""

_JSON_TYPES: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a call: `content` is what the model is told, `item` what the client sees, without its id."""

    content: str
    item: dict[str, Any]


class EntryRefused(ValueError):
    """An entry asks of its tool what it cannot do. The text names the field within the entry; `status` is that of
    HTTP."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ServerTool(Protocol):
    """A tool that the gateway runs. `item_type` is the type of the items that it leaves in a response."""

    name: str
    item_type: str

    def offered(self, entry: Mapping[str, Any]) -> bool:
        """Whether this entry of a request's `tools` asks for it. Raises `EntryRefused`."""

    def definition(self) -> Tool:
        """What the model is told of it, as a function of the chat wire."""

    async def execute(self, arguments: Any, entry: Mapping[str, Any]) -> Execution:
        """Run one call. `arguments` is an object, or text where the model wrote no JSON object. Never raises for what a
        model may write."""


class FunctionTool:
    """A callable as a tool: its name, its docstring and its annotated parameters are what the model is told. It may be
    async; a plain one runs in a thread. What it returns is told as it is if it is text, else as JSON."""

    item_type = "mcp_call"

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.name = name or function.__name__
        self._function = function

    def offered(self, entry: Mapping[str, Any]) -> bool:
        """By the label of the gateway's functions, and by name where the entry restricts them."""
        if entry.get("type") != "mcp" or entry.get("server_label") != SERVER_LABEL:
            return False
        allowed = entry.get("allowed_tools")
        if isinstance(allowed, Mapping):
            allowed = allowed.get("tool_names")
        return not isinstance(allowed, list) or self.name in allowed

    def definition(self) -> Tool:
        """From the callable's signature; a parameter without a default is required."""
        hints = get_type_hints(self._function)
        parameters = inspect.signature(self._function).parameters
        schema = {
            "type": "object",
            "properties": {name: {"type": _JSON_TYPES.get(hints.get(name), "string")} for name in parameters},
            "required": [
                name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty
            ],
        }
        description = inspect.cleandoc(self._function.__doc__ or self.name)
        return {"type": "function", "function": {"name": self.name, "description": description, "parameters": schema}}

    async def execute(self, arguments: Any, entry: Mapping[str, Any]) -> Execution:
        """See `ServerTool`."""
        item = {
            "type": self.item_type,
            "server_label": SERVER_LABEL,
            "name": self.name,
            "arguments": dump_arguments(arguments),
            "approval_request_id": None,
        }
        try:
            content = _told(await self._call(arguments))
        except Exception as error:  # whatever a tool raises is news for the model, not for the client
            failed = f"Error when running tool: {error}"
            return Execution(failed, {**item, "status": "failed", "output": None, "error": failed})
        return Execution(content, {**item, "status": "completed", "output": content, "error": None})

    async def _call(self, arguments: Any) -> Any:
        if not isinstance(arguments, dict):
            raise ValueError("the arguments are not a JSON object")
        inspect.signature(self._function).bind(**arguments)
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**arguments)
        return await asyncio.to_thread(self._function, **arguments)


def _told(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
