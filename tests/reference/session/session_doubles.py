"""The test doubles of contract 0.3: a tokenizer whose ids are code points, and a backend that says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference_gateway.session import Session, Settings, Trajectory
from reference_gateway.types import Answer, Generation, Media, Message, Tool, Turn

IMAGE, VIDEO = 32001, 32002


def ids(text: str) -> list[int]:
    return [ord(character) for character in text]


def text(tokens: Sequence[int]) -> str:
    return "".join(map(chr, tokens))


def render(messages: Sequence[Message]) -> str:
    return "".join(f"{message['role']}:{_content(message)}\n" for message in messages)


def _content(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text") or _placeholder(part) for part in content)
    return content or ""


def _placeholder(part: dict[str, Any]) -> str:
    return {"image_url": chr(IMAGE), "video_url": chr(VIDEO)}.get(part["type"], "")


class CharCodec:
    """`role:content\\n` for each message, then `assistant:`; `separator` stands between turns (in the seeds: none).

    `incremental` False never continues by appending; `<tool_call>` in a text becomes a call of `search`."""

    mode = "incremental"

    def __init__(
        self, separator: str = "", *, incremental: bool = True, refuse: Callable[[], None] | None = None
    ) -> None:
        self.separator = separator
        self.incremental = incremental
        self.refuse = refuse or (lambda: None)

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool] | None, kwargs: Mapping[str, Any]) -> list[int]:
        return ids(render(messages) + "assistant:")

    def encode_suffix(
        self,
        history: Sequence[Message],
        suffix: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
        last_id: int | None,
    ) -> list[int] | None:
        assert history[-1]["role"] == "assistant"
        if not self.incremental:
            return None
        return ids(self.separator + render(suffix) + "assistant:")

    def decode(self, tokens: Sequence[int], tools: Sequence[Tool] | None) -> Message:
        self.refuse()
        if tools and "<tool_call>" in text(tokens):
            function = {"name": "search", "arguments": {"query": "weather"}}
            return {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            }
        return {"role": "assistant", "content": text(tokens)}


class Backend:
    """Gives the steps in order: a text, a `Generation`, or an exception. `calls` is the ledger. While `held`, each call
    parks until `release(n)` is called with its number; `failures` are the numbers of the calls that fail."""

    name = "double"

    def __init__(self, *steps: str | Generation | Exception, held: bool = False) -> None:
        self.steps = list(steps)
        self.calls: list[Call] = []
        self.held = held
        self.failures: set[int] = set()
        self._arrived = asyncio.Condition()

    async def generate(
        self, context: Sequence[int], sampling: Mapping[str, Any], *, session_id: str, media: Media
    ) -> Generation:
        number = len(self.calls)
        call = Call(list(context), dict(sampling), session_id, media)
        self.calls.append(call)
        if self.held:
            async with self._arrived:
                self._arrived.notify_all()
            await call.released.wait()
        step = RuntimeError("boom") if number in self.failures else self.steps[number]
        if isinstance(step, Exception):
            raise step
        return Generation(ids(step)) if isinstance(step, str) else step

    async def in_flight(self, count: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    def release(self, number: int) -> None:
        self.calls[number].released.set()

    async def close(self) -> None:
        self.steps.clear()


class Call:
    def __init__(self, context: list[int], sampling: dict[str, Any], session_id: str, media: Media) -> None:
        self.context = context
        self.sampling = sampling
        self.session_id = session_id
        self.media = media
        self.released = asyncio.Event()


def sampled(content: str, **fields: Any) -> Generation:
    return Generation(ids(content), **fields)


def messages(history: str) -> list[Message]:
    """`"S s, U hi, A A1, T obs"` as messages."""
    roles = {"S": "system", "U": "user", "A": "assistant", "T": "tool"}
    pairs = [entry.strip().partition(" ") for entry in history.split(",")]
    return [{"role": roles[letter], "content": content} for letter, _, content in pairs]


def turn(history: str, **fields: Any) -> Turn:
    return Turn(messages(history), **fields)


def session(
    *steps: str | Generation | Exception, codec: CharCodec | None = None, **settings: Any
) -> tuple[Session, Backend]:
    """A session and its backend. Settings that are no field of `Settings` are options."""
    fields = {name: settings.pop(name) for name in Settings.__slots__ if name in settings}
    held = settings.pop("held", False)
    media = settings.pop("media", None)
    backend = Backend(*steps, held=held)
    made = Session("s1", codec or CharCodec(), backend, Settings(**fields, options=settings), media=media)
    return made, backend


def shown(trajectory: Trajectory) -> tuple[str, str, str, int]:
    """Prompt, response, mask as run lengths (`1x2 0x20`), num_turns."""
    runs: list[list[int]] = []
    for bit in trajectory.response_mask:
        if runs and runs[-1][0] == bit:
            runs[-1][1] += 1
        else:
            runs.append([bit, 1])
    mask = " ".join(f"{bit}x{count}" for bit, count in runs)
    return text(trajectory.prompt_ids), text(trajectory.response_ids), mask, trajectory.num_turns


def talk(session: Session, *turns: str | Turn) -> list[Answer]:
    """Each turn in order, each after the one before was answered."""

    async def all_turns() -> list[Answer]:
        return [await session.run(turn(each) if isinstance(each, str) else each) for each in turns]

    return asyncio.run(all_turns())


def responses(session: Session) -> list[str]:
    return [text(trajectory.response_ids) for trajectory in session.trajectories()]


def chain_ids(session: Session) -> list[int]:
    ids: list[int] = session.state()["active_chain_ids"]
    return ids


def last_context(backend: Backend) -> str:
    return text(backend.calls[-1].context)
