"""vLLM's `/inference/v1/generate`: token ids in, token ids out, and no text at all.

Knows the fields of one request without media. Sampling parameters stand in an object of their own, under the names of
vLLM's engine; the answer names neither its prompt nor the string at which it stopped.
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
            n=dialect.count(params, "n", 1) or 1,
            stream=dialect.flag(body, "stream"),
            include_usage=dialect.include_usage(body),
            logprobs=dialect.count(params, "logprobs", 0) is not None,
            token_ids=True,
            max_tokens=dialect.count(params, "max_tokens", 1),
            stops=dialect.stops(params),
        )

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "logprobs": _logprobs(sample, 0, len(sample.ids)),
                "finish_reason": sample.finish_reason,
                "token_ids": sample.told_ids if sample.token_ids else None,
                "routed_experts": None,
            }
            for index, sample in enumerate(samples)
        ]
        return {
            "request_id": serial,
            **dialect.versions(samples[0]),
            "model": ask.model,
            "created": dialect.CREATED,
            "choices": choices,
            "usage": dialect.usage(ask, samples),
            "prompt_logprobs": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
        }

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        """An event without ids is none: a generation of nothing is a stream of nothing."""
        for index, sample in enumerate(samples):
            for event in dialect.events(ask, sample, tokenizer) if sample.ids else ():
                choice = {
                    "index": index,
                    "logprobs": _logprobs(sample, event.first, event.until),
                    "finish_reason": sample.finish_reason if event.last else None,
                    "token_ids": sample.told_ids[event.first : event.until] if sample.token_ids else None,
                    "routed_experts": None,
                }
                version = dialect.versions(sample, event.until)
                yield {"request_id": serial, **version, "choices": [choice], "usage": None}
        if ask.include_usage:
            yield {"request_id": serial, "choices": [], "usage": dialect.usage(ask, samples)}


def _logprobs(sample: Sample, first: int, until: int) -> dict[str, Any] | None:
    """In the form of chat's, but that tokens are named by their ids and have no bytes."""
    if sample.logprobs is None:
        return None
    content = []
    for token, value in zip(sample.ids[first:until], sample.logprobs[first:until], strict=False):
        entry = {"token": f"token_id:{token}", "logprob": value, "bytes": None}
        content.append({**entry, "top_logprobs": [entry]})
    return {"content": content}
