"""What a weakening is: one small edit of a module's syntax tree after which its functions judge less, or otherwise.

Knows Python's syntax; never what the edited code means. Only what stands in functions is edited, and never a docstring,
an annotation, a default or a decorator. `Weakening.live` makes the functions that are already imported run the edited
code: it is for a process that was forked for it, and there is no way back.

Which edits are made is up to `edits`: those of the knife are below, `tests/mutate/edits.py` has more.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

OTHER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
"""The negation of a comparison or, of an order, the other side of its edge."""

ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
TEXTS = {"fail", "describe", "described", "brief", "quoted", "listed", "counted"}
"""Calls whose result is words for a reader: what stands in them judges nothing."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`parent.field` (or its entry `index`) becomes `now`. `texts` are how both show themselves, where that is not the
    whole of them."""

    parent: ast.AST
    field: str
    index: int | None
    now: Any
    texts: tuple[str, str] | None = None

    @property
    def was(self) -> Any:
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    def put(self, value: Any) -> None:
        if self.index is None:
            setattr(self.parent, self.field, value)
        else:
            getattr(self.parent, self.field)[self.index] = value


@dataclass(frozen=True, slots=True)
class Weakening:
    """One edit of a file. `function` is the qualified name of the outermost function that it stands in, `was` and `now`
    are source text, `nth` counts equal edits of one function, `lines` are those whose tests can notice it."""

    file: str
    function: str
    was: str
    now: str
    nth: int
    lines: range
    tree: ast.Module
    edit: Edit

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What names it while lines move."""
        return self.file, self.function, self.was, self.now, self.nth

    def __str__(self) -> str:
        which = f" [{self.nth}]" if self.nth > 1 else ""
        return f"{self.file}:{self.lines.start} {self.function}: {self.was!r} -> {self.now!r}{which}"

    def live(self, source: Path, functions: Functions) -> None:
        """Give the imported functions of the module at `source` the edited code."""
        left_out = isinstance(self.edit.now, ast.Pass)
        # Out of reach instead of gone: a function without its only `yield` or `super()` would be of another kind.
        self.edit.put(ast.If(ast.Constant(False), [self.edit.was], []) if left_out else self.edit.now)
        code = compile(ast.fix_missing_locations(self.tree), str(source), "exec")
        edited = [one for one in _codes(code) if one.co_qualname == self.function]
        swapped = 0
        for new in edited:
            for function in functions.get(_place(new), ()):
                function.__code__ = new
                swapped += 1
        if not swapped:
            raise LookupError(f"no imported function {self.function} of {source}")


Functions = dict[tuple[str, str, int], list[FunctionType]]


def imported(sources: Iterable[Path]) -> Functions:
    """The functions of these files that live in this process, by file, qualified name and line."""
    names = {str(one) for one in sources}
    found: Functions = {}
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename in names:
            found.setdefault(_place(one.__code__), []).append(one)
    return found


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


Edits = Callable[[ast.AST, str, int | None, ast.AST], Iterator[Edit]]
"""The edits of a node, by its parent, and the field and the place in the field where it stands there."""


def weakenings(
    name: str, source: str, edits: Edits | None = None, is_text: Callable[[ast.AST], bool] | None = None
) -> list[Weakening]:
    """All weakenings of a module, in reading order. `name` is what to call the file. `is_text` says of a node that it
    is words for a reader, in which nothing is edited."""
    tree = ast.parse(source)
    found: list[Weakening] = []
    seen: dict[tuple[str, str, str], int] = {}
    for function, statement, edit in _sites(tree, "", None, edits or knife_edits, is_text or _is_text):
        text = (function, *(edit.texts or (_text(edit, edit.was), _text(edit, edit.now))))
        seen[text] = seen.get(text, 0) + 1
        found.append(Weakening(name, *text, seen[text], lines_of(statement), tree, edit))
    return found


def _sites(
    node: ast.AST, function: str, statement: ast.stmt | None, edits: Edits, is_text: Callable[[ast.AST], bool]
) -> Iterator[tuple[str, ast.stmt, Edit]]:
    """Each edit below `node` with the function and the innermost statement that it stands in."""
    for field, value in ast.iter_fields(node):
        if field in ("decorator_list", "args", "returns", "annotation") and isinstance(
            node, (*FUNCTIONS, ast.AnnAssign)
        ):
            continue
        entries = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in entries:
            if not isinstance(child, ast.AST):
                continue
            inside = statement if not isinstance(child, ast.stmt) else child
            if isinstance(child, (*FUNCTIONS, ast.ClassDef)) and not isinstance(node, FUNCTIONS):
                owner = f"{function}.{child.name}" if function else child.name
                yield from _sites(child, owner, inside, edits, is_text)
                continue
            if inside is not None and function and not is_text(child):
                yield from ((function, inside, edit) for edit in edits(node, field, index, child))
                yield from _sites(child, function, inside, edits, is_text)


def knife_edits(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[Edit]:
    """What makes code that judges judge less."""

    def becomes(now: ast.AST | None) -> Edit:
        return Edit(parent, field, index, now)

    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr() | ast.Raise() | ast.Assert() | ast.AugAssign() | ast.Continue():
            yield becomes(ast.copy_location(ast.Pass(), node))
        case ast.Return(value=ast.List(elts=[_, *_])):
            yield becomes(ast.Return(ast.List([], ast.Load())))
        case ast.If() | ast.IfExp() | ast.While():
            yield Edit(node, "test", None, ast.Constant(False))
            if node.orelse:
                yield Edit(node, "test", None, ast.Constant(True))
        case ast.match_case():
            yield Edit(node, "guard", None, ast.Constant(False))
        case ast.comprehension(ifs=ifs):
            for number in range(len(ifs)):
                yield Edit(node, "ifs", number, ast.Constant(True))
        case ast.Compare(ops=[operator]):
            never = field == "test" and not isinstance(operator, ORDERS)  # says as much
            if not never and not isinstance(node.comparators[0], ast.Set):  # sets have no edge
                yield Edit(node, "ops", 0, OTHER[type(operator)]())
        case ast.BoolOp():
            yield Edit(node, "op", None, ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield becomes(node.operand)
        case ast.List(elts=elements):
            for number, one in enumerate(elements):
                if len(elements) > 1 and (isinstance(one, ast.Starred) or _is_violation(one)):
                    yield Edit(node, "elts", number, ast.Starred(ast.Tuple([], ast.Load()), ast.Load()))
        case ast.BinOp(op=ast.Add(), right=ast.Call(func=ast.Name(id=called))) if called.startswith("_"):
            yield becomes(node.left)


def _is_violation(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Violation"


def _is_text(node: ast.AST) -> bool:
    """Words for a reader."""
    if isinstance(node, ast.JoinedStr):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TEXTS - {"fail"}


def _text(edit: Edit, value: Any) -> str:
    """How an edit shows itself: the whole expression where only its operator or its test changes."""
    if edit.field in ("ops", "op", "elts", "guard"):
        before = edit.was
        edit.put(value)
        try:
            shown: ast.AST = edit.parent
            if isinstance(shown, ast.match_case):
                return f"case {ast.unparse(shown.pattern)}" + (f" if {ast.unparse(shown.guard)}" if shown.guard else "")
            return ast.unparse(shown)
        finally:
            edit.put(before)
    if value is None:
        return ""
    prefix = "if " if edit.field in ("test", "ifs") else ""
    return prefix + ast.unparse(value)


def lines_of(statement: ast.stmt) -> range:
    """The lines of a simple statement, or the head of one with a body."""
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    if not body:
        return range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    first = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else body[0].lineno
    return range(statement.lineno, max(first, statement.lineno + 1))


def _codes(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)
