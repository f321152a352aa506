"""What becomes of each field of a request, on each wire: one table, from which the gates and `docs/fields.md` come.

A field that changes what an answer means is honoured, or refused by name; a value that changes nothing is harmless.
What only an engine can do is refused unless the gateway is started with `--structured-outputs engine`.
null is the same as absent. A field that does not stand here is unknown, and unknown fields are accepted and ignored:
agents send many.

`python -m reference_gateway.wire.fields > docs/fields.md` writes the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from reference_gateway.wire.base import Policy, RequestRefused


class Fate(StrEnum):
    HONOURED = "honoured"
    REFUSED = "refused"
    HARMLESS = "harmless"


@dataclass(frozen=True, slots=True)
class Field:
    """What becomes of a field, and `why`. A refused one may be given `defaults`, or what `allows` takes. Where the
    engine can do what it asks for, `by_engine` says how it is honoured, and `policy` under which flag of the policy."""

    fate: Fate
    why: str
    defaults: tuple[Any, ...] = ()
    allows: Callable[[Any], bool] | None = None
    policy: str | None = None
    by_engine: str = ""

    def takes(self, value: Any, policy: Policy) -> bool:
        """Whether the field may have this value."""
        if self.fate is not Fate.REFUSED or value is None:
            return True
        if self.allows is not None and self.allows(value):
            return True
        if any(type(value) is type(default) and value == default for default in self.defaults):
            return True
        return self.policy is not None and getattr(policy, self.policy) is True


def _honoured(why: str) -> Field:
    return Field(Fate.HONOURED, why)


def _refused(why: str, *defaults: Any, allows: Callable[[Any], bool] | None = None) -> Field:
    return Field(Fate.REFUSED, why, defaults, allows)


def _harmless(why: str) -> Field:
    return Field(Fate.HARMLESS, why)


def _is_text(form: Any) -> bool:
    return isinstance(form, dict) and form.get("type") == "text"


def _leaves_calls(choice: Any) -> bool:
    return isinstance(choice, str) and choice.lower() in ("auto", "none")


def _leaves_calls_anthropic(choice: Any) -> bool:
    return (choice.get("type") if isinstance(choice, dict) else choice) in ("auto", "none")


def _clears_thoughts(management: Any) -> bool:
    """Thoughts of earlier answers are the template's to keep or to drop: clearing them asks for nothing."""
    edits = management.get("edits") if isinstance(management, dict) else management
    return not edits or (
        isinstance(edits, list)
        and all(isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking_") for edit in edits)
    )


def _includes_no_logprobs(include: Any) -> bool:
    return not isinstance(include, list) or "message.output_text.logprobs" not in include


_LABEL = _harmless("a label for the provider's own records")
_CACHE = _harmless("where the provider caches; the answer is the same")
_TIER = _harmless("how fast the provider answers")
_HINT = _harmless("a hint to the provider's own models; what this model thinks is its template's")
_SAMPLING = _honoured("reaches the engine where `--sampling` lets it, which is the operator's to say")
_FORMAT = Field(
    Fate.REFUSED,
    "the answer is not constrained to a format",
    allows=_is_text,
    policy="formats",
    by_engine="the engine holds the answer to the schema; where tools may be called, the answer or calls",
)
_ENGINES_OWN = "an engine's own extension that this gateway does not pass on"
_SERVERS_WORK = "the gateway does not do that"
_ONE_CALL = _honoured("one call: the client is shown the first one, and goes on from it")
_FORCED = Field(
    Fate.REFUSED,
    "nothing makes the model call",
    allows=_leaves_calls,
    policy="forced_calls",
    by_engine="the engine holds the answer to calls in the format of the tool parser, which pythonic is too free for",
)

_EVERYWHERE: Mapping[str, Field] = {
    "model": _harmless("one model is served; the name is echoed"),
    "stream": _honoured("only true streams"),
    "temperature": _SAMPLING,
    "top_p": _SAMPLING,
    "top_k": _SAMPLING,
    "min_p": _SAMPLING,
    "seed": _SAMPLING,
    "presence_penalty": _SAMPLING,
    "frequency_penalty": _SAMPLING,
    "repetition_penalty": _SAMPLING,
    "logit_bias": _SAMPLING,
    "metadata": _LABEL,
    "service_tier": _TIER,
    "chat_template_kwargs": _honoured("where the gateway lets requests set it; its own settings stand otherwise"),
    **{
        name: _refused(_ENGINES_OWN, [])
        for name in (
            *("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "json_schema"),
            *("regex", "ebnf", "structural_tag", "bad_words", "allowed_token_ids", "stop_token_ids", "chat_template"),
            *("documents", "truncate_prompt_tokens"),
        )
    },
    "min_tokens": _refused(_ENGINES_OWN, 0),
    "ignore_eos": _refused(_ENGINES_OWN, False),
    "use_beam_search": _refused(_ENGINES_OWN, False),
    "best_of": _refused(_ENGINES_OWN, 1),
}
"""Fields that are the same on each wire, whether or not its documentation has them."""

CHAT: Mapping[str, Field] = {
    **_EVERYWHERE,
    "messages": _honoured("the conversation"),
    "tools": _honoured("functions"),
    "tool_choice": _FORCED,
    "parallel_tool_calls": _ONE_CALL,
    "n": _refused("this gateway gives one choice", 1),
    "max_tokens": _honoured("the limit of the generation"),
    "max_completion_tokens": _honoured("the limit of the generation, before `max_tokens`"),
    "stop": _SAMPLING,
    "stop_sequences": _refused("this wire's name for it is stop", []),
    "response_format": _FORMAT,
    "logprobs": _honoured("one entry for each sampled token, as the engine reported it"),
    "top_logprobs": _refused("the gateway knows the sampled token's only", 0),
    "functions": _refused("use tools", []),
    "function_call": _refused("use tool_choice", "none", "auto"),
    "modalities": _refused("the gateway answers with text", ["text"]),
    "audio": _refused("the gateway answers with text"),
    "web_search_options": _refused(_SERVERS_WORK),
    "continue_final_message": _honoured("the last message, an assistant's, is gone on with"),
    "add_generation_prompt": _honoured("false with `continue_final_message`; refused without it"),
    "echo": _refused(_ENGINES_OWN, False),
    "prediction": _harmless("makes the provider faster; the answer is the same"),
    "reasoning": _HINT,
    "reasoning_effort": _HINT,
    "verbosity": _HINT,
    "store": _harmless("where the provider keeps the answer; the session keeps it anyway"),
    "stream_options.include_usage": _honoured("a last chunk with the usage"),
    "user": _LABEL,
    "safety_identifier": _LABEL,
    "client_metadata": _LABEL,
    "prompt_cache_key": _CACHE,
    "prompt_cache_retention": _CACHE,
    "context_management": _refused("the context is what the client sends", allows=_clears_thoughts),
}

MESSAGES: Mapping[str, Field] = {
    **_EVERYWHERE,
    "messages": _honoured("the conversation; an assistant's at its end is gone on with"),
    "system": _honoured("the system message"),
    "tools": _honoured("those that the client runs; one that the provider runs is not offered to the model"),
    "tool_choice": replace(_FORCED, allows=_leaves_calls_anthropic),
    "tool_choice.disable_parallel_tool_use": _ONE_CALL,
    "max_tokens": _honoured("the limit of the generation"),
    "stop_sequences": _SAMPLING,
    "stop": _refused("this wire's name for it is stop_sequences", []),
    "output_config.format": _FORMAT,
    "output_config.effort": _HINT,
    "output_format": _FORMAT,
    "thinking": _HINT,
    "context_management": _refused("the context is what the client sends", allows=_clears_thoughts),
    "container": _refused(_SERVERS_WORK),
    "mcp_servers": _refused(_SERVERS_WORK, []),
    "speed": _TIER,
    "inference_geo": _TIER,
    "cache_control": _CACHE,
}

RESPONSES: Mapping[str, Field] = {
    **_EVERYWHERE,
    "input": _honoured("the conversation"),
    "instructions": _honoured("the system message"),
    "previous_response_id": _honoured("the conversation so far"),
    "conversation": _honoured("the conversation so far"),
    "prompt": _refused("the gateway keeps no prompts"),
    "tools": _honoured("functions, and tools that the gateway runs; any other is not offered to the model"),
    "tool_choice": _FORCED,
    "parallel_tool_calls": _ONE_CALL,
    "max_tool_calls": _harmless("bounds the tools that the gateway runs; refused beside one"),
    "max_output_tokens": _honoured("the limit of all generations of the response together"),
    "stop": _SAMPLING,
    "stop_sequences": _refused("this gateway's name for it is stop", []),
    "text.format": _FORMAT,
    "text.verbosity": _HINT,
    "top_logprobs": _refused("log-probabilities are not shown on this wire", 0),
    "include": _refused("log-probabilities are not shown on this wire", allows=_includes_no_logprobs),
    "truncation": _refused("the context is what the client sends", "disabled"),
    "context_management": _refused("the context is what the client sends", allows=_clears_thoughts),
    "background": _refused("a response is made while its client waits", False),
    "store": _honoured("false: the response cannot be read or continued by its id"),
    "reasoning": _HINT,
    "stream_options": _harmless("padding of the events"),
    "user": _LABEL,
    "safety_identifier": _LABEL,
    "client_metadata": _LABEL,
    "prompt_cache_key": _CACHE,
    "prompt_cache_retention": _CACHE,
}

_TEXT_ALONE = _harmless("the model is offered no tools: its answer is a text")

COMPACT: Mapping[str, Field] = {
    **RESPONSES,
    "model": _honoured("has to be given; one model is served"),
    "input": _honoured("the conversation, or what is new of it"),
    "max_output_tokens": _honoured("the limit of the summary; one that is cut there is refused"),
    "conversation": _refused("give its items, or the last response as previous_response_id"),
    "stream": _refused("a compaction is answered when it is whole", False),
    "text.format": _refused("a summary has no format", allows=_is_text),
    "store": _harmless("a compaction is kept by its client"),
    "tools": _TEXT_ALONE,
    "tool_choice": _TEXT_ALONE,
    "parallel_tool_calls": _TEXT_ALONE,
    "max_tool_calls": _TEXT_ALONE,
    "image": _HINT,
    "prompt_cache_options": _CACHE,
}
"""Of `POST /responses/compact`."""

WIRES: Mapping[str, Mapping[str, Field]] = {
    "OpenAI chat completions": CHAT,
    "Anthropic messages": MESSAGES,
    "OpenAI Responses": RESPONSES,
    "OpenAI Responses, compactions": COMPACT,
}


class Gate:
    """Refuses what the table of one wire refuses."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._refused: dict[str, list[tuple[str, Field]]] = {}
        """Field of a body -> the refused fields that it is, or that are in it."""
        for path, field in fields.items():
            if field.fate is Fate.REFUSED:
                self._refused.setdefault(path.partition(".")[0], []).append((path, field))

    def check(self, body: Mapping[str, Any], policy: Policy) -> None:
        """Raises `RequestRefused`, which names the field and what it may be."""
        for name in body.keys() & self._refused.keys():
            for path, field in self._refused[name]:
                value = _value(body, path)
                if not field.takes(value, policy):
                    raise RequestRefused(_refusal(path, field, value))


def _value(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _refusal(path: str, field: Field, value: Any) -> str:
    shown = "" if isinstance(value, dict | list) else f"={json.dumps(value)[:80]}"
    expected = f"; expected {_written(field)}" if _written(field) else ""
    return f"{path}{shown} is not supported: {field.why}{expected}"


def _written(field: Field) -> str:
    """The values that a refused field may have."""
    values = [json.dumps(default) for default in field.defaults]
    return " or ".join([*values, *([_ALLOWED[field.allows]] if field.allows is not None else [])])


_ALLOWED: Mapping[Callable[[Any], bool], str] = {
    _is_text: '{"type": "text"}',
    _leaves_calls: '"auto" or "none"',
    _leaves_calls_anthropic: '{"type": "auto"} or {"type": "none"}',
    _clears_thoughts: "edits that clear thoughts",
    _includes_no_logprobs: 'anything but "message.output_text.logprobs"',
}
"""How a test of a value is written for people."""


def page() -> str:
    """`docs/fields.md`."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Fields of a request"
    yield ""
    yield "What becomes of each field on each wire of the reference gateway. A field that would change what an answer"
    yield "means is honoured, or refused by name with status 400; null is the same as absent. A field that does not"
    yield "stand here is accepted and ignored. Written by `python -m reference_gateway.wire.fields`."
    for wire, fields in WIRES.items():
        yield from ("", f"## {wire}", "", "| field | becomes | why |", "|---|---|---|")
        for path in sorted(fields):
            field = fields[path]
            but = f", but for `{_written(field)}`" if _written(field) else ""
            why = (
                field.why
                if not field.by_engine
                else f"{field.why}. With `--structured-outputs engine`: {field.by_engine}"
            )
            yield f"| `{path}` | {field.fate}{but} | {why} |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
