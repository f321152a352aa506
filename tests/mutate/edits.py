"""The edits of the reference gateway: those of the knife (`tests/knife/weaken.py`), and those that make code not weaker
but wrong. Constants, defaults and what is handed on in another order: a gateway that someone could have shipped.

Words for a reader are left alone: f-strings, texts with a space in them, what is logged.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from tests.knife.weaken import ORDERS, Edit, Functions, Weakening, knife_edits, lines_of, weakenings

OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}
OTHER_SIGN: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}
LOGS = {"log", "logger", "logging"}
UNTOLD = {"cast", "TypeVar", "getLogger"}
"""Calls of which nothing comes out otherwise."""
PACKAGE = "reference_gateway"


@dataclass(frozen=True, slots=True)
class Outside(Weakening):
    """An edit of what stands in no function: the default of a parameter or a field, or a constant of the module.
    `name` is what it is called, `values` are what it was and becomes."""

    name: str = ""
    values: tuple[Any, Any] = (None, None)

    def live(self, source: Path, functions: Functions) -> None:
        was, now = self.values
        if not self.function:
            module = _module(source)
            value = getattr(module, self.name)
            places = [each for each in _modules() if vars(each).get(self.name) is value or each is module]
            for each in places:
                setattr(each, self.name, now)
            return
        owner = _named(_module(source), self.function)
        function = owner.__init__ if isinstance(owner, type) else owner
        if isinstance(owner, type) and not dataclasses.is_dataclass(owner):
            changed = [each for each in (owner, *owner.__subclasses__()) if vars(each).get(self.name) == was]
            for each in changed:
                setattr(each, self.name, now)
            if not changed:
                raise LookupError(f"no {self.name} of {self.function}")
            return
        function = function.__func__ if hasattr(function, "__func__") else function
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not isinstance(function, FunctionType) or not _defaulted(function, self.name, now):
            raise LookupError(f"no default of {self.name} of {self.function}")
        if isinstance(owner, type) and self.name in vars(owner) and vars(owner)[self.name] == was:
            setattr(owner, self.name, now)


def edits_of(file: str, source: str) -> list[Weakening]:
    """All edits of a module, in reading order. `file` is its path below the root."""
    classes = set(_classes(ast.parse(source), ""))
    inside = [each for each in weakenings(file, source, reference_edits, is_text) if each.function not in classes]
    return sorted([*inside, *_outside(file, source)], key=lambda edit: edit.lines.start)


def reference_edits(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[Edit]:
    """The edits of a node."""

    def becomes(now: ast.AST, *texts: str) -> Edit:
        return Edit(parent, field, index, now, (texts[0], texts[1]) if texts else None)

    if isinstance(parent, ast.Expr) and isinstance(node, ast.Constant):
        return
    yield from knife_edits(parent, field, index, node)
    match node:
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Delete() | ast.Break():
            yield becomes(ast.copy_location(ast.Pass(), node), ast.unparse(node), "pass")
        case ast.Return(value=ast.expr() as value) if not isinstance(value, (ast.Constant, ast.List)):
            yield becomes(ast.Return(ast.Constant(None)))
        case ast.If(orelse=[]):
            yield Edit(node, "test", None, ast.Constant(True))
        case ast.Compare(ops=[operator]) if isinstance(operator, ORDERS):
            yield Edit(node, "ops", 0, OPPOSITE[type(operator)]())
        case ast.Compare(ops=[_, _, *_]):
            for place, operator in enumerate(node.ops):
                if isinstance(operator, ORDERS):
                    turned = deepcopy(node)
                    turned.ops[place] = _edge(operator)
                    yield becomes(turned)
        case ast.BoolOp(values=values):
            for place in range(len(values)):
                left = [*values[:place], *values[place + 1 :]]
                yield becomes(left[0] if len(left) == 1 else ast.BoolOp(node.op, left))
        case ast.BinOp(op=operator) if type(operator) in OTHER_SIGN and not _is_text_sum(node):
            yield becomes(ast.BinOp(node.left, OTHER_SIGN[type(operator)](), node.right))
        case ast.Constant() if not isinstance(parent, ast.FormattedValue) and is_constant(node.value):
            yield becomes(ast.Constant(other(node.value)))
        case ast.Call():
            yield from _calls(node)
        case ast.Dict(keys=keys) if len(keys) > 1:
            for place, key in enumerate(keys):
                shown = f"{ast.unparse(key)}: " if key is not None else "**"
                less = ast.Dict([*keys[:place], *keys[place + 1 :]], [*node.values[:place], *node.values[place + 1 :]])
                yield becomes(less, "{" + shown + ast.unparse(node.values[place]) + "}", "{}")


def _calls(node: ast.Call) -> Iterator[Edit]:
    """Of a call: the first two arguments swapped, and each named one left out."""
    if isinstance(node.func, ast.Name) and node.func.id in UNTOLD | {"isinstance", "getattr", "dict", "min", "max"}:
        return
    first = node.args[:2]
    if len(first) == 2 and not any(isinstance(each, ast.Starred) for each in first):
        swapped = ast.Call(node.func, [first[1], first[0], *node.args[2:]], node.keywords)
        yield Edit(node, "args", None, swapped.args, (ast.unparse(node), ast.unparse(swapped)))
    for place, keyword in enumerate(node.keywords):
        left = [*node.keywords[:place], *node.keywords[place + 1 :]]
        text = f"{ast.unparse(node.func)}({ast.unparse(keyword)})"
        yield Edit(node, "keywords", None, left, (text, f"{ast.unparse(node.func)}()"))


def is_text(node: ast.AST) -> bool:
    """Words for a reader, or nothing that runs."""
    if isinstance(node, ast.JoinedStr):
        return True
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return called.value.id in LOGS
    return isinstance(called, ast.Name) and called.id in UNTOLD


def is_constant(value: object) -> bool:
    """Is it one that can be another?"""
    if isinstance(value, str):
        return bool(value) and not any(each.isspace() for each in value.strip("\n\r "))
    return isinstance(value, (bool, int, float, bytes))


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case bytes():
            return value + b"_"
    return f"{value}_"


def _edge(operator: ast.cmpop) -> ast.cmpop:
    return {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}[type(operator)]()


def _is_text_sum(node: ast.BinOp) -> bool:
    return any(
        isinstance(each, (ast.JoinedStr, ast.List, ast.Tuple))
        or (isinstance(each, ast.Constant) and isinstance(each.value, (str, bytes)))
        for each in (node.left, node.right)
    )


def _outside(file: str, source: str) -> Iterator[Outside]:
    tree = ast.parse(source)
    seen: dict[tuple[str, str, str], int] = {}

    def edit(owner: str, name: str, value: ast.expr, lines: range) -> Iterator[Outside]:
        if not isinstance(value, ast.Constant) or not is_constant(value.value):
            return
        now = other(value.value)
        texts = (owner, f"{name} = {value.value!r}", f"{name} = {now!r}")
        seen[texts] = seen.get(texts, 0) + 1
        nothing = Edit(value, "value", None, now)
        yield Outside(file, *texts, seen[texts], lines, tree, nothing, name, (value.value, now))

    def within(body: Sequence[ast.stmt], owner: str, *, of_class: bool) -> Iterator[Outside]:
        for node in body:
            path = f"{owner}.{node.name}" if owner and hasattr(node, "name") else getattr(node, "name", "")
            match node:
                case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
                    lines = range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
                    named = [*args.posonlyargs, *args.args]
                    positional = zip(named[len(named) - len(args.defaults) :], args.defaults, strict=True)
                    for parameter, default in [*positional, *zip(args.kwonlyargs, args.kw_defaults, strict=True)]:
                        if default is not None:
                            yield from edit(path, parameter.arg, default, lines)
                case ast.ClassDef() if not any("Enum" in ast.unparse(base) for base in node.bases):
                    yield from within(node.body, path, of_class=True)
                case (
                    ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                    | ast.Assign(targets=[ast.Name(id=name)], value=value)
                ) if not name.startswith("__"):
                    yield from edit(owner, name, value, lines_of(node))

    yield from within(tree.body, "", of_class=False)


def _classes(node: ast.AST, path: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            name = f"{path}.{child.name}" if path else child.name
            yield name
            yield from _classes(child, name)


def using(name: str, sources: Iterable[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """File and line of each use of a name in these files, as far as syntax tells."""
    for file, source in sources:
        if name not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            spelled = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if spelled == name and isinstance(node, ast.expr):
                yield file, node.lineno


def _defaulted(function: FunctionType, name: str, now: Any) -> bool:
    if name in (function.__kwdefaults__ or {}):
        function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), name: now}
        return True
    named = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    if name not in named[len(named) - len(defaults) :]:
        return False
    place = named.index(name) - (len(named) - len(defaults))
    function.__defaults__ = (*defaults[:place], now, *defaults[place + 1 :])
    return True


def _modules() -> list[Any]:
    return [each for name, each in list(sys.modules.items()) if name.partition(".")[0] == PACKAGE]


def _module(source: Path) -> Any:
    for each in _modules():
        if getattr(each, "__file__", None) == str(source):
            return each
    raise LookupError(f"not imported: {source}")


def _named(module: Any, path: str) -> Any:
    value = module
    for name in path.split("."):
        value = vars(value)[name] if isinstance(value, type) else getattr(value, name)
    return value
