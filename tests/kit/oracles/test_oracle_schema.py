"""What JSON Schema can say and the kit's own schemas do not, yet: the oracle has an answer to it all the same."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from conformance.oracles.schema import Finding, _findings


@pytest.mark.parametrize(
    ("schema", "document", "finding"),
    [
        pytest.param(
            {"type": "string", "pattern": "^a"},
            "b",
            Finding((), "a string", "'b' does not match '^a'"),
            id="a-keyword-without-words-of-its-own",
        ),
        pytest.param(
            {"required": ["id"]},
            {},
            Finding(("id",), "a value", "nothing: the field is missing"),
            id="a-required-field-that-is-not-described",
        ),
        pytest.param(
            False,
            1,
            Finding((), "a value", "False schema does not allow 1"),
            id="a-schema-that-nothing-meets",
        ),
    ],
)
def test_a_schema_that_says_more_than_those_of_the_kit(schema, document, finding):
    (error,) = Draft202012Validator(schema).iter_errors(document)
    assert _findings(error) == [finding]
