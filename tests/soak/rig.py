"""One station among the faults: what can be done to it, and leading its sync into a state.

The relay's policy is ours: `base` is how the network is at large, `armed` the one fault that waits for the next request
of any lane.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from aquasmart_station.adapters.operation_rows import enqueue
from aquasmart_station.adapters.ops import OpsFile
from demo import faults
from demo.faults import Exchange, Fault
from demo.specs import MeterSpec
from tests.integration.outpost import House, Launcher, Outpost
from tests.integration.world import eventually
from tests.soak.eye import Eye

MODULUS = 1 << 32
BEFORE_THE_END = 6_000
"""Counts to the end of the register: a trickle does not get there during a sequence, a burst does at once."""
TRICKLE_L_MIN, BURST_L_MIN = 3.0, 2_000.0
METER = MeterSpec(pattern="steady", flow_l_min=TRICKLE_L_MIN, start_counts=MODULUS - BEFORE_THE_END, qmax_l_min=3_000.0)
SETTINGS = {
    "cloud": {"connect_timeout_s": 0.8, "read_timeout_s": 0.8},
    "reader": {"commit_interval_s": 0.1, "poll_hz": 20},
    "sync": {"linger_s": 0.1, "heartbeat_s": 1, "recheck_s": 1},
}
PATIENCE_S = 60.0
"""Above what a busy machine takes: a sequence that fails should have lost something, not only its turn."""
LEISURE_S = 20.0
STOPS = 5
"""So often the reader may be stopped with an answer under way."""
HURRY_S = 1.3
"""How long a state is mostly waited for before sync is started anew, which leads there sooner."""
BACKLOG_ROWS = 4
PORTAL = faults.canned(200, b"<html>Welcome to Metro Wi-Fi</html>", {"Content-Type": "text/html"})

Base = Callable[[Exchange], Fault | None]


class NotReached(AssertionError):
    """Sync could not be led into the state that a fault was meant for."""


class Rig:
    """A station at a house, started with its baseline taken; `close` ends it."""

    def __init__(self, house: House, root: Path, launcher: Launcher, dice: random.Random) -> None:
        self.house, self.dice = house, dice
        self.station: Outpost = house.station(root, launcher, meter=METER, overrides=SETTINGS, record=0)
        self.state = ""
        self._believed_since_ms = 0
        self.copy = root.with_name("copy.db")
        """The cloud as it was at some time in the sequence."""
        self._base: Base | None = None
        self._armed: list[Fault | Base] = []
        self.station.relay.policy = self._policy
        self._ops = OpsFile(root / "station" / "ops.db")
        self._eye = Eye(root / "run" / "live.db")
        self.queued: set[str] = set()
        """Keys of all operations; the station shows those that are done for a while only."""
        self.restored = False
        self.forgotten: set[str] = set()
        """Keys of operations from before a copy took the cloud's place: it may lack them."""
        self.station.take_baseline()
        self.station.start("sync")

    def close(self) -> None:
        self._ops.close()
        self._eye.close()
        self.station.close()

    def _policy(self, exchange: Exchange) -> Fault | None:
        if self._armed:
            armed = self._armed.pop()
            return armed if isinstance(armed, Fault) else armed(exchange)
        return self._base(exchange) if self._base else None

    # States

    def reach(self, state: str, *, undisturbed: bool = False) -> None:
        """Lead sync into a state; returns when live.db says so, afresh unless sync was left `undisturbed` since.

        Raises NotReached.
        """
        if self.state != state:
            self._leave()
            self.state = state
            self._enter(state)
            undisturbed = False
        if not undisturbed:
            self._believed_since_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        try:
            self._await_state(state)
        except AssertionError as never:
            raise NotReached(f"not {state}: {self.station.said()}") from never

    def _leave(self) -> None:
        """Back to an honest network and an active station. What waits for minutes is mostly not waited for."""
        was, self._base = self.state, None
        if was == "hold":
            self.readmit()
        if self.dice.random() < (0.8 if was == "told to wait" else 0.4):
            self.restart("sync")

    def readmit(self) -> None:
        station = (self.station.station_id,)
        self.house.sql("UPDATE station SET state = 'active' WHERE station_id = ?", values=station)
        self.house.sql("UPDATE station_key SET revoked_at = NULL WHERE station_id = ?", values=station)

    def _enter(self, state: str) -> None:
        dice = self.dice
        if state == "backlog":
            slow = faults.delayed_answer(0.45)
            self._base = lambda exchange: slow if exchange.target == "/v1/ingest" else None
        elif state == "backoff":
            refused = dice.choice([faults.canned(502), faults.canned(500), faults.lost_request(), faults.garbage()])
            self._base = lambda _: refused
        elif state == "told to wait":
            told = faults.canned(dice.choice([429, 503]), headers={"Retry-After": str(dice.randrange(1, 5))})
            self._base = lambda _: told
        elif state == "unverified":
            said = dice.choice([PORTAL, faults.canned(302), *map(faults.canned, (401, 403, 404, 410, 426))])
            self._base = lambda _: said
        elif state == "hold":
            self.refuse()

    def refuse(self) -> None:
        """Make the cloud answer with a signed refusal."""
        if self.dice.random() < 0.5:
            self.house.stations.retire(self.station.station_id)
        else:
            station = (self.station.station_id,)
            self.house.sql("UPDATE station_key SET revoked_at = 1 WHERE station_id = ?", values=station)

    def _await_state(self, state: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        hurried = time.monotonic() + (HURRY_S if self.dice.random() < 0.9 else LEISURE_S)
        while not self._is(state):
            if time.monotonic() > deadline:
                raise AssertionError(state)
            if time.monotonic() > hurried:
                self.restart("sync")
                hurried = time.monotonic() + HURRY_S
            self.start_what_is_dead()
            time.sleep(0.02)

    def _is(self, state: str) -> bool:
        said = self._eye.said()
        if said is None or said.beat_mono_ms < self._believed_since_ms:
            return False
        pending, next_s = said.figures.get("pending", 0), said.figures.get("next_attempt_s", 0)
        return {
            "online": said.state == "online",
            "backlog": said.state == "online" and pending >= BACKLOG_ROWS,
            "backoff": said.state == "offline",
            "told to wait": said.state == "offline" and next_s > 0.5,
            "unverified": said.state == "unverified",
            "hold": said.state == "hold",
        }[state]

    # What faults are made of

    def restart(self, name: str) -> None:
        self.station.kill(name)
        self.station.start(name)

    def start_what_is_dead(self) -> None:
        """What systemd does for a service that has ended by itself."""
        for name in ("meter", "reader", "sync"):
            if not self.station.alive(name):
                self.station.start(name)

    def on_next_request(self, fault: Fault | Base) -> None:
        """Let a fault strike the next request of any lane; returns when it has."""
        self._armed.append(fault)
        try:
            eventually(lambda: not self._armed, f"a request for {fault}", timeout_s=PATIENCE_S, every_s=0.01)
        finally:
            self._armed.clear()

    def pass_the_end(self) -> None:
        """Let the meter's register pass its end: much water at once, until it has told a smaller count."""
        before = self.station.counted().counts
        if before < MODULUS // 2:
            raise AssertionError("the register is past its end already")
        self.station.with_flow("steady", BURST_L_MIN)
        eventually(lambda: self.station.counted().counts < MODULUS // 2, "the register past its end", every_s=0.01)
        self.station.with_flow("steady", TRICKLE_L_MIN)

    def queue_operation(self) -> None:
        """Something else that the cloud must hear, exactly once, as the command queues it."""
        now_ms = time.time_ns() // 1_000_000
        with self._ops.writing() as connection:
            visit = {"technician": "Ada", "note": "in a storm", "visited_at_ms": now_ms}
            number = enqueue(connection, "service_visit", visit, now_ms)
            key = connection.execute("SELECT idempotency_key FROM operation WHERE id = ?", (number,)).fetchone()[0]
        self.queued.add(key)

    def was_restored(self) -> None:
        """A copy from earlier is the cloud now. What is pending may be forgotten too: its answer may be on its way."""
        self.restored = True
        self.forgotten |= self.queued

    def assert_no_mark_is_ahead(self) -> None:
        """Nothing counts as delivered that the cloud has not: whoever said so. Not where it has forgotten something."""
        acknowledged = self.station.log.acknowledged()
        marks = self.station.books.marks()
        ahead = {stream: seq for stream, seq in acknowledged.items() if seq > marks.get(stream, 0)}
        assert self.restored or not ahead, f"acknowledged, but not at the cloud: {ahead}"

    def _assert_operations(self) -> None:
        eventually(lambda: not self._unsettled(), "every operation done", every_s=0.02)
        station = (self.station.station_id,)
        found = self.station.books.query("SELECT idempotency_key, state FROM operation WHERE station_id = ?", station)
        heard = {key for key, state in found if state == "done"}
        assert heard <= self.queued
        assert heard >= self.queued - self.forgotten

    def _unsettled(self) -> int:
        with self._ops.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM operation WHERE state <> 'done'").fetchone()[0])

    def settle(self) -> None:
        """Everything is well again; all of it arrives, and meter = log = cloud."""
        station = self.station
        if self.state == "hold":
            self.readmit()
        self._base = None
        station.relay.set_state("pass")
        self.start_what_is_dead()
        if self.dice.random() < 0.5:
            self.restart("sync")
        self._stop_the_reader()
        eventually(lambda: station.log.pending() == 0, "everything in the log acknowledged", every_s=0.02)
        eventually(self._healed, "the cloud to have every row of the log", timeout_s=PATIENCE_S, every_s=0.05)
        station.assert_balance()
        self._assert_operations()

    def _stop_the_reader(self) -> None:
        """With everything in the log that the meter has told. An answer may come too late for the reader, on a busy
        machine while it stops; that water stands in the totaliser, so that its next start brings it.
        """
        for _ in range(STOPS):
            told = self.station.counted().lifetime
            eventually(lambda told=told: self._logged() >= told, f"the log to have what the meter told: {told}")
            status = self.station.stop("reader")
            # One that was started a moment ago may not listen yet, and has not asked the meter either.
            assert status in {0, -signal.SIGTERM}, f"the reader ended with {status}"
            if self._logged() >= self.station.counted().lifetime:
                return
            self.station.start("reader")
        raise AssertionError(f"the log never had what the meter told, though the reader was started {STOPS} times")

    def _logged(self) -> int:
        return max((row.counts for row in self.station.log.rows() if row.meter_id is not None), default=0)

    def _healed(self) -> bool:
        """A restored cloud gets closed streams back at a heartbeat, after the open one."""
        return self.station.books.marks() == self.station.log.last_seqs() == self.station.log.acknowledged()
