"""The kill matrix: which requirement is proven by which mutant, as data and as a page.

    python -m tests.mutants.matrix        # renders the page again from reports/mutants.json

`tox -e mutants-whole` writes both, and fails when what was committed is stale.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.requirements import FROZEN_SET, Catalogue, Requirement
from tests.mutants.registry import MUTANTS, Mutant, load_all

ROOT = Path(__file__).parents[2]
DATA = ROOT / "reports" / "mutants.json"
PAGE = ROOT / "docs" / "kill-matrix.md"
README = ROOT / "README.md"
BUGS = ROOT / "tests" / "known_bugs.toml"
SCORE = ("<!-- score -->", "<!-- /score -->")


def document(failed: Mapping[str, list[str]]) -> dict[str, Any]:
    """The matrix of one run: mutant -> the requirements that failed, with what was claimed beforehand."""
    mutants = {
        name: {"kills": mutant.kills, "also": sorted(mutant.also), "failed": sorted(failed[name])}
        for name, mutant in sorted(MUTANTS.items())
        if name in failed
    }
    requirements = {one.id: status(one, mutants) for one in Catalogue.load().requirements.values()}
    return {"requirement_set": FROZEN_SET, "requirements": requirements, "mutants": mutants}


def status(requirement: Requirement, mutants: Mapping[str, Mapping[str, Any]]) -> str:
    """`proven`: a mutant breaks only it. `consequence`: a mutant kills it, and each also breaks others. `unproven`:
    checked, but no mutant kills it. `excluded`: there is no check, and the catalogue says why."""
    if requirement.excluded:
        return "excluded"
    kills = [one["failed"] for one in mutants.values() if one["kills"] == requirement.id]
    if any(failed == [requirement.id] for failed in kills):
        return "proven"
    return "consequence" if kills else "unproven"


def score(matrix: Mapping[str, Any]) -> str:
    """One sentence for the README."""
    catalogue = Catalogue.load()
    musts = [one.id for one in catalogue.select(level="MUST") if not one.excluded]
    proven = sum(matrix["requirements"].get(one) in ("proven", "consequence") for one in musts)
    alone = sum(matrix["requirements"].get(one) == "proven" for one in musts)
    return (
        f"{proven} of {len(musts)} MUSTs are proven by a gateway that breaks them, {alone} of them by one that breaks "
        f"nothing else; {len(matrix['mutants'])} mutants in all ([the matrix](docs/kill-matrix.md))."
    )


def page(matrix: Mapping[str, Any]) -> str:
    """The matrix for people: each requirement, the real defects that it stands against, and who breaks it."""
    rows = tomllib.loads(BUGS.read_text("utf-8"))
    lines = [
        "# Kill matrix",
        "",
        "Made by `tox -e mutants-whole`; do not edit. Each mutant is the reference gateway with one thing broken, as",
        "someone could have shipped it; the suite runs against it. **Proven**: a mutant turns exactly this one red.",
        "",
        f"{score(matrix).partition(' ([')[0]}.",
        "",
    ]
    catalogue = Catalogue.load()
    for area in catalogue.areas.values():
        lines += [f"## {area.name}: {area.title}", ""]
        for requirement in catalogue.by_area(area.name):
            lines += _entry(requirement, matrix, rows)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _entry(requirement: Requirement, matrix: Mapping[str, Any], rows: Mapping[str, Any]) -> list[str]:
    state = matrix["requirements"].get(requirement.id, "unproven")
    lines = [f"- **{requirement.id}** {requirement.level}, {state}: {requirement.text}"]
    if requirement.excluded:
        return [*lines, f"  - no check: {requirement.excluded}"]
    mutants = [MUTANTS[name] for name, one in matrix["mutants"].items() if one["kills"] == requirement.id]
    bugs = sorted({*requirement.bugs, *(bug for mutant in mutants for bug in mutant.bugs)})
    lines += [f"  - stands against {rows[str(bug)]['reference']}: {rows[str(bug)]['what']}" for bug in bugs]
    lines += [f"  - {_story(mutant, matrix['mutants'][mutant.name]['failed'])}" for mutant in mutants]
    return lines


def _story(mutant: Mutant, failed: list[str]) -> str:
    others = [one for one in failed if one != mutant.kills]
    return f"`{mutant.name}`: {mutant.story}" + (f" (with it {', '.join(others)})" if others else "")


def publish(matrix: Mapping[str, Any]) -> list[Path]:
    """Write data, page and score; returns the files that were stale."""
    readme = README.read_text("utf-8")
    before, _, rest = readme.partition(SCORE[0])
    after = rest.partition(SCORE[1])[2]
    wanted = {
        DATA: json.dumps(matrix, indent=1, ensure_ascii=False) + "\n",
        PAGE: page(matrix),
        README: f"{before}{SCORE[0]}{score(matrix)}{SCORE[1]}{after}" if rest else readme,
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], "utf-8")
    return stale


if __name__ == "__main__":
    load_all()
    for changed in publish(json.loads(DATA.read_text("utf-8"))):
        print(changed.relative_to(ROOT))
