"""OpenAI Responses: what a request of `POST /v1/responses` asks for, and the body that answers it.

Knows that wire's fields; the items are in `responses_items`, the stream in `responses_body`. Pure. What becomes of
each field stands in `fields.py`. A hosted tool that the gateway does not have is not offered to the model, and does not
stand in the response's `tools`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reference_gateway.session.conversations import Item, Known
from reference_gateway.tools.server_tools import EntryRefused, ServerTool
from reference_gateway.types import Answer, Constraint, Tool
from reference_gateway.wire import openai_chat
from reference_gateway.wire.base import (
    Policy,
    RequestRefused,
    Retry,
    Sampling,
    flag_of,
    retry_of,
    sampling_of,
    template_kwargs_of,
)
from reference_gateway.wire.constraints import (
    FORCED,
    FREE,
    HIDDEN,
    Choice,
    allowed,
    constraint_of,
    named,
    schema_of,
)
from reference_gateway.wire.fields import RESPONSES, Gate
from reference_gateway.wire.responses_items import read_input

name = "openai-responses"


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a request. `definitions` are what the model is told, as functions of the chat wire; `served` are
    those that the gateway runs, by name, with the entry of the request that asked for them; `echo` are the entries that
    are in force."""

    definitions: tuple[Tool, ...] = ()
    served: Mapping[str, tuple[ServerTool, Mapping[str, Any]]] = field(default_factory=dict)
    echo: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A parsed request. `echo` are the fields that the response repeats. `constraint` is that of the first generation,
    `constraint_behind_tools` that of the others: a call that was forced has been made."""

    items: list[Item]
    tools: Tools
    constraint: Constraint | None
    constraint_behind_tools: Constraint | None
    sampling: Sampling
    retry: Retry
    template_kwargs: Mapping[str, Any]
    one_call: bool
    instructions: str | None
    conversation: str | None
    previous: str | None
    store: bool
    stream: bool
    with_results: bool
    echo: Mapping[str, Any]


def parse(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    policy: Policy,
    served: Sequence[ServerTool],
    known: Known,
    defaults: Mapping[str, Any] | None = None,
) -> ResponseRequest:
    """Validate and translate. `defaults` are the session's sampling parameters. Raises `RequestRefused` naming the
    field."""
    _GATE.check(body, policy)
    _require_text(body)
    conversation, previous = _conversation(body), _text(body, "previous_response_id")
    if conversation is not None and previous is not None:
        raise RequestRefused("previous_response_id and conversation exclude each other: give one of them")
    response_input = body.get("input")
    if response_input is None and conversation is None and previous is None:
        raise RequestRefused("input must be given where there is neither conversation nor previous_response_id")
    items = read_input([] if response_input is None else response_input, known, policy.media)
    instructions = _text(body, "instructions")
    if not items and instructions is None and conversation is None and previous is None:
        raise RequestRefused("input must not be empty where there is neither conversation nor previous_response_id")
    choice = _choice(body, served)
    tools = _tools(body, served, choice)
    schema = schema_of((body.get("text") or {}).get("format"), "text.format")
    if tools.served and body.get("max_tool_calls") is not None:
        raise RequestRefused("max_tool_calls is not supported beside a tool that this gateway runs")
    include = body.get("include")
    if not isinstance(include, list | None):
        raise RequestRefused("include must be a list")
    store = flag_of(body, "store", True)
    echo = {
        "instructions": instructions,
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": _metadata(body),
        "model": "unknown" if body.get("model") is None else str(body["model"]),
        "parallel_tool_calls": flag_of(body, "parallel_tool_calls", True),
        "previous_response_id": previous,
        "conversation": None if conversation is None else {"id": conversation},
        "store": store,
        "text": _text_form(body),
        "tool_choice": _shown_choice(body),
        "tools": list(tools.echo),
        "truncation": "disabled",
        **_sampled_with(body, defaults or {}),
        **{name: body.get(name) for name in _REPEATED},
        "reasoning": _reasoning(body),
        **_CONSTANT,
    }
    one_call = not echo["parallel_tool_calls"]

    def constrained(choice: Choice) -> Constraint | None:
        return constraint_of(schema, "text.format", choice, tools.definitions, policy, one_call=one_call)

    first = constrained(choice)
    return ResponseRequest(
        items=items,
        tools=tools,
        constraint=first,
        constraint_behind_tools=constrained(FREE) if tools.served and choice.forced else first,
        sampling=_sampling(body, policy),
        retry=retry_of(headers),
        template_kwargs=template_kwargs_of(body, policy),
        one_call=one_call,
        instructions=instructions,
        conversation=conversation,
        previous=previous,
        store=store,
        stream=body.get("stream") is True,
        with_results="file_search_call.results" in (include or ()),
        echo=echo,
    )


_SAMPLING: Mapping[str, float] = {"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Parameter -> what the API says where nobody said anything."""
_REPEATED = ("max_tool_calls", "safety_identifier", "prompt_cache_key")
"""Fields that a response repeats, and that change nothing here."""
_CONSTANT: Mapping[str, Any] = {"background": False, "service_tier": "default", "top_logprobs": 0}
"""Fields whose value is the same in every response."""


def body_of(
    request: ResponseRequest,
    response_id: str,
    created_at: int,
    output: Iterable[Item],
    answers: Sequence[Answer],
    *,
    failure: Mapping[str, str] | None = None,
    exhausted: bool = False,
    completed_at: int | None = None,
) -> dict[str, Any]:
    """The response to `request`: its output, and the `answers` that it was made of, each a generation. `failure` is the
    error by which there are no more of them; `exhausted` says that no token was left for more."""
    cut = None if failure is not None else "max_output_tokens" if exhausted else cut_short(answers[-1])
    completed = failure is None and cut is None
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": completed_at if completed else None,
        "status": "failed" if failure is not None else "completed" if cut is None else "incomplete",
        "error": failure,
        "incomplete_details": None if cut is None else {"reason": cut},
        **request.echo,
        "output": [shown(item, request) for item in output],
        "usage": usage_of(answers),
    }


def cut_short(answer: Answer) -> str | None:
    """Why an answer is not whole, in the word of this wire; None where it is."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish_reason)


def failure_of(status: int, message: str) -> dict[str, str]:
    """The error of a response that failed after it began."""
    return {"code": "rate_limit_exceeded" if status == 429 else "server_error", "message": message}


def read_conversation(body: Mapping[str, Any], known: Known, media: bool = False) -> tuple[list[Item], dict[str, Any]]:
    """The items and the metadata that a conversation is created with. Raises `RequestRefused` naming the field."""
    items = body.get("items")
    if not isinstance(items, list | None):
        raise RequestRefused("items must be a list")
    return read_input(items or [], known, media, "items"), _metadata(body)


def read_items(body: Mapping[str, Any], known: Known, media: bool = False) -> list[Item]:
    """The items that a conversation is to have, too: at least one. Raises `RequestRefused`."""
    items, _ = read_conversation({"items": body.get("items")}, known, media)
    if not items:
        raise RequestRefused("items must be a non-empty list")
    return items


def read_metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that a conversation is to have from now on. Raises `RequestRefused`."""
    if "metadata" not in body:
        raise RequestRefused("metadata must be given")
    return _metadata(body)


def error(status: int, message: str) -> bytes:
    """The same envelope as on the chat wire."""
    return openai_chat.error(status, message)


_GATE = Gate(RESPONSES)


def _require_text(body: Mapping[str, Any]) -> None:
    text = body.get("text")
    if not isinstance(text, dict | None) or not isinstance((text or {}).get("format"), dict | None):
        raise RequestRefused("text must be an object, and text.format too")


def _choice(body: Mapping[str, Any], served: Sequence[ServerTool]) -> Choice:
    choice = body.get("tool_choice")
    if choice is None:
        return FREE
    if isinstance(choice, str) and choice.lower() in _CHOICES:
        return _CHOICES[choice.lower()]
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "allowed_tools":
        tools = choice.get("tools")
        names = [_name_in(tool, body, served) for tool in tools] if isinstance(tools, list) else []
        return allowed(choice.get("mode"), names, "tool_choice")
    name = _name_in(choice, body, served)
    if kind == "function" or name is not None:
        return named(name, "tool_choice.name")
    raise RequestRefused(
        "tool_choice must be one of auto, none and required, or an object with the type function or allowed_tools, or "
        "that of a tool of this request that this gateway runs"
    )


_CHOICES: Mapping[str, Choice] = {"auto": FREE, "none": HIDDEN, "required": FORCED}


def _name_in(tool: Any, body: Mapping[str, Any], served: Sequence[ServerTool]) -> Any:
    """The name by which the model calls what an entry of a tool choice means. One that this gateway runs has its
    settings in `tools`, and only its type, label and name in the choice."""
    if not isinstance(tool, dict):
        return None
    if tool.get("type") == "function":
        return tool.get("name")
    tools = body.get("tools")
    same = [
        entry
        for entry in (tools if isinstance(tools, list) else ())
        if isinstance(entry, dict) and all(entry.get(key) == tool.get(key) for key in ("type", "server_label"))
    ]
    named = (served_tool for served_tool in served if tool.get("name") in (None, served_tool.name))
    return next((wanted.name for wanted in named if any(_offers(wanted, entry) for entry in same)), None)


def _offers(tool: ServerTool, entry: Mapping[str, Any]) -> bool:
    try:
        return tool.offered(entry)
    except EntryRefused:  # which is told where the entry stands
        return True


def _shown_choice(body: Mapping[str, Any]) -> Any:
    choice = body.get("tool_choice")
    return "auto" if choice is None else choice.lower() if isinstance(choice, str) else choice


def _conversation(body: Mapping[str, Any]) -> str | None:
    value = body.get("conversation")
    conversation_id = value.get("id") if isinstance(value, dict) else value
    if value is not None and (not isinstance(conversation_id, str) or not conversation_id):
        raise RequestRefused("conversation must be an id, or an object with an id")
    return conversation_id


def _sampling(body: Mapping[str, Any], policy: Policy) -> Sampling:
    limit = body.get("max_output_tokens")
    if limit is not None and (type(limit) is not int or limit <= 0):  # also where it does not reach the engine
        raise RequestRefused("max_output_tokens must be a positive integer")
    return sampling_of(body, policy.sampling, limit)


def _tools(body: Mapping[str, Any], served: Sequence[ServerTool], choice: Choice) -> Tools:
    entries = body.get("tools")
    if not isinstance(entries, list | None):
        raise RequestRefused("tools must be a list")
    functions: list[Tool] = []
    echo: list[Mapping[str, Any]] = []
    asked: dict[str, tuple[ServerTool, Mapping[str, Any]]] = {}
    for place, entry in enumerate(entries or ()):
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise RequestRefused(f"tools[{place}] must be an object with a type")
        if entry["type"] == "function":
            functions.append(_function(entry, f"tools[{place}]"))
            echo.append({"description": None, "parameters": None, "strict": None, **entry})
            continue
        try:
            offered = [tool for tool in served if tool.offered(entry)]
        except EntryRefused as refusal:
            raise RequestRefused(f"tools[{place}].{refusal}", status=refusal.status) from None
        asked |= {tool.name: (tool, entry) for tool in offered}
        echo += [entry] if offered else []
    if choice.hidden:
        return Tools(echo=tuple(echo))
    # The client's own tool wins over one of the same name that the gateway would run (contract LS-TOL-08).
    own = {function["function"]["name"] for function in functions}
    run = {called: offer for called, offer in asked.items() if called not in own}
    definitions = (*functions, *(tool.definition() for tool, _ in run.values()))
    return Tools(definitions, run, tuple(echo))


def _function(entry: Mapping[str, Any], where: str) -> Tool:
    if not isinstance(entry.get("name"), str) or not entry["name"]:
        raise RequestRefused(f"{where}.name must be a non-empty string")
    for key, kind in (("description", str), ("parameters", dict)):
        if entry.get(key) is not None and not isinstance(entry[key], kind):
            raise RequestRefused(f"{where}.{key} must be {'a string' if kind is str else 'an object'} or null")
    fields = {key: entry[key] for key in ("name", "description", "parameters") if entry.get(key) is not None}
    return {"type": "function", "function": fields}


def _metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict | None):
        raise RequestRefused("metadata must be an object")
    return metadata or {}


def _text(body: Mapping[str, Any], field: str) -> str | None:
    value = body.get(field)
    if not isinstance(value, str | None):
        raise RequestRefused(f"{field} must be a string or null")
    return value


def _flag(body: Mapping[str, Any], field: str, default: bool) -> bool:
    value = body.get(field)
    if not isinstance(value, bool | None):
        raise RequestRefused(f"{field} must be true, false or null")
    return default if value is None else value


def _sampled_with(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, float]:
    """The parameters as numbers: those of the request, else of the session, else of the API."""
    parameters: dict[str, float] = {}
    for name, default in _SAMPLING.items():
        values = (body.get(name), defaults.get(name), default)
        parameters[name] = next(
            value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
        )
    return parameters


def _reasoning(body: Mapping[str, Any]) -> dict[str, Any] | None:
    asked = body.get("reasoning")
    return {"effort": None, "summary": None, **asked} if isinstance(asked, dict) else None


def _text_form(body: Mapping[str, Any]) -> dict[str, Any]:
    text = body.get("text") or {}
    form = text.get("format") or {"type": "text"}
    if form["type"] == "json_schema":
        form = {
            "description": None,
            "strict": False,
            **{key: value for key, value in form.items() if value is not None},
        }
    verbosity = text.get("verbosity")
    return {"format": form, **({} if verbosity is None else {"verbosity": verbosity})}


def _number(body: Mapping[str, Any], field: str) -> float | None:
    value = body.get(field)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def shown(item: Item, request: ResponseRequest) -> Item:
    """The item as it is answered: what a search found is left out unless the request includes it."""
    if item["type"] != "file_search_call" or request.with_results:
        return item
    return {**item, "results": None}


def usage_of(answers: Sequence[Answer]) -> dict[str, Any]:
    """The tokens that the engine was given and gave, over all of these generations."""
    prompt = sum(answer.prompt_tokens for answer in answers)
    sampled = sum(answer.completion_tokens for answer in answers)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": sampled,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + sampled,
    }
