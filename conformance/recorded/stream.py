"""`gateway-conformance check-stream`: a recorded stream, judged outside pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conformance.oracles.stream_check import Located, check


def check_stream(file: str, wire: str, format: str) -> int:
    """Judge the recording in `file` (`-`: standard input) and print what is wrong with it. 0 = nothing, 1 = something.

    Raises OSError when the file cannot be read.
    """
    body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    found = check(body, wire)
    name = "<stdin>" if file == "-" else file
    print(as_json(name, wire, found) if format == "json" else as_text(name, wire, found))
    return 1 if found else 0


def as_text(name: str, wire: str, found: list[Located]) -> str:
    """One line for each violation, as compilers write them: `FILE:LINE:COLUMN: ...`, and the hint below it."""
    if not found:
        return f"{name}: conforms to the {wire} wire"
    lines = []
    for one in found:
        lines.append(f"{name}:{one.line}:{one.column}: {one.violation}")
        if one.violation.hint:
            lines.append(f"    hint: {one.violation.hint}")
    counted = "1 violation" if len(found) == 1 else f"{len(found)} violations"
    return "\n".join([*lines, f"{name}: {counted} of the {wire} wire"])


def as_json(name: str, wire: str, found: list[Located]) -> str:
    """One document: `file`, `wire`, and `violations` with line, column, where, expected, actual, hint."""
    violations = [
        {
            "line": one.line,
            "column": one.column,
            "where": one.violation.where,
            "expected": one.violation.expected,
            "actual": one.violation.actual,
            "hint": one.violation.hint,
        }
        for one in found
    ]
    return json.dumps({"file": name, "wire": wire, "violations": violations}, indent=2, ensure_ascii=False)
