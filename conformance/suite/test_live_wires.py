"""Area LIVE: what a model that nobody scripts says, over each wire."""

from __future__ import annotations

import json

import pytest

from conformance.client.anthropic import as_tool
from conformance.client.anthropic import results_of as tool_results
from conformance.client.http import at
from conformance.client.invocations import as_declared
from conformance.client.responses import flat, item
from conformance.client.responses import results_of as outputs_of
from conformance.gateway import Capability
from conformance.oracles import invocations
from conformance.oracles.wording import parse_json
from conformance.vocabulary.expect import expect, fail
from conformance.vocabulary.live import (
    BRIEF,
    CITIES,
    LIMIT,
    REPORTS,
    WEATHER,
    Talk,
    behind,
    expect_sampled,
    last_answered,
    require_answer,
    until,
)
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import results, user

QUESTION = "Who are you?"
ASKED = "How is the weather in {}?"


@pytest.mark.requirement(id="LIVE-001")
def test_chat_says_what_was_sampled(session, upstream, streamed):
    """A chat request is answered with what a real model sampled, in a completion or in a stream of chunks that ends."""
    reply = require_answer(session.chat(QUESTION, max_tokens=LIMIT, stream=streamed))

    if streamed:
        expect(reply).is_event_stream().is_chunk_stream().ends_with_done()
    else:
        expect(reply).is_completion()
    expect_sampled(reply, upstream, last_answered(upstream))


@pytest.mark.requirement(id="LIVE-002")
def test_message_says_what_was_sampled(session, upstream, streamed):
    """A message request is answered with what a real model sampled, in a message or in a stream of events that ends."""
    reply = require_answer(session.message(QUESTION, max_tokens=LIMIT, stream=streamed))

    expect([at(reply.completion, "type"), at(reply.completion, "role")]).equals(["message", "assistant"], "type, role")
    if streamed:
        expect(reply.chunks[-1].get("type")).equals("message_stop", "the type of the last event")
    expect_sampled(reply, upstream, last_answered(upstream))


@pytest.mark.requirement(id="LIVE-003")
def test_response_says_what_was_sampled(session, upstream, streamed):
    """A request for a response is answered with what a real model sampled, in a response or in a stream of events that
    ends with it."""
    reply = require_answer(session.respond(QUESTION, max_output_tokens=LIMIT, stream=streamed))

    if streamed:
        expect(reply).is_response_stream()
    else:
        expect(reply).is_response()
    expect_sampled(reply, upstream, last_answered(upstream))


@pytest.mark.requirement(id="LIVE-004")
def test_invocation_says_what_was_sampled(session, upstream, streamed, target):
    """An invocation is answered with what a real model sampled, in its envelope or in the frames of a stream."""
    reply = as_declared(session.invoke(QUESTION, stream=streamed), target)

    require_answer(reply)
    if not streamed:
        expect(reply).has_none_of(invocations.envelope(reply.json()))
    expect_sampled(reply, upstream, last_answered(upstream))


@pytest.mark.requirement(id="LIVE-005")
def test_usage_is_what_the_engine_had_and_sampled(session, upstream):
    """`usage` counts the ids that a real engine received and those that it sampled."""
    reply = require_answer(session.chat(BRIEF, user(QUESTION), max_tokens=LIMIT))

    call = last_answered(upstream)
    counted = [reply.usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    expect(counted).equals([len(call.context), len(call.generation)], "prompt_tokens, completion_tokens")


@pytest.mark.requirement(id="LIVE-006")
def test_each_wire_leads_to_the_same_ids(sessions, upstream, target):
    """The same question reaches a real engine as the same ids over each wire that the gateway has."""
    asked = {
        Capability.ANTHROPIC_MESSAGES: lambda session: session.message(QUESTION, max_tokens=8),
        Capability.OPENAI_RESPONSES: lambda session: session.respond(QUESTION, max_output_tokens=16),
    }
    others = [send for capability, send in asked.items() if capability in target.declaration.capabilities]
    if not others:
        raise NotApplicable("the gateway has no wire beside chat completions")

    require_answer(sessions.open().chat(QUESTION, max_tokens=8))
    context = last_answered(upstream).context
    for send in others:
        reply = require_answer(send(sessions.open()))
        received = last_answered(upstream).context
        expect(received).equals(context, f"the ids of {reply.exchange.url}")


@pytest.mark.requirement(id="LIVE-080")
def test_call_of_a_tool_is_what_was_sampled(session, upstream, streamed, target):
    """A call that a real model makes is answered as a call: of a tool that it was offered, with arguments that are what
    it sampled, and with `finish_reason` `tool_calls`."""
    reply = _called(Talk(session, target, stream=streamed))

    call = at(reply.tool_calls, 0, kind=dict)
    expect(at(call, "function", "name")).equals("get_weather", "the name of the called function")
    expect(reply.finish_reason).equals("tool_calls", "finish_reason")
    _expect_arguments(parse_json(at(call, "function", "arguments", kind=str))[0], upstream)


@pytest.mark.requirement(id="LIVE-081")
def test_result_of_a_tool_reaches_the_engine(session, upstream, target):
    """The result of a tool that a real model called stands in the next context, behind the call as it was sampled."""
    talk = Talk(session, target)
    called = _called(talk)
    generation = last_answered(upstream).generation
    talk.ask(*results(called.message, *REPORTS[:1] * len(called.tool_calls)), tools=[WEATHER])

    call = last_answered(upstream)
    rest = behind(call.context, generation)
    if rest is None:
        fail("the context of the last call", f"the sampled ids {generation}", call.context)
    expect(upstream.tokenizer.decode(rest or [])).contains(REPORTS[0], "what stands behind the sampled call")


@pytest.mark.requirement(id="LIVE-082")
def test_tool_use_is_what_was_sampled(session, upstream):
    """A call that a real model makes is answered over the messages wire as a tool use with the input that it sampled,
    and its result reaches the engine."""
    tools, replies = [as_tool(WEATHER)], []

    def ask(number):
        replies.append(
            require_answer(
                session.message(ASKED.format(CITIES[number]), tools=tools, max_tokens=LIMIT, temperature=1.0)
            )
        )

    until(ask, lambda: replies[-1].tool_calls, "called a tool")
    reply = replies[-1]
    expect(reply.finish_reason).equals("tool_use", "stop_reason")
    _expect_arguments(at(reply.tool_calls, 0, "input", kind=dict), upstream)
    asked = user(ASKED.format(CITIES[len(replies) - 1]))
    told = [user(tool_results(reply.message, *REPORTS[:1] * len(reply.tool_calls)))]
    require_answer(session.message(asked, reply.message, *told, tools=tools, max_tokens=LIMIT))
    expect(last_answered(upstream).text).contains(REPORTS[0], "the next context")


@pytest.mark.requirement(id="LIVE-083")
def test_function_call_is_what_was_sampled(session, upstream):
    """A call that a real model makes is answered over the responses wire as a function call with the arguments that it
    sampled, and its output reaches the engine."""
    tools, replies = [flat(WEATHER)], []

    def ask(number):
        asked = [item("user", ASKED.format(CITIES[number]))]
        replies.append(
            require_answer(session.respond(asked, tools=tools, max_output_tokens=LIMIT, temperature=1.0, store=False))
        )

    until(ask, lambda: replies[-1].tool_calls, "called a tool")
    reply = replies[-1]
    _expect_arguments(parse_json(at(reply.tool_calls, 0, "arguments", kind=str))[0], upstream)
    asked = [item("user", ASKED.format(CITIES[len(replies) - 1]))]
    told = outputs_of(reply, *REPORTS[:1] * len(reply.tool_calls))
    require_answer(session.respond([*asked, *reply.output, *told], tools=tools, max_output_tokens=LIMIT))
    expect(last_answered(upstream).text).contains(REPORTS[0], "the next context")


def _called(talk):
    """The reply of a model that called the tool."""
    fresh = list(talk.messages)

    def ask(number):
        talk.messages = list(fresh)
        talk.ask(user(ASKED.format(CITIES[number])), tools=[WEATHER])

    until(ask, lambda: talk.replies[-1].tool_calls, "called a tool")
    return talk.replies[-1]


def _expect_arguments(arguments, upstream):
    sampled = upstream.tokenizer.decode(last_answered(upstream).generation)
    if not isinstance(arguments, dict):
        fail("the arguments of the call", "a JSON object", arguments)
    unknown = [value for value in arguments.values() if not any(form in sampled for form in _spellings(value))]
    expect(unknown).equals([], "arguments that were not sampled")
    if '"city"' in sampled or "=city>" in sampled:
        expect(sorted(arguments)).equals(["city"], "names of the arguments")


def _spellings(value):
    """How a text can stand in a call."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]
