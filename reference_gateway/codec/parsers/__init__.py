"""The formats in which models write tool calls, by the names that engines give to them."""

from __future__ import annotations

from collections.abc import Mapping

from reference_gateway.codec.parsers.deepseek import parse_deepseek
from reference_gateway.codec.parsers.glm import parse_glm
from reference_gateway.codec.parsers.hermes import parse_hermes
from reference_gateway.codec.parsers.llama import parse_llama
from reference_gateway.codec.parsers.mistral import parse_mistral
from reference_gateway.codec.parsers.pythonic import parse_pythonic
from reference_gateway.codec.parsers.qwen_coder import parse_qwen_coder
from reference_gateway.codec.tools import Parser

PARSERS: Mapping[str, Parser] = {
    "hermes": parse_hermes,
    "qwen": parse_hermes,
    "qwen3_coder": parse_qwen_coder,
    "llama3_json": parse_llama,
    "mistral": parse_mistral,
    "pythonic": parse_pythonic,
    "glm45": parse_glm,
    "deepseek_v3": parse_deepseek,
}
