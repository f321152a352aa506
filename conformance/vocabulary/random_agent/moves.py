"""What a random agent does, kind by kind: each goes on with a conversation in a way of its own.

Where a kind makes no sense in a conversation, as with a history that the gateway keeps, the agent goes on plainly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from conformance.client import anthropic
from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply, at
from conformance.gateway import Capability, NotObservable
from conformance.oracles import Violation
from conformance.upstream.ledger import ABORTED
from conformance.vocabulary.journey import brings_along
from conformance.vocabulary.journey_turn import Attempt
from conformance.vocabulary.journey_verdict import has_failed
from conformance.vocabulary.media import DARK, GREY, LIGHT
from conformance.vocabulary.random_agent.dialogue import Dialogue, Request
from conformance.vocabulary.random_agent.plan import NEEDS, Move
from conformance.vocabulary.random_agent.roamer import Roamer
from conformance.vocabulary.session import function
from conformance.vocabulary.talk import (
    CHAT,
    MESSAGES,
    TEXT,
    Answered,
    Entry,
    Question,
    Results,
    Wire,
    as_messages,
    parts_of,
)


def make(agent: Roamer, move: Move) -> None:
    """Make a move, in the conversation that it names; the latest one is number 0. What the gateway does not declare is
    done plainly."""
    if not agent.dialogues and move.kind not in ("begins", "brings along"):
        agent.begin(move, "begins", move.how)
    talks, needs = agent.dialogues, NEEDS.get(move.kind)
    kind = move.kind if needs is None or agent.has(needs) else "goes on"
    KINDS[kind](agent, talks[-1 - move.talk % len(talks)] if talks else agent.fresh(), move)


def goes_on(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    pending = dialogue.talk.pending
    new: Entry | None = None
    does = "goes on:"
    request = agent.prepare(dialogue, move, does)
    if len(pending) > 1 and isinstance(request.turn.new, Results) and move.how % 4:
        contents = request.turn.new.contents
        turned = move.how % len(contents)
        if move.how % 4 == 1:
            new, how = Results((*contents[turned:], *contents[:turned])), "gives results in another order:"
        elif move.how % 4 == 2:
            new, how = Results(tuple(reversed(contents))), "gives results in the opposite order:"
        else:
            new, how = Results(tuple((call_id, contents[0][1]) for call_id, _ in contents)), "gives equal results:"
        told = tuple(dialogue.talk.texts(new))
        does = request.does.replace("goes on:", how)
        request = replace(request, does=does, turn=replace(request.turn, new=new, told=told))
        request.marker = told[-1]
    agent.asks(dialogue, request)


def begins(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    agent.begin(move, "begins:", move.how)


def goes_back(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent.is_kept(dialogue) or not dialogue.before:
        goes_on(agent, dialogue, move)
        return
    place = max(len(dialogue.before) - 1 - move.how % 3, 0)
    talk, last = dialogue.before[place]
    other = agent.branch(dialogue, talk, last)
    other.before = dialogue.before[:place]
    if not other.talk.entries:
        move = replace(move, wire="chat") if move.wire == "invocations" else move
    agent.asks(other, agent.prepare(other, move, "goes back, and asks otherwise:"))


def rewrites(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    talk = dialogue.talk.as_it_is()
    if agent.is_kept(dialogue) or not talk.entries:
        goes_on(agent, dialogue, move)
        return
    talk.entries.pop()
    talk.last_response = None
    if move.how % 2 and (not talk.entries or not isinstance(talk.entries[-1], Results)):
        talk.entries.append(Answered(f"Edited {move.how}"))
    elif talk.entries and isinstance(talk.entries[-1], Results):
        talk.entries.append(Answered("Edited"))
    other = agent.branch(dialogue, talk, None)
    wire = "responses" if move.wire in ("response chain", "invocations") else move.wire
    if not move.how % 2 and wire == "messages":
        wire = "chat"
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "rewrites the last answer:"))


def asks_again(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent.is_kept(dialogue) or not dialogue.before or not isinstance(dialogue.asked, Question):
        goes_on(agent, dialogue, move)
        return
    talk, last = dialogue.before[-1]
    other = agent.branch(dialogue, talk, last)
    other.before = dialogue.before[:-1]
    wire = "responses" if move.wire in ("response chain", "invocations") else move.wire
    plain = replace(move, wire=wire, content="text", tools="declared")
    agent.asks(other, agent.prepare(other, plain, "asks the same again:", dialogue.asked))


def compacts(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent.is_kept(dialogue) or not dialogue.talk.entries:
        goes_on(agent, dialogue, move)
        return
    talk = dialogue.talk.as_it_is()
    kept = talk.entries[-2:] if move.how % 2 and isinstance(talk.entries[-2], Question) and not talk.pending else []
    talk.entries = [Question(f"A summary {next(agent.counter)}"), *(kept or [Answered("I see.")])]
    talk.last_response = None
    other = agent.branch(dialogue, talk, None)
    wire = "responses" if move.wire in ("response chain", "invocations") else move.wire
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "compacts its history:"))


def asks_for_more(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent.is_kept(dialogue) or not dialogue.talk.entries or dialogue.talk.pending or agent.room:
        goes_on(agent, dialogue, move)
        return
    other = agent.branch(dialogue, dialogue.talk, None)
    plain = replace(move, tools="declared", fields=(), ending="stop", content="text")
    if move.wire != "messages" or not agent.has(Capability.ANTHROPIC_MESSAGES) or other.tools:
        agent.asks(other, agent.prepare(other, replace(plain, wire="chat"), "asks for more:", Results(())))
        return
    # What an Anthropic client puts into the model's mouth is gone on from, and its answer is what is new.
    other.talk.entries = [*other.talk.entries, Question(f"Question {next(agent.counter)}"), Answered("It begins")]
    request = agent.prepare(other, plain, "begins the answer:", Results(()))
    request.may_be_refused = True
    agent.asks(other, request)
    agent.drop(other)


def brings_messages_along(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """A conversation of which the gateway has not heard, with more messages than a round number."""
    if agent.room:
        goes_on(agent, dialogue, move)
        return
    other = agent.fresh()
    brings_along(other.talk, (2, 10, 34, 102)[move.how % 4])
    wire = move.wire if move.wire in ("messages", "responses", "conversation") else "chat"
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "brings a history along:"))
    if other in agent.dialogues:
        goes_on(agent, other, replace(move, wire=wire))


def renames_ids(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """A client that gives calls ids of its own, as one does that has them from several providers."""
    if not dialogue.talk.pending or agent.room:
        calls(agent, dialogue, move)
        return
    other = agent.branch(dialogue, dialogue.talk, None)
    answer = other.talk.entries.pop()
    assert isinstance(answer, Answered)
    named = tuple(replace(call, call_id=f"own_{move.how}_{place}") for place, call in enumerate(answer.calls))
    other.talk.entries.append(Answered(answer.text, named))
    other.talk.last_response = None
    wire = move.wire if move.wire in ("chat", "messages", "responses") else "chat"
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "renames the ids of calls:"))


def counts_tokens(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The tokens of a message are counted before it is sent."""
    if agent.is_kept(dialogue) or not agent.has(Capability.ANTHROPIC_MESSAGES):
        goes_on(agent, dialogue, move)
        return
    request = agent.prepare(dialogue, replace(move, wire="messages", fields=()), "goes on, and counts its tokens:")
    talk, turn = dialogue.talk, request.turn
    body = agent.session.message_body(*as_messages([*talk.entries, turn.new]))
    body |= {"system": parts_of(talk.system, "text")} if talk.system else {}
    body |= {"tools": [anthropic.as_tool(tool) for tool in turn.tools]} if turn.tools else {}
    del body["max_tokens"]
    reply = agent.session.send_message(body, path="/v1/messages/count_tokens")
    if reply.status != 404:
        request.counted = at(reply.json(), "input_tokens", kind=int)
    agent.asks(dialogue, request)


def changes_tools(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent.is_kept(dialogue) or not dialogue.talk.entries or agent.room:
        goes_on(agent, dialogue, move)
        return
    other = agent.branch(dialogue, dialogue.talk, None)
    more = function(f"extra_{next(agent.counter)}", "One more tool.", what={"type": "string"})
    other.tools = [*(dialogue.tools or agent.toolset("one call")), more]
    agent.asks(other, agent.prepare(other, move, "goes on under other tools:"))


def calls(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """A turn with calls, and one with their results."""
    move = replace(move, tools="one call") if move.tools in ("none", "declared") else move
    if not dialogue.tools:
        wire = "chat" if move.wire == "invocations" else move.wire
        dialogue = agent.begin(replace(move, wire=wire), "begins with tools:", move.how)
        if dialogue not in agent.dialogues:
            return
    if not dialogue.talk.pending:
        agent.asks(dialogue, agent.prepare(dialogue, move, "asks for calls:"))
    if dialogue in agent.dialogues:
        goes_on(agent, dialogue, replace(move, tools="declared"))


def interrupts(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The results of calls, and a question with them."""
    if not dialogue.talk.pending or agent.room:
        goes_on(agent, dialogue, move)
        return
    wire = move.wire if move.wire in ("chat", "messages", "responses") else "chat"
    results = agent.prepare(dialogue, replace(move, wire=wire, content="text"), "").turn.new
    other = agent.branch(dialogue, dialogue.talk, None)
    other.talk.entries.append(results)
    other.talk.last_response = None
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "gives results, and asks:"))


def fails(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The engine fails; then the client asks again, or goes on otherwise."""
    if agent.room:
        goes_on(agent, dialogue, move)
        return
    fault = move.fault
    if fault == "abort" and agent.options.get("aborted") != "failed":
        fault = "503"
    request = agent.prepare(dialogue, replace(move, fields=(), ending="stop"), f"fails ({fault}):")
    request.outcome, request.fault = "failed", fault
    text = f"Lost {request.number}"
    if fault == "another prompt":
        another = agent.upstream.tokenizer.encode("Another prompt, of another length")
        whole = [] if request.images else agent.rendered(dialogue, request)
        agent.upstream.says(text, prompt_ids=whole[: len(whole) // 2] if move.how % 2 and whole else another)
    elif fault == "abort":
        agent.upstream.says(text, finish="abort")
    elif fault == "no ids":
        agent.upstream.says(text, token_ids="missing")  # noqa: S106
    elif fault == "truncated":
        agent.upstream.says(f"{text}, of a longer answer that breaks off", truncated=True)
    elif fault == "no generation":
        agent.upstream.fails(200, body=b"<html>busy</html>", content_type="text/html")
    elif fault == "reset":
        agent.upstream.fails(reset=True)
    else:
        agent.upstream.fails(int(fault))
    reply = agent.send(dialogue, request)
    if fault == "another prompt" and not is_failure(reply):
        # Who does not ask what the prompt was is not told.
        request.outcome, request.fault = "unsure", ""
        agent.drop(dialogue)
        return
    if not is_failure(reply) or reply.status not in (200, *statuses(fault, request.turn.over)):
        actual = f"{reply.status} {describe(reply.body)}"
        raise ConformanceFailure(
            [Violation(f"{request.number}. answer", f"a failure, as the engine's ({fault})", actual)]
        )
    if move.how % 3 and isinstance(request.turn.new, Question):
        agent.asks(dialogue, agent.prepare(dialogue, replace(move, fault="500"), "asks it again:", request.turn.new))
    else:
        goes_on(agent, dialogue, move)


def statuses(fault: str, over: Wire) -> Sequence[int]:
    """With which of them a failure of the engine is told, where not inside of a stream."""
    if fault == "429":
        return (429,)
    refused = fault == "400" or (fault in ("413", "422") and over.family == CHAT)
    if refused and over.family in (CHAT, MESSAGES):
        return [status for status in range(400, 500) if status not in (408, 409, 429)]
    return range(400 if fault in ("400", "413", "422") else 500, 600)


def is_failure(reply: Reply) -> bool:
    return reply.status >= 400 or has_failed(reply)


def hangs_up(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The client hangs up: while the engine samples, or once the answer has begun. Then it asks again, or goes on."""
    if agent.room or agent.options.get("idempotent_retry") == "true":
        goes_on(agent, dialogue, move)
        return
    wire = "responses" if move.wire == "conversation" else move.wire
    when = ("while the engine samples", "when the answer begins", "after an event")[move.how % 3]
    request = agent.prepare(dialogue, replace(move, wire=wire, fields=(), ending="stop"), f"hangs up {when}:")
    request.outcome = "hung up"
    turn, calls = request.turn, agent.upstream.calls
    ended = sum(call.outcome == ABORTED for call in calls)
    held = agent.upstream.holds(**turn.says)
    agent.notes(request)
    connection = dialogue.talk.dial(turn.over, turn.new, turn.tools, turn.fields)
    request.reply = Reply(connection.exchange)
    try:
        agent.upstream.wait_for_calls(len(calls) + 1, agent.session.time_left)
    except TimeoutError as error:
        raise ConformanceFailure([Violation(f"{request.number}. the engine", "a call", str(error))]) from error
    if move.how % 3:
        held.release()
        connection.read_first_byte() if move.how % 3 == 1 or not turn.fields.get("stream") else connection.read_until(
            b"\n\n"
        )
    connection.hang_up()
    if not move.how % 3 and (turn.over.family != TEXT or turn.fields.get("stream")):
        try:
            agent.upstream.wait_for_calls(ended + 1, agent.session.time_left, outcome=ABORTED)
        except TimeoutError as error:
            wrong = Violation(f"{request.number}. the engine", "its call ends when the client hangs up", str(error))
            raise ConformanceFailure([wrong]) from error
    with suppress(NotObservable):
        agent.session.trajectories()  # the gateway has noticed, once it has answered what it is asked next
    held.release()
    if turn.over.family == TEXT:
        agent.drop(dialogue)  # which history is kept is not known now
        return
    dialogue.talk.conversation = None
    again = turn.new if move.how % 2 and isinstance(turn.new, Question) else None
    does = "asks it again:" if again else "goes on:"
    agent.asks(dialogue, agent.prepare(dialogue, replace(move, wire=wire), does, again))


def sends_again(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The client sends what was answered once more, as an SDK does by itself."""
    last = dialogue.last
    kept = last is not None and last.turn.over.name not in ("chat", "messages", "responses")
    if last is None or last.reply is None or kept or agent.options.get("idempotent_retry") != "false" or agent.room:
        goes_on(agent, dialogue, move)
        return
    number = next(agent.counter)
    text = f"Answer {number}"
    ending = "stop" if last.turn.situation.ending == "tool call" else last.turn.situation.ending
    situation = replace(last.turn.situation, ending="stop" if ending == "stop string" else ending)
    turn = replace(last.turn, label=f"turn {number}", situation=situation, calls=(), text=text, says={"text": text})
    if situation.ending == "length":
        goes_on(agent, dialogue, move)
        return
    follows = last.follows
    request = Request(
        number,
        f"{agent.where(dialogue)}{turn.over.name}: sends request {last.number} again",
        turn,
        last.marker,
        follows,
        last.images,
    )
    agent.upstream.says(**turn.says)
    agent.notes(request)
    sent = last.reply.exchange
    headers = {**sent.request_headers, "x-stainless-retry-count": "1"}
    reply = agent.session.send_to(sent.url, content=sent.request_body, headers=headers)
    request.reply = type(last.reply)(reply.exchange)
    agent.attempts.append(Attempt(turn, request.reply))
    if reply.status != 200:
        raise ConformanceFailure([Violation(f"{number}. status", "200", f"{reply.status} {describe(reply.body)}")])
    agent.story_told[-1] += f" > {describe(request.reply.text, 40)}"


def looks(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The trajectories are read while the session lives, which changes nothing; what they are is judged now."""
    with suppress(NotObservable):
        exported, superseded = agent.session.trajectories(), agent.session.superseded()
        agent.looked.append((len(agent.requests), exported, superseded))


def rewards(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    agent.reward = {"score": move.how / 4, "of": {"move": move.how}}
    agent.session.reward(agent.reward)


def shows(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """A question with images."""
    if agent.room or agent.is_kept(dialogue):
        goes_on(agent, dialogue, move) if agent.dialogues else begins(agent, dialogue, move)
        return
    urls = (DARK, GREY, LIGHT, DARK)[move.how % 3 : move.how % 3 + 1 + move.how % 2]
    wire = "chat" if move.wire == "invocations" else move.wire
    move, new = replace(move, wire=wire), Question(f"What do you see? {next(agent.counter)}", urls)
    if dialogue not in agent.dialogues or dialogue.talk.pending:
        agent.begin(replace(move, tools="none"), "begins, and shows images:", 0, new)
    else:
        agent.asks(dialogue, agent.prepare(dialogue, replace(move, tools="declared"), "shows images:", new))


KINDS: Mapping[str, Callable[[Roamer, Dialogue, Move], None]] = {
    "goes on": goes_on,
    "begins": begins,
    "goes back": goes_back,
    "rewrites": rewrites,
    "asks again": asks_again,
    "compacts": compacts,
    "asks for more": asks_for_more,
    "changes tools": changes_tools,
    "brings along": brings_messages_along,
    "renames ids": renames_ids,
    "counts tokens": counts_tokens,
    "calls": calls,
    "interrupts": interrupts,
    "fails": fails,
    "hangs up": hangs_up,
    "sends again": sends_again,
    "looks": looks,
    "rewards": rewards,
    "shows": shows,
}
"""What an agent does in one session: name -> how it does it."""
