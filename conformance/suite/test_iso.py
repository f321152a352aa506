"""Area ISO: what is kept for one user or chat stays with it.

Each check says something under some keys and looks at what the model sees with a later request under others.
"""

from __future__ import annotations

import json

import pytest

from conformance.client.invocations import CHAT_HEADER, USER_HEADER, keys
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import ABSENT, assistant

ALICE, BOB = keys("alice"), keys("bob")


class Talk:
    """Invocations of one session and one `session_id`, under whatever keys."""

    def __init__(self, session, upstream):
        self.session, self.upstream = session, upstream

    def tell(self, secret, own_keys=None, **how):
        """Something is said under these keys, and answered."""
        self.upstream.says(f"I keep {secret}", when=secret)
        return self.session.invoke(f"My word is {secret}", "talk", keys=own_keys or {}, **how)

    def seen_with(self, own_keys=None, **how):
        """What the model sees with the next request under these keys."""
        self.upstream.says("Nothing", when="What was it?")
        self.session.invoke("What was it?", "talk", keys=own_keys or {}, **how)
        calls = [call for call in self.upstream.calls if "What was it?" in call.text]
        return calls[-1].text if calls else "no call"


@pytest.fixture
def talk(session, upstream):
    return Talk(session, upstream)


@pytest.mark.requirement(id="ISO-001")
@pytest.mark.parametrize("respell", [str.upper, str.title], ids=["upper", "title"])
def test_isolation_headers_in_any_case(talk, respell):
    """The isolation headers are known in any spelling of their names."""
    both = keys("alice", "room")
    talk.tell("herring", both)

    seen = talk.seen_with({respell(name): value for name, value in both.items()})

    expect(seen).contains("herring", "what the model sees under the same keys")


@pytest.mark.requirement(id="ISO-002")
@pytest.mark.parametrize("other", ["bob", "Alice", "alice2"])
def test_users_are_apart(talk, other):
    """One `session_id` under two users is two conversations."""
    talk.tell("herring", ALICE)

    expect(talk.seen_with(keys(other))).lacks("herring", "what the model sees for another user")
    expect(talk.seen_with(ALICE)).contains("herring", "what the model sees for alice")


@pytest.mark.requirement(id="ISO-003")
def test_chats_are_apart(talk):
    """One `session_id` of one user in two chats is two conversations."""
    talk.tell("herring", keys("alice", "room"))

    expect(talk.seen_with(keys("alice", "hall"))).lacks("herring", "what the model sees in the hall")
    expect(talk.seen_with(keys("alice", "room"))).contains("herring", "what the model sees in the room")


@pytest.mark.requirement(id="ISO-004")
@pytest.mark.parametrize(
    ("own", "other"),
    [
        pytest.param(keys("a"), keys(chat="a"), id="user-or-chat"),
        pytest.param(keys("a", "b"), keys("b", "a"), id="swapped"),
        pytest.param(keys("ab", "c"), keys("a", "bc"), id="joined"),
        pytest.param(keys("ann:bo", "c"), keys("ann", "bo:c"), id="with-a-colon"),
        pytest.param(keys("ann-bo", "c"), keys("ann", "bo-c"), id="with-a-dash"),
    ],
)
def test_keys_that_read_alike_are_apart(talk, own, other):
    """A user and a chat of the same key, or of keys that read alike one behind the other, are different keys."""
    talk.tell("herring", own)

    expect(talk.seen_with(other)).lacks("herring", "what the model sees under the other keys")


@pytest.mark.requirement(id="ISO-005")
@pytest.mark.parametrize(
    ("own", "other"),
    [
        pytest.param({}, ALICE, id="user-behind-none"),
        pytest.param(ALICE, {}, id="none-behind-user"),
        pytest.param(keys("alice", "room"), ALICE, id="no-chat-behind-chat"),
        pytest.param(keys("alice", "room"), keys(chat="room"), id="no-user-behind-user"),
    ],
)
def test_missing_key_is_no_wildcard(talk, own, other):
    """A request without keys sees nothing of a conversation that was held under keys, and the other way round."""
    talk.tell("herring", own)

    expect(talk.seen_with(other)).lacks("herring", "what the model sees under the other keys")


@pytest.mark.requirement(id="ISO-006")
def test_empty_key_is_none(talk):
    """An empty isolation header is the same as none."""
    talk.tell("herring")

    seen = talk.seen_with({USER_HEADER: "", CHAT_HEADER: ""})

    expect(seen).contains("herring", "what the model sees with empty headers")


@pytest.mark.requirement(id="ISO-007")
def test_overlapping_requests_keep_their_keys(talk, session, upstream):
    """Requests that overlap never see each other's keys: each is answered and kept under its own."""
    secrets = {"herring": ALICE, "cod": BOB}
    held = {secret: upstream.holds(f"I keep {secret}", when=secret) for secret in secrets}
    pending = [
        session.start_invocation(f"My word is {secret}", "talk", keys=own_keys) for secret, own_keys in secrets.items()
    ]
    Conversation(session, upstream).reach_upstream(2)
    for secret in secrets:
        held[secret].release()
    for invocation in pending:
        invocation.reply()

    for secret, other, own_keys in (("herring", "cod", ALICE), ("cod", "herring", BOB)):
        seen = talk.seen_with(own_keys)
        expect(seen).contains(secret, "what the model sees under its own keys")
        expect(seen).lacks(other, "what the model sees under the other's keys")


@pytest.mark.requirement(id="ISO-008")
def test_stream_has_its_keys_to_its_end(talk, session, upstream):
    """A streamed request has its keys to its end, whatever other requests do meanwhile."""
    held = upstream.holds("I keep herring", when="herring")
    pending = session.start_invocation("My word is herring", "talk", keys=ALICE, stream=True)
    Conversation(session, upstream).reach_upstream(1)
    talk.tell("cod", BOB)
    talk.tell("carp")
    held.release()
    pending.reply()

    expect(talk.seen_with(ALICE)).contains("I keep herring", "what the model sees for alice")
    expect(talk.seen_with(BOB)).lacks("herring", "what the model sees for bob")
    expect(talk.seen_with()).lacks("herring", "what the model sees without keys")


@pytest.mark.requirement(id="ISO-009")
def test_failed_request_leaves_no_key(talk, session, upstream):
    """A request that fails or is refused leaves no key behind: the next one without keys has none."""
    talk.tell("herring", ALICE)
    upstream.fails(when="golden")
    session.invoke("What is golden?", "talk", keys=ALICE)
    session.invoke(ABSENT, keys=ALICE)

    expect(talk.seen_with()).lacks("herring", "what the model sees without keys")


@pytest.mark.requirement(id="ISO-010")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_hung_up_request_leaves_no_key(talk, session, upstream, stream):
    """A client that hangs up leaves no key behind: the next request without keys has none."""
    talk.tell("herring", ALICE)
    held = upstream.holds("Gold", when="golden")
    with session.dial_invocation("What is golden?", "talk", keys=ALICE, stream=stream) as request:
        Conversation(session, upstream).reach_upstream(2)
        request.hang_up()
    session.invoke(ABSENT)  # the gateway has noticed, once it has answered what it is asked next
    held.release()

    expect(talk.seen_with()).lacks("herring", "what the model sees without keys")


@pytest.mark.requirement(id="ISO-011")
@pytest.mark.parametrize(
    "key",
    [
        pytest.param(".", id="dot"),
        pytest.param("..", id="dots"),
        pytest.param("a/b", id="slash"),
        pytest.param("../a", id="up"),
        pytest.param("/etc", id="absolute"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("C:x", id="drive"),
        pytest.param("%2e%2e", id="percent"),
        pytest.param("k" * 200, id="long"),
    ],
)
def test_key_that_names_no_file_is_served(session, upstream, key):
    """A key that could not name a file (`..`, `a/b`, `C:x`) does not make a request fail."""
    upstream.says("Hello")
    upstream.says("Hello")

    for own_keys in (keys(key), keys("alice", key)):
        expect(session.invoke("Hi", "talk", keys=own_keys)).status(200)


def twice(session, body, name):
    """The answers to requests with two values of one key, alice's first: in two headers, and with a comma."""
    content = json.dumps(body).encode()
    comma = session.send_invocation(body, {name: "alice, bob"})
    with session.connect() as connection:
        two = connection.begin(
            session.invocations_path,
            content_length=str(len(content)),
            **{name.replace("-", "_"): f"alice\r\n{name}: bob"},
        )
        return [comma, two.write(content).reply()]


@pytest.mark.requirement(id="ISO-012")
@pytest.mark.parametrize("name", [USER_HEADER, CHAT_HEADER])
def test_two_values_of_a_key_are_refused_or_the_first(talk, session, upstream, name):
    """A request with two values of one key, in two headers or with a comma, is refused or counts for the first of
    them."""
    talk.tell("herring", {name: "alice"})
    talk.tell("cod", {name: "bob"})
    upstream.says("Nothing", when="Which?")
    upstream.says("Nothing", when="Which?")

    twice(session, session.invocation("Which?", "talk"), name)

    for call in upstream.calls:
        if "Which?" in call.text:
            expect(call.text).lacks("cod", "what the model sees for the second")
            expect(call.text).contains("herring", "what the model sees for the first")


@pytest.mark.requirement(id="ISO-013")
@pytest.mark.parametrize("name", [USER_HEADER, CHAT_HEADER])
def test_two_values_of_a_key_are_refused(session, upstream, name):
    """A gateway that refuses two values of one key does so with 400, in two headers or with a comma."""
    upstream.says("Hello")
    upstream.says("Hello")

    for reply in twice(session, session.invocation("Hi"), name):
        expect(reply).status(400)


@pytest.mark.requirement(id="ISO-014")
def test_another_users_chat_is_not_continued(sessions, upstream):
    """A conversation that another user's chat request repeats and goes on with is not continued: it is a trajectory of
    its own, whose history was not sampled."""
    first, more = ["Silver?"], ["Silver?", assistant("A herring"), "Grey?"]
    shared, alone = sessions.open(), sessions.open()
    upstream.says("A herring")
    shared.send(shared.body(*first), headers=ALICE)
    for session in (shared, alone):
        upstream.says("A cod")
        session.send(session.body(*more), headers=BOB)

    of_alice, *of_bob = shared.trajectories()

    expect(sum(of_alice.response_mask)).equals(len(upstream.calls[0].generation), "sampled tokens of alice's")
    expect([trajectory.response_ids for trajectory in of_bob]).equals(
        [trajectory.response_ids for trajectory in alone.trajectories()],
        "response_ids of bob's, as in a session of his own",
    )


@pytest.mark.requirement(id="ISO-015")
def test_all_partitions_are_exported(session, upstream):
    """What was held under any keys is exported with the session: each generation once."""
    for own_keys in ({}, ALICE, BOB, keys("alice", "room")):
        upstream.says("A herring")
        session.send(session.body("Silver?"), headers=own_keys)

    sampled = sum(sum(trajectory.response_mask) for trajectory in session.trajectories())

    expect(sampled).equals(sum(len(call.generation) for call in upstream.calls), "exported sampled tokens")
