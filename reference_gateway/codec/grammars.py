"""What an answer has to be, as an engine can hold a model to it: a constraint becomes a grammar.

Knows in which words a model of each tool format writes calls, and the structural tags of xgrammar, which say what text
stands around JSON (https://xgrammar.mlc.ai/docs, structural tag). Never knows an engine's fields. Tried with xgrammar
0.2.9: what a grammar allows, the parser of its format reads as calls.

A model that thinks first may do so: its thoughts are free, and what stands behind them is not. That is the gateway's to
say, so the engine is to be started without a reasoning parser of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_gateway.codec.parsers.deepseek import control
from reference_gateway.codec.reasoning import CLOSE, OPEN
from reference_gateway.types import Constraint, Grammar, Tool

Format = dict[str, Any]
"""One piece of a structural tag."""


@dataclass(frozen=True, slots=True)
class Written:
    """How calls are written: `opening`, the name, `behind_name`, the arguments in a `style` of xgrammar, `closing`; the
    name `quoted` as JSON or bare. `separator` stands between calls, `before` and `after` around all of them."""

    opening: str
    behind_name: str
    closing: str
    separator: str = "\n"
    before: str = ""
    after: str = ""
    style: str = "json"
    quoted: bool = True


_HERMES = Written('<tool_call>\n{"name": ', ', "arguments": ', "}\n</tool_call>")

WRITTEN: Mapping[str, Written] = {
    "hermes": _HERMES,
    "qwen": _HERMES,
    "qwen3_coder": Written(
        "<tool_call>\n<function=", ">\n", "\n</function>\n</tool_call>", style="qwen_xml", quoted=False
    ),
    "llama3_json": Written('{"name": ', ', "parameters": ', "}", separator="; "),
    "mistral": Written('{"name": ', ', "arguments": ', "}", separator=", ", before="[TOOL_CALLS][", after="]"),
    "glm45": Written("<tool_call>", "\n", "\n</tool_call>", style="glm_xml", quoted=False),
    "deepseek_v3": Written(
        f"{control('tool call begin')}function{control('tool sep')}",
        "\n```json\n",
        f"\n```{control('tool call end')}",
        before=control("tool calls begin"),
        after=control("tool calls end"),
        quoted=False,
    ),
}
"""Tool format -> how its calls are written; where a format has two ways, the one that its parser names first. There is
no grammar for a pythonic call, whose arguments are Python."""


def grammar_of(
    constraint: Constraint, tools: Sequence[Tool], written: Written | None, *, thinks: bool, opened: bool
) -> Grammar:
    """`written` may be None where nothing is to be called. `thinks`: the model may think first; `opened`: it has begun
    to in the context."""
    alternatives: list[Format] = []
    if constraint.schema is not None:
        alternatives.append({"type": "json_schema", "json_schema": constraint.schema})
    if constraint.calls and written is not None:
        alternatives.append(_calls(constraint, tools, written))
    answer = _either(alternatives)
    if constraint.schema is not None and len(alternatives) == 1 and not thinks:
        return Grammar("json", json.dumps(constraint.schema))  # which engines take without xgrammar, too
    if thinks:
        thoughts: Format = {
            "type": "tag",
            "begin": "" if opened else OPEN,
            "content": {"type": "any_text"},
            "end": CLOSE,
        }
        behind = [thoughts, {"type": "regex", "pattern": r"\n{0,2}"}, answer]
        answer = _either([{"type": "sequence", "elements": behind}, *([] if opened else [answer])])
    return Grammar("structural_tag", json.dumps({"type": "structural_tag", "format": answer}))


def _either(formats: list[Format]) -> Format:
    return formats[0] if len(formats) == 1 else {"type": "or", "elements": formats}


def _calls(constraint: Constraint, tools: Sequence[Tool], written: Written) -> Format:
    calls: Format = {
        "type": "tags_with_separator",
        "tags": [_call(tool["function"], written) for tool in tools if tool["function"]["name"] in constraint.calls],
        "separator": written.separator,
        "at_least_one": True,
        "stop_after_first": constraint.one_call,
    }
    if not written.before:
        return calls
    return {"type": "tag", "begin": written.before, "content": calls, "end": written.after}


def _call(function: Mapping[str, Any], written: Written) -> Format:
    name = json.dumps(function["name"], ensure_ascii=False) if written.quoted else function["name"]
    arguments = {"type": "object", **(function.get("parameters") or {})}
    style = {} if written.style == "json" else {"style": written.style}
    return {
        "type": "tag",
        "begin": f"{written.opening}{name}{written.behind_name}",
        "content": {"type": "json_schema", "json_schema": arguments, **style},
        "end": written.closing,
    }
