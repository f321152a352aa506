"""`[name(key=value, ...), ...]`, as Llama 3.2 and 4 write it: a Python list of calls that is parsed and never run.

The list is the whole answer, or stands between `<|python_start|>` and `<|python_end|>`.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any

from reference_gateway.codec.tools import Call, NoCall, new_call
from reference_gateway.tools.arguments import parse_json
from reference_gateway.types import Tool

_START, _END = "<|python_start|>", "<|python_end|>"
_BEGINNING = re.compile(r"\[\s*[^\W\d][\w.]*\s*\(")
_NAMES = {"true": True, "false": False, "null": None}
"""JSON's words, which models mix up with Python's."""


def parse_pythonic(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    source = text.strip().removeprefix(_START).removesuffix(_END).strip()
    if not _BEGINNING.match(source) or not source.endswith("]"):
        return text, []
    try:
        return "", _calls(source, tools)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two are how CPython refuses deep nesting
        return text, []


def _calls(source: str, tools: Sequence[Tool]) -> list[Call]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's advice on the model's escapes is for nobody
        tree = ast.parse(source, mode="eval")
    if not isinstance(tree.body, ast.List):
        raise NoCall("calls stand in a list")
    return [_call(node, tools) for node in tree.body.elts]


def _call(node: ast.expr, tools: Sequence[Tool]) -> Call:
    if not isinstance(node, ast.Call) or node.args:
        raise NoCall("a call has keyword arguments only")
    if any(keyword.arg is None for keyword in node.keywords):
        raise NoCall("a call names its arguments")
    arguments = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    # Python spells values that JSON can't: what comes back from JSON can be rendered, hashed and sent.
    return new_call(_name(node.func), parse_json(json.dumps(arguments)), tools)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    raise NoCall("a function is called by its name")


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if number is not True:
            return -number
    raise NoCall("an argument is a literal")


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise NoCall("a key is a string")
