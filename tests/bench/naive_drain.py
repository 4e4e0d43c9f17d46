"""The source system's way of draining, without its pause: fifty rows of JSON a request, a new connection for each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import requests

from demo.site import REPOSITORY

from .machines import NaiveServer, python_module
from .naive_log import NaiveLog
from .naive_server import signature
from .water import drafts, stream_header


def naive_events_per_s(rows: int) -> float:
    """Drained by a process of its own into a naive server of its own, as ours is."""
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name:
        folder = Path(name)
        with NaiveServer(folder) as server:
            command = python_module("tests.bench.naive_drain", str(folder / "log.db"), str(server.port), str(rows))
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the naive sender failed: {done.stderr}")
    return rows / float(done.stdout)


def drain(path: Path, port: int, rows: int) -> float:
    """Fill a naive log, send all of it, give the seconds that sending took."""
    log = NaiveLog(path)
    log.fill(islice(drafts(stream_header()), rows))
    began = time.monotonic()
    while batch := log.unsent():
        body = json.dumps([json.loads(payload) for _, payload in batch]).encode()
        answer = requests.post(
            f"http://127.0.0.1:{port}/events", data=body, headers={"X-Signature": signature(body)}, timeout=30
        )
        answer.raise_for_status()
        log.mark_sent(batch)
    return time.monotonic() - began


if __name__ == "__main__":
    print(drain(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
