"""The source system's way of draining: fifty rows of JSON a request, a new connection for each, a pause after each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import requests

from demo.site import REPOSITORY

from .machines import NaiveServer, python_module
from .naive_log import NaiveLog
from .naive_server import signature
from .network import Road
from .water import drafts, stream_header


@dataclass(frozen=True)
class NaiveDrain:
    events_per_s: float
    wire_per_event: float
    """Bytes of TCP's payload both ways, headers of HTTP included."""


def naive_events_per_s(rows: int) -> float:
    """Without a pause, straight to the server. Drained by a process of its own into a server of its own, as ours is."""
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name, NaiveServer(Path(name)) as server:
        return _events_per_s(Path(name), server.port, rows, 0.0)


def drain_naive(
    rows: int, *, pause_s: float = 0.0, one_way_s: float = 0.0, bytes_per_s: float | None = None
) -> NaiveDrain:
    """Over a road that counts, and delays or paces where told."""
    with (
        tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name,
        NaiveServer(Path(name)) as server,
        Road(server.port, one_way_s=one_way_s, bytes_per_s=bytes_per_s) as road,
    ):
        rate = _events_per_s(Path(name), road.port, rows, pause_s)
        return NaiveDrain(rate, (road.sent_bytes + road.received_bytes) / rows)


def _events_per_s(folder: Path, port: int, rows: int, pause_s: float) -> float:
    command = python_module("tests.bench.naive_drain", str(folder / "log.db"), str(port), str(rows), str(pause_s))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the naive sender failed: {done.stderr}")
    return rows / float(done.stdout)


def drain(path: Path, port: int, rows: int, pause_s: float) -> float:
    """Fill a naive log, send all of it, give the seconds that sending took."""
    log = NaiveLog(path)
    log.fill(islice(drafts(stream_header()), rows))
    began = time.monotonic()
    while batch := log.unsent():
        body = json.dumps([json.loads(payload) for _, payload in batch]).encode()
        answer = requests.post(
            f"http://127.0.0.1:{port}/events", data=body, headers={"X-Signature": signature(body)}, timeout=120
        )
        answer.raise_for_status()
        log.mark_sent(batch)
        time.sleep(pause_s)
    return time.monotonic() - began


if __name__ == "__main__":
    print(drain(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
