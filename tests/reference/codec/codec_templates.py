"""Small chat templates of our own, each in the manner of a family in the wild, on the built-in byte tokenizer."""

from __future__ import annotations

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.directory import TokenizerFiles

LLAMA = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
    {%- for call in message.tool_calls or [] %}
        {{- '{"name": "' + call.function.name + '", "parameters": ' + (call.function.arguments | tojson) + '}' }}
    {%- endfor %}
    {{- message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

OBSERVER = """\
{%- for message in messages %}
    {%- set role = 'observation' if message.role == 'tool' else message.role %}
    {{- '<|' + role + '|>\\n' + message.content }}
    {%- for call in message.tool_calls or [] %}
        {{- call.function.name + '\\n' + (call.function.arguments | tojson) }}
    {%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}
"""

BRACKETS = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- for call in message.tool_calls or [] %}
            {{- '[TOOL_CALLS]' + call.function.name + (call.function.arguments | tojson) }}
        {%- endfor %}
        {{- message.content + '</s>' }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS]' + message.content + '[/TOOL_RESULTS]' }}
    {%- else %}
        {%- if tools and loop.last %}
            {{- '[TOOLS]' + (tools | tojson) + '[/TOOLS]' }}
        {%- endif %}
        {{- '[INST]' + message.content + '[/INST]' }}
    {%- endif %}
{%- endfor %}
"""

THINKING = """\
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set ns.last = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and loop.index0 > ns.last and message.reasoning_content %}
        {{- '<think>' + message.reasoning_content + '</think>' }}
    {%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}
        {{- '<tool_call>' + call.function.name + (call.function.arguments | tojson) + '</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

NO_SUFFIX = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if not add_generation_prompt %}{{ 'END' }}{% endif %}
"""


def llama() -> TokenizerFiles:
    """Header tokens, trimmed content, no separator behind the end token."""
    files = byte_files(
        LLAMA, ("<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), end_of_turn="<|eot_id|>"
    )
    return TokenizerFiles(files.tokenizer, files.templates, {**files.special_tokens, "bos_token": "<|begin|>"})


def observer() -> TokenizerFiles:
    """Role tokens that are put together at render time; no end token: the next role ends a turn."""
    roles = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
    return byte_files(OBSERVER, roles, end_of_turn="<|user|>")


def brackets() -> TokenizerFiles:
    """No generation prompt at all, and tools beside the last question."""
    control = (
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "[TOOLS]",
        "[/TOOLS]",
        "[TOOL_CALLS]",
        "[TOOL_RESULTS]",
        "[/TOOL_RESULTS]",
    )
    files = byte_files(BRACKETS, control, end_of_turn="</s>")
    return TokenizerFiles(files.tokenizer, files.templates, {**files.special_tokens, "bos_token": "<s>"})


def thinking() -> TokenizerFiles:
    """Reasoning of earlier turns is dropped once a user speaks again."""
    return byte_files(THINKING)


def no_suffix() -> TokenizerFiles:
    """A generation prompt that is not what the render only appends."""
    return byte_files(NO_SUFFIX)
