"""Area HTTP: bodies and connections that no well-behaved client makes."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.outcome import NotTested

LEVELS = 100_000
TEN_MEGABYTES = 10_000_000
IDLE = 200
"""Connections of a pool of clients, or of a load balancer, that nobody uses at the moment."""


def descriptors():
    """How many this process may have; where nobody says, enough."""
    with suppress(ImportError):
        import resource  # not on every system

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return soft if soft != resource.RLIM_INFINITY else 2 * IDLE
    return 2 * IDLE


def spelt(session, text, **fields):
    """The bytes of a chat request."""
    return json.dumps(session.body(text, **fields)).encode()


@pytest.mark.requirement(id="HTTP-009")
@pytest.mark.parametrize(
    ("opening", "closing"),
    [pytest.param(b"[", b"]", id="arrays"), pytest.param(b'{"a":', b"}", id="objects")],
)
def test_deep_nesting_is_refused(session, upstream, opening, closing):
    """A body nested 100,000 levels deep is refused with a 4xx status, and the next request is served."""
    upstream.says("Hello")
    upstream.says("Hello again")
    nested = opening * LEVELS + b"7" + closing * LEVELS

    reply = session.send(content=spelt(session, "Hi", metadata="NESTED").replace(b'"NESTED"', nested))

    expect(reply).status(*REFUSED)
    expect(session.chat("Are you there?")).status(200)


@pytest.mark.requirement(id="HTTP-010")
def test_body_of_10_megabytes_is_served_or_too_large(session, upstream):
    """A valid request of 10 MB is answered with 200 or 413, and the next request is served."""
    upstream.says("Hello")
    upstream.says("Hello again")

    reply = session.send(content=spelt(session, "Hi") + b" " * TEN_MEGABYTES)

    expect(reply).status(200, 413)
    expect(session.chat("Are you there?")).status(200)


@pytest.mark.requirement(id="HTTP-011")
@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        pytest.param(b'"model"', b'"model": "first", "model"', id="a-key-twice"),
        pytest.param(b"Hi", rb"\ud800", id="lone-surrogate"),
        pytest.param(b"Hi", rb"\udc00\ud800", id="surrogates-swapped"),
        pytest.param(b"Hi", rb"\u0000", id="nul"),
        pytest.param(b'"kit"', rb'"\ud800"', id="lone-surrogate-as-model"),
        pytest.param(b'"role"', rb'"\ud800": 1, "role"', id="lone-surrogate-as-key"),
    ],
)
def test_odd_json_is_no_server_error(session, upstream, plain, odd):
    """JSON that is legal but odd (a key twice, a lone surrogate escape `\\ud800`, a NUL character) is served or
    refused, never answered with a 5xx status."""
    upstream.says("Hello")

    reply = session.send(content=spelt(session, "Hi").replace(plain, odd, 1))

    expect(reply.status).satisfies(lambda status: status < 500, "below 500", "status")


@pytest.mark.requirement(id="HTTP-018")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/chat/completions", b"{", id="bad-json"),
        pytest.param("/chat/completions", b"[]", id="no-object"),
        pytest.param("/chat/completions", b'{"messages": []}', id="no-messages"),
        pytest.param("/no/such/path", b'{"messages": []}', id="unknown-path"),
    ],
)
def test_connection_survives_a_refusal(session, upstream, path, body):
    """A connection on which a request was refused serves the next request, unless the refusal said
    `connection: close`."""
    upstream.says("Hello")

    with session.connect() as connection:
        refusal = connection.post(body + b" " * 2000, path)
        if refusal.status < 500 and not connection.ended:
            expect(connection.post(spelt(session, "Hi"))).status(200)


@pytest.mark.requirement(id="HTTP-019")
def test_chunked_body_is_served(session, upstream):
    """A chat request with `transfer-encoding: chunked` and no content length is served."""
    upstream.says("Hello")
    body = spelt(session, "Hi")

    with session.connect() as connection:
        connection.begin(transfer_encoding="chunked").write_chunk(body[:20]).write_chunk(body[20:]).write_chunk(b"")
        reply = connection.reply()

    expect(reply).status(200)


@pytest.mark.requirement(id="HTTP-020")
def test_request_cut_short_causes_no_call(session, upstream):
    """A client that hangs up in the middle of its request body causes no upstream call, and the next request is
    served."""
    upstream.repeats("Hello", 6)
    body = spelt(session, "Hi")

    with session.connect() as connection:
        connection.begin(content_length=str(len(body) + 1)).write(body)
        # Each request that is served gives the gateway the time to notice what happened on the other connection.
        session.chat("Have you read the first part?")
        connection.hang_up()
    replies = [session.chat("Have you seen the end?") for _ in range(4)]

    for reply in replies:
        expect(reply).status(200)
    expect(len(upstream.calls)).equals(5, "upstream calls")


@pytest.mark.requirement(id="HTTP-050")
def test_idle_connections_leave_room_for_a_request(session, upstream):
    """With 200 idle connections held open, the next request is served."""
    if descriptors() < 2 * IDLE:
        raise NotTested(f"the kit itself may not hold {IDLE} connections: raise its limit of file descriptors")
    upstream.says("Hello")
    for _ in range(IDLE):
        session.connect()

    expect(session.chat("Hi")).status(200)
