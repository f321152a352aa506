"""What the client got: the form of its wire, and what the ledger says that was sampled for it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.ambient.rules import Judged
from conformance.ambient.turn import CHAT, INVOCATIONS, MESSAGES, RESPONSES, Turn
from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.client.invocations import InvocationReply
from conformance.oracles import Violation, anthropic, chat, envelope, invocations, responses, sse, wording
from conformance.tokenizer import Tokenizer
from conformance.upstream.ledger import Call

MARKS = ("<tool_call", "<|", "[TOOL_CALLS]", "<function", "<arg_", "think>", "<\uff5c")
"""What may begin markup that a gateway takes out of a text: such a text is not judged here."""


def judge(turn: Turn, tokenizer: Tokenizer) -> Iterator[Judged]:
    """All that can be said of one answer."""
    if not turn.is_whole:
        return
    if turn.reply.status >= 400:
        yield from _of_refusal(turn)
    elif turn.is_answered:
        form = list(_of_form(turn))
        yield from form
        if turn.call is not None:
            try:
                yield from _of_content(turn, turn.call, tokenizer)
            except (LookupError, TypeError, AttributeError):
                # What has not the form of an answer can't be read for what it says.
                if not any(judged.violations for judged in form):
                    raise


def judge_ids(turns: Sequence[Turn]) -> Iterator[Judged]:
    """Answers and calls have ids of their own."""
    seen: dict[str, Turn] = {}
    for turn in turns:
        if turn.wire == INVOCATIONS or not turn.is_answered or _is_repeat(turn, turns):
            continue
        own = _read(lambda reply=turn.reply: reply.id)
        if isinstance(own, str):
            wrong = [Violation("id", "one that no other answer has", describe(own))] if own in seen else []
            seen[own] = turn
            yield Judged("id", turn.wire, turn.exchange, wrong)
    issued: dict[tuple[int, str], Turn] = {}
    for turn in turns:
        calls = _read(lambda reply=turn.reply: reply.tool_calls) if turn.is_answered else None
        if turn.wire == INVOCATIONS or not isinstance(calls, list) or not calls or _is_repeat(turn, turns):
            continue
        ids = [str(call.get("call_id" if turn.wire == RESPONSES else "id")) for call in calls if isinstance(call, dict)]
        twice = [one for place, one in enumerate(ids) if one in ids[:place] or (id(turn.session), one) in issued]
        issued.update(((id(turn.session), one), turn) for one in ids)
        wrong = [Violation("ids of the calls", "of their own", f"{describe(one)} again") for one in twice]
        yield Judged("call ids", turn.wire, turn.exchange, wrong)


def _is_repeat(turn: Turn, turns: Sequence[Turn]) -> bool:
    """A request that was sent before may be answered with the answer of before."""
    body = turn.exchange.request_body
    return any(other is not turn and other.exchange.request_body == body for other in turns)


def _read(accessor: Any) -> Any:
    try:
        return accessor()
    except ConformanceFailure:
        return None


# Form -----------------------------------------------------------------------------------------------------------------


def _of_refusal(turn: Turn) -> Iterator[Judged]:
    text = turn.reply.body.decode("utf-8", "replace")
    yield Judged("error.leak", turn.wire, turn.exchange, envelope.leaks(text))
    if turn.reply.status in (404, 405):  # the route itself may be missing
        return
    rule = "error" if turn.reply.status < 500 else "error.failure"
    try:
        body = json.loads(text)
    except ValueError:
        yield Judged(rule, turn.wire, turn.exchange, [Violation("body", "JSON", describe(turn.reply.body))])
        return
    if turn.wire == INVOCATIONS:
        wrong = invocations.error(body, None, turn.reply.status)
    else:
        error = body.get("error") if isinstance(body, dict) else None
        wrong = [
            Violation(f"error.{name}", "a non-empty string", describe(error.get(name) if error else body))
            for name in ("message", "type")
            if not isinstance(error, dict) or not isinstance(error.get(name), str) or not error[name]
        ]
        if turn.wire == MESSAGES and not wrong and body.get("type") != "error":
            wrong = [Violation("type", '"error"', describe(body.get("type")))]
    yield Judged(rule, turn.wire, turn.exchange, wrong)


def _of_form(turn: Turn) -> Iterator[Judged]:
    kind = str(turn.reply.headers.get("content-type", "")).partition(";")[0].strip().lower()
    wanted = "text/event-stream" if turn.reply.is_stream else "application/json"
    wrong = [] if kind == wanted else [Violation("header content-type", wanted, describe(kind))]
    yield Judged("label.stream" if turn.reply.is_stream else "label", turn.wire, turn.exchange, wrong)
    for name, rule in _FORMS[turn.reply.is_stream]:
        try:
            wrong = rule(turn)
        except ConformanceFailure as failure:  # not even to be read
            wrong = list(failure.violations)
        yield from _sorted_out(turn, name, wrong)


def _sorted_out(turn: Turn, rule: str, violations: Sequence[Violation]) -> Iterator[Judged]:
    """Violations by what they are about."""
    by_rule: dict[str, list[Violation]] = defaultdict(list)
    for violation in violations:
        about = violation.where.lower() if rule == "body" else f"{violation.where} {violation.expected}".lower()
        for part, words in _PARTS[rule]:
            if any(word in about for word in words):
                by_rule[f"{rule}.{part}"].append(violation)
                break
        else:
            by_rule[rule].append(violation)
    for name in {rule, *by_rule}:
        yield Judged(name, turn.wire, turn.exchange, by_rule[name])


_PARTS: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
    "body": (
        ("usage", ("usage",)),
        ("calls", ("tool_calls", "tool_use", "function_call")),
        ("finish", ("finish_reason", "stop_reason")),
    ),
    "stream": (
        ("usage", ("usage",)),
        ("calls", ("tool_calls", "input_json", "arguments")),
        ("end", ("[done]", "message_stop", "completed")),
    ),
    "frames": (),
}


def _body(turn: Turn) -> list[Violation]:
    if turn.wire == INVOCATIONS:
        return [] if turn.reply.is_stream else invocations.envelope(turn.reply.json())
    document = turn.reply.completion
    if turn.wire == CHAT:
        # An answer that says nothing may have null for its content.
        wrong = [v for v in chat.completion(document, choices=_choices(turn)) if v.hint != chat.EMPTY_HINT]
    else:
        wrong = anthropic.message(document) if turn.wire == MESSAGES else responses.response(document)
    if (turn.request or {}).get("model", "kit"):
        return wrong
    return [violation for violation in wrong if violation.where != "model"]  # as empty as the client's


def _stream(turn: Turn) -> list[Violation]:
    if turn.wire == CHAT:
        options = (turn.request or {}).get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        return chat.stream(turn.reply.events, include_usage=True if asked else None, choices=_choices(turn))
    if turn.wire == INVOCATIONS:
        assert isinstance(turn.reply, InvocationReply)
        return invocations.frames(turn.reply.body, turn.reply.encoded)
    return (anthropic.stream if turn.wire == MESSAGES else responses.stream)(turn.reply.events)


def _frames(turn: Turn) -> list[Violation]:
    if turn.wire == INVOCATIONS:
        return []
    found = sse.framing(turn.reply.body, named=turn.wire != CHAT)
    return [violation for violation in found if violation.expected != f"JSON or {sse.DONE}"]


_FORMS = {False: (("body", _body),), True: (("body", _body), ("stream", _stream), ("frames", _frames))}


def _choices(turn: Turn) -> int:
    asked = (turn.request or {}).get("n")
    return asked if type(asked) is int and asked > 0 else 1


# Content --------------------------------------------------------------------------------------------------------------


def _of_content(turn: Turn, call: Call, tokenizer: Tokenizer) -> Iterator[Judged]:
    try:
        if turn.wire != INVOCATIONS:
            yield from _of_usage(turn, call)
            yield from _of_ending(turn, call)
        if turn.wire == CHAT and (turn.request or {}).get("logprobs") is True:
            yield _of_logprobs(turn, call)
        yield from _of_text(turn, call, tokenizer)
    except ConformanceFailure:  # what is no answer was said to be none
        return


def _of_usage(turn: Turn, call: Call) -> Iterator[Judged]:
    usage = turn.reply.completion.get("usage")
    if call.images or call.videos or (turn.wire == CHAT and turn.reply.is_stream and usage is None):
        return
    usage = usage if isinstance(usage, dict) else {}
    prompt = usage.get("prompt_tokens" if turn.wire == CHAT else "input_tokens")
    sampled = usage.get("completion_tokens" if turn.wire == CHAT else "output_tokens")
    cached = [usage.get(name) for name in ("cache_creation_input_tokens", "cache_read_input_tokens")]
    prompt = sum(part for part in (prompt, *cached) if type(part) is int) if type(prompt) is int else prompt
    for rule, actual, expected in (
        ("usage.prompt", prompt, len(call.context)),
        ("usage.completion", sampled, len(call.generation)),
    ):
        wrong = [] if actual == expected else [Violation("usage", f"{expected} tokens", describe(actual))]
        yield Judged(rule, turn.wire, turn.exchange, wrong)


def _of_logprobs(turn: Turn, call: Call) -> Judged:
    """They are told as the engine gave them; that of the token which ends the turn may be left out."""
    told = turn.reply.completion["choices"][0].get("logprobs")
    entries = told.get("content") if isinstance(told, dict) else None
    values = [entry.get("logprob") for entry in entries or [] if isinstance(entry, dict)]
    wanted = call.logprobs or []
    same = values in (wanted, wanted[:-1]) and (bool(values) or len(wanted) < 2)
    wrong = [] if same else [Violation("choices[0].logprobs.content", describe(wanted), describe(values))]
    return Judged("logprobs told", turn.wire, turn.exchange, wrong)


def _of_ending(turn: Turn, call: Call) -> Iterator[Judged]:
    called = bool(turn.reply.tool_calls)
    if call.finish_reason == "length":
        rule, wanted = "finish.length", {CHAT: "length", MESSAGES: "max_tokens", RESPONSES: "incomplete"}[turn.wire]
    elif call.finish_reason != "stop":
        return
    elif called and turn.wire != RESPONSES:
        rule, wanted = "finish.calls", {CHAT: "tool_calls", MESSAGES: "tool_use"}[turn.wire]
    elif isinstance(call.stop_reason, str) and turn.wire == MESSAGES:
        asked = (turn.request or {}).get("stop_sequences")
        own = isinstance(asked, list) and call.stop_reason in asked
        if not own:
            return
        rule, wanted = "finish", "stop_sequence"
    else:
        rule, wanted = "finish", {CHAT: "stop", MESSAGES: "end_turn", RESPONSES: "completed"}[turn.wire]
    if (turn.request or {}).get("functions") is not None:
        return
    actual = turn.reply.finish_reason
    wrong = [] if actual == wanted else [Violation("how the answer ended", wanted, describe(actual))]
    yield Judged(rule, turn.wire, turn.exchange, wrong)


def _of_text(turn: Turn, call: Call, tokenizer: Tokenizer) -> Iterator[Judged]:
    request, reply = turn.request or {}, turn.reply
    if call.said is not None and call.said["tool_calls"]:
        if turn.wire != INVOCATIONS and _offers(turn, call.said["tool_calls"]):
            yield from _of_calls(turn, request, call.said)
        return
    text = call.said["text"] if call.said is not None else _decoded(call, tokenizer)
    if text is None or any(mark in text for mark in MARKS) or "continue_final_message" in request:
        return
    if isinstance(call.stop_reason, str):
        text = text.partition(call.stop_reason)[0]
    if _looks_like_a_call(text) or (turn.wire != MESSAGES and _continues(request)):
        return
    wrong = [] if _same_text(reply, text, turn) else [Violation("text", describe(text), describe(reply.text))]
    yield Judged("text", turn.wire, turn.exchange, wrong)


def _same_text(reply: Reply, text: str, turn: Turn) -> bool:
    actual = reply.text
    if turn.wire == INVOCATIONS and reply.is_stream:  # its line ends are those of frames
        return actual.replace("\r\n", "\n").replace("\r", "\n") == text.replace("\r\n", "\n").replace("\r", "\n")
    return actual == text


def _decoded(call: Call, tokenizer: Tokenizer) -> str | None:
    """The text of a generation that was scripted by ids, or cut; None where that does not say what is shown."""
    ids = list(call.generation)
    while ids and ids[-1] in tokenizer.end_tokens:
        ids.pop()
    text = tokenizer.decode(ids)
    return None if "\ufffd" in text or any(map(tokenizer.is_special, ids)) else text


def _looks_like_a_call(text: str) -> bool:
    """Some models write calls as bare JSON."""
    return text.lstrip().startswith(("{", "["))


def _continues(request: Mapping[str, Any]) -> bool:
    """Whether the last message is an assistant's, which the answer may repeat or go on from."""
    messages = request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get("role") == "assistant"


def _offers(turn: Turn, calls: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the request offers the tools that are called, so that the calls are the client's."""
    request = turn.request or {}
    choice = request.get("tool_choice")
    if choice == "none" or (isinstance(choice, dict) and choice.get("type") in ("none", "allowed_tools")):
        return False
    tools = request.get("tools")
    names = {
        (tool.get("function") or {}).get("name") if turn.wire == CHAT else tool.get("name")
        for tool in (tools if isinstance(tools, list) else [])
        if isinstance(tool, dict) and tool.get("type", "custom") in ("function", "custom")
    }
    return all(call["name"] in names for call in calls)


def _of_calls(turn: Turn, request: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Judged]:
    wanted = []
    for call in said["tool_calls"]:
        arguments = call["arguments"]
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except ValueError:
                return
        if not isinstance(arguments, dict):
            return
        wanted.append((call["name"], arguments))
    choice = request.get("tool_choice")
    single = request.get("parallel_tool_calls") is False
    if single or (isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True):
        wanted = wanted[:1]
    actual = [_called(turn.wire, call) for call in turn.reply.tool_calls]
    names, expected = [name for name, _ in actual], [name for name, _ in wanted]
    wrong = [] if names == expected else [Violation("calls", describe(expected), describe(names))]
    yield Judged("calls", turn.wire, turn.exchange, wrong)
    if not wrong:
        differing = [
            Violation(f"arguments of call {place}", describe(there[1]), describe(here[1]))
            for place, (here, there) in enumerate(zip(actual, wanted, strict=True))
            if not _same_json(here[1], there[1])
        ]
        yield Judged("arguments", turn.wire, turn.exchange, differing)
    text = said["text"]
    if not any(mark in text for mark in MARKS):
        same = turn.reply.text.strip() == text.strip()
        wrong = [] if same else [Violation("text beside the calls", describe(text), describe(turn.reply.text))]
        yield Judged("text beside calls", turn.wire, turn.exchange, wrong)


def _called(wire: str, call: Mapping[str, Any]) -> tuple[Any, Any]:
    function = call.get("function") if wire == CHAT else call
    function = function if isinstance(function, dict) else {}
    arguments = function.get("input" if wire == MESSAGES else "arguments")
    if wire != MESSAGES:
        arguments, _ = wording.parse_json(arguments if isinstance(arguments, str) else "")
    return function.get("name"), arguments


def _same_json(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
