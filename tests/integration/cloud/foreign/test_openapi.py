"""The interface keeps what its description says: schemathesis sends what it allows, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from aquasmart_cloud.web.app import create_app
from aquasmart_cloud.web.openapi import DOCUMENT
from tests.integration.cloud.foreign.gunicorn import ADMIN, Served, event
from tests.integration.cloud.senders import CloudUnderTest

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On SQLite only: what the interface looks like does not depend on the store."""
    with Served(tmp_path_factory.mktemp("described") / "cloud") as running:
        yield running


@pytest.fixture(scope="module")
def tokens(served: Served) -> dict[str, str]:
    """A client with something to be found, and a person."""
    client = served.client("described")
    client.send({"events": [event(id=str(number)) for number in range(5)] + [{}]})
    return {"client": client.token, "person": ADMIN}


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [
    pytest.param(path, method, mode, id=f"{mode.value} {method} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    for mode in GenerationMode
    if not (path == "/api/health" and mode.is_negative)  # it takes nothing that could be wrong
]
LONG_LINE = 414
"""What gunicorn itself says to a request line above its limit."""


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_the_interface_keeps_its_description(
    path: str, method: str, mode: GenerationMode, served: Served, tokens: dict[str, str]
) -> None:
    base_url = f"http://127.0.0.1:{served.port}"
    before = served.rows()

    @given(SCHEMA[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def nobody(case: Any) -> None:
        # Wrong tokens would lock this address out for a minute; that they are refused is tried elsewhere.
        case.headers.pop("Authorization", None)
        answer = case.call(base_url=base_url)
        refused = {401, 404, 405, 413, LONG_LINE, 415}
        assert answer.status_code in ({200} if path == "/api/health" else refused)

    @given(SCHEMA[path][method].as_strategy(generation_mode=mode), st.sampled_from(sorted(tokens)))
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def somebody(case: Any, who: str) -> None:
        answer = case.call(base_url=base_url, headers={"Authorization": f"Bearer {tokens[who]}"})
        if answer.status_code != LONG_LINE:
            case.validate_response(answer, checks=CHECKS)

    nobody()
    assert served.rows() == before
    somebody()


def test_the_description_is_served(served: Served) -> None:
    assert served.ask("GET", "/api/openapi.json").json == DOCUMENT


def test_every_route_of_the_interface_is_described(tmp_path: Path) -> None:
    cloud = CloudUnderTest(tmp_path)
    app = create_app(cloud.config)
    mine = {"public_api", "failed_api", "query_api", "alerts_api", "ledger_api", "update_api"}
    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    routes = {
        (_template(rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] in mine
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    cloud.close()
    assert routes - described == {("/api/openapi.json", "GET"), ("/api/events.{extension}", "GET")}
    assert described - routes == {("/api/events.csv", "GET"), ("/api/events.jsonl", "GET")}


def _template(rule: str) -> str:
    return rule.replace("<int:", "<").replace("<", "{").replace(">", "}")
