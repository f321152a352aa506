"""vLLM's `/v1/completions`: token ids (or text) in, text and token ids out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.tokenizer import Tokenizer
from conformance.upstream import dialect, errors
from conformance.upstream.dialect import BadRequest
from conformance.upstream.ending import CUT, KEPT
from conformance.upstream.engine import Ask, Sample

MAX_TOKENS = 16
"""What a request samples at most that does not say, or says null: vLLM's default on this route."""


class Completions:
    """`prompt_token_ids` and `token_ids` stand in the choice, as vLLM puts them for this route."""

    name = "vllm-completions"
    path = "/v1/completions"
    error = staticmethod(errors.vllm)
    refusal = staticmethod(errors.vllm_refusal)

    def read(self, body: Mapping[str, Any], tokenizer: Tokenizer) -> Ask:
        logprobs = body.get("logprobs")
        if logprobs is not None and not isinstance(logprobs, bool):
            dialect.count(body, "logprobs", 0)
        return Ask(
            dialect=self.name,
            context=_context(body.get("prompt"), tokenizer),
            body={key: value for key, value in body.items() if key != "prompt"},
            model=dialect.model_of(body),
            n=dialect.choices(body),
            stream=dialect.flag(body, "stream"),
            include_usage=dialect.include_usage(body),
            logprobs=logprobs is not None and logprobs is not False,
            token_ids=dialect.flag(body, "return_token_ids"),
            max_tokens=dialect.count(body, "max_tokens", 0),
            default_max_tokens=MAX_TOKENS,
            stops=dialect.stops(body, KEPT if dialect.flag(body, "include_stop_str_in_output") else CUT),
            skip_special=dialect.flag(body, "skip_special_tokens", True),
        )

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> dict[str, Any]:
        choices = []
        for index, sample in enumerate(samples):
            choices.append(
                {
                    "index": index,
                    "text": sample.text,
                    "logprobs": _logprobs(ask, sample, tokenizer, 0, len(sample.ids)),
                    "finish_reason": sample.finish_reason,
                    "stop_reason": sample.matched,
                    "token_ids": sample.told_ids if sample.token_ids else None,
                    "prompt_logprobs": None,
                    "prompt_token_ids": sample.prompt_ids if sample.token_ids else None,
                }
            )
        head = {**_head(ask, serial), **dialect.versions(samples[0])}
        return {**head, "choices": choices, "usage": dialect.usage(ask, samples)}

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        for index, sample in enumerate(samples):
            for event in dialect.events(ask, sample, tokenizer):
                choice: dict[str, Any] = {
                    "index": index,
                    "text": event.text,
                    "logprobs": _logprobs(ask, sample, tokenizer, event.first, event.until),
                    "finish_reason": sample.finish_reason if event.last else None,
                    "stop_reason": sample.matched if event.last else None,
                }
                if sample.token_ids:
                    choice["token_ids"] = sample.told_ids[event.first : event.until]
                    choice["prompt_token_ids"] = sample.prompt_ids if event.first == 0 else None
                yield {**_head(ask, serial), **dialect.versions(sample, event.until), "choices": [choice]}
        if ask.include_usage:
            yield {**_head(ask, serial), "choices": [], "usage": dialect.usage(ask, samples)}


def _head(ask: Ask, serial: str) -> dict[str, Any]:
    return {"id": f"cmpl-{serial}", "object": "text_completion", "created": dialect.CREATED, "model": ask.model}


def _context(prompt: Any, tokenizer: Tokenizer) -> list[int]:
    if isinstance(prompt, str):
        return tokenizer.encode(prompt)
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (list, str)):
        return _context(prompt[0], tokenizer)
    if isinstance(prompt, list) and prompt and dialect.token_ids(prompt):
        return prompt
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], (list, str)):
        raise BadRequest("prompt must be one prompt; this server takes no batch of prompts")
    raise BadRequest("prompt must be a non-empty list of token ids or a string")


def _logprobs(ask: Ask, sample: Sample, tokenizer: Tokenizer, first: int, last: int) -> dict[str, Any] | None:
    if sample.logprobs is None:
        return None
    values = sample.logprobs[first:last]
    ids = sample.ids[first:last]
    if first == 0 and last == len(sample.ids):
        values = sample.logprobs
    names = [dialect.token_name(tokenizer, token, ask.body) for token in ids][: len(values)]
    offsets = []
    offset = 0
    for name in names:
        offsets.append(offset)
        offset += len(name)
    return {
        "text_offset": offsets,
        "token_logprobs": values,
        "tokens": names,
        "top_logprobs": [{name: value} for name, value in zip(names, values, strict=False)],
    }
