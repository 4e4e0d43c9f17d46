"""Senders that dribble, hang or confuse, over bare sockets: against gunicorn alone and through the deployed nginx."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest

from aquasmart_cloud.store.stations import Stations
from aquasmart_cloud.web import patience
from aquasmart_cloud.web.patience import HEAD_S, HURRIED_S, PatientSocket, TooSlow
from tests.fakes.nginx_site import NginxSite
from tests.integration.cloud.foreign.gunicorn import ClientOf, Served, event
from tests.integration.cloud.test_answers import BEAT
from tests.integration.wire import Message

THREADS = 4
SLACK_S = 8.0
"""What a busy machine may add."""


class Door:
    """One way in: bare gunicorn, or nginx before it."""

    def __init__(self, served: Served, site: NginxSite | None) -> None:
        self.served, self.site, self.bare = served, site, site is None

    def connect(self, timeout_s: float = 30.0) -> socket.socket:
        if self.site is None:
            return socket.create_connection(("127.0.0.1", self.served.port), timeout_s)
        return self.site.connect(timeout_s)

    def say(self, raw: bytes, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Send bytes as they are: the first answer's status (0 where there is none), and everything received."""
        received = b""
        with self.connect(timeout_s) as line, contextlib.suppress(OSError):
            line.sendall(raw)
            while piece := line.recv(65_536):
                received += piece
        return (int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/") else 0), received

    def healthy_within_s(self) -> float:
        """How long somebody else waits for a look at the cloud's health."""
        began = time.monotonic()
        status, _ = self.say(b"GET /healthz HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\n\r\n", 120)
        assert status == 200
        return time.monotonic() - began


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"AQUASMART_THREADS": str(THREADS), "AQUASMART_PROXIES": "1"}
    with Served(tmp_path_factory.mktemp("rude") / "cloud", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> ClientOf:
    return served.client("polite")


@pytest.fixture(scope="module")
def site(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxSite]:
    with NginxSite(tmp_path_factory.mktemp("nginx"), served.port) as running:
        yield running


@pytest.fixture(params=["bare", pytest.param("nginx", marks=pytest.mark.needs("nginx"))])
def door(request: pytest.FixtureRequest, served: Served) -> Door:
    return Door(served, None if request.param == "bare" else request.getfixturevalue("site"))


class Crowd:
    """Many connections that each send one byte of something every so often, while entered."""

    def __init__(self, connect: Callable[[], socket.socket], many: int, begin: bytes, then: bytes) -> None:
        self._lines = [connect() for _ in range(many)]
        self._begin, self._then = begin, then
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._dribble)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for line in self._lines:
            line.close()

    def _dribble(self) -> None:
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.sendall(self._begin)
        while not self._over.wait(0.2):
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.sendall(self._then)


HEAD = b"POST /api/events HTTP/1.1\r\nHost: cloud\r\n"
DRIBBLES = {
    "nothing at all": (b"", b""),
    "a line that does not end": (b"G", b"G"),
    "headers without end": (HEAD + b"X-A: ", b"a"),
    "a body in drops": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "chunks in drops": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


def whole_answer(line: socket.socket) -> bytes:
    """Head and problem document, which may come in two pieces."""
    received = b""
    while b"}" not in received and (more := line.recv(1000)):
        received += more
    return received


@pytest.mark.parametrize("what", DRIBBLES)
def test_a_crowd_that_dribbles_keeps_nobody_else_out(door: Door, what: str, client: ClientOf) -> None:
    """Five times as many as there are threads: without an end to reads, nobody else would ever be answered."""
    token = f"Authorization: Bearer {client.token}\r\n".encode()
    begin, then = DRIBBLES[what]
    begin = begin.replace(b"Host: cloud\r\n", b"Host: cloud\r\n" + token)  # known, so that its body is read at all
    with Crowd(door.connect, 5 * THREADS, begin, then):
        time.sleep(1)
        waited = [door.healthy_within_s() for _ in range(3)]
    # Whoever dribbles has HURRIED_S; all of the crowd may stand before us in the queue, THREADS of them at a time.
    most_s = 5 * (HURRIED_S + 1) if door.bare else 1.0
    assert sum(waited) < most_s + SLACK_S, waited


def test_a_head_that_never_ends_is_cut_off_and_a_slow_honest_sender_is_heard(served: Served, client: ClientOf) -> None:
    door = Door(served, None)
    began = time.monotonic()
    with door.connect(60) as line:
        line.sendall(HEAD)
        assert line.recv(100) == b""
    assert HEAD_S - 1 < time.monotonic() - began < HEAD_S + SLACK_S
    body = json.dumps(event(id="slow")).encode()
    head = HEAD + f"Authorization: Bearer {client.token}\r\nConnection: close\r\n".encode()
    with door.connect(60) as line:
        line.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode())
        for each in range(0, len(body), len(body) // 10):
            time.sleep(0.4)
            line.sendall(body[each : each + len(body) // 10])
        assert line.recv(100).startswith(b"HTTP/1.1 201")


def test_a_body_that_is_cut_off_while_others_wait_is_told_408_and_stores_nothing(
    served: Served, client: ClientOf
) -> None:
    door, before = Door(served, None), served.rows()
    head = HEAD + f"Authorization: Bearer {client.token}\r\nContent-Length: 100\r\n\r\n".encode()
    with contextlib.ExitStack() as lines:
        slow = [lines.enter_context(door.connect(60)) for _ in range(2 * THREADS)]
        for line in slow:
            line.sendall(head + b"{")
        answers = [whole_answer(line) for line in slow[:THREADS]]
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers), answers
    assert b"did not come in time" in answers[0]
    assert served.rows() == before


@pytest.mark.needs("nginx")
def test_through_nginx_a_slow_sender_is_waited_for_without_a_thread(
    served: Served, site: NginxSite, client: ClientOf
) -> None:
    door, body = Door(served, site), json.dumps(event(id="patient")).encode()
    head = HEAD + f"Authorization: Bearer {client.token}\r\nConnection: close\r\n".encode()
    with contextlib.ExitStack() as lines:
        slow = [lines.enter_context(door.connect(60)) for _ in range(3 * THREADS)]
        for line in slow:
            line.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:1])
        time.sleep(HURRIED_S + 1)
        assert door.healthy_within_s() < SLACK_S
        for line in slow:
            line.sendall(body[1:])
        assert sorted(line.recv(12)[9:] for line in slow) == [b"200"] * (3 * THREADS - 1) + [b"201"]


def request(extra: str, body: bytes = b"", line: str = "POST /api/events HTTP/1.1") -> bytes:
    return f"{line}\r\nHost: cloud\r\n{extra}\r\n".encode("latin-1") + body


SMUGGLED = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: cloud\r\n\r\n"
CONFUSING = {
    "chunked and a length": request("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", SMUGGLED),
    "a length and chunked": request("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", SMUGGLED),
    "two lengths": request("Content-Length: 3\r\nContent-Length: 43\r\n", SMUGGLED),
    "two equal lengths": request("Content-Length: 5\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    "lengths in a list": request("Content-Length: 5, 5\r\n", b"0\r\n\r\n"),
    "a length with a sign": request("Content-Length: +5\r\n", SMUGGLED),
    "a length of other digits": request("Content-Length: \xb2\r\n", SMUGGLED),
    "an endless length": request(f"Content-Length: {'9' * 40}\r\n", SMUGGLED),
    "a blank before the colon": request("Content-Length : 5\r\n", SMUGGLED),
    "chunked twice": request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", SMUGGLED),
    "chunked, chunked": request("Transfer-Encoding: chunked, chunked\r\n", SMUGGLED),
    "not chunked at last": request("Transfer-Encoding: chunked, identity\r\n", SMUGGLED),
    "chunked in disguise": request("Transfer-Encoding: xchunked\r\n", SMUGGLED),
    "chunked with a control": request("Transfer-Encoding: \x0bchunked\r\n", SMUGGLED),
    "a coding of gzip": request("Transfer-Encoding: gzip\r\n", SMUGGLED),
    "chunked by HTTP/1.0": request("Transfer-Encoding: chunked\r\n", SMUGGLED, "POST /api/events HTTP/1.0"),
    "a folded header": request("X-A: b\r\n folded\r\nContent-Length: 5\r\n", SMUGGLED),
    "a folded coding": request("Transfer-Encoding:\r\n chunked\r\n", SMUGGLED),
    "a header without a name": request(": x\r\n"),
    "a header without a colon": request("nonsense\r\n"),
    "a NUL in a header": request("X-A: a\x00b\r\n"),
    "a bare CR": request("X-A: a\rTransfer-Encoding: chunked\r\n", SMUGGLED),
    "two hosts": request("Host: other\r\n"),
    "300 headers": request("".join(f"X-{n}: {n}\r\n" for n in range(300))),
    "a header of 40 kB": request(f"X-A: {'a' * 40_000}\r\n"),
    "a target of 40 kB": request("", line=f"GET /{'a' * 40_000} HTTP/1.1"),
    "an unknown version": request("", line="GET /healthz HTTP/3.0"),
    "a method in lower case": request("", line="get /healthz HTTP/1.1"),
    "CONNECT": request("", line="CONNECT cloud:443 HTTP/1.1"),
    "an asterisk": request("", line="GET * HTTP/1.1"),
    "a body above the limit": request("Content-Length: 9000000\r\n"),
    "a chunk of no size": request("Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n0\r\n\r\n"),
    "a chunk with a sign": request("Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n0\r\n\r\n"),
    "an endless line of a chunk": request("Transfer-Encoding: chunked\r\n", b"1;" + b"a" * 70_000),
}


@pytest.mark.parametrize("what", CONFUSING)
def test_what_two_readers_could_read_differently_is_refused(door: Door, what: str) -> None:
    before = door.served.rows()
    raw = CONFUSING[what]
    status, received = door.say(raw.replace(b"Host: cloud\r\n", b"Host: cloud\r\nConnection: close\r\n", 1))
    assert status == 0 or 400 <= status < 500 or status == 501 or (status == 505 and not door.bare), received[:300]
    assert received.count(b"HTTP/1.1 ") <= 1, "what stood behind it was taken for a request of its own"
    assert b"alive" not in received
    assert b"Traceback" not in received
    assert door.served.rows() == before
    assert door.healthy_within_s() < SLACK_S


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("line", ["GET http://cloud/healthz HTTP/1.1", "GET  /healthz HTTP/1.1"])
def test_another_form_of_request_line_is_refused_by_us_and_made_ours_by_nginx(
    served: Served, site: NginxSite, line: str
) -> None:
    raw = request("Connection: close\r\n", line=line)
    assert Door(served, None).say(raw)[0] == 400
    assert Door(served, site).say(raw)[0] == 200


def test_http_1_0_is_answered_and_its_connection_closed(served: Served) -> None:
    """Probes of load balancers, and nginx by its default, speak it."""
    status, received = Door(served, None).say(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert status == 200
    assert b"connection: close" in received.lower()


def signed_beat(served: Served, name: str) -> Message:
    new = Stations(served.database, served.master_key).add(name, "", 1)
    body = json.dumps(BEAT).encode()
    headers = (("Host", "cloud"), ("X-Station-Id", name), ("X-Key-Id", new.key_id), ("Connection", "close"))
    return Message("POST /v1/heartbeat?a=%2F..%2f HTTP/1.1", headers, body).signed(bytes.fromhex(new.key))


def test_a_station_s_signed_request_passes_as_it_is(door: Door) -> None:
    message = signed_beat(door.served, "by-nginx" if door.site else "bare")
    status, received = door.say(message.raw())
    assert status == 200, received
    assert b"x-signature: v1=" in received.lower()
    assert b"Strict-Transport-Security" not in received, "stations' answers stay short"
    assert b"Content-Security-Policy" not in received


@pytest.mark.needs("nginx")
def test_the_site_speaks_tls_1_2_and_1_3_and_nothing_older(site: NginxSite) -> None:
    assert site.version_agreed(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert site.version_agreed(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises((ssl.SSLError, OSError)):
        site.version_agreed(ssl.TLSVersion.TLSv1_1)


@pytest.mark.needs("nginx")
def test_by_https_browsers_are_told_to_stay_there_and_by_http_they_are_led_there(
    served: Served, site: NginxSite
) -> None:
    ask = b"GET /sign-in HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\n\r\n"
    assert b"Strict-Transport-Security: max-age=31536000" in Door(served, site).say(ask)[1]
    assert b"Strict-Transport-Security" not in Door(served, None).say(ask)[1]
    line = HTTPConnection("127.0.0.1", site.plain_port, timeout=20)
    line.request("GET", "/stations/x")
    answer = line.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, "https://127.0.0.1/stations/x")
    line.close()


@pytest.mark.needs("nginx")
def test_a_guesser_behind_nginx_is_limited_alone(served: Served, site: NginxSite) -> None:
    """nginx overwrites X-Forwarded-For, so that a guesser cannot come from ever other addresses."""
    body = b"token=wrong"
    form = "Connection: close\r\nContent-Length: 11\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    door = Door(served, site)
    answers = [
        door.say(request(f"X-Forwarded-For: 192.0.2.{n}\r\n{form}", body, "POST /sign-in HTTP/1.1"))[0]
        for n in range(12)
    ]
    assert answers == [401] * 10 + [429] * 2


def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle:
        in_demand = False

    monkeypatch.setattr(patience, "SEND_S", 0.2)
    ours, theirs = socket.socketpair()
    line = PatientSocket.of(ours, Idle())  # type: ignore[arg-type]
    with theirs, line, pytest.raises(TimeoutError):
        line.sendall(bytes(50_000_000))


def test_a_read_ends_with_its_request_s_time_or_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        in_demand = False

    monkeypatch.setattr(patience, "HURRIED_S", 0.1)
    ours, theirs = socket.socketpair()
    with theirs, PatientSocket.of(ours, Worker()) as line:  # type: ignore[arg-type]
        line.begin_request()
        line.settimeout(0.05)
        with pytest.raises(TimeoutError) as own:
            line.recv(1)
        assert not isinstance(own.value, TooSlow)
        assert line.gettimeout() == 0.05
        line.settimeout(None)
        theirs.sendall(b"ab")
        assert line.recv(1) == b"a"
        Worker.in_demand = True
        time.sleep(0.1)
        with pytest.raises(TooSlow):
            line.recv(1)
        line.begin_request()
        assert line.recv(1) == b"b"


def test_security_headers_on_whatever_a_browser_may_show(served: Served) -> None:
    for target in ("/", "/sign-in", "/nothing", "/static/drop.svg", "/healthz"):
        headers = served.ask("GET", target).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], target
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
    for target in ("/api/events", "/api/openapi.json", "/api/nothing", "/api/fleet"):
        headers = served.ask("GET", target).headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert "x-content-type-options" not in served.ask("POST", "/v1/ingest").headers
