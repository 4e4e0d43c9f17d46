"""Whatever comes, by whomever: never a 500; and from nobody we know never a stored byte."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.store.schema import metadata
from tests.contract.messages import batch
from tests.integration.cloud.foreign.gunicorn import ADMIN, Served, event
from tests.integration.cloud.operating import TIMESTAMP, UPDATE_RESULT, envelope, local_change, visit
from tests.integration.cloud.senders import CloudUnderTest, Sender
from tests.integration.cloud.test_answers import BEAT

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
PERSON = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("X-Station-Id", "X-Key-Id", "X-Timestamp", "X-Signature", "X-Software-Version", "Idempotency-Key"),
            *("If-Match", "traceparent", "Content-Encoding", "Content-Type", "Authorization", "Cookie", "X-Fault"),
            *("X-Forwarded-For", "X-Forwarded-Proto", "Sec-Fetch-Site", "Origin", "Range", "If-Modified-Since"),
            *("Accept", "Sec-Purpose", "Expect", "X-HTTP-Method-Override"),
        ]
    ),
    LATIN
    | st.sampled_from(
        ["demo-1", "k1", "1763676000000", "v1=" + "0" * 64, "gzip", "Bearer c_acme.x", "Bearer x", "aquasmart=x.y.z"]
    )
    | st.sampled_from(["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]),
    max_size=5,
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "\0", "1e999", "-0", "2024-02-30", "NaN", "\ud800", 2**63, -1, 2**53 + 1]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
BODY = st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


def state_of(cloud: CloudUnderTest) -> str:
    """A digest of every row of every table."""
    digest = hashlib.sha256()
    with cloud.database.reading() as connection:
        for table in metadata.sorted_tables:
            rows = connection.execute(f"SELECT * FROM {table.name}").fetchall()
            digest.update(repr((table.name, sorted(map(repr, rows)))).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudUnderTest]:
    with tempfile.TemporaryDirectory() as folder:
        made = CloudUnderTest(Path(folder))
        made.station().take(batch())
        made.station("demo-2")
        Clients(made.database).add("acme", 1)
        yield made
        made.close()


@pytest.fixture(scope="module")
def sender(cloud: CloudUnderTest) -> Sender:
    new = cloud.stations.rotate_key("demo-1", cloud.now_ms)
    return Sender(cloud, "demo-1", new.key_id, bytes.fromhex(new.key))


def targets(cloud: CloudUnderTest) -> list[str]:
    """Every route there is, with something in its places."""
    filled = []
    for rule in cloud.app.url_map.iter_rules():
        text = rule.rule
        for name in rule.arguments:
            for form in (f"<{name}>", f"<int:{name}>", f"<path:{name}>"):
                text = text.replace(form, "1" if "int:" in form else "x")
        filled.append(text)
    odd = {"/v1/ingest?a=%00", "/api/events?from=x&limit=99999999999999999999", "/%ff/%00", "//x", "/.."}
    return sorted({*filled, *odd})


def test_nobody_gets_a_500_or_a_byte_stored_from_any_route(cloud: CloudUnderTest) -> None:
    before, places = state_of(cloud), targets(cloud)
    assert len(places) > 30

    @QUIET
    @given(st.sampled_from(METHODS), st.sampled_from(places), LATIN, HEADERS, BODY)
    def ask(method: str, place: str, query: str, headers: dict[str, str], body: bytes) -> None:
        cloud.now_ms += 60_000  # nobody waits for the minute of those before
        target = f"{place}{'&' if '?' in place else '?'}{query}" if query else place
        answer = cloud.client.open(target, method=method, headers=headers, data=body)
        assert answer.status_code < 500, (method, target, headers, body, answer.data)
        assert b"Traceback" not in answer.data

    ask()
    assert state_of(cloud) == before


def test_a_person_s_nonsense_is_no_500_either(cloud: CloudUnderTest) -> None:
    @QUIET
    @given(st.sampled_from(METHODS), st.sampled_from(targets(cloud)), LATIN, HEADERS, BODY)
    def ask(method: str, place: str, query: str, headers: dict[str, str], body: bytes) -> None:
        cloud.now_ms += 60_000
        known = {name: value for name, value in headers.items() if name not in ("X-Signature", "Authorization")}
        target = f"{place}{'&' if '?' in place else '?'}{query}" if query else place
        answer = cloud.client.open(target, method=method, headers=known | PERSON, data=body)
        assert answer.status_code < 500, (method, target, headers, body, answer.data)

    ask()


@pytest.mark.parametrize("place", ["/v1/ingest", "/v1/heartbeat", "/v1/operations/service_visit", "/api/events"])
def test_a_station_s_own_nonsense_is_refused_without_a_500(cloud: CloudUnderTest, sender: Sender, place: str) -> None:
    @QUIET
    @given(BODY, st.sampled_from([None, "gzip", "br", "identity"]))
    def send(body: bytes, encoding: str | None) -> None:
        extra = {"Idempotency-Key": str(uuid4())}
        answer = sender.request(body, target=place, encoding=encoding, extra=extra)
        assert answer.status_code < 500, (body, answer.data)
        assert "X-Signature" in answer.headers

    send()


def places_in(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    yield path
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from places_in(value, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


OPERATIONS: dict[str, dict[str, Any]] = {
    "config_applied": {"version": 0, "sha256": "44" * 32, "result": "applied", "reasons": []},
    "service_visit": visit(),
    "local_change": local_change(),
    "meter_change/tap-1": {"change_token": "t", "changed_at": TIMESTAMP},
    "diagnostics_bundle": {"document": {"disk": {"free_bytes": 1}}},
    "update_result": UPDATE_RESULT,
}
GOOD = {
    "/v1/ingest": batch([1, 2], stream=batch()["stream"] | {"id": str(uuid4())}),
    "/v1/heartbeat": BEAT,
    **{f"/v1/operations/{name}": json.loads(envelope(payload)) for name, payload in OPERATIONS.items()},
    "/api/events": {"events": [event(id="1"), event(payload={"amount": "1,200.50 €"})]},
}


@pytest.mark.parametrize("place", GOOD)
def test_one_value_of_a_good_request_changed_to_anything(cloud: CloudUnderTest, sender: Sender, place: str) -> None:
    """Deeper than noise gets: everything but one value is as it should be, and signed."""
    document = GOOD[place]
    based = {"If-Match": "0"} if place.endswith("local_change") else {}

    def sent(changed: Any) -> TestResponse:
        body = json.dumps(changed).encode("utf-8", "surrogatepass")
        return sender.request(body, target=place, extra={"Idempotency-Key": str(uuid4())} | based)

    taken = sent(document)
    assert taken.status_code < 300, taken.data

    @QUIET
    @given(st.sampled_from(list(places_in(document))), JSON)
    def send(path: tuple[Any, ...], value: Any) -> None:
        answer = sent(replaced(document, path, value))
        assert answer.status_code < 500, (path, value, answer.data)

    send()
    cloud.assert_books_balance()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("fuzz") / "cloud") as running:
        yield running


REQUESTS = [
    b"POST /v1/ingest HTTP/1.1\r\nHost: cloud\r\nContent-Length: 2\r\nX-Station-Id: demo-1\r\n\r\n{}",
    b"POST /api/events HTTP/1.1\r\nHost: cloud\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /sign-in/abc?x=%41 HTTP/1.1\r\nHost: cloud\r\nCookie: aquasmart=abc\r\nAccept: */*\r\n\r\n",
    b"POST /sign-in HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntoken=x",
]
PIECE = st.binary(max_size=12) | st.sampled_from([b"\r\n", b":", b" ", b"\n", b"\0"])
EDIT = st.tuples(st.integers(0, 200), st.integers(0, 12), PIECE)
FRAMING = (b"HTTP/1.1 501 ", b"HTTP/1.1 505 ")
"""What gunicorn says to a coding or version that it does not know: not our fault, and not a failure."""


def test_bytes_that_are_hardly_http_over_a_socket(served: Served) -> None:
    tables = [table.name for table in metadata.sorted_tables]
    before = [served.query(f"SELECT * FROM {name}") for name in tables]

    @QUIET
    @given(st.sampled_from(REQUESTS), st.lists(EDIT, max_size=4))
    def send(raw: bytes, edits: list[tuple[int, int, bytes]]) -> None:
        for at, gone, new in edits:
            raw = raw[:at] + new + raw[at + gone :]
        received = b""
        with socket.create_connection(("127.0.0.1", served.port), 20) as line, contextlib.suppress(OSError):
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            while piece := line.recv(65_536):
                received += piece
        answers = [part for part in received.split(b"\r\n") if part.startswith(b"HTTP/1.1 5")]
        assert all(each.startswith(FRAMING) for each in answers), (raw, answers)
        assert b"Traceback" not in received

    send()
    assert [served.query(f"SELECT * FROM {name}") for name in tables] == before
    assert served.ask("GET", "/readyz").status == 200
