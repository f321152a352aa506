"""Which expectations of the suite has a mutant broken? One that none breaks could be left out, and nobody would notice.

An expectation is a statement of the suite that begins with `expect...(`, `context(` or `assert`. It is named by its
file, its function and what is written there.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.mutants.harness import SUITE

UNBROKEN = Path(__file__).with_name("unbroken.toml")


def unbroken(places: Collection[str]) -> set[str]:
    """The expectations in whose lines no check failed. `places` are lines of the suite: `test_file.py:12`."""
    return {name for name, lines in _expectations() if not any(line in places for line in lines)}


def explained() -> dict[str, str]:
    """Why no mutant breaks an expectation, by its name."""
    return {one["expectation"]: one["why"] for one in tomllib.loads(UNBROKEN.read_text("utf-8")).get("unbroken", ())}


def _expectations() -> Iterator[tuple[str, list[str]]]:
    for file in sorted(SUITE.glob("test_*.py")):
        for function in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for one in ast.walk(function):
                    if isinstance(one, ast.Assert) or (isinstance(one, ast.Expr) and _expects(one.value)):
                        lines = range(one.lineno, (one.end_lineno or one.lineno) + 1)
                        name = f"{file.name} {function.name}: {ast.unparse(one)}"
                        yield name, [f"{file.name}:{line}" for line in lines]


def _expects(value: ast.expr) -> bool:
    """Is this `expect(...)`, or what is called on it?"""
    while isinstance(value, ast.Call | ast.Attribute):
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name) and (value.id.startswith("expect") or value.id == "context")
