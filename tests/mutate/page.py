"""What is published of the edits: how many of each module are noticed, as data and as a page, and those that are open.

python -m tests.mutate.page      # renders the page again from reports/mutate.json
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.mutate.survivors import CLASSES, Entry, explained
from tests.mutate.verdicts import Key, Verdict

ROOT = Path(__file__).parents[2]
DATA = ROOT / "reports" / "mutate.json"
PAGE = ROOT / "docs" / "mutate.md"
ROOMS = ("session", "codec", "wire", "backends")
"""The rooms of a turn: of what can be seen of their edits, `FLOOR` per cent are noticed."""
FLOOR = 90
STATES = ("noticed", *CLASSES, "open", "not reached")

HEAD = """# Edits of the reference gateway

Made by `tox -e mutate`; do not edit. The reference gateway is changed one edit at a time: a comparison is turned, a
constant is another, a condition is never or always true, a statement or an argument is left out, two arguments are
swapped. The whole suite judges each edit, with the ambient judgement; the first red notices it.

- **noticed**: a check fails, or something else is found wrong while one runs, or the gateway no longer answers.
- **equivalent**: the gateway does the same.
- **allowed**: it does otherwise, and any gateway may.
- **unobservable**: it does otherwise, and no client, engine or trainer can see it in a judged run.
- **open**: nothing noticed it, and nobody has said why: a hole of the suite, or a reason that is not written yet.
- **not reached**: no check runs the line: what other engines, templates and start modes do.

Of those that can be seen, noticed or open, the last column says how many are noticed. Why each of the three in the
middle is one stands in `tests/mutate/survivors.toml`.
"""


def state_of(verdict: Verdict, entries: Sequence[Entry]) -> str:
    """One of `STATES`."""
    if verdict.noticed:
        return "noticed"
    if verdict.how == "not reached":
        return verdict.how
    entry = explained(entries, verdict.key)
    return entry.kind if entry else "open"


def counted(verdicts: Iterable[Verdict], entries: Sequence[Entry]) -> dict[str, Any]:
    """What is published of files: file -> how many edits are in each state, and those that are open."""
    files: dict[str, dict[str, Any]] = defaultdict(lambda: {**dict.fromkeys(STATES, 0), "edits_open": []})
    for verdict in verdicts:
        state = state_of(verdict, entries)
        file = files[verdict.file]
        file[state] += 1
        if state == "open":
            file["edits_open"].append(list(verdict.key[1:]))
    return {name: {**file, "edits_open": sorted(file["edits_open"])} for name, file in sorted(files.items())}


def share(counts: Mapping[str, int]) -> float | None:
    """Per cent of what can be seen that is noticed; None where nothing can."""
    seen = counts["noticed"] + counts["open"]
    return 100 * counts["noticed"] / seen if seen else None


def rooms(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """The counts of each room, of those of its files that were judged."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name, file in files.items():
        parts = name.split("/")
        found[parts[1] if len(parts) > 2 else "."].update({state: file[state] for state in STATES})
    return found


def below(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The rooms of a turn in which too little is noticed, in words."""
    found = {room: share(counts) for room, counts in rooms(files).items() if room in ROOMS}
    return [
        f"{room}/: {per_cent:.1f} % of what can be seen are noticed, less than {FLOOR} %"
        for room, per_cent in found.items()
        if per_cent is not None and per_cent < FLOOR
    ]


def newly_open(files: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The edits that are open now and were not when their file was published last."""
    new = []
    for name, file in files.items():
        known = {json.dumps(each) for each in before[name]["edits_open"]} if name in before else set()
        for function, was, now, nth in file["edits_open"]:
            if name in before and json.dumps([function, was, now, nth]) not in known:
                new.append(f"not noticed, and no reason is listed: {name} {function}: {was!r} -> {now!r} [{nth}]")
    return new


def published(path: Path = DATA) -> dict[str, Any]:
    """What was published, by file."""
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def publish(files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write data and page: these files anew, the others as they were, and none that is gone."""
    known = {name: file for name, file in published().items() if (ROOT / name).exists()}
    merged = dict(sorted({**known, **files}.items()))
    lines = [f" {json.dumps(name)}: {_data(file)}" for name, file in merged.items()]
    DATA.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    PAGE.write_text(page(merged), "utf-8")


def _data(file: Mapping[str, Any]) -> str:
    """A line of JSON for each open edit: a difference shows what changed."""
    counts = {state: file[state] for state in STATES}
    edits = ",\n".join(f"   {json.dumps(edit, ensure_ascii=False)}" for edit in file["edits_open"])
    return json.dumps(counts)[:-1] + ', "edits_open": [' + (f"\n{edits}\n  " if edits else "") + "]}"


def page(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The page, as Markdown."""
    lines = [HEAD, f"| module | edits | {' | '.join(STATES)} | of what can be seen |", f"|---{'|---' * 8}|"]
    by_room = rooms(files)
    for room, counts in sorted(by_room.items()):
        lines.append(_row(f"**{'the doors' if room == '.' else f'{room}/'}**", counts))
        lines += [_row(f"`{name.partition('/')[2]}`", files[name]) for name in files if _room(name) == room]
    lines += ["", "## Open", ""]
    for name, file in files.items():
        if file["edits_open"]:
            lines += [f"### {name.partition('/')[2]}", ""]
            lines += [_line(*edit) for edit in file["edits_open"]]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, counts: Mapping[str, int]) -> str:
    per_cent = share(counts)
    total = sum(counts[state] for state in STATES)
    numbers = " | ".join(str(counts[state]) for state in STATES)
    return f"| {name} | {total} | {numbers} | {'' if per_cent is None else f'{per_cent:.1f} %'} |"


def _line(function: str, was: str, now: str, nth: int) -> str:
    which = f" (number {nth})" if nth > 1 else ""
    return f"- `{function or 'the module'}`: {_code(was)} becomes {_code(now)}{which}"


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    flat = " ".join(text.split())
    return f"{fence} {flat} {fence}" if "`" in flat else f"{fence}{flat}{fence}"


def _room(name: str) -> str:
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else "."


def as_counted(verdicts: Mapping[Key, Verdict], entries: Sequence[Entry], files: Iterable[str]) -> dict[str, Any]:
    """What is published of these files."""
    names = set(files)
    return counted((each for each in verdicts.values() if each.file in names), entries)


if __name__ == "__main__":
    PAGE.write_text(page(published()), "utf-8")
