"""Nothing of an accepted message is lost: roles, calls and results that a template has not, or in one place only."""

from __future__ import annotations

import pytest
from codec_templates import coder, deepseek, glm, llama, mistral, pythonic, qwen3

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.chat_template import MessageRefused, TemplateRefused
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.wire.openai_messages import read_messages

BODY = """\
{%- elif m.role == 'assistant' %}{{ '<A>' + m.content }}
{%- for call in m.tool_calls or [] %}{{ '<C>' + call.function.name }}
{%- for key, value in call.function.arguments.items() %}{{ key + '=' + value }}{% endfor %}{% endfor %}
{%- elif m.role == 'tool' %}{{ '<T>' + m.content }}
"""
DROPS = "{% for m in messages %}{% if m.role == 'user' %}{{ '<U>' + m.content }}" + BODY + "{% endif %}{% endfor %}"
REFUSES = DROPS.replace(
    "{% endif %}{% endfor %}", "{% else %}{{ raise_exception('no role ' + m.role) }}{% endif %}{% endfor %}"
)
HEAD = "{% if messages[0].role == 'system' %}{{ '<S>' + messages[0].content }}{% endif %}"
FIRST_ONLY = HEAD + REFUSES.replace("{% if m.role", "{% if m.role == 'system' and loop.first %}{% elif m.role", 1)
LAST_WINS = (
    "{% set ns = namespace(s='') %}{% for m in messages if m.role == 'system' %}{% set ns.s = m.content %}{% endfor %}"
    "{{ '<S>' + ns.s }}" + DROPS
)
ALTERNATES = (
    "{% set ns = namespace(n=0) %}{% for m in messages if m.role in ('user', 'assistant') and not m.tool_calls %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% endfor %}" + FIRST_ONLY
)
NO_TOOLS = "{% for m in messages if m.role in ('user', 'assistant') %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
FAMILIES = {
    "chatml": byte_files,
    "qwen3": qwen3,
    "coder": coder,
    "llama": llama,
    "pythonic": pythonic,
    "mistral": mistral,
    "glm": glm,
    "deepseek": deepseek,
    **{
        name: (lambda source=source: byte_files(source))
        for name, source in {
            "drops": DROPS,
            "refuses": REFUSES,
            "first only": FIRST_ONLY,
            "last wins": LAST_WINS,
            "alternates": ALTERNATES,
            "no tools": NO_TOOLS,
        }.items()
    },
}
CALLING = [family for family in FAMILIES if family != "no tools"]
TOOLS = [{"type": "function", "function": {"name": "boil", "parameters": {"type": "object", "properties": {}}}}]
SAYS = {role: {"role": role, "content": f"{role} says"} for role in ("system", "developer", "user", "critic")}
S, D, U, X = SAYS.values()
A = {"role": "assistant", "content": "Here."}
U2 = {"role": "user", "content": "And then?"}
R = {"role": "tool", "tool_call_id": "call_1a2b3c4d", "content": "boiled"}


def calling(arguments, content=None):
    function = {"name": "boil", "arguments": arguments}
    call = {"id": "call_1a2b3c4d", "type": "function", "function": function}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


@pytest.fixture(scope="module")
def codecs():
    return {name: TemplateCodec(files()) for name, files in FAMILIES.items()}


def text(codec, *messages, tools=None):
    return codec.vocabulary.decode(codec.encode(read_messages(list(messages)), tools, {}), keep_control=True)


@pytest.mark.parametrize("tools", [None, TOOLS], ids=["no tools", "tools"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "conversation",
    [(D, U), (S, D, U), (S, D, D, U), (S, U, A, D, U2), (D, U, A, U2), (S, S, U), (U, A, S, U2), (S, U, D, A, U2)],
    ids=lambda messages: " ".join(message["role"] for message in messages),
)
def test_instructions_reach_the_context_of_every_template(codecs, family, tools, conversation):
    shown = text(codecs[family], *conversation, tools=tools)
    assert all(shown.count(message["content"]) == conversation.count(message) for message in conversation)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("first only", "<S>system says\n\ndeveloper says<U>user says"),
        ("last wins", "<S>system says\n\ndeveloper says<U>user says"),
        ("drops", "<U>system says\n\ndeveloper says\n\nuser says"),
        ("qwen3", "<|im_start|>system\nsystem says<|im_end|>\n<|im_start|>system\ndeveloper says<|im_end|>\n"),
    ],
)
def test_instructions_stand_where_the_template_has_a_place(codecs, family, expected):
    assert text(codecs[family], S, D, U).startswith(expected)


def test_later_instruction_is_appended_where_the_template_has_a_place_for_it(codecs):
    """Else the conversation is rendered as a whole."""
    for family, appended in {"glm": True, "chatml": True, "first only": False, "drops": False}.items():
        assert (codecs[family].encode_suffix([U, A], [D, U2], None, {}, None) is not None) is appended
    assert codecs["first only"].encode_suffix([U, D, A], [U2], None, {}, None) is not None


@pytest.mark.parametrize("family", ["drops", "refuses", "first only", "alternates"])
def test_role_that_the_template_has_not_is_refused_by_name(codecs, family):
    with pytest.raises(MessageRefused, match=r"messages\[2\]\.role 'critic' is not one that"):
        codecs[family].encode([U, A, X], None, {})
    assert codecs[family].encode_suffix([U, A], [X], None, {}, None) is None


@pytest.mark.parametrize(
    ("conversation", "place"),
    [((U, U2), 1), ((S, U, U2), 2), ((A, U), 0), ((S, U, A, U2, U, A, U2, A), 4), ((U, A, A, U2), 2)],
)
def test_message_in_the_wrong_place_is_refused_by_name(codecs, conversation, place):
    role = conversation[place]["role"]
    with pytest.raises(MessageRefused, match=rf"messages\[{place}\]\.role '{role}' .*roles must alternate"):
        text(codecs["alternates"], *conversation)


def test_calls_and_results_that_the_template_leaves_out_are_refused_by_name(codecs):
    with pytest.raises(MessageRefused, match=r"messages\[1\]\.tool_calls .* writes no calls"):
        text(codecs["no tools"], U, calling("{}"), R)
    with pytest.raises(MessageRefused, match=r"messages\[1\]\.role 'tool' is not one"):
        text(codecs["no tools"], U, R)
    assert codecs["no tools"].encode_suffix([U, A], [R], None, {}, None) is None


@pytest.mark.parametrize("arguments", ["", None, " ", "null", "{}"])
@pytest.mark.parametrize("family", CALLING)
def test_no_arguments_are_an_empty_object(codecs, family, arguments):
    shown = text(codecs[family], U, calling(arguments), R, tools=TOOLS)
    assert shown == text(codecs[family], U, calling({}), R, tools=TOOLS)


@pytest.mark.parametrize("arguments", ['{"cups": tru', "boil it", "[1, 2]", '"text"', "3"])
@pytest.mark.parametrize("family", CALLING)
def test_arguments_that_are_no_object_reach_the_context(codecs, family, arguments):
    shown = text(codecs[family], U, calling(arguments), R, tools=TOOLS)
    assert arguments in shown or arguments.replace('"', '\\"') in shown


@pytest.mark.parametrize("family", CALLING)
def test_text_beside_calls_reaches_the_context(codecs, family):
    shown = text(codecs[family], U, calling("{}", "I will boil it."), R, tools=TOOLS)
    assert shown.count("I will boil it.") == 1
    assert shown.index("I will boil it.") < shown.rindex("boiled")


@pytest.mark.parametrize("family", CALLING)
def test_results_without_a_call_and_without_an_id_reach_the_context(codecs, family):
    bare = {"role": "tool", "content": "boiled"}
    for messages in ((U, R), (U, calling("{}"), bare), (U, A, bare), (U, calling(""), R, R, R)):
        assert "boiled" in text(codecs[family], *messages, tools=TOOLS)


def test_a_template_s_own_error_is_not_told():
    """What a template's program tripped over says nothing to a client."""
    codec = TemplateCodec(byte_files(DROPS.replace("'<T>' + m.content", "'<T>' + m.content + m.missing.deeply")))
    with pytest.raises(TemplateRefused) as refused:
        text(codec, U, calling("{}"), R)
    assert str(refused.value) == "messages[2].role 'tool' is not one that this model's chat template has"
    odd = TemplateCodec(
        byte_files("{% for m in messages %}{{ m.role + m.content }}{{ 1 // (5 - loop.index) }}{% endfor %}")
    )
    with pytest.raises(TemplateRefused) as refused:
        text(odd, U, A, U, A, U, A)
    assert (
        str(refused.value)
        == "messages[4].role 'user' can't stand in this place: the chat template can't render the messages"
    )


def test_what_becomes_of_roles_is_told(codecs):
    told = {
        "first only": "merged into the message in front",
        "drops": "merged into the first user message",
        "chatml": "written",
    }
    for family, system in told.items():
        assert codecs[family].roles["system"] == system
    assert codecs["drops"].roles["developer"] == "as system"
    assert (codecs["no tools"].roles["tool"], codecs["glm"].roles["tool"]) == ("refused", "written")
