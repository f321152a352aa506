"""Answers that a stop text ends: what is asked for, what the model would say, and what of it is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stopped:
    """The model says `text` until it comes to one of `stops`, which is `matched`; `shown` stands before that."""

    stops: tuple[str, ...]
    text: str
    shown: str
    matched: str

    def __str__(self) -> str:
        return self.text


WORD = Stopped(("END",), "One and two END and three", "One and two ", "END")
STOPPED = (
    WORD,
    Stopped(("\n\n", "END"), "One END\n\ntwo", "One ", "END"),
    Stopped(("\nUser:",), "One\nUsers\n\nUser: two", "One\nUsers\n", "\nUser:"),
    Stopped(("END",), "AN ENORMOUS ENDEAVOUR", "AN ENORMOUS ", "END"),
    Stopped(("🧬", "日本語"), "One 🙂 gene 🧬 two", "One 🙂 gene ", "🧬"),
    Stopped(("END",), "END of it", "", "END"),
)
