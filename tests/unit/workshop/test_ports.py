"""Two processes that start servers at the same time are never given the same port."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.fakes import ports
from tests.fakes.ports import free_port

_MANY = "from tests.fakes.ports import free_port; print(*(free_port() for _ in range(150)), flush=True); input()"
"""And stays until it is told to go: its slice is its own for as long as it lives."""


def test_processes_have_slices_of_their_own() -> None:
    there = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(ports.__file__).parents[2],
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        given = [[int(word) for word in (process.stdout or sys.stdin).readline().split()] for process in there]
    finally:
        for process in there:
            process.communicate("\n")
    given.append([free_port() for _ in range(150)])
    together = [port for each in given for port in each]
    assert len(together) == len(set(together)) == 750


def test_a_port_lies_below_those_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert ports.FIRST <= free_port() <= ports.LAST < first


def test_a_taken_port_is_passed_over_and_the_slice_goes_round() -> None:
    with closing(ports.Slice()) as mine:
        port = mine.take()
        with socket.create_server(("127.0.0.1", port)):
            round_trip = [mine.take() for _ in range(ports.SLICE)]
        assert port not in round_trip
        assert len(set(round_trip)) == ports.SLICE - 2
        assert port in [mine.take() for _ in range(ports.SLICE)]


def test_threads_share_the_slice_of_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    slices: dict[int, ports.Slice] = {}
    monkeypatch.setattr(ports, "_slices", slices)
    made: list[ports.Slice] = []
    whole, a_second = ports.Slice, threading.Barrier(2)

    def slowly() -> ports.Slice:
        with suppress(threading.BrokenBarrierError):
            a_second.wait(timeout=0.05)
        made.append(whole())
        return made[-1]

    monkeypatch.setattr(ports, "Slice", slowly)
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda _: free_port(), range(8)))
    for each in made:
        each.close()
    assert (len(made), len(set(given))) == (1, 8)
