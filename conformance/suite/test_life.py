"""Area LIFE: a session from its creation to its end, and that it is nobody else's."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest

from conformance.client.http import at
from conformance.gateway import Capability
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, expect, fail
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.session import ControlRefused, send
from conformance.vocabulary.target import require_capability

CLOSED = (404, 409, 410)


@pytest.mark.requirement(id="LIFE-001")
@pytest.mark.parametrize("own_id", [False, True], ids=["no id", "own id"])
def test_base_url_is_absolute_and_ends_in_v1(sessions, upstream, target, own_id):
    """The base URL of a new session is an absolute `http` or `https` URL that ends in `/v1`."""
    if own_id:
        require_capability(target, Capability.SESSION_IDS)
    base_url = sessions.open(**({"session_id": upstream.nonce.strip("#")} if own_id else {})).handle.base_url

    scheme, host, path = urlsplit(base_url)[:3]
    if scheme not in ("http", "https") or not host or not path.endswith("/v1"):
        fail("base_url", "http://HOST/.../v1 or https://HOST/.../v1", base_url)


@pytest.mark.requirement(id="LIFE-002")
@pytest.mark.parametrize("aborted", [False, True], ids=["both open", "one aborted"])
def test_sessions_without_an_id_are_told_apart(sessions, aborted):
    """Two sessions that are created without an id have different ids and different base URLs."""
    session = sessions.open()
    first = session.handle
    if aborted:
        session.abort()
    second = sessions.open().handle

    expect(second.session_id).differs_from(first.session_id, "the second session's id")
    expect(second.base_url).differs_from(first.base_url, "the second session's base URL")


@pytest.mark.requirement(id="LIFE-003")
def test_session_id_in_use_is_refused(sessions, upstream):
    """Creating a session with the id of a session that exists is refused with a 4xx status."""
    taken = upstream.nonce.strip("#")
    expect(sessions.open(session_id=taken).id).equals(taken, "session_id")

    expect(lambda: sessions.open(session_id=taken).id).is_refused("creating it again", *REFUSED)


@pytest.mark.requirement(id="LIFE-004")
def test_refused_creation_leaves_the_session_alone(sessions, upstream):
    """An attempt to create a session that exists leaves the existing session's trajectories as they were."""
    taken = upstream.nonce.strip("#")
    talk = Conversation(sessions.open(session_id=taken), upstream)
    talk.turn("Hi", "Hello")
    before = talk.trajectories()

    sessions.open(session_id=taken).attempt()

    expect(talk.trajectories()).same_as(before)


@pytest.mark.requirement(id="LIFE-005")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{}/x", id="slash"),
        pytest.param("../{}", id="parent"),
        pytest.param("{} x", id="blank"),
        pytest.param("{}?x", id="question-mark"),
    ],
)
def test_session_id_fits_a_url_or_is_refused(sessions, upstream, form):
    """A session id that is unfit for a URL path (a slash, `..`, a blank, `?`) is refused with a 4xx status, or its
    session can be used over its base URL."""
    session = sessions.open(session_id=form.format(upstream.nonce.strip("#")))

    refusal = session.attempt()
    if refusal is not None:
        expect(refusal.status).is_one_of(REFUSED, "the status of the refusal")
        return
    upstream.says("Hello")
    expect(session.chat("Hi")).status(200)


@pytest.mark.requirement(id="LIFE-006")
def test_unknown_session_is_not_found(sessions, upstream):
    """A chat request for a session that was never created is answered with status 404, or refused for its key with 401
    or 403."""
    upstream.says("Hello")

    expect(sessions.unknown().chat("Hi")).status(404, 401, 403)


@pytest.mark.requirement(id="LIFE-007")
def test_finalize_of_an_unused_session_is_empty(session):
    """Finalizing a session in which nothing was generated gives an empty list of trajectories."""
    expect(session.finalize()).count(0)


@pytest.mark.requirement(id="LIFE-008")
def test_finalized_session_takes_no_chat(session, upstream):
    """After finalize, a chat request for the session is refused with status 404, 409 or 410 and causes no upstream
    call."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    session.finalize()

    upstream.says("Fine")
    expect(talk.ask("How are you?")).status(*CLOSED)
    expect(len(upstream.calls)).equals(1, "upstream calls")


@pytest.mark.requirement(id="LIFE-009")
def test_second_finalize_is_an_error(session, upstream):
    """Finalizing a session a second time is an error, not an empty list."""
    Conversation(session, upstream).turn("Hi", "Hello")
    session.finalize()

    expect(session.finalize).is_refused("the second finalize")


@pytest.mark.requirement(id="LIFE-010")
def test_reading_trajectories_changes_nothing(sessions, upstream):
    """Reading the trajectories of a live session changes nothing: read twice they are equal, and finalize then gives
    the same."""
    read, unread = Conversation(sessions.open(), upstream), Conversation(sessions.open(), upstream)
    for talk in (read, unread):
        talk.turn("Hi", "Hello")
    first = read.trajectories()
    expect(read.trajectories()).same_as(first, hint="the first reading changed what the second one gives")

    for talk in (read, unread):
        talk.turn("How are you?", "Fine")
    last = read.trajectories()
    expect(last).same_as(unread.trajectories(), hint="the session that was read goes on in another way")
    expect(read.session.finalize()).same_as(last, hint="finalize gives something else than what was read before")


@pytest.mark.requirement(id="LIFE-011")
def test_completed_session_takes_no_chat(session):
    """A chat request for a completed session is refused with status 409."""
    session.complete()

    expect(session.chat("Hi")).status(409)


@pytest.mark.requirement(id="LIFE-012")
def test_closed_session_forbids_retries(session):
    """The 409 of a closed session carries `x-should-retry: false`."""
    session.complete()

    reply = session.chat("Hi")
    if reply.status != 409:
        raise NotTested(f"the completed session answers {reply.status}, not 409")
    expect(reply).header("x-should-retry", "false")


@pytest.mark.requirement(id="LIFE-013")
def test_completed_session_can_be_finalized(session, upstream):
    """A completed session can still be finalized, and its trajectories are what they were before."""
    Conversation(session, upstream).turn("Hi", "Hello")
    before = session.trajectories()

    session.complete()

    expect(session.finalize()).same_as(before)


@pytest.mark.requirement(id="LIFE-014")
def test_aborted_session_takes_no_chat(session, upstream):
    """A chat request for an aborted session is refused with status 404, 409 or 410 and causes no upstream call."""
    session.abort()

    upstream.says("Hello")
    expect(session.chat("Hi")).status(*CLOSED)
    expect(len(upstream.calls)).equals(0, "upstream calls")


@pytest.mark.requirement(id="LIFE-015")
def test_aborted_session_exports_nothing(session, upstream):
    """Finalizing an aborted session gives an error or nothing, never its trajectories."""
    Conversation(session, upstream).turn("Hi", "Hello")
    session.abort()

    try:
        exported = session.finalize()
    except ControlRefused:
        return
    expect(exported).count(0)


@pytest.mark.requirement(id="LIFE-016")
def test_abort_may_be_repeated(session):
    """Aborting a session that is aborted is no error."""
    session.abort()

    session.abort()


@pytest.mark.requirement(id="LIFE-017")
def test_state_has_its_keys(session):
    """The state of a session has `session_id`, `phase`, `created_at`, `updated_at` and `num_trajectories`."""
    state = session.state()

    for key in ("session_id", "phase", "created_at", "updated_at", "num_trajectories"):
        expect(list(state)).contains(key, "the keys of the state")


@pytest.mark.requirement(id="LIFE-018")
def test_updated_at_advances_with_each_turn(session, upstream):
    """`updated_at` of a session is never before `created_at` and advances with each answered turn."""
    talk = Conversation(session, upstream)
    created = at(session.state(), "created_at", kind=(int, float))

    times = [created, at(session.state(), "updated_at", kind=(int, float))]
    for number in range(2):
        talk.turn(f"Question {number}", f"Answer {number}")
        times.append(at(session.state(), "updated_at", kind=(int, float)))

    if not times[0] <= times[1] < times[2] < times[3]:
        fail("created_at, and updated_at before and after each of two turns", "times that advance", times)


@pytest.mark.requirement(id="LIFE-019")
def test_equal_conversations_stay_in_their_sessions(sessions, upstream):
    """Two sessions that hold the same conversation each export their own generations and none of the other's."""
    talk, other = Conversation(sessions.open(), upstream), Conversation(sessions.open(), upstream)
    talk.turn("Name a stone.", "Amber")
    other.turn("Name a stone.", "Basalt")
    talk.turn("Another one.", "Chalk")
    other.turn("Another one.", "Diamond")

    expect(talk.trajectories()).say(upstream.tokenizer, "Amber", "Chalk").leave_out(
        upstream.tokenizer, "Basalt", "Diamond"
    )
    expect(other.trajectories()).say(upstream.tokenizer, "Basalt", "Diamond").leave_out(
        upstream.tokenizer, "Amber", "Chalk"
    )


@pytest.mark.requirement(id="LIFE-032")
def test_upstream_calls_carry_the_session_id(session, upstream):
    """Every upstream call of a session carries the session's id in a header or a field, so that a router can keep the
    session on one engine."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Fine")

    for call in upstream.calls:
        sent = "\n".join(f"{name}: {value}" for name, value in [*call.headers.items(), *call.body.items()])
        expect(sent).contains(session.id, f"the headers and fields of call {call.index}")


@pytest.mark.requirement(id="LIFE-034")
def test_gateway_that_serves_is_ready(target):
    """`GET /readiness` of a gateway that serves is answered with status 200."""
    reply = send(target.http, httpx.Request("GET", f"{target.driver.url}/readiness"))

    expect(reply).status(200)
