"""The start-up proof that a chat template can be continued by appending, and what its seams are.

Knows how templates differ. Never knows a client's message: the proof works on conversations of its own.

For each kind of continuation the delta behind a short anchor must be, token for token, the end of the full render of
several longer conversations, and the full render must still begin with the history as it was rendered before, and that
with the prompt that asked for its last answer. A template that rewrites its history, or one whose generation prompt is
not simply appended, does not pass for the kinds in which it does so.

Many templates rewrite one thing only: they drop what the model thought before earlier answers. Where thoughts are to be
*kept*, histories are compared without them: the ids that were sampled stay, and what follows them is what the template
writes there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from reference_gateway.codec.chat_template import TemplateRefused
from reference_gateway.codec.ends import turn_ends_of
from reference_gateway.codec.reasoning import without_thoughts
from reference_gateway.codec.vocabulary import new_cut
from reference_gateway.types import Message, Tool

Render = Callable[[Sequence[Message], "Sequence[Tool] | None", Mapping[str, Any], bool], str]
Encode = Callable[[str], list[int]]

ANCHOR_USER: Message = {"role": "user", "content": "Go on."}
_MARK = "4815162342"
_HERE = new_cut()
_PLAIN: Message = {"role": "assistant", "content": _MARK}


def _calling(*names: str) -> Message:
    calls = [
        {"id": f"call{place:05d}", "type": "function", "function": {"name": name, "arguments": {"query": "tea"}}}
        for place, name in enumerate(names)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _result(place: int) -> Message:
    return {"role": "tool", "tool_call_id": f"call{place:05d}", "name": "search", "content": f"found {place}"}


_USER: Message = {"role": "user", "content": "And then?"}
TOOLS: list[Tool] = [
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search.",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        },
    }
]
_CALL, _CALLS = _calling("search"), _calling("search", "search")

CONTINUATIONS: Mapping[str, tuple[tuple[Message, tuple[Message, ...]], ...]] = {
    "user": ((_PLAIN, (_USER,)),),
    "tool": ((_CALL, (_result(0),)),),
    "tools": ((_CALLS, (_result(0), _result(1))),),
    "tool+user": ((_CALL, (_result(0), _USER)),),
    "assistant": (
        (_PLAIN, (_USER, {"role": "assistant", "content": "So."}, _USER)),
        (_PLAIN, (_USER, _CALL, _result(0))),
    ),
}
"""Kind of a continuation -> (the assistant message it stands behind, the new messages), to be proved each."""

_HISTORIES: tuple[tuple[Message, ...], ...] = (
    (_USER,),
    ({"role": "system", "content": "Be brief."}, _USER),
    (_USER, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Why?"}),
    (_USER, _CALL, _result(0), {"role": "assistant", "content": "Here."}, {"role": "user", "content": "Why?"}),
)


@dataclass(frozen=True, slots=True)
class Seams:
    """What holds a rendered conversation together.

    `turn_ends` are the texts behind an assistant's content (the end-of-turn token and the separator), the one that was
    seen first; `generation_prompt` is the text that asks for the next answer. `fronts` maps the role of a message to
    what stands between an answer and its content, where that can be told. `proved` are the kinds of continuation that
    may be appended in a request without tools, `proved_with_tools` in one with tools. `reason` says in a sentence why
    others may not be.
    """

    turn_ends: tuple[str, ...]
    generation_prompt: str
    fronts: Mapping[str, str]
    proved: frozenset[str]
    proved_with_tools: frozenset[str]
    tools_matter: bool
    reason: str | None

    @property
    def turn_end(self) -> str:
        """The text that was seen behind an answer."""
        return self.turn_ends[0]

    def proved_for(self, tools: Sequence[Tool] | None) -> frozenset[str]:
        """The kinds of continuation that may be appended in a request with these tools."""
        return self.proved_with_tools if tools else self.proved


def kinds_of(suffix: Sequence[Message]) -> frozenset[str]:
    """Which kinds of continuation must be proved for `suffix` to be appended."""
    roles = [message["role"] for message in suffix]
    kinds = set()
    if "assistant" in roles:
        kinds.add("assistant")
    if "tool" in roles:
        run = any(pair == ("tool", "tool") for pair in pairwise(roles))
        kinds.add("tools" if run else "tool")
    if any(role not in ("assistant", "tool") for role in roles):
        kinds.add("tool+user" if "tool" in roles else "user")
    return frozenset(kinds)


def find_seams(
    render: Render,
    encode: Encode,
    kwargs: Mapping[str, Any],
    *,
    keep_thoughts: bool = False,
    end_texts: Collection[str] = (),
) -> Seams:
    """Examine a template. `end_texts` are those of the tokens that a generation can end with. Raises ValueError when it
    can't render even a question and an answer."""
    try:
        question = render([ANCHOR_USER], None, kwargs, False)
        prompted = render([ANCHOR_USER], None, kwargs, True)
        answered = render([ANCHOR_USER, _PLAIN], None, kwargs, False)
    except TemplateRefused as error:
        raise ValueError(f"the chat template is unusable: {error.__cause__ or error}") from error
    if answered.count(_MARK) != 1:
        raise ValueError("the chat template is unusable: it does not write an assistant's content exactly once")
    turn_ends = turn_ends_of(answered.partition(_MARK)[2], end_texts)
    nothing = frozenset[str]()
    generation_prompt = prompted[len(question) :]
    if not prompted.startswith(question) or encode(prompted) != encode(question) + encode(generation_prompt):
        return Seams(turn_ends, "", {}, nothing, nothing, True, "Generation prompt is not a stable token suffix")
    proof = _Proof(render, encode, kwargs, turn_ends, keep_thoughts)
    proved, proved_with_tools = proof.kinds(None), proof.kinds(TOOLS)
    tools_matter = any(
        proof.delta(anchor, suffix, None) != proof.delta(anchor, suffix, TOOLS)
        for kind in proved_with_tools
        for anchor, suffix in CONTINUATIONS[kind]
    )
    reason = _reason(proved, proved_with_tools)
    if not keep_thoughts and (reason is None or _Proof(render, encode, kwargs, turn_ends, True).kinds(None) > proved):
        reason = f"{reason}; {_THOUGHTS}" if reason else (None if proof.keeps_thoughts() else _THOUGHTS)
    return Seams(turn_ends, generation_prompt, proof.fronts(), proved, proved_with_tools, tools_matter, reason)


_THOUGHTS = "the template drops what was thought before earlier answers (a reasoning parser keeps it)"


def _reason(proved: frozenset[str], proved_with_tools: frozenset[str]) -> str | None:
    reasons = []
    for kinds, where in ((proved, "for requests without tools"), (proved_with_tools, "for requests with tools")):
        missing = [kind for kind in CONTINUATIONS if kind not in kinds]
        if missing:
            reasons.append(f"{where}: {', '.join(missing)}")
    return f"the template rewrites its history at these continuations, {'; '.join(reasons)}" if reasons else None


def behind(
    render: Render,
    history: Sequence[Message],
    suffix: Sequence[Message],
    tools: Sequence[Tool] | None,
    kwargs: Mapping[str, Any],
    *,
    turn_ends: Sequence[str],
    keep_thoughts: bool = False,
) -> str | None:
    """What the template writes behind the answer that `history` ends with, from the end of its turn to the generation
    prompt behind `suffix`. None when it rewrites the history, or can't render it.

    A mark that nobody can guess, and that is taken out again, stands in the answer. What is in front of it may not
    change when `suffix` is added, and what is behind it, without `suffix`, may only be added to.
    """
    for answer in _marked(history[-1], keep_thoughts):
        marked = [*history[:-1], answer]
        try:
            before = render(marked, tools, kwargs, False)
            whole = render([*marked, *suffix], tools, kwargs, True)
        except TemplateRefused:
            return None
        front, mark, seam = before.partition(_HERE)
        if not mark:
            continue
        new_front, _, rest = whole.partition(_HERE)
        same = front == new_front or (keep_thoughts and without_thoughts(front) == without_thoughts(new_front))
        turn_end = next((end for end in turn_ends if seam.endswith(end)), None)
        if not same or turn_end is None or not rest.startswith(seam):
            return None
        return rest[len(seam) - len(turn_end) :].replace(_HERE, "")
    return None


def _marked(answer: Message, keep_thoughts: bool) -> Iterator[Message]:
    """The answer with the mark in it, in the places where templates write it as it is, the last first."""
    if keep_thoughts:
        answer = {name: value for name, value in answer.items() if name != "reasoning_content"}
    calls = answer.get("tool_calls")
    if calls:
        function = calls[-1]["function"]
        named = {**calls[-1], "function": {**function, "name": function["name"] + _HERE}}
        yield {**answer, "tool_calls": [*calls[:-1], named]}
    content = answer["content"]
    yield {
        **answer,
        "content": content + _HERE if isinstance(content, str) else [*content, {"type": "text", "text": _HERE}],
    }


@dataclass(frozen=True, slots=True)
class _Proof:
    render: Render
    encode: Encode
    kwargs: Mapping[str, Any]
    turn_ends: tuple[str, ...]
    keep_thoughts: bool

    def kinds(self, tools: list[Tool] | None) -> frozenset[str]:
        """The kinds of continuation for which the proof holds."""
        histories = [history for history in _HISTORIES if self._renders(history, tools)]
        proved = set()
        for kind, cases in CONTINUATIONS.items():
            rendered = [(anchor, new) for anchor, new in cases if self._renders([ANCHOR_USER, anchor, *new], tools)]
            same = (self._same(history, anchor, new, tools) for anchor, new in rendered for history in histories)
            if histories and rendered and all(same):
                proved.add(kind)
        return frozenset(proved)

    def keeps_thoughts(self) -> bool:
        """Whether an answer with reasoning may be continued by a user."""
        return self.delta({**_PLAIN, "reasoning_content": "Hm."}, (_USER,), None) is not None

    def fronts(self) -> dict[str, str]:
        """What stands between an answer and the content of the message behind it, by that message's role."""
        anchors = {"user": _PLAIN, "system": _PLAIN, "tool": _CALL}
        messages = {role: {**_result(0), "role": role, "content": _MARK[::-1]} for role in anchors}
        deltas = {role: self.delta(anchor, [messages[role]], None) for role, anchor in anchors.items()}
        return {
            role: front
            for role, delta in deltas.items()
            if delta and (front := delta.partition(_MARK[::-1])[0]) != delta
        }

    def delta(self, anchor: Message, suffix: Sequence[Message], tools: list[Tool] | None) -> str | None:
        """What stands behind the anchor's content, rendered behind the short anchor."""
        return self._behind([ANCHOR_USER, anchor], suffix, tools)

    def _behind(self, history: Sequence[Message], suffix: Sequence[Message], tools: list[Tool] | None) -> str | None:
        keep, ends = self.keep_thoughts, self.turn_ends
        return behind(self.render, history, suffix, tools, self.kwargs, turn_ends=ends, keep_thoughts=keep)

    def _same(
        self, history: Sequence[Message], anchor: Message, suffix: Sequence[Message], tools: list[Tool] | None
    ) -> bool:
        delta = self.delta(anchor, suffix, tools)
        if delta is None or delta != self._behind([*history, anchor], suffix, tools):
            return False
        # What was sent to get the answer must stand unchanged before it, once it is an answer.
        asked = self.render(history, tools, self.kwargs, True)
        answered = self.render([*history, anchor], tools, self.kwargs, False)
        if self.keep_thoughts:
            asked, answered = without_thoughts(asked), without_thoughts(answered)
        if not answered.startswith(asked):
            return False
        ids = self.encode(delta)
        whole = self.encode(self.render([*history, anchor, *suffix], tools, self.kwargs, True))
        return bool(ids) and whole[-len(ids) :] == ids

    def _renders(self, history: Sequence[Message], tools: list[Tool] | None) -> bool:
        """One that the template refuses can't be continued by anyone."""
        try:
            self.render(history, tools, self.kwargs, True)
        except TemplateRefused:
            return False
        return True
