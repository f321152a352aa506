"""The kill matrix: which requirement is proven by which mutant, as data and as a page.

    python -m tests.mutants.matrix        # renders the pages again from reports/mutants.json

`tox -e mutants` writes the data and the page, and fails when what was committed is stale.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.requirements import FROZEN_SET, LEVELS, Catalogue, Requirement
from conformance.vocabulary.outcome import Outcome
from tests.live.wrong import WRONG
from tests.mutants import bugs
from tests.mutants.harness import Verdicts
from tests.mutants.registry import MUTANTS, Mutant, load_all

ROOT = Path(__file__).parents[2]
DATA = ROOT / "reports" / "mutants.json"
PAGE = ROOT / "docs" / "kill-matrix.md"
README = ROOT / "README.md"
SCORE = ("<!-- score -->", "<!-- /score -->")

STATES = {
    "proven": "a mutant, the reference gateway broken in one way, turns it red",
    "tested but unproven": "its checks pass, and no mutant turns them red",
    "untested": "no check of it has run against the reference gateway, and no mutant turns it red",
    "excluded": "there is no check, for the reason given",
}

TOGETHER = {
    "HTTP-049": "A gateway that passes the upstream's words on passes its types of errors on, too, which CHAT-064, "
    "MSG-096 and RESP-077 hold to those of the wire.",
    "JOURNEY-005": "JOURNEY-010 holds conversations that a gateway keeps among all others, by chance.",
    "SHAPE-012": "The events of a tool use are pinned by SHAPE-011; beyond them only its arguments can change, which "
    "MSG-013, MSG-076 and MSG-083 compare with what was generated.",
    "SHAPE-023": "INV-001 and INV-003 say the whole answer to an invocation: two fields, each with its type.",
    "SHAPE-024": "INV-006, INV-007 and INV-008 say the whole refusal of an invocation: its status and its text.",
    "WIRE-008": "RESP-040 and RESP-160 say of the fields one by one what it says of all: the refusal names the field.",
}
"""Requirement -> why no mutant breaks it alone: what breaks it is another requirement's business, too."""


def document(failed: Mapping[str, list[str]], unharmed: Sequence[Verdicts]) -> dict[str, Any]:
    """The matrix of one run: mutant -> the requirements that failed, with what was claimed beforehand; and what that
    makes of each requirement."""
    mutants = {
        name: {"kills": mutant.kills, "also": sorted(mutant.also), "failed": failed[name]}
        for name, mutant in sorted(MUTANTS.items())
        if name in failed
    }
    passed = {one for each in unharmed for one, outcomes in each.outcomes.items() if Outcome.PASSED in outcomes}
    requirements = {
        one.id: {"state": _state(one, mutants, passed), "alone": _alone(one, mutants)} for one in _scripted()
    }
    return {"requirement_set": FROZEN_SET, "requirements": requirements, "mutants": mutants}


def _scripted(level: str | None = None) -> list[Requirement]:
    """The requirements that the scripted upstream proves. Those over a real engine are for `tox -e live`."""
    catalogue = Catalogue.load()
    return [one for one in catalogue.select(level=level) if not catalogue.needs_engine(one)]


def _state(requirement: Requirement, mutants: Mapping[str, Mapping[str, Any]], passed: set[str]) -> str:
    if requirement.excluded:
        return "excluded"
    if any(one["kills"] == requirement.id and requirement.id in one["failed"] for one in mutants.values()):
        return "proven"
    return "tested but unproven" if requirement.id in passed else "untested"


def _alone(requirement: Requirement, mutants: Mapping[str, Mapping[str, Any]]) -> bool:
    """Does a mutant turn exactly this requirement red, and nothing else in the suite?"""
    return any(one["failed"] == [requirement.id] for one in mutants.values() if one["kills"] == requirement.id)


def score(matrix: Mapping[str, Any]) -> str:
    """One sentence for the README."""
    musts = [one.id for one in _scripted("MUST") if not one.excluded]
    found = [matrix["requirements"].get(one, {}) for one in musts]
    proven = sum(one.get("state") == "proven" for one in found)
    alone = sum(one.get("alone", False) for one in found)
    return (
        f"{proven} of {len(musts)} MUSTs are proven by a gateway that breaks them, {alone} of them by one that breaks "
        f"nothing else; {len(matrix['mutants'])} mutants in all."
    )


def page(matrix: Mapping[str, Any]) -> str:
    """The matrix for people: each requirement, the real defects that it stands against, and who breaks it."""
    catalogue = Catalogue.load()
    lines = [
        "# Kill matrix",
        "",
        "Made by `tox -e mutants`; do not edit. Each mutant is the reference gateway with one thing broken, as someone",
        "could have shipped it; the whole suite runs against it. The defects of real gateways that requirements stand",
        "against are listed in [known-bugs.md](known-bugs.md).",
        "",
        *(f"- **{state}**: {what}." for state, what in STATES.items()),
        "",
        "`alone` says that a mutant turns exactly this one red, and nothing else in the suite. Where a mutant turns",
        "others red too, they are named behind it; where each does, the reason is given.",
        "",
        score(matrix),
        "",
        *_table(matrix),
    ]
    for area in catalogue.areas.values():
        lines += ["", f"## {area.title}", ""]
        if any(map(catalogue.needs_engine, catalogue.by_area(area.name))):
            lines += ["Each is broken over a real engine, a llama.cpp with the tiny model, in `tox -e live`.", ""]
            lines += [line for requirement in catalogue.by_area(area.name) for line in _over_engine(requirement)]
            continue
        for requirement in catalogue.by_area(area.name):
            lines += _entry(requirement, matrix)
    return "\n".join(lines).rstrip() + "\n"


def _table(matrix: Mapping[str, Any]) -> list[str]:
    lines = ["| level | requirements | proven | alone | tested but unproven | untested | excluded |"]
    lines.append("|---|---|---|---|---|---|---|")
    for level in LEVELS:
        found = [matrix["requirements"].get(one.id, {}) for one in _scripted() if one.level == level]
        states = Counter(one.get("state") for one in found)
        alone = sum(one.get("alone", False) for one in found)
        numbers = (
            states["proven"],
            alone,
            *(states[state] for state in ("tested but unproven", "untested", "excluded")),
        )
        lines.append(f"| {level} | {len(found)} | {' | '.join(map(str, numbers))} |")
    return lines


def _entry(requirement: Requirement, matrix: Mapping[str, Any]) -> list[str]:
    found = matrix["requirements"].get(requirement.id, {"state": "tested but unproven", "alone": False})
    state = found["state"] + (" alone" if found["alone"] else "")
    lines = [f"- **{requirement.id}** {requirement.level}, {state}: {requirement.text}"]
    if requirement.excluded:
        return [*lines, f"  - no check: {requirement.excluded}"]
    mutants = [MUTANTS[name] for name, one in matrix["mutants"].items() if one["kills"] == requirement.id]
    rows = bugs.load()
    against = sorted({*requirement.bugs, *(bug for mutant in mutants for bug in mutant.bugs)})
    if not found["alone"] and requirement.id in TOGETHER:
        lines.append(f"  - never alone: {TOGETHER[requirement.id]}")
    lines += [f"  - stands against {rows[bug].reference}: {rows[bug].what}" for bug in against]
    lines += [f"  - {_story(mutant, matrix['mutants'][mutant.name]['failed'])}" for mutant in mutants]
    return lines


def _over_engine(requirement: Requirement) -> list[str]:
    wrong = [one for one in WRONG.values() if one.kills == requirement.id]
    stories = [f"  - `{one.name}`: {one.story}" for one in wrong]
    return [f"- **{requirement.id}** {requirement.level}: {requirement.text}", *stories]


def _story(mutant: Mutant, failed: list[str]) -> str:
    others = [one for one in failed if one != mutant.kills]
    return f"`{mutant.name}`: {mutant.story}" + (f" (with it {', '.join(others)})" if others else "")


def published() -> dict[str, list[str]]:
    """What was published: mutant -> the requirements that failed."""
    mutants = json.loads(DATA.read_text("utf-8"))["mutants"] if DATA.exists() else {}
    return {name: one["failed"] for name, one in mutants.items()}


def publish(matrix: Mapping[str, Any]) -> list[str]:
    """Write data, pages and score. Returns what was stale, in words."""
    before = published()
    after = {name: one["failed"] for name, one in matrix["mutants"].items()}
    changes = []
    for name in sorted({*before, *after}):
        then, now = (set(one.get(name, ())) for one in (before, after))
        if name not in before or name not in after:
            changes.append(f"{name}: {'new' if name in after else 'gone'}")
        elif then != now:
            said = [f"now {', '.join(sorted(now - then))}"] if now - then else []
            said += [f"no more {', '.join(sorted(then - now))}"] if then - now else []
            changes.append(f"{name}: {'; '.join(said)}")
    return changes + [str(path.relative_to(ROOT)) for path in _write(matrix)]


def _write(matrix: Mapping[str, Any]) -> list[Path]:
    readme = README.read_text("utf-8")
    before, _, rest = readme.partition(SCORE[0])
    after = rest.partition(SCORE[1])[2]
    wanted = {
        DATA: _lines(matrix),
        PAGE: page(matrix),
        bugs.PAGE: bugs.page(),
        README: f"{before}{SCORE[0]}{score(matrix)}{SCORE[1]}{after}" if rest else readme,
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        path.write_text(wanted[path], "utf-8")
    return stale


def _lines(matrix: Mapping[str, Any]) -> str:
    """JSON with one line for each requirement and each mutant: a difference shows what changed."""
    parts = [f' "requirement_set": {json.dumps(matrix["requirement_set"])}']
    for kind in ("requirements", "mutants"):
        entries = [f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in matrix[kind].items()]
        parts.append(f' "{kind}": {{\n' + ",\n".join(entries) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    load_all()
    if DATA.exists():
        data = json.loads(DATA.read_text("utf-8"))
        data["mutants"] = {name: one for name, one in data["mutants"].items() if name in MUTANTS}
        for changed in _write(data):
            print(changed.relative_to(ROOT))
    else:
        bugs.PAGE.write_text(bugs.page(), "utf-8")
