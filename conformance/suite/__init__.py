"""The shipped checks, one module per area of the catalogue, and their fixtures.

`from conformance.suite import *` in a test module of your own runs them all there; the modules are loaded only then.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

from pytest_gateway_conformance import let_in

_FOLDER = Path(__file__).parent


@cache
def _places() -> dict[str, str]:
    """Test or fixture -> module, read from the sources so that nothing is imported to list them."""
    places: dict[str, str] = {}
    for path in sorted([*_FOLDER.glob("test_*.py"), _FOLDER / "fixtures.py"]):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.FunctionDef) and (node.name.startswith("test_") or _is_fixture(node)):
                if node.name in places:
                    raise ImportError(f"{node.name} stands in {places[node.name]} and in {path.stem}")
                places[node.name] = path.stem
    return places


def _is_fixture(node: ast.FunctionDef) -> bool:
    return any("pytest.fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def __getattr__(name: str) -> Any:
    if name == "__all__":
        let_in()
        return list(_places())
    if name in _places():
        let_in()
        return getattr(importlib.import_module(f"{__name__}.{_places()[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
