"""Renders a chat template the way the field does: a sandboxed Jinja environment with the names that templates use.

Knows Jinja and the conventions of published templates. Never knows tokens.

Invariants: rendering never changes a message (the sandbox is immutable), reads no file and no environment, and fails
only with `TemplateRefused`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from jinja2.nodes import Node
    from jinja2.parser import Parser

    from reference_gateway.types import Message, Tool


class TemplateRefused(ValueError):
    """The template can't render these messages, by its own word, which is in the text, or because they are not what it
    reads: then the text says no more, and the cause is the template's error."""


class MessageRefused(TemplateRefused):
    """The template can't render one of the messages: the text names it, and the field at fault."""


class _Raised(TemplateError):
    """What a template said by `raise_exception`."""


class ChatTemplate:
    """One chat template. `sources` maps a name to a template; `tool_use`, where present, renders requests with tools.

    `special_tokens` are the names that a tokenizer gives to its control tokens (`bos_token`, `eos_token` ...). Raises
    ValueError when a source is not valid Jinja.
    """

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._templates = {name: environment.from_string(source) for name, source in sources.items()}
        except TemplateError as error:
            raise ValueError(f"the chat template is not valid Jinja: {error}") from error
        self._default = self._templates.get("default") or next(iter(self._templates.values()))
        self._special_tokens = dict(special_tokens)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
        *,
        add_generation_prompt: bool,
    ) -> str:
        """The text of a conversation. Raises `TemplateRefused`."""
        template = self._templates.get("tool_use", self._default) if tools else self._default
        variables = {
            "documents": None,
            **self._special_tokens,
            **kwargs,
            "messages": messages,
            "tools": tools or None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return template.render(variables)
        except RecursionError:
            raise TemplateRefused("the request is nested too deeply for the chat template") from None
        except _Raised as error:
            raise TemplateRefused(f"the chat template refused the messages: {str(error)[:200]}") from error
        except Exception as error:  # a template is a program: whatever it does with odd messages is the messages' fault
            raise TemplateRefused("the chat template can't render the messages") from error


class _Generation(Extension):
    """`{% generation %}` marks what a trainer would train on; for rendering it is transparent."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it mutable)

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML, which no model was trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise _Raised(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)  # templates mean the local day
