"""What a gateway takes from chance and from the clock, by the check instead: the same is the same byte for byte."""

from __future__ import annotations

import secrets
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b

from reference_gateway.serving.responses import Responses
from reference_gateway.session import Session, Sessions

_token_hex, _uuid4, _time = secrets.token_hex, uuid.uuid4, time.time


@dataclass(eq=False)
class Fate:
    """Ids and times by the name of a check and a count."""

    name: str
    began: float
    drawn: int = 0
    ticks: int = 0

    def digits(self) -> str:
        self.drawn += 1
        return blake2b(f"{self.name} {self.drawn}".encode(), digest_size=32).hexdigest()

    def time(self) -> float:
        self.ticks += 1
        return self.began + self.ticks / 1000


FATE: ContextVar[Fate | None] = ContextVar("FATE", default=None)
"""Of the request in progress; without one, ids are random and the time is what it is."""


def install() -> None:
    """Put `FATE` where the gateway looks for ids and times. It stays there, and does nothing outside a tape."""

    def token_hex(nbytes: int | None = None) -> str:
        fate = FATE.get()
        return fate.digits()[: 2 * (nbytes or 32)] if fate else _token_hex(nbytes)

    def uuid4() -> uuid.UUID:
        fate = FATE.get()
        return uuid.UUID(fate.digits()[:32]) if fate else _uuid4()

    def clock() -> float:
        fate = FATE.get()
        return fate.time() if fate else _time()

    secrets.token_hex, uuid.uuid4, time.time = token_hex, uuid4, clock
    for owner in (Session, Sessions, Responses):
        (owner.__init__.__kwdefaults__ or {})["clock"] = clock
