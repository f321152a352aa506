"""The JSON report for people: a page of Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from conformance.client.failure import describe
from conformance.oracles.wording import cut, printable
from conformance.recorded.score import as_text
from conformance.report.document import SCHEMA_VERSION

ORDER = ("error", "failed", "stale", "not_tested", "expected_failure", "not_applicable", "passed")


def load_report(path: Path) -> dict[str, Any]:
    """Read a report. Raises ValueError with one sentence when the file is not a report of this version."""
    try:
        report = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    version = report.get("schema_version") if isinstance(report, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} is not a report of schema version {SCHEMA_VERSION}, but of {describe(version, 40)}")
    schema = json.loads(Path(__file__).with_name("report.schema.json").read_text("utf-8"))
    wrong = best_match(Draft202012Validator(schema).iter_errors(report))
    if wrong is not None:
        raise ValueError(f"{path} is not a report: {printable(wrong.json_path)}: {cut(printable(wrong.message), 200)}")
    return report  # type: ignore[no-any-return]


def render_markdown(report: dict[str, Any]) -> str:
    gateway, kit = report["gateway"], report["kit"]
    lines = [
        f"# Conformance of {gateway['name']} {gateway['version']}",
        "",
        f"Verdict: **{report['verdict']}** for requirement set {report['requirement_set']}, judged by {kit['name']} "
        f"{kit['version']} (suite {kit['suite_digest']}) with the driver `{gateway['driver']}` on {report['started']}.",
        "",
        "| profile | verdict | passed | failed | not tested | not applicable | expected failure | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, profile in report["profiles"].items():
        count = profile["counts"]
        cells = [count.get(key, 0) for key in ("passed", "failed", "not_tested", "not_applicable", "expected_failure")]
        cells.append(count.get("error", 0) + count.get("stale", 0))
        lines.append(f"| {name} | {profile['verdict']} | {' | '.join(map(str, cells))} |")
    capabilities = ", ".join(f"`{capability}`" for capability in gateway["capabilities"]) or "none"
    options = ", ".join(f"`{name}={value}`" for name, value in gateway["options"].items()) or "none"
    if "engine" in report:
        lines += ["", f"Over a real engine: {' '.join(report['engine'].values())}."]
    lines += ["", f"Declared capabilities: {capabilities}. Declared options: {options}.", ""]
    for check in (check for entry in report["requirements"] for check in entry["checks"]):
        if "rescore" in check:
            lines += ["```text", as_text(check["rescore"]), "```", ""]
    for outcome in ORDER:
        entries = [entry for entry in report["requirements"] if entry["outcome"] == outcome]
        if not entries:
            continue
        lines += [f"## {outcome.replace('_', ' ').capitalize()} ({len(entries)})", ""]
        for entry in entries:
            lines.append(f"- **{entry['id']}** {entry['level']}: {entry['text']}")
            if outcome not in ("passed", "failed", "error") and entry.get("reason"):
                lines.append(f"  - {entry['reason']}")
            for check in entry["checks"]:
                for violation in check.get("violations", []):
                    lines.append(
                        f"  - `{check['name']}`: {violation['where']}: expected {_inline(violation['expected'])}, "
                        f"got {_inline(violation['actual'])}"
                    )
        lines.append("")
    return printable("\n".join(lines))


def _inline(text: str, limit: int = 300) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit] + "..."
