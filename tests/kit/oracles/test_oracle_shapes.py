from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles.shapes import shape, stream_shape
from conformance.oracles.sse import Event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, "null"),
        (True, "boolean"),
        (7, "integer"),
        (7.5, "number"),
        ("text", "string"),
        ([], []),
        ([3, 1, 2], ["integer"]),
        ([1, "a", None, "b"], ["integer", "null", "string"]),
        ({"id": "c-1", "created": 5, "object": "list"}, {"created": "integer", "id": "string", "object": "= list"}),
        ({"role": None}, {"role": "null"}),
        ([{"a": 1}, {"a": 2, "b": ""}, {"a": 3}], [{"a": "integer", "b": "string"}, {"a": "integer"}]),
    ],
)
def test_the_shape_is_the_tree_of_types(document, expected):
    assert shape(document) == expected


def test_what_differs_from_run_to_run_is_not_in_the_shape():
    one = {"id": "a", "created": 1, "choices": [{"index": 0, "finish_reason": "stop"}]}
    other = {"choices": [{"finish_reason": "stop", "index": 9}], "created": 2, "id": "b"}
    assert shape(one) == shape(other)
    assert list(shape(one)) == list(shape(other)) == ["choices", "created", "id"]
    assert shape(one) != shape({**one, "choices": [{"index": 0, "finish_reason": "length"}]})


def test_a_run_of_events_of_the_same_shape_counts_once():
    def event(document):
        return Event("message", document if isinstance(document, str) else json.dumps(document))

    short = [event({"role": "assistant"}), event({"text": "Hello"}), event("[DONE]")]
    long = [event({"role": "assistant"}), event({"text": "Hel"}), event({"text": "lo"}), event("[DONE]")]
    expected = [{"data": {"role": "= assistant"}}, {"data": {"text": "string"}}, {"data": "[DONE]"}]
    assert stream_shape(short) == stream_shape(long) == expected


def test_named_events_and_data_that_is_not_json():
    assert stream_shape([Event("error", "no luck"), Event("message", "1")]) == [
        {"data": "string", "event": "error"},
        {"data": "integer"},
    ]


@given(JSON)
def test_a_shape_is_json_and_encodes(document):
    json.dumps(shape(document)).encode()


@given(st.lists(JSON, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_elements_does_not_matter(elements, random):
    shuffled = list(elements)
    random.shuffle(shuffled)
    assert shape(shuffled) == shape(elements)


def test_a_document_nested_too_deeply_is_cut():
    document = []
    for _ in range(5000):
        document = [document]
    assert '"..."' in json.dumps(shape(document))


@given(st.lists(st.builds(Event, st.text(max_size=3), st.text(max_size=5)), max_size=4))
def test_no_events_make_it_raise(events):
    json.dumps(stream_shape(events))
