"""Bodies as clients send them: compressed, labelled in other ways, on routes that a slash ends."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from reference_gateway.serving import content_coding
from reference_gateway.serving.content_coding import MAX_FRAMES, codings_of, decoded
from reference_gateway.wire.base import RequestRefused
from tests.reference.app.gateway_doubles import Client, Told, gateway

zstd = content_coding.zstd or pytest.skip("zstd is of the extra `gateway`", allow_module_level=True)

BODY = json.dumps({"a": "b" * 1000}).encode()
LIMIT = 4096


def bare_deflate(body: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(body) + encoder.flush()


def decode(body: bytes, value: str, limit: int = LIMIT) -> bytes:
    return decoded(body, codings_of(value), limit)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:7]) + gzip.compress(BODY[7:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", bare_deflate(BODY)),
        ("zstd", zstd.compress(BODY)),
        ("zstd", zstd.compress(BODY[:7]) + zstd.compress(BODY[7:])),
        ("gzip, zstd", zstd.compress(gzip.compress(BODY))),
        ("deflate,gzip , identity", gzip.compress(zlib.compress(BODY))),
        ("identity", BODY),
        ("", BODY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # bytes of gzip hold the time
)
def test_decoded(value, encoded):
    assert decode(encoded, value) == BODY


@pytest.mark.parametrize("value", ["br", "compress", "gzip, br", "gzip;q=1", "gzip,gzip,gzip,gzip,gzip"])
def test_a_coding_that_is_not_known_is_unsupported(value):
    with pytest.raises(RequestRefused, match="content-encoding") as refusal:
        codings_of(value)
    assert (refusal.value.status, refusal.value.headers) == (415, {"accept-encoding": "gzip, deflate, zstd"})


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        *((name, BODY) for name in ("gzip", "deflate", "zstd")),
        *((name, b"") for name in ("gzip", "deflate", "zstd")),
        ("gzip", gzip.compress(BODY)[:-1]),
        ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
        ("gzip", gzip.compress(BODY) + b"more"),
        ("zstd", zstd.compress(BODY)[:-1]),
        ("gzip", zstd.compress(BODY)),
        ("zstd, gzip", zstd.compress(gzip.compress(BODY))),
        ("gzip", gzip.compress(b"") * (MAX_FRAMES + 1)),
        ("zstd", zstd.compress(b"") * (MAX_FRAMES + 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # bytes of gzip hold the time
)
def test_what_is_not_what_it_says_is_refused(value, encoded):
    with pytest.raises(RequestRefused, match=r"the body is not \w+, as content-encoding says") as refusal:
        decode(encoded, value)
    assert refusal.value.status == 400


@pytest.mark.parametrize("value", ["gzip", "deflate", "zstd", "gzip, zstd"])
def test_the_limit_is_of_what_is_decoded(value):
    encoded = b" " * LIMIT
    larger = encoded + b" "
    for name in value.split(", "):
        encode: Any = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}[name]
        encoded, larger = encode(encoded), encode(larger)
    assert len(decode(encoded, value)) == LIMIT
    with pytest.raises(RequestRefused, match="larger than 4096 bytes") as refusal:
        decode(larger, value)
    assert refusal.value.status == 413


def test_a_bomb_is_not_decoded_whole(monkeypatch):
    made: list[int] = []

    class Counting:
        def __init__(self, decoder: Any) -> None:
            self._decoder = decoder

        def __getattr__(self, name: str) -> Any:
            return getattr(self._decoder, name)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            piece: bytes = self._decoder.decompress(data, max_length)
            made.append(len(piece))
            return piece

    original = content_coding._NAMES["gzip"]
    monkeypatch.setattr(content_coding, "_NAMES", {"gzip": lambda head: Counting(original(head))})
    with pytest.raises(RequestRefused, match="larger"):
        decode(gzip.compress(b" " * 50_000_000), "gzip")
    assert sum(made) == LIMIT + 1


def chat(client: Client, session: str, content: bytes, path: str = "/v1/chat/completions", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"content-type": "application/json", **named}
    return client.http.post(session + path, content=content, headers=sent)


REQUESTS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/messages": {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi"},
    "/v1/conversations": {},
    "/v1/invocations": {"message": "Hi"},
}


@pytest.mark.parametrize("path", REQUESTS)
def test_on_every_wire(path):
    body = json.dumps({"model": "m", **REQUESTS[path]}).encode()
    with gateway(Told(*["Hello"] * 9), max_body=100_000) as client:
        session = client.open()
        for coding, encoded in (("gzip", gzip.compress(body)), ("zstd", zstd.compress(body)), ("identity", body)):
            served = chat(client, session, encoded, path, content_encoding=coding)
            assert served.status_code == 200, served.text
        assert chat(client, session, b"\xef\xbb\xbf" + body, path + "/").status_code == 200
        labelled = chat(client, session, body, path, content_type='Application/JSON; charset="utf-8"')
        assert labelled.status_code == 200
        unknown = chat(client, session, body, path, content_encoding="br")
        assert (unknown.status_code, unknown.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")
        mistaken = chat(client, session, body, path, content_encoding="gzip")
        assert (mistaken.status_code, "content-encoding" in mistaken.text) == (400, True)
        bomb = chat(client, session, gzip.compress(body + b" " * 100_000), path, content_encoding="gzip")
        assert bomb.status_code == 413


def test_on_the_control_plane_and_in_two_headers():
    body = gzip.compress(zlib.compress(b'{"session_id": "mine"}'))
    with gateway(Told()) as client:
        headers = [("content-encoding", "deflate"), ("content-encoding", "gzip"), ("content-type", "application/json")]
        made = client.http.post(f"{client.url}/sessions", content=body, headers=headers)
        assert (made.status_code, made.json()["session_id"]) == (201, "mine")
        headers = [("content-encoding", "gzip"), ("content-encoding", "br"), ("content-type", "application/json")]
        assert client.http.post(f"{client.url}/sessions", content=body, headers=headers).status_code == 415


def test_a_client_that_takes_compressed_answers_gets_a_stream():
    with gateway(Told("Hello")) as client:
        body = json.dumps({"model": "m", "stream": True, **REQUESTS["/v1/chat/completions"]}).encode()
        stream = chat(client, client.open(), body, accept_encoding="gzip, deflate, br, zstd")
        assert "content-encoding" not in stream.headers
        assert stream.text.endswith("data: [DONE]\n\n")
