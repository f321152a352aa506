"""Chat templates in the manner of families in the wild: those that the kit ships, and some more on the built-in byte
tokenizer."""

from __future__ import annotations

from conformance.fixtures import fixture_path
from reference_gateway.codec.bytes import CONTROL, byte_files
from reference_gateway.codec.directory import TokenizerFiles, read_directory

PYTHONIC = """\
{{- bos_token }}
{%- if tools %}
    {{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + (tools | tojson) + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- set role = 'ipython' if message.role == 'tool' else message.role %}
    {{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}
    {%- if message.tool_calls %}
        {{- '[' }}
        {%- for call in message.tool_calls %}
            {{- ', ' if not loop.first }}
            {{- call.function.name + '(' }}
            {%- for key, value in call.function.arguments | items %}
                {{- ', ' if not loop.first }}
                {{- key + '=' + (value | tojson) }}
            {%- endfor %}
            {{- ')' }}
        {%- endfor %}
        {{- ']<|eot_id|>' }}
    {%- else %}
        {{- message.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

NO_SUFFIX = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if not add_generation_prompt %}{{ 'END' }}{% endif %}
"""

VISION = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if part.type == 'image' %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif part.type == 'video' %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- else %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

HEADERS = ("<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>")
PADS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def shipped(name: str) -> TokenizerFiles:
    return read_directory(fixture_path(name))


def qwen3() -> TokenizerFiles:
    """Thoughts of earlier turns are dropped once a user speaks, and an answer without thoughts shows empty ones while
    it is the last."""
    return shipped("qwen3")


def coder() -> TokenizerFiles:
    """ChatML with calls in XML."""
    return shipped("qwen3-coder")


def llama() -> TokenizerFiles:
    """Header tokens, trimmed content, no separator behind the end token."""
    return shipped("llama3")


def pythonic() -> TokenizerFiles:
    """Calls as a Python list, and no text beside them."""
    files = byte_files(PYTHONIC, HEADERS, end_of_turn="<|eot_id|>")
    return TokenizerFiles(files.tokenizer, files.templates, {**files.special_tokens, "bos_token": "<|begin|>"})


def mistral() -> TokenizerFiles:
    """No generation prompt at all, tools beside the last question, ids of calls in the text and checked."""
    return shipped("mistral")


def glm() -> TokenizerFiles:
    """Role tokens that are put together at render time; no end token: the next role ends a turn."""
    return shipped("glm")


def deepseek() -> TokenizerFiles:
    """No prompt behind a tool's results, system messages first wherever they stand, thoughts dropped from content."""
    return shipped("deepseek")


def vision() -> TokenizerFiles:
    """One token stands for an image or a video."""
    return byte_files(VISION, (*CONTROL, *PADS))


def no_suffix() -> TokenizerFiles:
    """A generation prompt that is not what the render only appends."""
    return byte_files(NO_SUFFIX)
