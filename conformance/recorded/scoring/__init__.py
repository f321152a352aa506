"""Scoring: what a model thinks of each sampled token in the context that the trajectory says it had.

A scorer is another implementation of the model, chosen by name: `numpy:DIR`, `transformers:DIR`, `vllm:URL`,
`gguf:FILE`. None is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Protocol

TOLERANCE = 0.01
"""Nats that a score may differ unless something else is stated: far above what two implementations of a model in 32-bit
floats differ by, and far below what a wrong context does."""


class Unscorable(ValueError):
    """The model cannot be had, or cannot score this. The text says what was expected."""


class Scorer(Protocol):
    """A model that tells probabilities."""

    def score(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        """The natural logarithm of the probability of `ids[place]` behind `ids[:place]`, for each of `places`, which
        ascend from 1. Raises `Unscorable`."""

    def close(self) -> None: ...


SCORERS: Mapping[str, tuple[str, str, str]] = {
    "numpy": ("dense", "Dense", "score"),
    "transformers": ("hugging_face", "Transformers", "transformers"),
    "vllm": ("served", "Vllm", ""),
    "gguf": ("llama_cpp", "LlamaCpp", "gguf"),
}
"""Kind of scorer -> its module here, its class, and the extra that it needs."""


def scorer(spec: str, temperature: float = 1.0) -> Scorer:
    """The scorer that `spec` names, `KIND:WHERE`. Its log-probabilities are those of the model at `temperature`. Raises
    `Unscorable`, naming the extra where a package is missing."""
    kind, colon, where = spec.partition(":")
    if kind not in SCORERS or not colon or not where:
        known = ", ".join(f"{name}:{_WHERE[name]}" for name in SCORERS)
        raise Unscorable(f"a scorer is one of {known}, not {spec!r}")
    module, name, extra = SCORERS[kind]
    try:
        make: Callable[[str, float], Scorer] = getattr(import_module(f"{__name__}.{module}"), name)
        return make(where, temperature)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("conformance"):
            raise
        raise Unscorable(f"{spec}: {missing.name} is missing: pip install 'gateway-conformance[{extra}]'") from None


_WHERE = {"numpy": "DIR", "transformers": "DIR", "vllm": "URL", "gguf": "FILE"}
