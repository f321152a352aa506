"""vLLM's `/inference/v1/generate`: token ids in, token ids out, and no text at all.

Knows the fields of one request without media, as vLLM 0.32 has them. Sampling parameters stand in an object of their
own, under the names of vLLM's engine; the answer repeats its prompt where `return_token_ids` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.tokenizer import Tokenizer
from conformance.upstream import dialect, errors
from conformance.upstream.dialect import BadRequest
from conformance.upstream.engine import Ask, Sample


class Tokens:
    """A request without `sampling_params.max_tokens` samples what fits the model, as on the chat route."""

    name = "vllm-generate"
    path = "/inference/v1/generate"
    error = staticmethod(errors.vllm)
    refusal = staticmethod(errors.vllm_refusal)

    def read(self, body: Mapping[str, Any], tokenizer: Tokenizer) -> Ask:
        context, params = body.get("token_ids"), body.get("sampling_params", {})
        if not isinstance(context, list) or not context or not dialect.token_ids(context):
            raise BadRequest("token_ids must be a non-empty list of token ids")
        if not isinstance(params, dict):
            raise BadRequest(f"sampling_params must be an object, not {params!r}")
        if body.get("features") is not None:
            raise BadRequest("features must be null: this server reads no media")
        return Ask(
            dialect=self.name,
            context=context,
            body={key: value for key, value in body.items() if key != "token_ids"},
            model=dialect.model_of(body),
            n=dialect.choices(params),
            stream=dialect.flag(body, "stream"),
            include_usage=dialect.include_usage(body),
            logprobs=dialect.count(params, "logprobs", 0) is not None,
            token_ids=True,
            max_tokens=dialect.count(params, "max_tokens", 1),
            stops=dialect.stops(params),
        )

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> dict[str, Any]:
        choices = [_choice(index, sample, 0, len(sample.ids), last=True) for index, sample in enumerate(samples)]
        return {
            "request_id": serial,
            "model": ask.model,
            "created": dialect.CREATED,
            "choices": choices,
            "usage": dialect.usage(ask, samples),
            "prompt_logprobs": None,
            "prompt_token_ids": _prompt(ask, samples[0]),
            "mm_placeholders": None,
            "metrics": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
        }

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        """The first event repeats the prompt, the last one of a choice says why it ended."""
        prompt = _prompt(ask, samples[0])
        for index, sample in enumerate(samples):
            for event in dialect.events(ask, sample, tokenizer):
                choice = _choice(index, sample, event.first, event.until, last=event.last)
                repeated = {} if prompt is None else {"prompt_token_ids": prompt}
                prompt = None
                yield {"request_id": serial, "choices": [choice], "usage": None, **repeated}
        if ask.include_usage:
            yield {"request_id": serial, "choices": [], "usage": dialect.usage(ask, samples)}


def _choice(index: int, sample: Sample, first: int, until: int, *, last: bool) -> dict[str, Any]:
    return {
        "index": index,
        "finish_reason": sample.finish_reason if last else None,
        "stop_reason": sample.matched if last else None,
        "token_ids": sample.told_ids[first:until] if sample.token_ids else None,
        "routed_experts": None,
        "sampling_mask": None,
        "weight_versions": _weight_versions(sample) if last else None,
        "logprobs": _logprobs(sample, first, until),
    }


def _prompt(ask: Ask, sample: Sample) -> list[int] | None:
    return sample.prompt_ids if ask.body.get("return_token_ids") is True else None


def _weight_versions(sample: Sample) -> list[dict[str, Any]]:
    """Spans of ids, each with its version, which is text; one that changes does so in the middle."""
    version, end = sample.weight_version, len(sample.ids)
    if version is None:
        return [{"version": "default", "start": 0, "end": end}]
    if isinstance(version, tuple):
        spans = ((version[0], 0, end // 2), (version[1], end // 2, end))
        return [{"version": str(name), "start": start, "end": until} for name, start, until in spans]
    return [{"version": str(version), "start": 0, "end": end}]


def _logprobs(sample: Sample, first: int, until: int) -> dict[str, Any] | None:
    """Tokens are named by their ids, and ranked. A plain answer has all values of a step that has more of them than
    ids."""
    if sample.logprobs is None:
        return None
    ids, values = sample.ids[first:until], sample.logprobs[first:until]
    if first == 0 and until == len(sample.ids):
        values = sample.logprobs
    content = []
    for token, value in zip([*ids, *[0] * (len(values) - len(ids))], values, strict=False):
        entry = {"token_id": token, "logprob": value, "rank": 1}
        content.append({**entry, "top_logprobs": [entry]})
    return {"content": content}
