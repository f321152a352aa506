"""Small chat templates of our own, each in the manner of a family in the wild, on the built-in byte tokenizer."""

from __future__ import annotations

from reference_gateway.codec.bytes import CONTROL, byte_files
from reference_gateway.codec.directory import TokenizerFiles
from reference_gateway.codec.parsers.deepseek import control

QWEN3 = """\
{%- set ns = namespace(query=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.query = loop.index0 %}{%- endif %}
{%- endfor %}
{%- if tools %}
    {{- '<|im_start|>system\\nTools:' }}
    {%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set said = message.content.split('</think>')[-1].lstrip('\\n') %}
    {%- if message.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- set thought = message.reasoning_content or '' %}
        {%- if loop.index0 > ns.query and (loop.last or thought) %}
            {{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- said }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n' if said or not loop.first }}
            {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments | tojson) + '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""

CODER = """\
{%- if tools %}{{- '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {%- if loop.previtem.role != 'tool' %}{{- '<|im_start|>user\\n' }}{%- endif %}
        {{- '<tool_response>\\n' + message.content + '\\n</tool_response>\\n' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n<tool_call>\\n<function=' + call.function.name + '>\\n' }}
            {%- for key, value in call.function.arguments | items %}
                {%- set written = value if value is string else value | tojson %}
                {{- '<parameter=' + key + '>\\n' + written + '\\n</parameter>\\n' }}
            {%- endfor %}
            {{- '</function>\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

LLAMA = """\
{{- bos_token }}
{%- if tools %}
    {{- '<|start_header_id|>system<|end_header_id|>\\n\\nEnvironment: ipython\\n' + (tools | tojson) + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- set role = 'ipython' if message.role == 'tool' else message.role %}
    {{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}
    {%- for call in message.tool_calls or [] %}
        {{- '; ' if not loop.first }}
        {{- '{"name": "' + call.function.name + '", "parameters": ' + (call.function.arguments | tojson) + '}' }}
    {%- endfor %}
    {{- message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

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

MISTRAL = """\
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {{- '[TOOL_CALLS][' }}
        {%- for call in message.tool_calls %}
            {%- if call.id | length != 9 %}
                {{- raise_exception('a call has an id of 9 letters and digits') }}
            {%- endif %}
            {{- ', ' if not loop.first }}
            {{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) }}
            {{- ', "id": "' + call.id + '"}' }}
        {%- endfor %}
        {{- ']' + eos_token }}
    {%- elif message.role == 'assistant' %}
        {{- message.content + eos_token }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS]{"content": ' + (message.content | tojson) }}
        {{- ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- elif message.role == 'system' %}
        {{- '[SYSTEM_PROMPT]' + message.content + '[/SYSTEM_PROMPT]' }}
    {%- else %}
        {%- if tools and loop.index0 == ns.last %}
            {{- '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST]' + message.content + '[/INST]' }}
    {%- endif %}
{%- endfor %}
"""

GLM = """\
{{- '[gMASK]<sop>' }}
{%- if tools %}
    {{- '<|system|>\\n# Tools\\n' + (tools | tojson) }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|observation|>' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
    {%- else %}
        {{- '<|' + message.role + '|>\\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n<tool_call>' + call.function.name + '\\n' }}
            {%- for key, value in call.function.arguments | items %}
                {{- '<arg_key>' + key + '</arg_key>\\n<arg_value>' }}
                {{- (value if value is string else value | tojson) + '</arg_value>\\n' }}
            {%- endfor %}
            {{- '</tool_call>' }}
        {%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}
"""

# A model that reads a tool's results goes on within its turn: no prompt stands behind them.
DEEPSEEK = """\
{%- set ns = namespace(inside=false) %}
{{- bos_token }}
{%- for message in messages if message.role == 'system' %}{{- message.content }}{%- endfor %}
{%- if tools %}{{- '\\n' + (tools | tojson) }}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set ns.inside = false %}
        {{- '<User>' + message.content }}
    {%- elif message.role == 'assistant' %}
        {{- '<Assistant>' if not ns.inside }}
        {%- set ns.inside = false %}
        {{- message.content.split('</think>')[-1] }}
        {%- for call in message.tool_calls or [] %}
            {{- '<tool calls begin>' if loop.first }}
            {{- '<tool call begin>function<tool sep>' + call.function.name + '\\n```json\\n' }}
            {{- (call.function.arguments | tojson) + '\\n```<tool call end>' }}
            {{- '<tool calls end>' if loop.last else '\\n' }}
        {%- endfor %}
        {{- eos_token }}
    {%- elif message.role == 'tool' %}
        {{- '<tool outputs begin>' if not ns.inside }}
        {%- set ns.inside = true %}
        {{- '<tool output begin>' + message.content + '<tool output end>' }}
        {{- '<tool outputs end>' if loop.last or loop.nextitem.role != 'tool' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and not ns.inside %}
    {{- '<Assistant>' + ('<think>\\n' if thinking else '') }}
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
_BRACKETS = ("INST", "AVAILABLE_TOOLS", "TOOL_RESULTS", "SYSTEM_PROMPT")
_DEEPSEEK = [f"tool {what} {end}" for what in ("calls", "call", "outputs", "output") for end in ("begin", "end")]
_DEEPSEEK += ["User", "Assistant", "tool sep"]


def qwen3() -> TokenizerFiles:
    """Thoughts of earlier turns are dropped once a user speaks, and an answer without thoughts shows empty ones while
    it is the last."""
    return byte_files(QWEN3)


def coder() -> TokenizerFiles:
    """ChatML with calls in XML."""
    return byte_files(CODER)


def llama() -> TokenizerFiles:
    """Header tokens, trimmed content, no separator behind the end token."""
    return _with_beginning(byte_files(LLAMA, HEADERS, end_of_turn="<|eot_id|>"), "<|begin|>")


def pythonic() -> TokenizerFiles:
    """Calls as a Python list, and no text beside them."""
    return _with_beginning(byte_files(PYTHONIC, HEADERS, end_of_turn="<|eot_id|>"), "<|begin|>")


def mistral() -> TokenizerFiles:
    """No generation prompt at all, tools beside the last question, ids of calls in the text and checked."""
    brackets = [form % name for name in _BRACKETS for form in ("[%s]", "[/%s]")]
    files = byte_files(MISTRAL, ("<s>", "</s>", "[TOOL_CALLS]", *brackets), end_of_turn="</s>")
    return _with_beginning(files, "<s>")


def glm() -> TokenizerFiles:
    """Role tokens that are put together at render time; no end token: the next role ends a turn."""
    roles = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
    return byte_files(GLM, roles, end_of_turn="<|user|>")


def deepseek() -> TokenizerFiles:
    """No prompt behind a tool's results, system messages first wherever they stand, thoughts dropped from content."""
    beginning, end = control("begin of sentence"), control("end of sentence")
    template = DEEPSEEK
    for words in _DEEPSEEK:
        template = template.replace(f"<{words}>", control(words))
    files = byte_files(template, (beginning, end, *map(control, _DEEPSEEK)), end_of_turn=end)
    return _with_beginning(files, beginning)


def vision() -> TokenizerFiles:
    """One token stands for an image or a video."""
    return byte_files(VISION, (*CONTROL, *PADS))


def no_suffix() -> TokenizerFiles:
    """A generation prompt that is not what the render only appends."""
    return byte_files(NO_SUFFIX)


def _with_beginning(files: TokenizerFiles, beginning: str) -> TokenizerFiles:
    return TokenizerFiles(files.tokenizer, files.templates, {**files.special_tokens, "bos_token": beginning})
