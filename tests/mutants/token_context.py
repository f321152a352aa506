"""Gateways that send other ids to the engine than the chat template and the sampled ids make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session.session import Session
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

Ids = list[int]


def generation_prompt(codec: TemplateCodec) -> Ids:
    return codec.vocabulary.encode(codec.seams.generation_prompt)


def encoding(
    sabotage: Sabotage, *, tools: bool, role: str = ""
) -> Callable[[Callable[[TemplateCodec, Callable[[Any], Ids], Any], Ids]], None]:
    """Decorator: change the first context of conversations with, or without, tools; those in which there is a message
    of this role, if one is given. `encode(tools)` renders them."""

    def install(change: Callable[[TemplateCodec, Callable[[Any], Ids], Any], Ids]) -> None:
        @sabotage.wrap(TemplateCodec, "encode")
        def changed(original: Any, codec: TemplateCodec, messages: Any, given: Any, kwargs: Any, **how: Any) -> Ids:
            encode = lambda used: original(codec, messages, used, kwargs, **how)  # noqa: E731
            meant = bool(given) is tools and (not role or any(message["role"] == role for message in messages))
            return change(codec, encode, given) if meant else encode(given)

    return install


def appending(
    sabotage: Sabotage, *roles: str, cut: bool = False
) -> Callable[[Callable[[TemplateCodec, Ids], Ids]], None]:
    """Decorator: change the ids that are put behind a generation for new messages of these roles. `cut`: only where it
    did not end by itself."""

    def install(change: Callable[[TemplateCodec, Ids], Ids]) -> None:
        @sabotage.wrap(TemplateCodec, "encode_suffix")
        def changed(
            original: Any, codec: TemplateCodec, history: Any, suffix: Any, *rest: Any, **how: Any
        ) -> Ids | None:
            ids: Ids | None = original(codec, history, suffix, *rest, **how)
            if ids is None or [message["role"] for message in suffix] != list(roles):
                return ids
            if cut and rest[-1] in codec.vocabulary.control_ids:
                return ids
            return change(codec, ids)

    return install


@mutant(
    "TOKEN-010",
    also=(
        "SPLIT-014",
        "SPLIT-020",
        "SPLIT-021",
    ),
)
def start_token_is_doubled(sabotage: Sabotage) -> None:
    """The template writes a start token, and whoever puts in the system message adds another one."""

    @encoding(sabotage, tools=False, role="system")
    def doubled(codec: TemplateCodec, encode: Callable[[Any], Ids], tools: Any) -> Ids:
        ids = encode(tools)
        return [ids[0], *ids]


@mutant(
    "TOKEN-010",
    also=(
        "SPLIT-014",
        "SPLIT-020",
        "SPLIT-021",
    ),
)
def generation_prompt_is_forgotten(sabotage: Sabotage) -> None:
    """A conversation that is given with its answers is rendered without a generation prompt."""

    @encoding(sabotage, tools=False, role="assistant")
    def forgotten(codec: TemplateCodec, encode: Callable[[Any], Ids], tools: Any) -> Ids:
        return encode(tools)[: -len(generation_prompt(codec))]


@mutant("TOKEN-010")
def first_context_is_encoded_line_by_line(sabotage: Sabotage) -> None:
    """The render is encoded a line at a time, so that an empty line is another token than where all is encoded."""

    @encoding(sabotage, tools=False)
    def by_line(codec: TemplateCodec, encode: Callable[[Any], Ids], tools: Any) -> Ids:
        ids = encode(tools)
        text = codec.vocabulary.decode(ids, keep_control=True)
        if codec.vocabulary.encode(text) != ids:
            return ids  # a client wrote a control token, which is encoded with care
        return [each for line in text.splitlines(keepends=True) for each in codec.vocabulary.encode(line)]


@mutant("TOKEN-011", bugs=(52,))
def tools_are_sorted(sabotage: Sabotage) -> None:
    """Tools are sorted by name, for the sake of a cache."""

    @encoding(sabotage, tools=True)
    def ordered(codec: TemplateCodec, encode: Callable[[Any], Ids], tools: Any) -> Ids:
        return encode(sorted(tools, key=lambda tool: tool["function"]["name"]))


@mutant("TOKEN-011")
def tools_are_unwrapped(sabotage: Sabotage) -> None:
    """The template gets the bare functions of the tools."""

    @encoding(sabotage, tools=True)
    def unwrapped(codec: TemplateCodec, encode: Callable[[Any], Ids], tools: Any) -> Ids:
        return encode([tool["function"] for tool in tools])


@mutant("TOKEN-012")
def end_of_a_cut_turn_is_lost_before_user(sabotage: Sabotage) -> None:
    """The end-of-turn token, where it was not sampled, is not put there either."""

    @appending(sabotage, "user", cut=True)
    def lost(codec: TemplateCodec, ids: Ids) -> Ids:
        return ids[1:]


@mutant("TOKEN-012", bugs=(1, 21))
def separator_before_user_is_lost(sabotage: Sabotage) -> None:
    """The line break behind the end-of-turn token is neither sampled nor put there."""

    @appending(sabotage, "user")
    def lost(codec: TemplateCodec, ids: Ids) -> Ids:
        return ids[1:]


@mutant("TOKEN-012", bugs=(3,))
def generation_prompt_is_doubled(sabotage: Sabotage) -> None:
    """A user message is put behind a generation with two generation prompts."""

    @appending(sabotage, "user")
    def doubled(codec: TemplateCodec, ids: Ids) -> Ids:
        return ids + generation_prompt(codec)


@mutant("TOKEN-013", bugs=(21,))
def end_of_a_cut_turn_is_lost_before_tool(sabotage: Sabotage) -> None:
    """The end-of-turn token that was not sampled is lost at the boundary from assistant to tool."""

    @appending(sabotage, "tool", cut=True)
    def lost(codec: TemplateCodec, ids: Ids) -> Ids:
        return ids[1:]


@mutant("TOKEN-013", bugs=(21,))
def separator_before_tool_is_lost(sabotage: Sabotage) -> None:
    """The turn separator is lost at the boundary from assistant to tool."""

    @appending(sabotage, "tool")
    def lost(codec: TemplateCodec, ids: Ids) -> Ids:
        return ids[1:]


@mutant("TOKEN-013", bugs=(1,))
def tool_message_is_not_wrapped(sabotage: Sabotage) -> None:
    """The tool message is put there without the turn that the template wraps it in."""

    @appending(sabotage, "tool")
    def bare(codec: TemplateCodec, ids: Ids) -> Ids:
        text = codec.vocabulary.decode(ids, keep_control=True)
        return codec.vocabulary.encode(text.replace("<|im_start|>user\n", ""))


@mutant("TOKEN-014", bugs=(33,))
def tool_messages_are_wrapped_one_by_one(sabotage: Sabotage) -> None:
    """Each tool message is rendered by itself, with a turn of its own."""

    @appending(sabotage, "tool", "tool")
    def apart(codec: TemplateCodec, ids: Ids) -> Ids:
        text = codec.vocabulary.decode(ids, keep_control=True)
        seam = "</tool_response>\n<tool_response>"
        assert seam in text
        return codec.vocabulary.encode(text.replace(seam, seam.replace("\n", "<|im_end|>\n<|im_start|>user\n")))


@mutant("TOKEN-015", bugs=(55,))
def broken_character_is_tokenised_anew(sabotage: Sabotage) -> None:
    """A history whose ids are no UTF-8 is sent as the tokenizer writes its text, and recorded as it was sampled."""

    @sabotage.wrap(Session, "_plan")
    def anew(original: Any, session: Session, *args: Any) -> Any:
        plan = original(session, *args)
        vocabulary = session._codec.vocabulary  # type: ignore[attr-defined]
        text = vocabulary.decode(plan.context, keep_control=True)
        return replace(plan, context=vocabulary.encode(text)) if plan.path and "\ufffd" in text else plan


@mutant(
    "TOKEN-015",
    also=("TOKEN-016", "TOKEN-019", "TOKEN-036", "SPLIT-002", "SPLIT-003", "SPLIT-037", "SPLIT-040"),
    bugs=(31,),
)
def history_is_rendered_anew(sabotage: Sabotage) -> None:
    """Each turn renders the whole conversation, and splits where the render is not what was sampled."""

    @sabotage.wrap(TemplateCodec, "encode_suffix")
    def never(original: Any, *args: Any, **how: Any) -> None:
        return None


@mutant("TOKEN-030")
def empty_turn_is_not_recorded(sabotage: Sabotage) -> None:
    """A turn without ids is answered, and forgotten."""

    @sabotage.wrap(Session, "_commit_turn")
    def forgotten(original: Any, session: Session, plan: Any, generation: Any, *rest: Any) -> None:
        if generation.ids:
            original(session, plan, generation, *rest)


@mutant("TOKEN-033", bugs=(67,))
def text_can_end_a_turn(sabotage: Sabotage) -> None:
    """The rendered conversation is encoded as one string: a user who writes the end-of-turn token ends the turn."""
    sabotage.patch(TemplateCodec, "_guard", lambda codec, said: said)


@mutant("TOKEN-034")
def control_tokens_stay_text_where_they_are_declared(sabotage: Sabotage) -> None:
    """It is declared that control tokens in text are read, and the switch for it turns nothing."""
    sabotage.configure(control_tokens_in_text="parsed")

    @sabotage.wrap(TemplateCodec, "__init__")
    def init(original: Any, codec: TemplateCodec, *files: Any, **how: Any) -> None:
        original(codec, *files, **{**how, "parse_control": False})


@mutant("TOKEN-034")
def control_tokens_are_read_in_what_users_say(sabotage: Sabotage) -> None:
    """It is declared that control tokens in text are read, and those of system messages are left out."""
    sabotage.configure(control_tokens_in_text="parsed")

    @sabotage.wrap(TemplateCodec, "encode")
    def encode(original: Any, codec: TemplateCodec, messages: Any, *rest: Any, **how: Any) -> Ids:
        codec._parse_control = not any(each["role"] == "system" for each in messages)
        try:
            ids: Ids = original(codec, messages, *rest, **how)
            return ids
        finally:
            codec._parse_control = True


@mutant("TOKEN-037")
def tool_can_end_a_turn(sabotage: Sabotage) -> None:
    """Control tokens are kept out of what is said, and not out of the definitions of tools."""

    @sabotage.wrap(TemplateCodec, "_guard")
    def guard(original: Any, codec: TemplateCodec, said: Any) -> Any:
        return replace(original(codec, replace(said, tools=None)), tools=said.tools)


@mutant("TOKEN-038")
def tools_are_text_where_control_tokens_are_read(sabotage: Sabotage) -> None:
    """It is declared that control tokens in text are read, and those of tools are kept out."""
    sabotage.configure(control_tokens_in_text="parsed")

    @sabotage.wrap(TemplateCodec, "_guard")
    def guard(original: Any, codec: TemplateCodec, said: Any) -> Any:
        codec._parse_control = False
        try:
            guarded = original(codec, replace(said, messages=(), kwargs={}))
        finally:
            codec._parse_control = True
        return replace(guarded, messages=said.messages, kwargs=said.kwargs)
