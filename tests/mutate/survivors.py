"""The edits that nothing notices, each with the reason: `survivors.toml`.

An entry names a file and a function, and the edits, each as it was and as it is now: all that survive in the function
where it names none. It goes stale, and the run fails, when an edit is noticed, or does not exist any more.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutate.verdicts import Key, Verdict

FILE = Path(__file__).with_name("survivors.toml")
CLASSES: Mapping[str, str] = {
    "equivalent": "the gateway does the same",
    "allowed": "the gateway does otherwise, and any gateway may",
    "unobservable": "the gateway does otherwise, and no client, engine or trainer can see it in a judged run",
}
"""Why nothing notices an edit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Why some edits of a function survive. `edits` are as they were, as they are now, and which of equal ones: none
    means all that survive there."""

    file: str
    function: str
    edits: tuple[tuple[str, str, int], ...]
    kind: str
    why: str

    def covers(self, key: Key) -> bool:
        file, function, *edit = key
        return (file, function) == (self.file, self.function) and (not self.edits or tuple(edit) in self.edits)

    @property
    def keys(self) -> list[Key]:
        """The edits that it names."""
        return [(self.file, self.function, *edit) for edit in self.edits]


def load(path: Path = FILE) -> list[Entry]:
    """The entries of the file. Raises `ValueError` where one lacks what it needs."""
    return [_entry(each) for each in tomllib.loads(path.read_text("utf-8")).get("survivor", [])]


def _entry(written: dict[str, Any]) -> Entry:
    unknown = written.keys() - {"file", "function", "edits", "class", "why"}
    place = f"{written.get('file')} {written.get('function')}"
    if unknown:
        raise ValueError(f"{place}: no entry has {', '.join(sorted(unknown))}")
    if written.get("class") not in CLASSES:
        raise ValueError(f"{place}: class is one of {', '.join(CLASSES)}, got {written.get('class')!r}")
    if not written.get("why"):
        raise ValueError(f"{place}: says no reason")
    edits = []
    for edit in written.get("edits", []):
        if len(edit) not in (2, 3):
            raise ValueError(f"{place}: an edit is what was, what is now, and the number of equal ones; got {edit}")
        edits.append((edit[0], edit[1], edit[2] if len(edit) == 3 else 1))
    return Entry(written["file"], written["function"], tuple(edits), written["class"], written["why"])


def explained(entries: Iterable[Entry], key: Key) -> Entry | None:
    """The entry that says why this edit survives: one that names it before one that speaks of the whole function."""
    return next(
        iter(sorted((each for each in entries if each.covers(key)), key=lambda each: not each.edits)),
        None,
    )


def stale(entries: Iterable[Entry], verdicts: Mapping[Key, Verdict], files: Collection[str]) -> list[str]:
    """What is wrong with the entries of these files, once all edits of the files have their verdicts."""
    problems = []
    for entry in entries:
        if entry.file not in files:
            continue
        for key in entry.keys:
            text = f"{entry.file} {entry.function}: {key[2]!r} -> {key[3]!r}" + (f" [{key[4]}]" if key[4] > 1 else "")
            if key not in verdicts:
                problems.append(f"listed, but there is no such edit: {text}")
            elif verdicts[key].noticed:
                problems.append(f"listed, but noticed: {text}, by {verdicts[key].by or verdicts[key].how}")
            elif verdicts[key].how == "not reached":
                problems.append(f"listed, but no check reaches it: {text}")
        if not entry.edits and not any(entry.covers(key) and each.how == "survived" for key, each in verdicts.items()):
            problems.append(f"listed, but nothing survives there: {entry.file} {entry.function}")
    return problems
