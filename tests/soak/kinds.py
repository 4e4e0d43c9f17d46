"""Every kind of fault, as one function that does it to a rig. They return when it has struck."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from demo import faults
from demo.faults import Exchange, Fault
from tests.fakes.wall_clock import shifted
from tests.integration.outpost import Execed
from tests.integration.wire import Message
from tests.integration.world import eventually
from tests.soak.rig import PORTAL, Rig

Strike = Callable[[Rig], None]
UNSIGNED = (400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 418, 422, 426, 429)
SHIFTS = ("+400d", "-9y", "+301s", "-301s", "-3h", "+1d")


def _killed(name: str) -> Strike:
    return lambda rig: rig.restart(name)


def _paused(name: str) -> Strike:
    def strike(rig: Rig) -> None:
        rig.station.send(name, signal.SIGSTOP)
        time.sleep(rig.dice.uniform(0.03, 0.25))
        rig.station.send(name, signal.SIGCONT)

    return strike


def _cloud_paused(rig: Rig) -> None:
    workers = cloud_workers(rig)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(rig.dice.uniform(0.03, 0.3))
    for pid in workers:
        os.kill(pid, signal.SIGCONT)


def _link(state: str) -> Strike:
    def strike(rig: Rig) -> None:
        rig.station.relay.set_state(state)
        time.sleep(rig.dice.uniform(0.03, 0.3))
        rig.station.relay.set_state("pass")

    return strike


def _exchange(make: Callable[[random.Random], Fault]) -> Strike:
    return lambda rig: rig.on_next_request(make(rig.dice))


def _corrupted(dice: random.Random) -> Fault:
    where, bit = dice.random(), 1 << dice.randrange(8)

    def change(answer: bytes) -> bytes:
        at = int(where * len(answer))
        return answer[:at] + bytes([answer[at] ^ bit]) + answer[at + 1 :] if answer else answer

    return Fault("corrupted answer", answer=change, close=True)


def _reset_in_answer(dice: random.Random) -> Fault:
    where = dice.random()
    return Fault("reset in answer", answer=lambda answer: answer[: int(where * len(answer))], reset=True)


def _said(dice: random.Random) -> Fault:
    headers = {"Retry-After": str(dice.randrange(3))} if dice.random() < 0.3 else {}
    return faults.canned(dice.choice((500, 502, 503, 504)), b"<html>oops</html>", headers, name="5xx")


def _unsigned(dice: random.Random) -> Fault:
    return faults.canned(dice.choice(UNSIGNED), b'{"code":"revoked","status":403}', name="unsigned 4xx")


def _forged(rig: Rig) -> None:
    """Somebody without the key who knows the protocol, and what was asked, answers in the cloud's place."""
    status = rig.dice.choice((200, 200, 401, 403, 409, 410, 422))
    rig.on_next_request(lambda exchange: _forgery(exchange, status))


def _forgery(exchange: Exchange, status: int) -> Fault:
    sent = Message.parse(exchange.request).document() if exchange.body else {}
    far_ms, trace_id = 4_102_444_800_000, sent.get("meta", {}).get("trace_id", "")
    data = {"stream": sent.get("stream", {}).get("id", ""), "acked_through": 10**6, "counts_through": 10**9}
    data |= {"inserted": 1, "duplicates": 0, "cumulative_ul": 0, "resend_from": []}
    codes = {401: "clock-skew", 403: "revoked", 409: "sequence-gap", 410: "retired", 422: "invalid"}
    problem = {"code": codes.get(status, ""), "status": status, "trace_id": trace_id, "server_time": far_ms}
    problem |= {"expected_seq": 10**6, "counts_through": 10**9}
    meta = {"trace_id": trace_id, "server_time": far_ms, "request_id": "0" * 32}
    document = {"meta": meta, "data": data} if status == 200 else problem
    signature = {"X-Timestamp": str(far_ms), "X-Signature": "v1=" + "0" * 64}
    forged = faults.response(status, json.dumps(document).encode(), signature)
    return Fault("forged answer", forward=False, answer=forged)


def _log_locked_or_limited(name: str) -> Strike:
    """The disk refuses the service every write, or somebody else holds the log."""

    def strike(rig: Rig) -> None:
        duration_s = rig.dice.uniform(0.05, 0.3)
        if rig.dice.random() < 0.5:
            with closing(sqlite3.connect(rig.station.log.path, timeout=10)) as other:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(duration_s)
                other.rollback()
        else:
            _no_writes([rig.station.process(name).pid], duration_s)

    return strike


def _no_writes(pids: list[int], duration_s: float) -> None:
    """No file of these processes takes a byte for a while (RLIMIT_FSIZE): as a disk that is full, or dying."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    time.sleep(duration_s)
    for pid, limit in limits.items():
        if Path(f"/proc/{pid}").exists():  # what could not write may have ended
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


def _cloud_locked(rig: Rig) -> None:
    with rig.house.locked():
        time.sleep(rig.dice.uniform(0.05, 0.3))


def _cloud_killed(rig: Rig) -> None:
    for pid in cloud_workers(rig):
        os.kill(pid, signal.SIGKILL)


def _cloud_limited(rig: Rig) -> None:
    _no_writes(cloud_workers(rig), rig.dice.uniform(0.1, 0.4))


def _restored(rig: Rig) -> None:
    """The database becomes what it was at the sequence's copy; gunicorn's master waits meanwhile and starts anew."""
    master = rig.house.site.pid("cloud")
    os.kill(master, signal.SIGSTOP)
    for pid in cloud_workers(rig):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(_gone(pid) for pid in _children(master)), "the cloud's workers gone", every_s=0.005)
    database = rig.house.database
    rig.house.stations._database.close()
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    database.write_bytes(rig.copy.read_bytes())
    rig.was_restored()
    # The copy may be from a time when the station was held, or was not: what the operator says stays as it is now.
    rig.readmit()
    if rig.state == "hold":
        rig.refuse()
    os.kill(master, signal.SIGCONT)


def take_copy(rig: Rig) -> None:
    """Yesterday's backup, for `cloud restored`."""
    with closing(sqlite3.connect(rig.house.database)) as source, closing(sqlite3.connect(rig.copy)) as target:
        source.backup(target)


def _skewed(rig: Rig) -> None:
    """Sync starts again with a wall clock that is wrong, and keeps it until it is next started."""
    shift = rig.dice.choice(SHIFTS)
    rig.station.kill("sync")
    rig.station.start("sync", launcher=lambda words, log: Execed(words, log, under=shifted(shift)))


def _unplugged(rig: Rig) -> None:
    rig.station.kill("meter")
    time.sleep(rig.dice.uniform(0.03, 0.2))
    rig.station.start("meter")


STRIKES: Mapping[str, Strike] = {
    "kill reader": _killed("reader"),
    "kill sync": _killed("sync"),
    "pause reader": _paused("reader"),
    "pause sync": _paused("sync"),
    "pause cloud": _cloud_paused,
    "link cut": _link("cut"),
    "black hole": _link("black-hole"),
    "reset in request": _exchange(lambda dice: faults.lost_request(dice.randrange(1, 700))),
    "reset in answer": _exchange(_reset_in_answer),
    "lost answer": _exchange(lambda _: faults.lost_answer()),
    "doubled request": _exchange(lambda _: faults.doubled_request()),
    "doubled answer": _exchange(lambda _: faults.doubled_answer()),
    "corrupted answer": _exchange(_corrupted),
    "late answer": _exchange(lambda dice: faults.delayed_answer(dice.uniform(0.1, 1.2))),
    "5xx": _exchange(_said),
    "unsigned 4xx": _exchange(_unsigned),
    "portal": _exchange(lambda _: PORTAL),
    "forged answer": _forged,
    "reader cannot commit": _log_locked_or_limited("reader"),
    "sync cannot commit": _log_locked_or_limited("sync"),
    "cloud locked": _cloud_locked,
    "meter unplugged": _unplugged,
    "kill cloud": _cloud_killed,
    "cloud cannot commit": _cloud_limited,
    "clock skew": _skewed,
    "cloud restored": _restored,
    "rollover": lambda rig: rig.pass_the_end(),
}

BESIDE_SYNC = frozenset({"kill reader", "pause reader", "reader cannot commit", "meter unplugged", "rollover"})
"""Kinds that sync has no part in: its state is what it was."""


def cloud_workers(rig: Rig) -> list[int]:
    """gunicorn's workers, waited for: a master that has just lost one is about to start the next."""
    master = rig.house.site.pid("cloud")
    return list(
        eventually(lambda: [pid for pid in _children(master) if not _gone(pid)], "a worker of the cloud", every_s=0.02)
    )


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pid: int) -> bool:
    """Whether it has ended, though its master may not have taken notice yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True
