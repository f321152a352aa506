"""What only an engine says of a generation: its token ids, and where it was computed. Knows JSON; never a wire.

Sources: vLLM (`token_ids`, `prompt_token_ids`, `routed_experts`), SGLang (`output_ids`, `meta_info`); prime-rl #2784.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.oracles import Violation
from conformance.oracles.wording import Path, brief, written

FIELDS = frozenset(
    {
        *("token_ids", "prompt_token_ids", "completion_token_ids", "response_token_ids"),
        *("prompt_ids", "input_ids", "output_ids", "response_ids"),
        *("routed_experts", "kv_transfer_params", "meta_info"),
    }
)


def engine_data(document: Any) -> list[Violation]:
    """Every field of `document`, at any depth, that is an engine's own and holds something."""
    return list(_engine_fields(document, ()))


def _engine_fields(value: Any, path: Path) -> Iterator[Violation]:
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _engine_fields(item, (*path, place))
    if isinstance(value, dict):
        for name, item in value.items():
            if name in FIELDS and item is not None:
                yield Violation(written((*path, name)), "no such field", brief(item))
            else:
                yield from _engine_fields(item, (*path, name))
