"""A tokenizer that needs no files: one token per byte, three control tokens, and a ChatML template with tools.

It is made in code, so `reference-gateway serve --backend scripted` runs on nothing, and tests have a real tokenizer at
hand. Ids 0 to 255 are the bytes; the control tokens follow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from reference_gateway.codec.directory import TokenizerFiles
from reference_gateway.codec.token_bytes import byte_characters

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'Tools, one JSON Schema a line:\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' + (tool | tojson) }}
    {%- endfor %}
    {{- '\\n</tools>\\nTo call one, write <tool_call>{"name": ..., "arguments": {...}}</tool_call>.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- elif not (tools and loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n' if message.content or not loop.first }}
            {{- '<tool_call>\\n{"name": ' + (call.function.name | tojson) + ', "arguments": ' }}
            {{- call.function.arguments if call.function.arguments is string else (call.function.arguments | tojson) }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def byte_files(
    template: str = TEMPLATE, control: Sequence[str] = CONTROL, end_of_turn: str = "<|im_end|>"
) -> TokenizerFiles:
    """The built-in tokenizer in the form of a tokenizer directory; ids of `control` follow the bytes, in order."""
    vocabulary = {character: byte for byte, character in enumerate(byte_characters())}
    added = [
        {"id": len(vocabulary) + place, "content": text, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for place, text in enumerate(control)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    return TokenizerFiles(json.dumps(document).encode(), {"default": template}, {"eos_token": end_of_turn})
