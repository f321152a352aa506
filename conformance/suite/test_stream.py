"""Area STREAM: server-sent events of chat completions."""

from __future__ import annotations

import pytest

from conformance.expect import expect


@pytest.mark.requirement(id="STREAM-004")
def test_stream_ends_with_done(session, upstream):
    """A completed stream ends with exactly one `data: [DONE]`, and nothing follows it."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True)

    expect(stream).ends_with_done()
