"""Area RESP: compactions, which stand for a conversation that has become long.

What asks the model for one, and in which words it is told of it later, is the gateway's own; that it is asked, and told
what it said then, is judged.
"""

from __future__ import annotations

import pytest

from conformance.client.http import ABSENT, at
from conformance.client.responses import flat, item, results_of, types
from conformance.vocabulary.expect import FAILED, calls_made, expect, together
from conformance.vocabulary.session import function

LOOK = flat(function("look", "Look it up.", q={"type": "string"}))
LOOKED = {"name": "look", "arguments": {"q": "x"}}
SUMMARY = "They asked for the tide, and it is high."
WRONG = {
    "no model": ("model", {"model": ABSENT}),
    "model as a number": ("model", {"model": 7}),
    "input as a number": ("input", {"input": 7}),
    "item of an unknown type": ("input", {"input": [{"type": "telegram"}]}),
    "instructions as a number": ("instructions", {"instructions": 7}),
    "previous_response_id as a number": ("previous_response_id", {"previous_response_id": 7}),
    "compaction without content": ("encrypted_content", {"input": [{"type": "compaction", "id": "cmp_0"}]}),
    "compaction with a number": ("encrypted_content", {"input": [{"type": "compaction", "encrypted_content": 7}]}),
}


def texts(items):
    """The texts of the messages among the items."""
    return [
        "".join(at(part, "text", kind=str) for part in at(entry, "content", kind=list))
        for entry in items
        if entry.get("type") == "message"
    ]


def compacted(session, upstream, *questions):
    """What stands for a conversation with these questions, to each of which the model said `Aye.`."""
    spoken = [entry for question in questions for entry in (item("user", question), item("assistant", "Aye."))]
    upstream.says(SUMMARY)
    reply = session.compact(spoken)
    expect(reply).status(200)
    return reply.output


def goes_on(session, output, question, **fields):
    """A response to the output of a compaction, and a question behind it."""
    return session.send_response({"model": "kit", "input": [*output, item("user", question)], **fields})


@pytest.mark.requirement(id="RESP-200")
@pytest.mark.parametrize("kind", ["text", "messages", "calls"])
def test_compaction_has_its_fields(session, upstream, kind):
    """A compaction has all fields that the API requires, each of its type, and its output is messages of the user and
    behind them one item of type `compaction`."""
    if kind == "calls":
        upstream.says(tool_calls=[LOOKED])
    upstream.says(SUMMARY)

    if kind == "calls":
        asked = session.respond("Hi", tools=[LOOK])
        reply = session.compact(results_of(asked, "high"), previous_response_id=asked.id)
    else:
        reply = session.compact("Hi" if kind == "text" else [item("user", "Hi"), item("assistant", "Aye.")])

    expect(reply).is_compaction()


@pytest.mark.requirement(id="RESP-201")
def test_compaction_keeps_what_the_user_said(session, upstream):
    """The output of a compaction has each message of the user as it was sent, in the order in which they came."""
    output = compacted(session, upstream, "Hi", "  How is\nthe tide? ", "Well?", "Well?")

    kept = [f"{upstream.nonce} Hi", "  How is\nthe tide? ", "Well?", "Well?"]
    expect(texts(output)).equals(kept, "texts of the messages")


@pytest.mark.requirement(id="RESP-202")
def test_conversation_goes_on_from_its_compaction(session, upstream, streamed):
    """Where the output of a compaction is a part of the input, the model sees the messages of the user and what it said
    when it was asked for the compaction, and none of its answers before."""
    output = compacted(session, upstream, "Is it high?")
    upstream.says("Good.")

    expect(goes_on(session, output, "So?", stream=streamed)).status(200)

    context_text = calls_made(upstream, 2)[1].text
    together(
        lambda: expect(context_text.count("Is it high?")).equals(1, "how often the user's message is in the context"),
        lambda: expect(context_text.count(SUMMARY)).equals(1, "how often the summary is in the context"),
        lambda: expect(context_text).lacks("Aye.", "the context"),
    )


@pytest.mark.requirement(id="RESP-203")
def test_turns_behind_a_compaction_are_exported(session, upstream):
    """What is exported of three turns behind the output of a compaction is what the upstream received and sampled, id
    by id."""
    output = compacted(session, upstream, "Is it high?")
    for text in ("Good.", "Better.", "Best."):
        upstream.says(text)
    first = goes_on(session, output, "So?")
    second = session.respond("And now?", previous_response_id=first.id)

    session.respond("And then?", previous_response_id=second.id)

    expect(session.trajectories()).match(upstream.calls)


@pytest.mark.requirement(id="RESP-204")
def test_summary_is_exported(session, upstream):
    """What the upstream sampled for a compaction is exported and trained on, like any other answer."""
    upstream.says("Aye.")
    upstream.says(SUMMARY)
    first = session.respond("Is it high?")

    session.compact(previous_response_id=first.id)

    calls_made(upstream, 2)
    expect(session.trajectories()).train_on(upstream, 0, 1)


@pytest.mark.requirement(id="RESP-205")
def test_failed_compaction_leaves_nothing(session, upstream):
    """A compaction that the upstream fails is answered with a 5xx status, and leaves the trajectories as they were;
    where it is asked for again, it is made."""
    upstream.says("Aye.")
    upstream.fails()
    upstream.says(SUMMARY)
    first = session.respond("Is it high?")
    before = session.trajectories()

    failed = session.compact(previous_response_id=first.id)

    expect(failed).status(*FAILED).has_error_envelope()
    expect(session.trajectories()).same_as(before)
    expect(types(session.compact(previous_response_id=first.id).output)[-1:]).equals(["compaction"], "the last item")


@pytest.mark.requirement(id="RESP-206")
def test_usage_of_a_compaction(session, upstream):
    """`usage` of a compaction counts the tokens that the upstream received for it and those that it sampled."""
    upstream.says(SUMMARY)

    reply = session.compact([item("user", "Is it high?"), item("assistant", "Aye.")])

    [call] = calls_made(upstream)
    counted = [at(reply.json(), "usage", name) for name in ("input_tokens", "output_tokens", "total_tokens")]
    sizes = [len(call.context), len(call.generation)]
    expect(counted).equals([*sizes, sum(sizes)], "input_tokens, output_tokens and total_tokens")


@pytest.mark.requirement(id="RESP-207")
def test_compaction_of_an_unknown_response_is_refused(sessions, upstream):
    """A compaction of a response that this session does not have is refused with 400 or 404, and no upstream is called
    for it."""
    upstream.says("Aye.")
    made = sessions.open().respond("Is it high?")
    session = sessions.open()

    for unknown in ("resp_0000000000", made.id):
        expect(session.compact("So?", previous_response_id=unknown)).status(400, 404).has_error_envelope()
    expect(len(upstream.calls)).equals(1, "calls of the upstream")


@pytest.mark.requirement(id="RESP-208")
def test_compaction_of_a_response_is_one_of_its_conversation(session, upstream):
    """With `previous_response_id`, a compaction is one of all that was said before and of the input: the model sees it,
    and the messages of the user are in the output."""
    upstream.says("Aye.")
    upstream.says("Nay.")
    upstream.says(SUMMARY)
    first = session.respond("Is it high?")
    second = session.respond("Is it low?", previous_response_id=first.id)

    reply = session.compact("Thanks.", previous_response_id=second.id)

    expect(texts(reply.output)).equals(
        [f"{upstream.nonce} Is it high?", "Is it low?", "Thanks."], "texts of the messages"
    )
    context_text = calls_made(upstream, 3)[2].text
    places = [context_text.find(text) for text in ("Is it high?", "Aye.", "Is it low?", "Nay.", "Thanks.")]
    expect(places).equals(sorted(set(places) - {-1}), "places in the context of what was said")


@pytest.mark.requirement(id="RESP-209")
@pytest.mark.parametrize("how", ["made up", "cut", "turned round"])
def test_changed_compaction_is_refused(session, upstream, how):
    """A `compaction` item whose `encrypted_content` is not what the gateway gave is refused by a message that names the
    field, and no upstream is called for it."""
    *said, made = compacted(session, upstream, "Is it high?")
    content = at(made, "encrypted_content", kind=str)
    changed = {"made up": "VGhlIHRpZGUgaXMgbG93Lg==", "cut": content[:-8], "turned round": content[::-1]}[how]

    reply = goes_on(session, [*said, {**made, "encrypted_content": changed}], "So?")

    expect(reply).is_openai_error(400, 422, naming="encrypted_content")
    calls_made(upstream, 1)


@pytest.mark.requirement(id="RESP-210")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_for_a_compaction_is_refused(session, upstream, name):
    """A request for a compaction without a `model`, or with a field of a wrong type, is refused with 400 or 422, in
    OpenAI's error envelope with a message that names the field, and no upstream is called for it."""
    field, fields = WRONG[name]

    reply = session.compact(fields.get("input", "Hi"), **{key: fields[key] for key in fields if key != "input"})

    expect(reply).is_openai_error(400, 422, naming=field)
    expect(len(upstream.calls)).equals(0, "calls of the upstream")


@pytest.mark.requirement(id="RESP-211")
def test_compaction_changes_nothing_of_its_conversation(session, upstream):
    """A response that was compacted can be continued as before: the model sees all that was said, and nothing of the
    compaction."""
    upstream.says("Aye.")
    upstream.says(SUMMARY)
    upstream.says("Good.")
    first = session.respond("Is it high?")
    expect(session.compact(previous_response_id=first.id)).status(200)

    session.respond("So?", previous_response_id=first.id)

    before, asked, after = calls_made(upstream, 3)
    together(
        lambda: expect(after.text).contains("Aye.", "the context"),
        lambda: expect(after.text).lacks(SUMMARY, "the context"),
        lambda: expect(len(after.context)).satisfies(
            lambda size: len(before.context) < size < len(asked.context),
            "more than that of the response, and less than that of the compaction",
            "the length of the context",
        ),
    )


@pytest.mark.requirement(id="RESP-212")
def test_compaction_can_be_compacted(session, upstream):
    """A compaction of what goes on from a compaction stands for both: the model sees the first summary, and the output
    has each message of the user once and one item of type `compaction`."""
    output = compacted(session, upstream, "Is it high?")
    upstream.says("The second summary.")

    body = {"model": "kit", "input": [*output, item("user", "Is it low?"), item("assistant", "Nay.")]}
    reply = session.send_response(body, path="/responses/compact")

    expect(types(reply.output)).equals(["message", "message", "compaction"], "types of the items")
    expect(calls_made(upstream, 2)[1].text).contains(SUMMARY, "the context of the second one")
    expect(texts(reply.output)).equals([f"{upstream.nonce} Is it high?", "Is it low?"], "texts of the messages")


@pytest.mark.requirement(id="RESP-213")
def test_instructions_of_a_compaction_are_its_own(session, upstream):
    """The model sees `instructions` of a request for a compaction in front of the conversation, and not in the turns
    that go on from it."""
    upstream.says(SUMMARY)
    upstream.says("Good.")
    asked = session.compact("Is it high?", instructions=f"{upstream.nonce} Be brief.")

    goes_on(session, asked.output, "So?")

    summing, after = (call.text for call in calls_made(upstream, 2))
    expect(summing.find("Be brief.")).satisfies(
        lambda place: 0 <= place < summing.find("Is it high?"), "in front of the conversation", "place in the context"
    )
    expect(after).lacks("Be brief.", "the context of the turn behind it")
