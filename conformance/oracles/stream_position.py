"""Where in a recorded stream a path into a frame's JSON points.

Knows lines, the data of a frame, and JSON text; never a wire. A path that cannot be followed to its end points to what
it reaches: a missing field to the object that lacks it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.oracles.wording import Path, parse_json

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_STEP = re.compile(r"\.?([^\W\d][\w-]*)|\[(\d+)\]|\[(\"(?:[^\"\\]|\\.)*\")\]")


@dataclass(frozen=True, slots=True)
class Frame:
    """The data of one frame. `pieces` are (line, column, text) of its data lines, which LF joins."""

    pieces: tuple[tuple[int, int, str], ...]

    @property
    def data(self) -> str:
        return "\n".join(text for _, _, text in self.pieces)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character of the data."""
        for line, column, text in self.pieces:
            if offset <= len(text):
                return line, column + offset
            offset -= len(text) + 1
        line, column, text = self.pieces[-1]
        return line, column + len(text)


def frame_at(lines: Sequence[str], line: int) -> Frame:
    """The frame that the 1-based `line` belongs to. Where the recording is lines of JSON, the line is the frame."""
    if 0 < line <= len(lines) and lines[line - 1].lstrip().startswith("{"):
        return Frame(((line, 1, lines[line - 1]),))
    pieces = []
    for number in range(line, len(lines) + 1):
        text = lines[number - 1]
        if not text:
            break
        if text.startswith("data:"):
            value = text.removeprefix("data:")
            column = 7 if value.startswith(" ") else 6
            pieces.append((number, column, value.removeprefix(" ")))
    return Frame(tuple(pieces))


def position_in(frame: Frame, line: int, path: str) -> tuple[int, int]:
    """Line and column of what `path` names in the frame's data; where the data is no JSON, of what breaks it."""
    if not frame.pieces:
        return line, 1
    data = frame.data
    _, wrong = parse_json(data)
    if wrong:
        try:
            json.loads(data)
        except json.JSONDecodeError as error:
            return frame.place(error.pos)
        except (ValueError, RecursionError):
            pass
        return line, 1
    return frame.place(_offset(data, _steps(path)))


def _steps(path: str) -> Path:
    steps: list[str | int] = []
    at = 0
    while match := _STEP.match(path, at):
        name, index, key = match.groups()
        steps.append(name if name is not None else int(index) if index is not None else str(parse_json(key)[0]))
        at = match.end()
    return tuple(steps)


def _offset(text: str, path: Path) -> int:
    at = _skip(text, 0)
    for step in path:
        child = next((place for key, place in _children(text, at) if key == step), None)
        if child is None:
            break
        at = child
    return at


def _children(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """Key or index, and place, of each child of the object or array at `at` of what is known to be JSON."""
    kind = text[at : at + 1]
    if kind not in ("{", "["):
        return
    at = _skip(text, at + 1)
    index = 0
    while text[at] not in "]}":
        key: str | int = index
        if kind == "{":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        yield key, at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
