"""Area HOOK: the run hook, which is called before the target of an invocation."""

from __future__ import annotations

import pytest

from conformance.client.invocations import as_declared
from conformance.oracles import invocations
from conformance.vocabulary.expect import FAILED, REFUSED, calls_made, expect, fail, last_call


def other(upstream, text="And what is grey?"):
    """A message in place of the one that was sent, with the nonce of the check."""
    return f"{upstream.nonce} {text}"


@pytest.mark.requirement(id="HOOK-001")
def test_run_hook_replaces_the_message(session, upstream, streamed):
    """The run hook may replace the message: the model sees what the hook returned, and never what was sent."""
    upstream.says("A cod")

    session.invoke("What is silver?", stream=streamed, demo={"input": other(upstream)})

    seen = last_call(upstream).text if upstream.calls else "no call"
    expect(seen).contains("And what is grey?", "what the model sees").lacks("silver", "what the model sees")


@pytest.mark.requirement(id="HOOK-002")
def test_run_hook_is_waited_for(session, upstream, streamed):
    """A run hook that answers later is waited for: the model sees what it returned."""
    upstream.says("A cod")

    session.invoke("What is silver?", stream=streamed, demo={"later": True, "input": other(upstream)})

    seen = last_call(upstream).text if upstream.calls else "no call"
    expect(seen).contains("And what is grey?", "what the model sees")


@pytest.mark.requirement(id="HOOK-003")
def test_run_hook_is_called_once(session, upstream, streamed, target):
    """The run hook is called once for an accepted request, streamed or not."""
    upstream.says("A herring")

    asked = session.invoke("What is silver?", stream=streamed, demo={"once": f"{upstream.nonce} {streamed}"})

    expect(as_declared(asked, target).text).equals("A herring", "the text")


@pytest.mark.requirement(id="HOOK-004")
@pytest.mark.parametrize("flag", [{}, {"stream": True}], ids=["plain", "stream"])
def test_refused_invocation_never_calls_the_run_hook(session, upstream, flag):
    """An invocation that is refused for its body never calls the run hook."""
    demo = {"once": f"{upstream.nonce} {sorted(flag)}"}
    session.send_invocation({**session.invocation("What is silver?", 7, demo=demo), **flag})
    upstream.says("A herring")

    reply = session.invoke("What is silver?", demo=demo)

    expect(reply.text).equals("A herring", "the answer to the first request that is accepted")


@pytest.mark.requirement(id="HOOK-005")
def test_run_hook_replaces_the_conversation(session, upstream):
    """The run hook may replace the conversation: the model sees what was said in the one that the hook named."""
    upstream.says("A herring")
    session.invoke("What is silver?", "talk")
    upstream.says("A cod")

    session.invoke("And what is grey?", "elsewhere", demo={"session_id": "talk"})

    expect(last_call(upstream).text).contains("A herring", "what the model sees")


@pytest.mark.requirement(id="HOOK-006")
def test_options_of_the_run_hook_reach_the_upstream(session, upstream):
    """Sampling options that the run hook sets reach the upstream."""
    upstream.says("A herring")

    session.invoke("What is silver?", demo={"options": {"temperature": 0.25, "max_tokens": 77}})

    call = last_call(upstream)
    expect(call.sampling.get("temperature")).equals(0.25, "temperature")
    expect(call.max_tokens).equals(77, "max_tokens")


@pytest.mark.requirement(id="HOOK-007")
def test_run_hook_disables_the_conversation(session, upstream):
    """Where the run hook disables the conversation, the model sees the message alone, and it is not kept."""
    upstream.says("A herring", when="silver")
    session.invoke("What is silver?", "talk")
    upstream.says("A cod", when="grey")
    session.invoke("And what is grey?", "talk", demo={"session_mode": "disabled"})
    upstream.says("A carp", when="golden")

    session.invoke("And what is golden?", "talk")

    _, alone, after = calls_made(upstream, 3)
    expect(alone.text).lacks("silver", "what the model sees without the conversation")
    expect(after.text).lacks("grey", "what the model sees of the conversation afterwards")


@pytest.mark.requirement(id="HOOK-008")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_run_hook_requires_a_conversation(session, upstream, stream):
    """Where the run hook requires a conversation and the request names none, it is refused and never reaches the
    upstream."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", stream=stream, demo={"session_mode": "required"})

    expect(len(upstream.calls)).equals(0, "calls of the upstream")
    if not (reply.is_stream and reply.failure is not None):
        expect(reply).status(*REFUSED)


@pytest.mark.requirement(id="HOOK-009")
def test_run_hook_resets_the_conversation(session, upstream):
    """A conversation that the run hook resets begins anew: the model sees nothing of what was said before, now and
    later."""
    upstream.says("A herring")
    session.invoke("What is silver?", "talk")
    upstream.says("A cod")
    session.invoke("And what is grey?", "talk", demo={"reset": True})
    upstream.says("A carp")

    session.invoke("And what is golden?", "talk")

    for call in upstream.calls[1:]:
        expect(call.text).lacks("silver", "what the model sees from the reset on")


@pytest.mark.requirement(id="HOOK-010")
def test_run_hook_that_changes_nothing_is_without_effect(sessions, upstream):
    """A run hook that changes nothing is without effect: the upstream receives the same context and the same sampling
    parameters."""
    upstream.says("A herring")
    sessions.open().invoke("What is silver?")
    upstream.says("A herring")
    sessions.open().invoke("What is silver?", demo={})

    plain, hooked = calls_made(upstream, 2)
    expect(hooked.context).equals(plain.context, "the context with a hook that changes nothing")
    expect(hooked.sampling).equals(plain.sampling, "the sampling parameters with a hook that changes nothing")


@pytest.mark.requirement(id="HOOK-011")
@pytest.mark.parametrize("later", [False, True], ids=["at-once", "later"])
def test_failed_run_hook_is_told(session, upstream, later):
    """An invocation whose run hook fails is answered with a 5xx status or 422 and a JSON object `{"error": text}`, and
    never reaches the upstream."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", demo={"later": later, "fail": "no fish today"})

    expect(reply).status(422, *FAILED).has_flat_error()
    expect(len(upstream.calls)).equals(0, "calls of the upstream")


@pytest.mark.requirement(id="HOOK-012")
def test_failed_run_hook_ends_a_stream(session, upstream):
    """A streamed invocation whose run hook fails never reaches the upstream, and never has a `[DONE]`."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", stream=True, demo={"fail": "no fish today"})

    expect(len(upstream.calls)).equals(0, "calls of the upstream")
    expect(b"[DONE]" in reply.body).equals(False, "whether the stream claims to be complete")


@pytest.mark.requirement(id="HOOK-013")
def test_failed_run_hook_inside_the_host_is_a_frame(session):
    """Where the body decides the framing, a streamed invocation whose run hook fails is answered with status 200 and
    one frame `event: error`."""
    reply = session.invoke("What is silver?", stream=True, demo={"fail": "no fish today"})

    expect(reply).status(200).is_event_stream()
    expect([event.event for event in reply.events]).equals(["error"], "the events of the stream")


@pytest.mark.requirement(id="HOOK-014")
def test_failed_run_hook_before_the_stream_is_a_status(session):
    """Where the run hook decides the framing, a streamed invocation whose run hook fails is answered with a 5xx status
    or 422 and JSON."""
    reply = session.invoke("What is silver?", stream=True, demo={"fail": "no fish today"})

    expect(reply).status(422, *FAILED).is_json()


@pytest.mark.requirement(id="HOOK-015")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("no\nfish", id="lines"),
        pytest.param("no\r\nfish\rtoday\n", id="cr"),
        pytest.param("no\n\nevent: message\ndata: fish", id="event"),
        pytest.param("no\n\ndata: [DONE]", id="done"),
    ],
)
def test_error_frame_is_well_formed(session, target, text):
    """The frame of an error is well formed whatever the failure says: nothing, several lines, or what looks like an
    event."""
    reply = as_declared(session.invoke("What is silver?", stream=True, demo={"fail": text}), target)

    expect(reply).has_none_of(invocations.frames(reply.body, reply.encoded))


@pytest.mark.requirement(id="HOOK-016")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_body_decides_the_framing(session, upstream, stream):
    """Where the body decides the framing, the answer is streamed as the body says, whatever the run hook returns."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", stream=stream, demo={"stream": not stream})

    expect(reply).status(200)
    expect(reply.is_stream).equals(stream, "whether it is streamed")


@pytest.mark.requirement(id="HOOK-017")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_run_hook_decides_the_framing(session, upstream, stream):
    """Where the run hook decides the framing, the answer is streamed as the request says that the hook returned."""
    upstream.says("A herring")

    reply = session.invoke("What is silver?", stream=not stream, demo={"stream": stream})

    expect(reply).status(200)
    if reply.is_stream != stream:
        fail("whether it is streamed", f"{stream}, as the hook returned", f"{reply.is_stream}, as the body said")
