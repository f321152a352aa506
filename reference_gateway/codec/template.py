"""Messages <-> tokens through a chat template and its tokenizer: the gateway's `Codec`.

Knows how a rendered conversation is put together. Never knows sessions; holds no state.

A conversation is continued by appending. What follows a committed generation is found by rendering two messages, a
fixed user message and the assistant message itself (together the *anchor*), with and without the new messages behind
them: what the second render adds is the delta, and its cost does not depend on the history. `seams.py` proves at
start-up for which kinds of continuation that delta is what the full render has in that place. A continuation of any
other kind, or one that makes the template rewrite its anchor, is answered with None: the caller starts a new chain.

With a reasoning parser the thoughts of an answer belong to its ids alone: a continuation is appended behind them as
they were sampled, whether or not the client echoes them, and also where the template would drop them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from reference_gateway.codec.calls import find_calls
from reference_gateway.codec.chat_template import ChatTemplate, MessageRefused, TemplateRefused
from reference_gateway.codec.directory import TokenizerFiles
from reference_gateway.codec.ends import KNOWN_ENDS, place_ends
from reference_gateway.codec.grammars import WRITTEN, grammar_of
from reference_gateway.codec.live import OPENINGS, LiveText
from reference_gateway.codec.media import placed
from reference_gateway.codec.opened import opened, until_opening
from reference_gateway.codec.parsers import PARSERS
from reference_gateway.codec.reasoning import CLOSE, OPEN, REASONING, opens_thoughts, split_thoughts
from reference_gateway.codec.roles import find_roles
from reference_gateway.codec.seams import ANCHOR_USER, TOOLS, Seams, behind, find_seams, kinds_of
from reference_gateway.codec.stops import first_stop
from reference_gateway.codec.tools import Parser, parse_calls
from reference_gateway.codec.vocabulary import Vocabulary, new_cut
from reference_gateway.types import Constraint, Grammar, Message, Stopped, Tool

log = logging.getLogger(__name__)

_TAIL = 16
"""Tokens of a context in which an opening of thoughts at its end stands."""


@dataclass(frozen=True, slots=True)
class _Request:
    """All that is rendered and comes from a client. `cut` stands inside each control string in it."""

    messages: Sequence[Message]
    tools: Sequence[Tool] | None
    kwargs: Mapping[str, Any]
    cut: str | None = None


class TemplateCodec:
    """A `types.Codec` for a tokenizer directory.

    `tool_parser` is a name of `parsers.PARSERS`, a parser of one's own, or None; `reasoning_parser` one of
    `reasoning.REASONING` or None. `template_kwargs` reach every render, under those of the request (contract
    UA-VAL-12). With `parse_control`, control strings in messages become control tokens, as engines read them that are
    given text. Raises ValueError for unusable files.
    """

    def __init__(
        self,
        files: TokenizerFiles,
        *,
        tool_parser: str | Parser | None = None,
        reasoning_parser: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        parse_control: bool = False,
    ) -> None:
        self._openings = OPENINGS.get(tool_parser) if isinstance(tool_parser, str) else None
        self._written = WRITTEN.get(tool_parser) if isinstance(tool_parser, str) else None
        if isinstance(tool_parser, str):
            tool_parser = PARSERS[_known("tool_parser", tool_parser, PARSERS)]
        self._parser = tool_parser
        self._thoughts = reasoning_parser is not None and bool(_known("reasoning_parser", reasoning_parser, REASONING))
        self._kwargs = deepcopy(dict(template_kwargs or {}))
        self._parse_control = parse_control
        self.vocabulary = Vocabulary(files.tokenizer)
        self.vocabulary_size = max(self.vocabulary.size, files.model_vocabulary)
        """How many tokens the model has."""
        self._template = ChatTemplate(files.templates, files.special_tokens)
        ends = _end_tokens(files, self.vocabulary)
        self._turn_ends = self.vocabulary.control_ids | ends.keys()
        encode = self.vocabulary.encode
        self.seams: Seams = find_seams(
            self._render, encode, self._kwargs, keep_thoughts=self._thoughts, end_texts=tuple(ends.values())
        )
        self._ends = place_ends(
            ends, self.vocabulary.control_ids, self.seams.turn_end, self.seams.fronts, encode, self.vocabulary.text_of
        )
        self.mode = "incremental" if self.seams.proved else "full"
        self._roles = {with_tools: find_roles(self._ask, TOOLS if with_tools else None) for with_tools in (False, True)}
        self._calls = find_calls(self._ask, TOOLS)
        self._thoughts_opened = opens_thoughts(self.seams.generation_prompt)
        self._thoughts_are_control = self._thoughts and self.vocabulary.has_control(OPEN + CLOSE)

    @property
    def thinks(self) -> bool:
        """Whether the model may think before it answers."""
        return self._thoughts

    @property
    def reason(self) -> str | None:
        """In a sentence, why some conversations are rendered again as a whole and not continued; None when none is."""
        unplaced = ", ".join(self.vocabulary.text_of(token) for token in sorted(self._ends.unplaced))
        ends = f"the template does not write {unplaced} as a token" if unplaced else None
        return "; ".join(filter(None, (self.seams.reason, ends))) or None

    @property
    def roles(self) -> dict[str, str]:
        """What becomes of each role in a request without tools, for a person."""
        return self._roles[False].summary()

    def encode(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
        *,
        continues_last: bool = False,
    ) -> list[int]:
        """See `types.Codec`. Raises `TemplateRefused`, which names the message, when the template can't render them."""
        fitted = self._fit(opened(messages) if continues_last else messages, tools)
        request = self._guard(_Request(fitted, tools, kwargs))
        try:
            text = self._render(request.messages, request.tools, {**self._kwargs, **request.kwargs}, True)
        except TemplateRefused as refused:
            raise self._blamed(refused, messages, tools, kwargs) from refused
        return self._encode(until_opening(text) if continues_last else text, request.cut)

    def encode_suffix(
        self,
        history: Sequence[Message],
        suffix: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
        last_id: int | None,
        *,
        continues_last: bool = False,
    ) -> list[int] | None:
        """See `types.Codec`. An empty suffix continues the generation itself: nothing stands between (UA-CHN-08)."""
        if not suffix:
            return []
        if not kinds_of(suffix) <= self.seams.proved_for(tools):
            log.debug("not continued: the template rewrites its history", extra={"new_messages": len(suffix)})
            return None
        suffix = opened(suffix) if continues_last else suffix
        later = self._roles[bool(tools)].fit_later(suffix) if self._calls.writes(suffix) else None
        if later is None:
            log.debug(
                "not continued: the template has an instruction in front only", extra={"new_messages": len(suffix)}
            )
            return None
        # Where the proof found the tools to make no difference behind the anchor, rendering them would be for nothing.
        tools = tools if self.seams.tools_matter else None
        fitted = self._calls.fit([ANCHOR_USER, history[-1], *self._calls.spread(later)])
        request = self._guard(_Request(placed(fitted), tools, kwargs))
        delta = behind(
            self._render,
            request.messages[:2],
            request.messages[2:],
            request.tools,
            {**self._kwargs, **request.kwargs},
            turn_ends=self.seams.turn_ends,
            keep_thoughts=self._thoughts,
        )
        if delta is None:
            log.debug("not continued: the template rewrites this answer", extra={"new_messages": len(suffix)})
            return None
        ids = self._encode(until_opening(delta) if continues_last else delta, request.cut)
        return self._ends.rest(ids, suffix[0]["role"], last_id)

    def decode(
        self,
        ids: Sequence[int],
        tools: Sequence[Tool] | None,
        *,
        until: int | None = None,
        continues_last: bool = False,
    ) -> Message:
        """See `types.Codec`. Control tokens are kept for the parsers only (contract UA-TC-06)."""
        thinking = self._thoughts_opened and not continues_last
        ended = bool(ids) and ids[-1] in self._turn_ends
        if ended:
            ids = ids[:-1]
        ended = ended and until is None  # what was cut off may have had more to think
        shown = self.vocabulary.without_control
        if self._parser is not None and tools:
            reasoning, text = self._split(self._text(ids, until, keep_control=True), thinking, ended)
            content, calls = parse_calls(self._parser, text, tools)
            if calls:
                return {**_answer(shown(reasoning), shown(content)), "tool_calls": calls}
        keep = self._thoughts_are_control
        reasoning, text = self._split(self._text(ids, until, keep_control=keep), thinking, ended)
        return _answer(shown(reasoning), shown(text)) if keep else _answer(reasoning, text)

    def ends_turn(self, token: int) -> bool:
        """See `types.Codec`."""
        return token in self._turn_ends

    def token_bytes(self, token: int) -> bytes:
        """See `types.Codec`."""
        return self.vocabulary.token_bytes(token)

    @property
    def forces_calls(self) -> bool:
        """Whether calls can be written as a grammar."""
        return self._written is not None

    def grammar(self, constraint: Constraint, tools: Sequence[Tool] | None, context: Sequence[int]) -> Grammar:
        """See `types.Codec`. A context may have begun thoughts that other contexts leave to the model."""
        opened = self._thoughts and opens_thoughts(self.vocabulary.decode(list(context)[-_TAIL:], keep_control=True))
        return grammar_of(constraint, tools or (), self._written, thinks=self._thoughts, opened=opened)

    def find_stop(self, ids: Sequence[int], stops: Sequence[str], matched: str | None) -> Stopped | None:
        """See `types.Codec`. Of several places of what the engine matched it means the one that the last id made whole:
        it may have been told to look for none before."""
        text = self.vocabulary.decode(ids, keep_control=False)
        if matched is None:
            reached = first_stop(text, stops)
            return None if reached is None else Stopped(reached[1], reached[0])
        start = 0
        if text.count(matched) > 1:
            before = self.vocabulary.decode(ids[:-1], keep_control=False).rstrip("\ufffd")
            start = max(len(before) - len(matched) + 1, 0)
        place, _ = first_stop(text, (matched,), start) or (len(text), matched)
        return Stopped(matched, place)

    def watch(self, stops: Sequence[str]) -> Callable[[Sequence[int]], str | None]:
        """Looks for stop strings while ids are sampled: is told the ids as they come, and says which one their text has
        reached, which is the one that `find_stop` finds in the whole."""
        text = self.vocabulary.live((), stops)

        def reached(ids: Sequence[int]) -> str | None:
            text.feed(ids)
            return text.stop

        return reached

    def live(self, tools: Sequence[Tool] | None, stops: Sequence[str] = ()) -> LiveText | None:
        """Makes the text of one generation while it is sampled, as far as it is sure to stand before `stops`; None
        where it can be told only from the whole."""
        calls = self._parser is not None and bool(tools)
        if self._thoughts or (calls and self._openings is None):
            return None
        return self.vocabulary.live((self._openings or ()) if calls else (), stops)

    def takes_media(self) -> bool:
        """Whether the template has a place for each image, and writes it as something else than a Python value."""
        image = {"type": "image"}
        parts = [{"type": "text", "text": "See"}, image, image]
        try:
            with_one, with_two = (
                self._render([{"role": "user", "content": parts[:count]}], None, self._kwargs, True) for count in (2, 3)
            )
        except TemplateRefused:
            return False
        return len(with_one) < len(with_two) and "'type'" not in with_two

    def _text(self, ids: Sequence[int], until: int | None, *, keep_control: bool) -> str:
        """The text of `ids`; of the characters that are no control tokens' the first `until`."""
        text = self.vocabulary.decode(ids, keep_control=keep_control)
        if until is None:
            return text
        return text[: self.vocabulary.place_among_control(text, until) if keep_control else until]

    def _fit(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> Sequence[Message]:
        """The messages as the template can write them, none of them lost. Raises `MessageRefused`."""
        self._calls.require(messages)
        return placed(self._calls.fit(self._calls.spread(self._roles[bool(tools)].fit(messages))))

    def _blamed(
        self,
        refused: TemplateRefused,
        messages: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
    ) -> TemplateRefused:
        """The same refusal with the name of the first message that the template does not take behind those before it.
        A conversation is taken, or not, in its beginnings: the longest that is taken ends before that message."""

        def taken(count: int) -> bool:
            try:
                self._render(self._fit(messages[:count], tools), tools, {**self._kwargs, **kwargs}, False)
            except TemplateRefused:
                return False
            return True

        # Many templates want a user's message before anything else.
        asked = next((place + 1 for place, message in enumerate(messages) if message["role"] == "user"), 0)
        low, high = (asked if taken(asked) else 0), len(messages) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if taken(middle) else (low, middle)
        if high > len(messages):
            return refused
        return MessageRefused(f"messages[{low}].role {messages[low]['role']!r} can't stand in this place: {refused}")

    def _ask(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> str:
        return self._render(messages, tools, self._kwargs, True)

    def _split(self, text: str, opened: bool, ended: bool) -> tuple[str, str]:
        return split_thoughts(text, opened=opened, ended=ended) if self._thoughts else ("", text)

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None, kwargs: Mapping[str, Any], prompt: bool
    ) -> str:
        return self._template.render(messages, tools, kwargs, add_generation_prompt=prompt)

    def _encode(self, text: str, cut: str | None) -> list[int]:
        return self.vocabulary.encode(text) if cut is None else self.vocabulary.encode_marked(text, cut)

    def _guard(self, request: _Request) -> _Request:
        """What a client said, with every control string in it cut; as it is when there is none."""
        parts = (request.messages, request.tools, request.kwargs)
        if self._parse_control or not any(map(self._mentions_control, parts)):
            return request
        cut = new_cut()
        return _Request(
            self._mark(request.messages, cut), self._mark(request.tools, cut), self._mark(request.kwargs, cut), cut
        )

    def _mentions_control(self, value: Any) -> bool:
        if isinstance(value, str):
            return self.vocabulary.has_control(value)
        if isinstance(value, Mapping):
            return any(self._mentions_control(item) for pair in value.items() for item in pair)
        if isinstance(value, Sequence):
            return any(map(self._mentions_control, value)) or self.vocabulary.has_control("".join(_texts(value)))
        return False

    def _mark(self, value: Any, cut: str) -> Any:
        if isinstance(value, str):
            return self.vocabulary.mark([value], cut)[0]
        if isinstance(value, Mapping):
            return {self._mark(key, cut): self._mark(item, cut) for key, item in value.items()}
        if not isinstance(value, Sequence):
            return value
        # A template writes the text parts of one message without a gap: a control string may be spread over several.
        texts = iter(self.vocabulary.mark(_texts(value), cut))
        return [
            {**self._mark(item, cut), "text": next(texts)} if _text(item) is not None else self._mark(item, cut)
            for item in value
        ]


def _end_tokens(files: TokenizerFiles, vocabulary: Vocabulary) -> dict[int, str]:
    """The tokens that a generation can end with, by id: the text of each."""
    named = [files.special_tokens.get("eos_token"), *KNOWN_ENDS]
    ids = {token for text in named if text and (token := vocabulary.token_id(text)) is not None} | files.end_ids
    return {token: text for token in sorted(ids) if (text := vocabulary.text_of(token))}


def _known(field: str, name: str, names: Collection[str]) -> str:
    if name not in names:
        raise ValueError(f"{field} {name!r} is unknown: expected one of {', '.join(names)}")
    return name


def _answer(reasoning: str, content: str) -> Message:
    message: Message = {"role": "assistant", "content": content}
    return {**message, "reasoning_content": reasoning} if reasoning else message


def _text(part: Any) -> str | None:
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else None


def _texts(parts: Sequence[Any]) -> list[str]:
    return [text for part in parts if (text := _text(part)) is not None]
