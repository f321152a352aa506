"""vLLM's `/v1/chat/completions`: messages in, a message out; with `return_token_ids` also the token ids.

For gateways that pass chat through. The template of the upstream's tokenizer renders the context.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.tokenizer import Tokenizer
from conformance.upstream import chat_request, dialect, errors
from conformance.upstream.chat_request import check_format, checked_messages, checked_tools
from conformance.upstream.dialect import BadRequest, Event
from conformance.upstream.ending import CUT, KEPT
from conformance.upstream.engine import Ask, Sample

_TOOL_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


class Chat:
    """`prompt_token_ids` stands at the top of the answer and `token_ids` in the choice, as vLLM puts them here."""

    name = "vllm-chat"
    path = "/v1/chat/completions"
    error = staticmethod(errors.vllm)
    refusal = staticmethod(errors.vllm_refusal)

    def read(self, body: Mapping[str, Any], tokenizer: Tokenizer) -> Ask:
        messages, tools = checked_messages(body), checked_tools(body)
        check_format(body)
        kwargs = body.get("chat_template_kwargs")
        if kwargs is not None and not isinstance(kwargs, dict):
            raise BadRequest(f"chat_template_kwargs must be an object, not {kwargs!r}")
        add = dialect.flag(body, "add_generation_prompt", True)
        text = tokenizer.render(messages, tools, **{"add_generation_prompt": add, **(kwargs or {})})
        limit = dialect.count(body, "max_completion_tokens", 1)
        return Ask(
            dialect=self.name,
            context=tokenizer.encode(text),
            body={key: value for key, value in body.items() if key != "messages"},
            model=dialect.model_of(body),
            messages=messages,
            tools=tools,
            images=chat_request.media(messages, "image_url"),
            videos=chat_request.media(messages, "video_url"),
            n=dialect.choices(body),
            stream=dialect.flag(body, "stream"),
            include_usage=dialect.include_usage(body),
            logprobs=dialect.flag(body, "logprobs"),
            token_ids=dialect.flag(body, "return_token_ids"),
            max_tokens=dialect.count(body, "max_tokens", 1) if limit is None else limit,
            stops=dialect.stops(body, KEPT if dialect.flag(body, "include_stop_str_in_output") else CUT),
            skip_special=dialect.flag(body, "skip_special_tokens", True),
        )

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> dict[str, Any]:
        choices = []
        for index, sample in enumerate(samples):
            message, finish = _message(ask, sample, f"{serial}-{index}")
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": _logprobs(ask, sample, tokenizer, 0, len(sample.ids)),
                    "finish_reason": finish,
                    "stop_reason": sample.matched,
                    "token_ids": sample.told_ids if sample.token_ids else None,
                }
            )
        return {
            **_head(ask, serial, "chat.completion"),
            **dialect.versions(samples[0]),
            "choices": choices,
            "usage": dialect.usage(ask, samples),
            "prompt_logprobs": None,
            "prompt_token_ids": samples[0].prompt_ids if samples[0].token_ids else None,
        }

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        head = _head(ask, serial, "chat.completion.chunk")
        for index, sample in enumerate(samples):
            opening: dict[str, Any] = {**head, "choices": [_choice(index, {"role": "assistant", "content": ""})]}
            if sample.token_ids and index == 0:
                opening["prompt_token_ids"] = sample.prompt_ids
            yield {**opening, **dialect.versions(sample, 0)}
            deltas, finish = _deltas(ask, sample, f"{serial}-{index}", tokenizer)
            for delta, event in deltas:
                choice = _choice(index, delta)
                choice["logprobs"] = _logprobs(ask, sample, tokenizer, event.first, event.until)
                if sample.token_ids:
                    choice["token_ids"] = sample.told_ids[event.first : event.until]
                if event.last:
                    choice["finish_reason"], choice["stop_reason"] = finish, sample.matched
                yield {**head, **dialect.versions(sample, event.until), "choices": [choice]}
        if ask.include_usage:
            yield {**head, "choices": [], "usage": dialect.usage(ask, samples)}


def tool_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """The text before the first tool call, and the calls (`{"name", "arguments"}`) in it. Anything malformed makes all
    of it text."""
    calls = []
    for match in _TOOL_CALL.finditer(text):
        try:
            call = json.loads(match.group(1))
        except ValueError:
            return text, []
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return text, []
        calls.append(call)
    return (text[: text.index("<tool_call>")], calls) if calls else (text, [])


def _wire_calls(calls: Sequence[Mapping[str, Any]], serial: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"chatcmpl-tool-{serial}-{number}",
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": json.dumps(call.get("arguments", {}), ensure_ascii=False),
            },
        }
        for number, call in enumerate(calls)
    ]


def _parsed(ask: Ask, sample: Sample) -> tuple[str, list[dict[str, Any]], str]:
    """The text, the calls and the finish reason of an answer, as an engine that was started with the right parser tells
    them."""
    text, calls = tool_calls(sample.text) if ask.tools else (sample.text, [])
    if ask.tools and sample.calls and not calls:  # in another format than hermes
        text, calls = sample.content, [dict(call) for call in sample.calls if isinstance(call["arguments"], Mapping)]
    finish = "tool_calls" if calls and sample.finish_reason == "stop" else sample.finish_reason
    return text, calls, finish


def _message(ask: Ask, sample: Sample, serial: str) -> tuple[dict[str, Any], str]:
    text, calls, finish = _parsed(ask, sample)
    content = (text.rstrip("\n") or None) if calls else text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = _wire_calls(calls, serial)
    return message, finish


def _deltas(
    ask: Ask, sample: Sample, serial: str, tokenizer: Tokenizer
) -> tuple[list[tuple[dict[str, Any], Event]], str]:
    """What the chunks after the opening one carry. Where calls are told, the last chunk also carries all ids that no
    chunk had before."""
    text, calls, finish = _parsed(ask, sample)
    if not calls:
        return [({"content": event.text}, event) for event in dialect.events(ask, sample, tokenizer)], finish
    deltas: list[dict[str, Any]] = [{"content": text.rstrip("\n")}] if text.rstrip("\n") else []
    for number, call in enumerate(_wire_calls(calls, serial)):
        function = call["function"]
        opening = {**call, "index": number, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [opening]})
        half = len(function["arguments"]) // 2
        for part in (function["arguments"][:half], function["arguments"][half:]):
            deltas.append({"tool_calls": [{"index": number, "function": {"arguments": part}}]})
    last, whole = len(deltas) - 1, len(sample.ids)
    events = [
        Event(min(place, whole), whole if place == last else min(place + 1, whole), "", place == last)
        for place in range(len(deltas))
    ]
    return list(zip(deltas, events, strict=True)), finish


def _head(ask: Ask, serial: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{serial}", "object": kind, "created": int(time.time()), "model": ask.model}


def _choice(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _logprobs(ask: Ask, sample: Sample, tokenizer: Tokenizer, first: int, last: int) -> dict[str, Any] | None:
    if sample.logprobs is None:
        return None
    content = []
    for token, value in zip(sample.ids[first:last], sample.logprobs[first:last], strict=False):
        name = dialect.token_name(tokenizer, token, ask.body)
        content.append({"token": name, "logprob": value, "bytes": list(name.encode()), "top_logprobs": []})
    return {"content": content}
