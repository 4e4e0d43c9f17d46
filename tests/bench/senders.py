"""Four senders at once: each its own process and station, every request signed, sent and timed by itself.

Bodies are made before the clock starts: what is measured is the cloud, on the same two cores as the senders.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import islice
from multiprocessing import get_context
from typing import Any

from aquasmart_station.core.conversation import Identity, signed_request
from aquasmart_station.core.encoding import Batch, compact, compress, encode_batch
from aquasmart_station.core.model import Row

from .naive_log import naive_row
from .naive_server import signature
from .water import drafts, stream_header

SENDERS = 4
DAY_MS = 86_400_000
PATIENCE_S = 120
DISTINCT = 8
"""Batches of one sender that differ in their columns; the others repeat them at later positions."""


@dataclass(frozen=True)
class Task:
    """What one sender sends, and where."""

    port: int
    rows_per_batch: int
    batches: int
    identity: Identity | None = None
    """The station that signs; None for the naive server."""
    seed: int = 1


@dataclass(frozen=True)
class Result:
    rows: int
    seconds: float
    latencies_ms: Sequence[float]

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds


@dataclass(frozen=True)
class Request:
    target: str
    body: bytes
    encoding: str | None


def send_all(tasks: Sequence[Task]) -> Result:
    """All at once, from the moment the last of them is ready to the last answer. Raises RuntimeError on a refusal."""
    context = get_context("spawn")
    gate, answers = context.Barrier(len(tasks)), context.Queue()
    processes = [context.Process(target=_send, args=(task, gate, answers), daemon=True) for task in tasks]
    for process in processes:
        process.start()
    try:
        results = [answers.get(timeout=PATIENCE_S) for _ in processes]
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    faults = [result for result in results if isinstance(result, str)]
    if faults:
        raise RuntimeError(f"a sender failed: {faults[0]}")
    began, ended = min(result[0] for result in results), max(result[1] for result in results)
    rows = sum(task.rows_per_batch * task.batches for task in tasks)
    return Result(rows, ended - began, [value for result in results for value in result[2]])


def _send(task: Task, gate: Any, answers: Any) -> None:
    try:
        requests = signed_bodies(task) if task.identity else _naive_bodies(task)
        line = HTTPConnection("127.0.0.1", task.port, timeout=PATIENCE_S)
        line.connect()
        gate.wait(PATIENCE_S)
        began = time.monotonic()
        latencies = [_post(line, request, task.identity) for request in requests]
        answers.put((began, time.monotonic(), latencies))
    except Exception as fault:
        gate.abort()
        answers.put(f"{type(fault).__name__}: {fault}")


def _post(line: HTTPConnection, request: Request, identity: Identity | None) -> float:
    """One request; the time in ms from signing it to its whole answer."""
    began_ns = time.perf_counter_ns()
    if identity:
        now_ms = time.time_ns() // 1_000_000
        headers = signed_request(identity, request.target, request.body, now_ms, encoding=request.encoding).headers
    else:
        headers = {"X-Signature": signature(request.body)}
    line.request("POST", request.target, request.body, headers)
    answer = line.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {text[:500]!r}")
    return (time.perf_counter_ns() - began_ns) / 1e6


def signed_bodies(task: Task) -> list[Request]:
    """One fresh stream in batches, as the station encodes them."""
    header, size = stream_header(), task.rows_per_batch
    started_at_ms = time.time_ns() // 1_000_000 - 300 * DAY_MS
    source = islice(drafts(header, task.seed, started_at_ms), size * min(task.batches, DISTINCT))
    rows = [
        Row(seq, seq, 1, int(draft.kind), 0, draft.at_ms, draft.mono_ms, draft.counts, None)
        for seq, draft in enumerate(source, 1)
    ]
    documents = []
    for start in range(0, len(rows), size):
        before = rows[start - 1].counts if start else header.opening_counts
        batch = Batch(1, header, before, rows[start : start + size])
        documents.append(json.loads(encode_batch(batch, trace_id="0" * 32, whole_header=start == 0)))
    # The same water again and again, each time later and at higher counts.
    moved_counts, moved_ms = rows[-1].counts - header.opening_counts, rows[-1].mono_ms - rows[0].mono_ms + 5_000
    bodies = []
    for number in range(task.batches):
        turn, index = divmod(number, len(documents))
        document = documents[index] | {
            "meta": {"trace_id": f"{number:032x}"},
            "first_seq": number * size + 1,
            "at": documents[index]["at"] + turn * moved_ms,
            "at_mono": documents[index]["at_mono"] + turn * moved_ms,
            "counts_before": documents[index]["counts_before"] + turn * moved_counts,
        }
        if number:
            document["stream"] = {"id": str(header.id)}
        bodies.append(Request("/v1/ingest", compress(compact(document).encode()), "gzip"))
    return bodies


def _naive_bodies(task: Task) -> list[Request]:
    source, name = drafts(stream_header(), task.seed), f"naive-{task.seed}"
    bodies = []
    for _ in range(task.batches):
        rows = [naive_row(draft, name) for draft in islice(source, task.rows_per_batch)]
        bodies.append(Request("/events", json.dumps(rows).encode(), None))
    return bodies
