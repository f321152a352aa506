"""Mutants of area HOOK: the hooks behind the target."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.channel.hooks import Hooks, ResponseContext
from reference_gateway.channel.host import Host
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


def described(context: ResponseContext) -> bool:
    """Whether the demo's response hook will change anything."""
    return bool(context.request.attributes.get("describe"))


def told(gateway: Sabotage, change: Callable[[ResponseContext], ResponseContext]) -> None:
    """The response hook is called with another context."""

    @gateway.wrap(Hooks, "behind")
    async def behind(original: Any, self: Any, result: str, context: ResponseContext) -> Any:
        return await original(self, result, change(context))


@mutant("HOOK-018")
def update_hook_may_only_drop(gateway: Sabotage) -> None:
    """What the hook returns says whether the chunk is sent, and the chunk is sent as it was."""

    @gateway.wrap(Hooks, "each")
    async def each(original: Any, self: Any, update: str) -> Any:
        made = self.update(update)
        if inspect.isawaitable(made):
            return await made
        return None if made is None else update


@mutant("HOOK-019")
def update_coroutine_is_turned_into_text(gateway: Sabotage) -> None:
    """The hook is expected to be a plain function."""

    @gateway.wrap(Hooks, "each")
    async def each(original: Any, self: Any, update: str) -> Any:
        made = self.update(update)
        if not inspect.isawaitable(made):
            return made
        made.close()  # type: ignore[attr-defined]
        return str(made)


@mutant("HOOK-020")
def dropped_chunk_is_written(gateway: Sabotage) -> None:
    """A chunk for which the hook returns nothing is written as the text of nothing."""

    @gateway.wrap(Hooks, "each")
    async def each(original: Any, self: Any, update: str) -> Any:
        return str(await original(self, update))


@mutant("HOOK-021")
def failed_chunk_is_left_out(gateway: Sabotage) -> None:
    """A chunk whose hook fails is left out, and the stream goes on."""

    @gateway.wrap(Hooks, "each")
    async def each(original: Any, self: Any, update: str) -> Any:
        try:
            return await original(self, update)
        except Exception:
            return None


@mutant("HOOK-022")
def plain_answer_is_a_stream_put_together(gateway: Sabotage) -> None:
    """A plain answer is collected from the chunks of a stream, hooks included."""

    @gateway.wrap(Host, "reply")
    async def reply(original: Any, self: Any, request: Any, target: Any) -> Any:
        return await self.hooks.each(await original(self, request, target)) or ""


@mutant("HOOK-023")
def response_hook_is_given_the_role(gateway: Sabotage) -> None:
    """A plain hook is called with the message as the framework prints it."""

    @gateway.wrap(Hooks, "behind")
    async def behind(original: Any, self: Any, result: str, context: ResponseContext) -> Any:
        if context.originating and context.request.attributes.get("describe") is True:
            result = f"assistant: {result}"
        return await original(self, result, context)


@mutant("HOOK-023", also=("HOOK-024", "HOOK-025", "HOOK-028", "HOOK-029"))
def response_hook_is_for_side_effects(gateway: Sabotage) -> None:
    """What the response hook returns is dropped."""

    @gateway.wrap(Hooks, "behind")
    async def behind(original: Any, self: Any, result: str, context: ResponseContext) -> Any:
        await original(self, result, context)
        return result


@mutant("HOOK-024")
def originating_reply_is_called_an_echo(gateway: Sabotage) -> None:
    """The reply to the client that asked counts as an echo of the others'."""
    told(gateway, lambda context: replace(context, is_echo=True) if context.originating else context)


@mutant("HOOK-024")
def originating_reply_has_no_channel(gateway: Sabotage) -> None:
    """The channel is the operation's."""
    told(gateway, lambda context: replace(context, channel_name="invoke") if context.originating else context)


@mutant("HOOK-025")
def response_coroutine_is_turned_into_text(gateway: Sabotage) -> None:
    """The hook is expected to be a plain function."""

    @gateway.wrap(Hooks, "behind")
    async def behind(original: Any, self: Any, result: str, context: ResponseContext) -> Any:
        made = self.response(result, context)
        if not inspect.isawaitable(made):
            return made
        made.close()  # type: ignore[attr-defined]
        return str(made)


@mutant("HOOK-026")
def response_hook_is_called_for_streams(gateway: Sabotage) -> None:
    """A stream is collected for the response hook, and sent in one chunk."""

    @gateway.wrap(Host, "chunks")
    async def chunks(original: Any, self: Any, request: Any, target: Any) -> Any:
        text = "".join([chunk async for chunk in original(self, request, target)])
        yield await self.hooks.behind(text, ResponseContext(request, request.channel))


@mutant("HOOK-027")
def history_is_what_was_sent(gateway: Sabotage) -> None:
    """The history is made of what the client was sent."""

    @gateway.wrap(Host, "reply")
    async def reply(original: Any, self: Any, request: Any, target: Any) -> Any:
        shown = await original(self, request, target)
        history = target._history(request)
        if history is not None and request.attributes.get("describe"):
            history.messages = (*history.messages[:-1], {"role": "assistant", "content": shown})
        return shown


@mutant("HOOK-028")
def response_hook_is_called_in_a_chain(gateway: Sabotage) -> None:
    """The hook is called with what it returned for the destination before."""
    last: dict[int, tuple[Any, str]] = {}

    @gateway.wrap(Hooks, "behind")
    async def behind(original: Any, self: Any, result: str, context: ResponseContext) -> Any:
        if context.originating or context.is_echo or not described(context):
            return await original(self, result, context)
        _, before = last.get(id(context.request), (None, result))
        made = await original(self, before, context)
        last[id(context.request)] = context.request, made
        return made


@mutant("HOOK-028")
def pushed_reply_is_called_originating(gateway: Sabotage) -> None:
    """The hook is told the same for every destination."""
    told(gateway, lambda context: context if context.is_echo else replace(context, originating=True))


@mutant("HOOK-029")
def echo_is_sent_past_the_hook(gateway: Sabotage) -> None:
    """Only answers go through the response hook."""

    @gateway.wrap(Hooks, "behind")
    async def behind(original: Any, self: Any, result: str, context: ResponseContext) -> Any:
        return result if context.is_echo else await original(self, result, context)


@mutant("HOOK-029")
def echo_is_taken_for_an_answer(gateway: Sabotage) -> None:
    """The hook is not told that a text is an echo."""
    told(gateway, lambda context: replace(context, is_echo=False))
