"""The courier over real sockets: every way a server can misbehave ends in an answer or a reason, never in a hang."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from aquasmart_station.adapters.http import ANSWER_LIMIT_BYTES, HttpCourier, HttpSettings, LinkUse
from aquasmart_station.core.outcome import Answer, NoAnswer
from tests.integration.transport.servers import (
    OK,
    Behaviour,
    answer_of,
    answering,
    courier,
    courier_threads,
    post,
    reset,
    server,
    silent,
    whole_request,
)
from tests.integration.world import eventually


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
    with server(silent) as url:
        answer = post(url, read_timeout_s=0.3)
    assert isinstance(answer, NoAnswer)
    assert answer.timed_out


def test_a_black_hole_ends_in_a_reason() -> None:
    """Somebody who never accepts: the kernel's queue is full, no answer to any SYN comes back."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    try:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        answer = post(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        for filler in fillers:
            filler.close()
        listener.close()
    assert isinstance(answer, NoAnswer)
    assert "timed out" in answer.reason or answer.timed_out


DRIPPING = {
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 60,
    "headers": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60,
    "a status line": b"HTTP/1.1 200 " + b"O" * 60,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30,
}


@pytest.mark.parametrize("data", DRIPPING.values(), ids=DRIPPING.keys())
def test_an_answer_that_drips_for_ever_is_given_up_and_its_line_cut(data: bytes) -> None:
    """Each byte comes within the read time-out; only the whole answer's own time ends it. The thread ends, too."""
    before = set(courier_threads())
    with server(answering(data, pause_s=0.05)) as url:
        answer = post(url, read_timeout_s=0.4)
        assert answer == NoAnswer("the answer did not end in time", timed_out=True)
        eventually(lambda: not set(courier_threads()) - before, "the courier's thread ends")


def test_requests_that_are_given_up_leave_nothing_behind() -> None:
    """A cloud that hangs for a week: as many threads and sockets at its end as at its beginning."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before, open_before = len(courier_threads()), descriptors()
    with server(silent) as url:
        sender = courier(url, read_timeout_s=60)
        for _ in range(20):
            pending = sender.post("/v1/ingest", {}, b"{}")
            assert pending.wait(0.02) is None
            sender.abandon()
        eventually(lambda: len(courier_threads()) == before, "no courier thread is left")
    eventually(lambda: descriptors() <= open_before, "no descriptor is left")


def test_a_request_out_of_time_does_not_cut_the_line_of_a_later_one() -> None:
    with server(silent) as slow, server(answering(OK)) as fast:
        sender = HttpCourier(HttpSettings(slow, 0.1, 0.3))
        late = sender.post("/v1/ingest", {}, b"{}")
        sender.abandon()
        sender._settings = HttpSettings(fast)
        later = sender.post("/v1/heartbeat", {}, b"{}")
        eventually(lambda: isinstance(late.wait(0.1), NoAnswer), "the first request is given up")
        assert isinstance(eventually(lambda: later.wait(0.1), "the second is answered"), Answer)
        assert sender._line is not None
        sender.abandon()


def test_an_endless_answer_is_given_up() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (ANSWER_LIMIT_BYTES + 70_000)
    with server(answering(data)) as url:
        answer = post(url)
    assert answer == NoAnswer("the answer is longer than any of the cloud's")


def test_an_abandoned_request_does_not_hold_up_the_next() -> None:
    with server(silent) as slow, server(answering(OK)) as fast:
        sender = HttpCourier(HttpSettings(slow, 1.0, 5.0))
        assert sender.post("/v1/ingest", {}, b"{}").wait(0.1) is None
        sender.abandon()
        sender._settings = HttpSettings(fast)
        assert isinstance(answer_of(sender), Answer)
        sender.abandon()


def test_one_connection_serves_request_after_request() -> None:
    accepted = []

    def keep_alive(connection: socket.socket) -> None:
        accepted.append(connection)
        while whole_request(connection):
            connection.sendall(OK)

    with server(keep_alive) as url:
        sender = courier(url)
        assert all(isinstance(answer_of(sender), Answer) for _ in range(5))
        sender.abandon()
    assert len(accepted) == 1


def test_a_connection_that_the_cloud_has_closed_meanwhile_is_replaced() -> None:
    with server(answering(OK)) as url:
        sender = courier(url)
        for _ in range(3):
            assert isinstance(answer_of(sender), Answer)
            time.sleep(0.2)  # long enough for the server's end to arrive
        sender.abandon()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_is_taken_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    with server(answering(OK)) as url:
        assert isinstance(post(url), Answer)


def test_a_question_without_a_body_goes_out_as_get() -> None:
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        heard.append(whole_request(connection))
        connection.sendall(OK)

    with server(listen) as url:
        sender = courier(url)
        pending = sender.get("/v1/notices?after=3", {"X-Station-Id": "demo-1"})
        assert isinstance(eventually(lambda: pending.wait(0.1), "an answer"), Answer)
        sender.abandon()
    assert heard[0].startswith(b"GET /v1/notices?after=3 HTTP/1.1\r\n")
    assert heard[0].endswith(b"\r\n\r\n")


def test_two_requests_at_once_keep_the_radio_awake_once() -> None:
    now_s = [100.0]
    use = LinkUse(lambda: now_s[0])
    use.began("telemetry", 500)
    now_s[0] += 1
    use.began("heartbeat", 100)
    now_s[0] += 1
    use.ended(40)
    now_s[0] += 1
    use.ended(50)
    now_s[0] += 10
    assert use.document() == {
        "requests": {"telemetry": 1, "heartbeat": 1},
        "sent_bytes": 600,
        "received_bytes": 90,
        "radio_s": 3.0,
    }
    use.began("telemetry", 0)
    now_s[0] += 2
    assert use.document()["radio_s"] == 5.0


def test_a_courier_that_is_replaced_ends_with_its_request() -> None:
    """Settings may change while a request is under way: it is answered, and then nothing of its courier is left."""
    before = set(courier_threads())
    with server(answering(OK, pause_s=0.01)) as url:
        sender = HttpCourier(HttpSettings(url, 1.0, 30.0))
        waiting = [sender.post("/v1/ingest", {}, b"{}")]
        del sender
        assert isinstance(eventually(lambda: waiting[0].wait(0.1), "its answer"), Answer)
        waiting.clear()
        eventually(lambda: not set(courier_threads()) - before, "its thread ends")
