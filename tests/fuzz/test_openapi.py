"""The control plane by its own OpenAPI document: schemathesis makes the requests, and no answer is a failure or other
than documented."""

from __future__ import annotations

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from reference_gateway.app import create_app
from reference_gateway.config import Config

APP = create_app(Config())
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@schema.parametrize()
def test_every_route_answers_as_documented(case):
    case.call_and_validate(checks=[not_a_server_error, content_type_conformance, response_schema_conformance])
