"""What came of each edit, a line of JSON each, kept from run to run: an edit is judged again only once the source, the
suite or what judges has changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from tests.knife.weaken import Weakening

Key = tuple[str, str, str, str, int]
"""File, function, what stood there, what stands there now, and which of equal edits of the function it is."""
DEFAULT = "default"
"""The mode in which the reference is started without further settings."""
NOTICED = ("check", "ambient", "broke", "time", "start")
"""How an edit is noticed: a check fails; another requirement is broken on the way; a check breaks, which the suite
should mend; nothing ends; nothing begins."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one edit. `how`: one of `NOTICED`, else `survived`, `not reached` or `not applied`. `by`: the
    requirement that failed. `check`: in which check that was. `differing`: of a survivor, the checks whose exchanges
    came out otherwise and that passed. `state`: the hash of all that it was judged with. `modes`: in which."""

    file: str
    function: str
    was: str
    now: str
    nth: int
    line: int
    how: str
    by: str = ""
    check: str = ""
    differing: Sequence[str] = field(default_factory=list)
    reached: int = 0
    seconds: float = 0.0
    text: str = ""
    state: str = ""
    modes: Sequence[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What names the edit while lines move."""
        return self.file, self.function, self.was, self.now, self.nth

    @property
    def noticed(self) -> bool:
        return self.how in NOTICED

    def __str__(self) -> str:
        which = f" [{self.nth}]" if self.nth > 1 else ""
        return f"{self.file}:{self.line} {self.function}: {self.was!r} -> {self.now!r}{which}"


class Kept:
    """A folder of verdicts, one file for each process that judges."""

    def __init__(self, folder: Path, name: str = "verdicts") -> None:
        self.folder, self._file = folder, folder / f"{name}.jsonl"
        self.verdicts: dict[Key, Verdict] = {}
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.read_text("utf-8").splitlines():
                verdict = _read(line)
                if verdict is not None:
                    self.verdicts[verdict.key] = verdict

    def add(self, verdict: Verdict) -> None:
        """Keep it now: what ends this run loses nothing. What survived in one mode, and was not reached in another, has
        survived."""
        before = self.verdicts.get(verdict.key)
        if before is not None and before.state == verdict.state:
            modes = [*dict.fromkeys([*before.modes, *verdict.modes])]
            verdict = replace(before if verdict.how == "not reached" else verdict, modes=modes)
        self.verdicts[verdict.key] = verdict
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(verdict), ensure_ascii=False) + "\n")

    def forget(self, edits: Iterable[Weakening], state: str) -> None:
        """Drop the verdicts of these edits that were made with anything else than this state."""
        old = {key for edit in edits if (key := edit.key) in self.verdicts and self.verdicts[key].state != state}
        for file in self.folder.glob("*.jsonl") if old else ():
            lines = file.read_text("utf-8").splitlines(keepends=True)
            file.write_text("".join(line for line in lines if _key(line) not in old), "utf-8")
        for key in old:
            del self.verdicts[key]

    def left(
        self, edits: Iterable[Weakening], state: str, mode: str = DEFAULT, *, again: bool = False
    ) -> list[Weakening]:
        """Those among these that are still to be judged in this mode. `again`: what was noticed once stays noticed,
        whatever has changed since, and what survived is judged anew."""

        def is_left(edit: Weakening) -> bool:
            verdict = self.verdicts.get(edit.key)
            if verdict is None:
                return True
            if verdict.state != state:
                return not (again and verdict.noticed)
            return not verdict.noticed and mode not in verdict.modes

        return [edit for edit in edits if is_left(edit)]


def _read(line: str) -> Verdict | None:
    try:
        return Verdict(**json.loads(line))
    except (ValueError, TypeError):
        return None  # it was not written to its end


def _key(line: str) -> Key | None:
    verdict = _read(line)
    return None if verdict is None else verdict.key


def state_of(root: Path, folders: Sequence[str]) -> str:
    """The hash of the Python and TOML below these folders, and of the JSON that checks read."""
    digest = blake2b(digest_size=12)
    for folder in folders:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".py", ".toml", ".json", ".jinja") and "__pycache__" not in file.parts:
                if file.name == "survivors.toml":
                    continue
                digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def shard_of(edits: Iterable[Weakening], shard: int, shards: int) -> Iterator[Weakening]:
    """The edits of one shard, of 1 to `shards`: by what names them, so that a shard is the same wherever it runs."""
    for edit in edits:
        number = int.from_bytes(blake2b(repr(edit.key).encode(), digest_size=8).digest())
        if number % shards == shard - 1:
            yield edit
