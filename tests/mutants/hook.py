"""Mutants of area HOOK: the run hook."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.host import Host
from reference_gateway.channel.request import ChannelRequest
from reference_gateway.channel.target import SessionTarget
from reference_gateway.serving import invocations_plane
from reference_gateway.wire import invocations
from reference_gateway.wire.base import RequestRefused
from tests.mutants.inv import declares, invoked
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

BEFORE = {"run_hook": "before_stream_decision"}


def asked(answer: Answer) -> dict[str, Any]:
    """What an invocation asked of the demo; nothing for any other request."""
    body = answer.asked if invoked(answer) else None
    demo = body.get("demo") if isinstance(body, dict) else None
    return demo if isinstance(demo, dict) else {}


def after_the_hook(gateway: Sabotage, change: Callable[[ChannelRequest, ChannelRequest], ChannelRequest]) -> None:
    """Run `change(request as it came, as the hook returned it)` instead of what the hook returned."""

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        return change(request, await original(self, request, target, body))


@mutant("HOOK-001")
def plain_run_hook_is_for_side_effects(gateway: Sabotage) -> None:
    """Only what a coroutine returns is run; a plain function is called for its side effects."""

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        made = self.run(request, target=target, protocol_request=body)
        return await made if inspect.isawaitable(made) else replace(made, input=request.input)


@mutant("HOOK-001", also=("HOOK-002",))
def message_is_taken_from_the_body(gateway: Sabotage) -> None:
    """The target is given the message of the body, and the rest of what the hook returned."""
    after_the_hook(gateway, lambda came, returned: replace(returned, input=came.input))


@mutant("HOOK-002")
def run_coroutine_is_awaited_for_its_failures(gateway: Sabotage) -> None:
    """A hook that is a coroutine is awaited, so that its failures are seen, and what it returns is dropped."""

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        made = self.run(request, target=target, protocol_request=body)
        if not inspect.isawaitable(made):
            return made
        await made
        return request


@mutant("HOOK-003")
def run_hook_is_called_again_in_the_host(gateway: Sabotage) -> None:
    """The hook is called where a stream is begun, and again inside the host."""

    @gateway.wrap(Host, "prepare")
    async def prepare(original: Any, self: Any, request: Any, target: Any, body: Any = None) -> Any:
        if request.stream:
            await original(self, request, target, body)
        return await original(self, request, target, body)


@mutant("HOOK-004")
def run_hook_sees_refused_bodies(gateway: Sabotage) -> None:
    """The hook is called with each body, so that it may mend a bad one."""
    planes: list[Any] = []

    @gateway.wrap(invocations_plane.InvocationsPlane, "_require_route")
    def require(original: Any, self: Any, path: str, scope: Any) -> Any:
        planes.append(self)
        return original(self, path, scope)

    @gateway.wrap(invocations_plane.invocations, "parse")
    def parse(original: Any, content: bytes, flag: str) -> Any:
        try:
            return original(content, flag)
        except RequestRefused:
            if b'"once"' in content:
                planes[-1]._host.hooks.run(ChannelRequest("?"), target=None, protocol_request=json.loads(content))
            raise


@mutant("HOOK-005")
def conversation_is_looked_up_first(gateway: Sabotage) -> None:
    """The conversation is looked up before the hook is called."""
    after_the_hook(gateway, lambda came, returned: replace(returned, session_key=came.session_key))


@mutant("HOOK-006")
def hook_options_are_dropped(gateway: Sabotage) -> None:
    """The target is run without the options of the request."""
    after_the_hook(gateway, lambda came, returned: replace(returned, options={}))


@mutant("HOOK-006")
def hook_max_tokens_is_dropped(gateway: Sabotage) -> None:
    """Of the options only those of the sampler are known."""

    def change(came: ChannelRequest, returned: ChannelRequest) -> ChannelRequest:
        return replace(returned, options={name: one for name, one in returned.options.items() if name != "max_tokens"})

    after_the_hook(gateway, change)


@mutant("HOOK-007")
def disabled_is_automatic(gateway: Sabotage) -> None:
    """A conversation that is named is used."""

    def change(came: ChannelRequest, returned: ChannelRequest) -> ChannelRequest:
        return replace(returned, session_mode="auto") if returned.session_mode == "disabled" else returned

    after_the_hook(gateway, change)


@mutant("HOOK-008")
def required_is_automatic(gateway: Sabotage) -> None:
    """Where no conversation is named, none is kept, required or not."""

    def change(came: ChannelRequest, returned: ChannelRequest) -> ChannelRequest:
        return replace(returned, session_mode="auto") if returned.session_mode == "required" else returned

    after_the_hook(gateway, change)


@mutant("HOOK-009")
def reset_forgets_nothing(gateway: Sabotage) -> None:
    """The alias is rotated, and the cached conversation stays."""
    gateway.patch(SessionTarget, "reset", lambda self, key: f"{key}#00000000")


@mutant("HOOK-009")
def reset_is_for_one_request(gateway: Sabotage) -> None:
    """The request that resets begins anew, and the one after it finds the old conversation."""

    @gateway.wrap(SessionTarget, "reset")
    def reset(original: Any, self: Any, key: str) -> Any:
        return f"{key}#00000000"

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        changed = await original(self, request, target, body)
        resets = isinstance(body, dict) and isinstance(body.get("demo"), dict) and body["demo"].get("reset")
        return replace(changed, session_mode="disabled") if resets else changed


@mutant("HOOK-010")
def hooked_requests_have_a_temperature(gateway: Sabotage) -> None:
    """What a hook returned is sent with the host's own default of the temperature."""

    def change(came: ChannelRequest, returned: ChannelRequest) -> ChannelRequest:
        return returned if returned is came or returned.options else replace(returned, options={"temperature": 1.0})

    after_the_hook(gateway, change)


@mutant("HOOK-011", also=("HOOK-012", "HOOK-013", "HOOK-015"))
def failed_hook_is_passed_over(gateway: Sabotage) -> None:
    """The failure of a hook is logged, and the request is run as it came."""

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        try:
            return await original(self, request, target, body)
        except Exception as error:
            if "before" in str(error):
                raise
            return request


@mutant("HOOK-011")
def failed_hook_is_plain_text(gateway: Sabotage) -> None:
    """What a hook raises ends in the server's own page."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if "fail" in asked(answer) and not answer.is_stream:
            answer.headers["content-type"] = "text/plain; charset=utf-8"
            answer.body = b"Internal Server Error"


@mutant("HOOK-012")
def target_is_run_beside_the_hook(gateway: Sabotage) -> None:
    """The target of a stream is begun while the hook still runs."""

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        try:
            return await original(self, request, target, body)
        except Exception:
            if request.stream:
                await target.run(request)
            raise


@mutant("HOOK-012", also=("HOOK-013", "HOOK-015"))
def failed_hook_ends_with_done(gateway: Sabotage) -> None:
    """The end of a stream is sent whatever came before it."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if "fail" in asked(answer) and answer.is_stream:
            answer.body += b"data: [DONE]\n\n"


@mutant("HOOK-013")
def stream_of_a_failed_hook_has_its_status(gateway: Sabotage) -> None:
    """The status of a stream is that of its failure, frames and all."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if "fail" in asked(answer) and answer.is_stream:
            answer.status = 500


@mutant("HOOK-014")
def failed_hook_is_always_a_frame(gateway: Sabotage) -> None:
    """The hook decides the framing, and where it fails the body does."""
    gateway.configure(channel_options=BEFORE)

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if "fail" in asked(answer) and answer.asked.get("stream") and not answer.is_stream:
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = b"event: error\ndata: no\n\n"


@mutant("HOOK-015")
def error_frame_is_not_split(gateway: Sabotage) -> None:
    """The text of a failure is put behind one `data: ` as it is."""

    @gateway.wrap(invocations.Framing, "failure")
    def failure(original: Any, self: Any, message: str) -> bytes:
        return f"event: error\ndata: {message}\n\n".encode()


@mutant("HOOK-015")
def empty_failure_has_no_data(gateway: Sabotage) -> None:
    """A failure that says nothing is a frame without a `data: ` line, which clients drop."""

    @gateway.wrap(invocations.Framing, "failure")
    def failure(original: Any, self: Any, message: str) -> bytes:
        return bytes(original(self, message)) if message else b"event: error\n\n"


@mutant("HOOK-016")
def run_hook_may_open_a_stream(gateway: Sabotage) -> None:
    """A hook that asks for a stream gets one, whatever the body says."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked(answer).get("stream") and not answer.is_stream and answer.status == 200:
            text = answer.json["response"]
            answer.headers["content-type"] = "text/event-stream"
            answer.body = f"data: {text}\n\ndata: [DONE]\n\n".encode()


@mutant("HOOK-016", also=("HOOK-013", "HOOK-015"))
def run_hook_decides_whatever_is_declared(gateway: Sabotage) -> None:
    """The framing is decided by the request that the hook returned, and that is not declared."""
    gateway.configure(channel_options=BEFORE)
    declares(gateway, run_hook="inside_host")


@mutant("HOOK-017", also=("HOOK-014",))
def run_hook_is_declared_only(gateway: Sabotage) -> None:
    """The framing is decided by the body, and the opposite is declared."""
    declares(gateway, run_hook="before_stream_decision")


@mutant("HOOK-017")
def run_hook_cannot_open_a_stream(gateway: Sabotage) -> None:
    """A hook may turn a stream into a plain answer, and not the other way round."""
    gateway.configure(channel_options=BEFORE)

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if asked(answer).get("stream") and answer.is_stream:
            answer.headers["content-type"] = "application/json"
            answer.json = {"response": "A herring", "session_id": None}
