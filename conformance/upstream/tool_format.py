"""How models write tool calls: a table of formats, by the names that engines give to their parsers.

Knows calls (`{"name", "arguments"}`) and the text that a model of each family says for them; never reads such text. A
gateway that parses another format than hermes is scripted in its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Call = Mapping[str, Any]
"""`arguments` is an object, or the text that the model writes where its arguments belong."""

SPOILED, CUT_OFF, NO_OBJECT, NO_NAME, EMPTY = "broken JSON", "unclosed", "no object", "no name", "empty"
"""What can be wrong with a call. Formats without JSON have the fault that comes nearest."""


@dataclass(frozen=True, slots=True)
class Miswritten:
    """What a model says in place of a call: `text`, of which `kept` is what a reader must still find, since it may
    take the marks around it away."""

    text: str
    kept: str


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write calls. `write` gives the text of an answer that says `text` and makes `calls`; `miswritten` are
    calls of `search_the_web` that are none, by what is wrong with them. `beside_text` is false where an answer is
    either text or calls."""

    name: str
    write: Callable[[str, Sequence[Call]], str]
    miswritten: Mapping[str, Miswritten]
    beside_text: bool = True


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _inner(call: Call) -> str:
    """The arguments as JSON text, or what stands in their place."""
    arguments = call["arguments"]
    return arguments if isinstance(arguments, str) else _json(arguments)


def _members(call: Call) -> Mapping[str, Any] | None:
    """The arguments by name; None where the text in their place is no object."""
    arguments = call["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    return arguments if isinstance(arguments, Mapping) else None


def _object(call: Call, arguments: str = "arguments") -> str:
    return f'{{"name": {_json(call["name"])}, "{arguments}": {_inner(call)}}}'


def _lines(text: str, calls: Sequence[str]) -> str:
    return "\n".join([*([text] if text else []), *calls])


# hermes: <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>


def _hermes(text: str, calls: Sequence[Call]) -> str:
    return _lines(text, [f"<tool_call>\n{_object(call)}\n</tool_call>" for call in calls])


def _in_hermes_tags(kept: str, end: str = "\n</tool_call>") -> Miswritten:
    return Miswritten(f"<tool_call>\n{kept}{end}", kept)


# qwen3_coder: <tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n</function>\n</tool_call>


def _bare(value: Any) -> str:
    """Text as it is, other values as JSON."""
    return value if isinstance(value, str) else _json(value)


def _qwen3_coder(text: str, calls: Sequence[Call]) -> str:
    written = []
    for call in calls:
        members = _members(call)
        parameters = [f"<parameter={key}>\n{_bare(value)}\n</parameter>" for key, value in (members or {}).items()]
        inside = parameters if members is not None else [_inner(call)]
        written.append("\n".join(["<tool_call>", f"<function={call['name']}>", *inside, "</function>", "</tool_call>"]))
    return _lines(text, written)


# glm45: <tool_call>NAME\n<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>\n</tool_call>


def _glm45(text: str, calls: Sequence[Call]) -> str:
    written = []
    for call in calls:
        members = _members(call)
        pairs = [
            f"<arg_key>{key}</arg_key>\n<arg_value>{_bare(value)}</arg_value>" for key, value in (members or {}).items()
        ]
        inside = pairs if members is not None else [_inner(call)]
        written.append("\n".join([f"<tool_call>{call['name']}", *inside, "</tool_call>"]))
    return _lines(text, written)


# llama3_json: {"name": ..., "parameters": {...}}, with `; ` between several and <|python_tag|> behind other text


def _llama3_json(text: str, calls: Sequence[Call]) -> str:
    written = "; ".join(_object(call, "parameters") for call in calls)
    return f"{text}<|python_tag|>{written}" if text and calls else text + written


# mistral: [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]


def _mistral(text: str, calls: Sequence[Call]) -> str:
    return text + (f"[TOOL_CALLS][{', '.join(map(_object, calls))}]" if calls else "")


# deepseek_v3: control tokens spelled with fullwidth bars and U+2581 between words


def _control(words: str) -> str:
    return "<\uff5c" + words.replace(" ", "\u2581") + "\uff5c>"


_BEGIN, _END, _SEPARATOR = _control("tool call begin"), _control("tool call end"), _control("tool sep")
_ALL_BEGIN, _ALL_END = _control("tool calls begin"), _control("tool calls end")


def _deepseek_v3(text: str, calls: Sequence[Call]) -> str:
    written = [f"{_BEGIN}function{_SEPARATOR}{call['name']}\n```json\n{_inner(call)}\n```{_END}" for call in calls]
    return text + (_ALL_BEGIN + "\n".join(written) + _ALL_END if calls else "")


# pythonic: [name(key=value, ...), ...], which is all of an answer


def _pythonic(text: str, calls: Sequence[Call]) -> str:
    written = []
    for call in calls:
        members = _members(call)
        inside = [f"{key}={value!r}" for key, value in members.items()] if members is not None else [_inner(call)]
        written.append(f"{call['name']}({', '.join(inside)})")
    return text + (f"[{', '.join(written)}]" if calls else "")


_NAME = "search_the_web"

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        tool_format.name: tool_format
        for tool_format in (
            Format(
                "hermes",
                _hermes,
                {
                    SPOILED: _in_hermes_tags('{"name": "search_the_web", "arguments": {"q": }}'),
                    CUT_OFF: _in_hermes_tags('{"name": "search_the_web", "argum', ""),
                    NO_OBJECT: _in_hermes_tags('["search_the_web"]'),
                    NO_NAME: _in_hermes_tags('{"arguments": {"q": "weather"}}'),
                    EMPTY: Miswritten("Let me see. <tool_call>\n</tool_call>", "Let me see."),
                },
            ),
            Format(
                "qwen3_coder",
                _qwen3_coder,
                {
                    SPOILED: Miswritten(f"<tool_call>\n<function={_NAME}>\n<parameter=q>weather\n", "weather"),
                    CUT_OFF: Miswritten("<tool_call>\n<function=search_the", "search_the"),
                    NO_OBJECT: Miswritten(
                        f"<tool_call>\n<function={_NAME}>\nweather\n</function>\n</tool_call>", "weather"
                    ),
                    NO_NAME: Miswritten(
                        "<tool_call>\n<function=>\n<parameter=q>\nweather\n</parameter>\n</function>\n</tool_call>",
                        "weather",
                    ),
                    EMPTY: Miswritten("Let me see. <tool_call>\n</tool_call>", "Let me see."),
                },
            ),
            Format(
                "glm45",
                _glm45,
                {
                    SPOILED: Miswritten(f"<tool_call>{_NAME}\n<arg_key>q</arg_key>\n<arg_value>weather\n", "weather"),
                    CUT_OFF: Miswritten(f"<tool_call>{_NAME}\n<arg_k", _NAME),
                    NO_OBJECT: Miswritten(f"<tool_call>{_NAME}\nweather\n</tool_call>", "weather"),
                    NO_NAME: Miswritten(
                        "<tool_call>\n<arg_key>q</arg_key>\n<arg_value>weather</arg_value>\n</tool_call>", "weather"
                    ),
                    EMPTY: Miswritten("Let me see. <tool_call>\n</tool_call>", "Let me see."),
                },
            ),
            Format(
                "llama3_json",
                _llama3_json,
                {
                    SPOILED: Miswritten('{"name": "search_the_web", "parameters": {"q": }}', '"parameters": {"q": }'),
                    CUT_OFF: Miswritten('{"name": "search_the_web", "param', '{"name": "search_the_web", "param'),
                    NO_OBJECT: Miswritten('["search_the_web"]', '["search_the_web"]'),
                    NO_NAME: Miswritten('{"parameters": {"q": "weather"}}', '{"parameters": {"q": "weather"}}'),
                    EMPTY: Miswritten("Let me see. <|python_tag|>", "Let me see."),
                },
            ),
            Format(
                "mistral",
                _mistral,
                {
                    SPOILED: Miswritten('[TOOL_CALLS][{"name": "search_the_web", "arguments": {"q": }}]', '{"q": }'),
                    CUT_OFF: Miswritten('[TOOL_CALLS][{"name": "search_the_web", "argum', '"search_the_web", "argum'),
                    NO_OBJECT: Miswritten('[TOOL_CALLS]["search_the_web"]', '"search_the_web"'),
                    NO_NAME: Miswritten('[TOOL_CALLS][{"arguments": {"q": "weather"}}]', '{"q": "weather"}'),
                    EMPTY: Miswritten("Let me see. [TOOL_CALLS][]", "Let me see."),
                },
            ),
            Format(
                "deepseek_v3",
                _deepseek_v3,
                {
                    SPOILED: Miswritten(_deepseek_v3("", [{"name": _NAME, "arguments": '{"q": }'}]), '{"q": }'),
                    CUT_OFF: Miswritten(f'{_ALL_BEGIN}{_BEGIN}function{_SEPARATOR}{_NAME}\n```json\n{{"q', '{"q'),
                    NO_OBJECT: Miswritten(_deepseek_v3("", [{"name": _NAME, "arguments": "weather"}]), "weather"),
                    NO_NAME: Miswritten(_deepseek_v3("", [{"name": "", "arguments": {"q": "weather"}}]), '"weather"'),
                    EMPTY: Miswritten(f"Let me see. {_ALL_BEGIN}{_ALL_END}", "Let me see."),
                },
            ),
            Format(
                "pythonic",
                _pythonic,
                {
                    SPOILED: Miswritten(f"[{_NAME}(q=)]", f"{_NAME}(q=)"),
                    CUT_OFF: Miswritten(f'[{_NAME}(q="wea', f'{_NAME}(q="wea'),
                    NO_OBJECT: Miswritten(f'[{_NAME}("weather")]', f'{_NAME}("weather")'),
                    NO_NAME: Miswritten('[(q="weather")]', 'q="weather"'),
                    EMPTY: Miswritten("Let me see. []", "Let me see."),
                },
                beside_text=False,
            ),
        )
    }
)
HERMES = FORMATS["hermes"]
"""What is written unless something else is said: the kit's own template has calls in it."""
