"""llama.cpp's `/completion`: token ids (or text) in, text out, and token ids where they are asked for.

Knows the fields of one request (no batches). Odd as the server is: a stream leaves out the ids and log-probabilities of
tokens that end inside of a character, a plain answer their log-probabilities only, and `tokens_predicted` counts all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from conformance.tokenizer import Tokenizer
from conformance.upstream import dialect, errors
from conformance.upstream.dialect import BadRequest
from conformance.upstream.ending import CUT
from conformance.upstream.engine import Ask, Sample

_STOP_TYPES = {"stop": "eos", "length": "limit", "abort": "none"}


class Completion:
    """Where a request has no `n_predict`, or -1, the model samples what fits. What it does not know it ignores."""

    name = "llamacpp-completion"
    path = "/completion"
    error = staticmethod(errors.llama_cpp)
    refusal = staticmethod(errors.llama_cpp_refusal)

    def read(self, body: Mapping[str, Any], tokenizer: Tokenizer) -> Ask:
        limit = body.get("n_predict")
        return Ask(
            dialect=self.name,
            context=_context(body.get("prompt"), tokenizer),
            body={key: value for key, value in body.items() if key != "prompt"},
            model=dialect.MODEL,
            stream=dialect.flag(body, "stream"),
            logprobs=bool(dialect.count(body, "n_probs", 0)),
            token_ids=dialect.flag(body, "return_tokens"),
            max_tokens=None if limit == -1 else dialect.count(body, "n_predict", 0),
            stops=dialect.stops(body, CUT),
            skip_special=True,
        )

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> dict[str, Any]:
        (sample,) = samples
        told = _probabilities(sample, range(len(sample.ids)), tokenizer)
        more = {} if told is None else {"completion_probabilities": told}
        return _end(ask, sample, sample.text, sample.told_ids if sample.token_ids else []) | more

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        (sample,) = samples
        whole = _whole_characters(sample, tokenizer)
        for event in dialect.events(ask, sample, tokenizer) if sample.ids else ():
            places = [place for place in range(event.first, event.until) if whole[place]]
            if not places:
                continue
            head = {"index": 0, "content": event.text, "tokens": [sample.told_ids[place] for place in places]}
            counts = {"tokens_predicted": event.until, "tokens_evaluated": len(ask.context)}
            told = _probabilities(sample, places, tokenizer)
            more = {} if told is None else {"completion_probabilities": told}
            yield {**head, "stop": False, "id_slot": -1, **counts, **more, **dialect.versions(sample, event.until)}
        yield _end(ask, sample, "", [])


def _end(ask: Ask, sample: Sample, text: str, ids: list[int]) -> dict[str, Any]:
    """What is told of the whole."""
    word = sample.matched if isinstance(sample.matched, str) else ""
    return {
        "index": 0,
        "content": text,
        "tokens": ids,
        "id_slot": 0,
        "stop": True,
        "model": dialect.MODEL,
        "tokens_predicted": len(sample.ids),
        "tokens_evaluated": len(ask.context if sample.prompt_ids is None else sample.prompt_ids),
        "truncated": False,
        "stop_type": "word" if word else _STOP_TYPES.get(sample.finish_reason, sample.finish_reason),
        "stopping_word": word,
        "tokens_cached": len(ask.context) + len(sample.ids),
        **dialect.versions(sample),
    }


def _whole_characters(sample: Sample, tokenizer: Tokenizer) -> list[bool]:
    """Of each id, whether the text of all up to it ends with a whole character."""
    pieces = tokenizer.pieces(sample.ids, False)
    return [bool(piece) for piece in pieces]


def _probabilities(sample: Sample, places: Sequence[int], tokenizer: Tokenizer) -> list[dict[str, Any]] | None:
    if sample.logprobs is None:
        return None
    whole, found = _whole_characters(sample, tokenizer), []
    # A scripted list may be longer than the ids: what is too much has no id of its own.
    surplus = range(len(sample.ids), len(sample.logprobs)) if len(places) == len(sample.ids) else ()
    ids = [*sample.ids, *repeat(0, len(sample.logprobs))]
    for place in (*places, *surplus):
        if place < len(sample.logprobs) and (place >= len(whole) or whole[place]):
            name = tokenizer.token(ids[place])
            entry = {"id": ids[place], "token": name, "bytes": list(name.encode()), "logprob": sample.logprobs[place]}
            found.append({**entry, "top_logprobs": [entry]})
    return found


def _context(prompt: Any, tokenizer: Tokenizer) -> list[int]:
    if isinstance(prompt, str):
        return tokenizer.encode(prompt)
    if isinstance(prompt, list) and prompt and dialect.token_ids(prompt):
        return prompt
    raise BadRequest("prompt must be a non-empty list of token ids or a string; this server takes no batch")
