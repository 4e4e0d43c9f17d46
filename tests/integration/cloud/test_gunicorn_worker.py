"""A thread that waits for its sender's next request: it is there for others, keeps the order, and stops when told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.integration.cloud.foreign.gunicorn import Served

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: cloud\r\n\r\n"


@pytest.fixture(scope="module")
def one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served") / "cloud", AQUASMART_THREADS="1") as running:
        yield running


def _ask(line: HTTPConnection) -> None:
    line.request("GET", "/healthz")
    answer = line.getresponse()
    assert (answer.status, answer.read()) == (200, b'{"status":"alive"}')


def test_requests_that_follow_each_other_and_pauses_in_between(one_thread: Served) -> None:
    line = HTTPConnection("127.0.0.1", one_thread.port, timeout=30)
    for pause_s in (0, 0, 0.002, 0.05, 0, 0.3, 0):
        time.sleep(pause_s)
        _ask(line)
    line.close()


def test_the_only_thread_serves_everybody_who_keeps_a_connection_open(one_thread: Served) -> None:
    lines = [HTTPConnection("127.0.0.1", one_thread.port, timeout=30) for _ in range(5)]
    for _ in range(20):
        for line in lines:
            _ask(line)
    for line in lines:
        line.close()


def test_two_requests_in_one_packet_have_two_answers(one_thread: Served) -> None:
    with socket.create_connection(("127.0.0.1", one_thread.port), timeout=30) as line:
        line.sendall(HEALTH * 2)
        received = b""
        while received.count(b'{"status":"alive"}') < 2:
            more = line.recv(65_536)
            assert more, received
            received += more


def test_it_ends_at_once_with_connections_open(tmp_path: Path) -> None:
    with Served(tmp_path / "cloud") as served:
        lines = [HTTPConnection("127.0.0.1", served.port, timeout=30) for _ in range(3)]
        for line in lines:
            _ask(line)
        began = time.monotonic()
    # gunicorn leaves open connections two seconds for a request that is under way, at most five for one that lasts.
    assert time.monotonic() - began < 9
    for line in lines:
        line.close()
