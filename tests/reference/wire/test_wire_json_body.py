"""Bytes that are meant to be a JSON object."""

from __future__ import annotations

import json

import pytest

from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.json_body import read_object, require_json


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nope",
        b'{"a": NaN}',
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": 1}{}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_invalid(body):
    with pytest.raises(RequestRefused, match=r"^Invalid JSON body$"):
        read_object(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"5", b"true"])
def test_json_that_is_no_object_is_refused(body):
    with pytest.raises(RequestRefused, match="expected an object"):
        read_object(body)


def test_deep_nesting_is_refused():
    with pytest.raises(RequestRefused, match="nested deeper than 100"):
        read_object(b'{"a":' + b"[" * 101 + b"]" * 101 + b"}")
    assert read_object(b'{"a":' + b"[" * 90 + b"]" * 90 + b"}")


@pytest.mark.parametrize(
    "body", [b'{"a": 1, "a": 1}', b'{"a": {"b": 1}, "c": 2, "a": 3}', b'{"n":' + b"9" * 300 + b',"n":1}']
)
def test_a_field_given_twice_is_refused(body):
    with pytest.raises(RequestRefused, match="twice"):
        read_object(body)


@pytest.mark.parametrize(
    "document", [{"a": {"a": 1}}, {"a": "a", "b": ["a"]}, {"a": '"a"'}, {"a": [{"a": 1}, {"a": 2}]}]
)
def test_a_name_that_stands_elsewhere_too_is_no_repetition(document):
    assert read_object(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    "kind", [None, "application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"]
)
def test_json_content_types(kind):
    require_json(kind)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_other_content_types_are_415(kind):
    with pytest.raises(RequestRefused, match="expected application/json") as refused:
        require_json(kind)
    assert refused.value.status == 415
