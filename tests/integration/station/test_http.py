"""The courier over real sockets: every way a server can misbehave ends in an answer or a reason, never in a hang."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aquasmart_station.adapters.http import ANSWER_LIMIT_BYTES, HttpCourier, HttpSettings
from aquasmart_station.core.outcome import Answer, NoAnswer

Behaviour = Callable[[socket.socket], None]


@contextmanager
def server(behaviour: Behaviour) -> Iterator[str]:
    """One thread that treats each connection as `behaviour` says."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                behaviour(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def post(url: str, *, read_timeout_s: float = 2.0, within_s: float = 10.0) -> Answer | NoAnswer:
    courier = HttpCourier(HttpSettings(url, connect_timeout_s=1.0, read_timeout_s=read_timeout_s))
    pending = courier.post("/v1/ingest", {"X-Station-Id": "demo-1"}, b"{}")
    given_up_s = time.monotonic() + within_s
    while (answer := pending.wait(0.05)) is None:
        assert time.monotonic() < given_up_s, "the courier hangs"
    return answer


def answering(data: bytes, *, pause_s: float = 0.0) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        for piece in [data] if not pause_s else [data[i : i + 1] for i in range(len(data))]:
            try:
                connection.sendall(piece)
            except OSError:
                return
            time.sleep(pause_s)

    return behave


def reset(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Timestamp: 5\r\n\r\n{}"


def test_an_answer_comes_back_whole() -> None:
    with server(answering(OK)) as url:
        assert post(url) == Answer(200, {"content-length": "2", "x-timestamp": "5"}, b"{}")


def test_a_redirect_is_not_followed() -> None:
    with server(answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")) as url:
        answer = post(url)
    assert isinstance(answer, Answer)
    assert answer.status == 302


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answering(b""), id="closed"),
        pytest.param(answering(b"\0\1\2 garbage\r\n\r\n"), id="garbage"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), id="broken off"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="bad chunks"),
        pytest.param(reset, id="reset"),
    ],
)
def test_no_whole_answer_is_no_answer_with_a_reason(behaviour: Behaviour) -> None:
    with server(behaviour) as url:
        answer = post(url)
    assert isinstance(answer, NoAnswer)
    assert answer.reason


def test_nobody_listens() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    assert post(f"http://127.0.0.1:{port}") == NoAnswer("connection refused")


def test_a_name_that_cannot_be_looked_up() -> None:
    answer = post("http://no-such-host.invalid", within_s=60)
    assert isinstance(answer, NoAnswer)
    assert "DNS" in answer.reason


def test_silence_ends_in_a_timeout() -> None:
    with server(lambda connection: (connection.recv(65_536), time.sleep(1.0))[0]) as url:
        answer = post(url, read_timeout_s=0.3)
    assert isinstance(answer, NoAnswer)
    assert answer.timed_out


def test_an_answer_that_drips_for_ever_is_given_up() -> None:
    drip = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 30
    with server(answering(drip, pause_s=0.05)) as url:
        answer = post(url, read_timeout_s=0.4)
    assert answer == NoAnswer("the answer did not end in time", timed_out=True)


def test_an_endless_answer_is_given_up() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (ANSWER_LIMIT_BYTES + 70_000)
    with server(answering(data)) as url:
        answer = post(url)
    assert isinstance(answer, NoAnswer)


def test_an_abandoned_request_does_not_hold_up_the_next() -> None:
    with (
        server(lambda connection: (connection.recv(65_536), time.sleep(1.5))[0]) as slow,
        server(answering(OK)) as fast,
    ):
        courier = HttpCourier(HttpSettings(slow, connect_timeout_s=1.0, read_timeout_s=5.0))
        assert courier.post("/v1/ingest", {}, b"{}").wait(0.1) is None
        courier.abandon()
        courier._settings = HttpSettings(fast)
        answer = courier.post("/v1/heartbeat", {}, b"{}").wait(5.0)
    assert isinstance(answer, Answer)
