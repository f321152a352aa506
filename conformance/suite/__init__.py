"""The shipped checks, one module per area of the catalogue.

`from conformance.suite import *` in a test module of your own runs them all there; the modules are loaded only then.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@cache
def _tests() -> dict[str, str]:
    """Test name -> module, read from the sources so that nothing is imported to list them."""
    found: dict[str, str] = {}
    for path in sorted(_FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                if node.name in found:
                    raise ImportError(f"{node.name} stands in {found[node.name]} and in {path.stem}")
                found[node.name] = path.stem
    return found


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return list(_tests())
    if name in _tests():
        return getattr(importlib.import_module(f"{__name__}.{_tests()[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
