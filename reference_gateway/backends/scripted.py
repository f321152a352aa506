"""A model that needs no model: it answers by rule, so that a gateway can be tried with nothing installed.

Knows the text of a context through a decode function that it is given, and ChatML markers. It samples nothing and says
so: the same context always gives the same answer, and every logprob is 0.0, the logarithm of certainty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference_gateway.types import Generation, Media

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)
_TOOL = re.compile(r'"name": ?"([^"]+)"')


class ScriptedBackend:
    """`decode` and `encode` are the tokenizer's, control tokens included; `end_id` ends a turn.

    It repeats what the user said. Where the request has tools and the user writes `call NAME {...}`, it calls that tool
    with those arguments; behind a tool's result it reports the result.
    """

    name = "scripted"
    takes_media = False
    logprobs_kind = "raw"

    def __init__(self, decode: Callable[[Sequence[int]], str], encode: Callable[[str], list[int]], end_id: int) -> None:
        self._decode, self._encode, self._end_id = decode, encode, end_id

    async def generate(
        self, context: Sequence[int], sampling: Mapping[str, Any], *, session_id: str, media: Media
    ) -> Generation:
        """See `types.Backend`. Honours `max_tokens` and `logprobs`."""
        ids = [*self._encode(answer_to(self._decode(context))), self._end_id]
        limit = sampling.get("max_tokens")
        cut = isinstance(limit, int) and limit < len(ids)
        ids = ids[:limit] if cut else ids
        return Generation(
            ids,
            logprobs=[0.0] * len(ids) if sampling.get("logprobs") else None,
            stop_reason="length" if cut else "stop",
        )

    async def close(self) -> None:
        """Nothing is held."""


def answer_to(conversation: str) -> str:
    """The answer to a rendered ChatML conversation."""
    turns = [text for role, text in _TURN.findall(conversation) if role != "assistant"]
    text = turns[-1] if turns else ""
    results = re.findall(r"<tool_response>\n(.*?)\n</tool_response>", text, re.DOTALL)
    if results:
        return f"The tool says: {'; '.join(results)}"
    tools = _TOOL.findall(turns[0]) if turns and "<tools>" in turns[0] else []
    asked = re.search(r"\bcall (\S+)\s*(\{.*\})?", text, re.DOTALL)
    if asked and asked[1] in tools:
        return f'<tool_call>\n{{"name": {json.dumps(asked[1])}, "arguments": {asked[2] or "{}"}}}\n</tool_call>'
    return f"You said: {text}"
