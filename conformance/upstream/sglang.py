"""SGLang's native `/generate`: token ids and media in, token ids out.

Knows the fields of one request (no batches) and the two ways in which its streams can be cut: each event repeats what
came before it, as SGLang does unless it is told to stream incrementally. What a model makes of media is nobody's
business here; they are recorded as they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from conformance.tokenizer import Tokenizer
from conformance.upstream import dialect, errors
from conformance.upstream.dialect import BadRequest
from conformance.upstream.ending import WHOLE
from conformance.upstream.engine import Ask, Sample

MAX_NEW_TOKENS = 128
"""What a request samples at most that does not say: SGLang's default."""
MEDIA = ("image_data", "video_data")


class Generate:
    """Token ids are always in the answer; `token_ids="missing"` leaves them out, as no SGLang does."""

    name = "sglang-generate"
    path = "/generate"
    error = staticmethod(errors.sglang)
    refusal = staticmethod(errors.sglang_refusal)

    def read(self, body: Mapping[str, Any], tokenizer: Tokenizer) -> Ask:
        params = body.get("sampling_params")
        if params is None:
            params = {}
        if not isinstance(params, dict):
            raise BadRequest(f"sampling_params must be an object, not {params!r}")
        images, videos = (_media(body, field) for field in MEDIA)
        return Ask(
            dialect=self.name,
            context=_context(body, tokenizer),
            body={key: value for key, value in body.items() if key not in ("input_ids", "text", *MEDIA)},
            model=dialect.MODEL,
            images=images,
            videos=videos,
            n=dialect.choices(params),
            stream=dialect.flag(body, "stream"),
            logprobs=dialect.flag(body, "return_logprob"),
            token_ids=True,
            max_tokens=dialect.count(params, "max_new_tokens", 0),
            default_max_tokens=None if "max_new_tokens" in params else MAX_NEW_TOKENS,
            stops=dialect.stops(params, WHOLE),
            skip_special=dialect.flag(params, "skip_special_tokens", True),
        )

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> Any:
        """One object, and for several samples a list of them."""
        answers = [
            _answer(ask, sample, f"{serial}-{index}", tokenizer, len(sample.ids), sample.text)
            for index, sample in enumerate(samples)
        ]
        return answers[0] if len(answers) == 1 else answers

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        for index, sample in enumerate(samples):
            number = {"index": index} if len(samples) > 1 else {}
            text = ""
            for event in dialect.events(ask, sample, tokenizer):
                text += event.text
                known = _answer(ask, sample, f"{serial}-{index}", tokenizer, event.until, text, finished=event.last)
                yield number | known


def _answer(
    ask: Ask, sample: Sample, rid: str, tokenizer: Tokenizer, until: int, text: str, *, finished: bool = True
) -> dict[str, Any]:
    """What is known when the first `until` ids were sampled."""
    meta: dict[str, Any] = {
        "id": rid,
        "finish_reason": _finish(sample, tokenizer) if finished else None,
        "prompt_tokens": len(ask.context),
        "weight_version": "default",
        **dialect.versions(sample, until if ask.stream else None),
        "completion_tokens": until,
        "cached_tokens": 0,
    }
    if sample.logprobs is not None:
        values = sample.logprobs if finished else sample.logprobs[:until]
        # A scripted list may be longer than the ids: what is too much has no id of its own.
        ids = (*sample.ids, *repeat(0, max(len(values) - len(sample.ids), 0)))
        meta["input_token_logprobs"] = []
        meta["output_token_logprobs"] = [[value, token, None] for value, token in zip(values, ids, strict=False)]
        meta["output_token_logprobs_length"] = len(values)
    answer: dict[str, Any] = {"text": text, "meta_info": meta}
    if sample.token_ids:
        answer["output_ids"] = sample.told_ids[:until]
    if ask.body.get("return_prompt_token_ids") is True and sample.prompt_ids is not None:
        answer["prompt_token_ids"] = sample.prompt_ids
    return answer


def _finish(sample: Sample, tokenizer: Tokenizer) -> dict[str, Any]:
    reason = sample.finish_reason
    if reason == "length":
        return {"type": reason, "length": len(sample.ids)}
    if reason == "stop":
        ended = sample.ids[-1:] in ([tokenizer.end_of_turn], [tokenizer.end_of_call])
        return {"type": reason, "matched": sample.ids[-1] if ended else sample.matched}
    if reason == "abort":
        return {"type": reason, "message": "Aborted", "status_code": None, "err_type": None}
    return {"type": reason}


def _context(body: Mapping[str, Any], tokenizer: Tokenizer) -> list[int]:
    ids, text = body.get("input_ids"), body.get("text")
    if (ids is None) == (text is None):
        raise BadRequest("one of input_ids and text must be given")
    if isinstance(text, str):
        return tokenizer.encode(text)
    if isinstance(ids, list) and ids and dialect.token_ids(ids):
        return ids
    raise BadRequest("input_ids must be a non-empty list of token ids, or text a string; this server takes no batch")


def _media(body: Mapping[str, Any], field: str) -> list[Any] | None:
    """The items of one request: a single one is a list of one; None is kept apart from an empty list."""
    media = body.get(field)
    if media is None:
        return None
    items = media if isinstance(media, list) else [media]
    for place, item in enumerate(items):
        if not isinstance(item, str | dict):
            raise BadRequest(f"{field}[{place}] must be a URL, a data URI or an object, not {item!r}")
    return items
