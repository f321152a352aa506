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
    located = check(body, wire)
    name = "<stdin>" if file == "-" else file
    print(as_json(name, wire, located) if format == "json" else as_text(name, wire, located))
    return 1 if located else 0


def as_text(name: str, wire: str, located: list[Located]) -> str:
    """One line for each violation, as compilers write them: `FILE:LINE:COLUMN: ...`, and the hint below it."""
    if not located:
        return f"{name}: conforms to the {wire} wire"
    lines = []
    for place in located:
        lines.append(f"{name}:{place.line}:{place.column}: {place.violation}")
        if place.violation.hint:
            lines.append(f"    hint: {place.violation.hint}")
    counted = "1 violation" if len(located) == 1 else f"{len(located)} violations"
    return "\n".join([*lines, f"{name}: {counted} of the {wire} wire"])


def as_json(name: str, wire: str, located: list[Located]) -> str:
    """One document: `file`, `wire`, and `violations` with line, column, where, expected, actual, hint."""
    violations = [
        {
            "line": place.line,
            "column": place.column,
            "where": place.violation.where,
            "expected": place.violation.expected,
            "actual": place.violation.actual,
            "hint": place.violation.hint,
        }
        for place in located
    ]
    return json.dumps({"file": name, "wire": wire, "violations": violations}, indent=2, ensure_ascii=False)
