"""Cycles of counting and cutting, and what must hold after each: nothing that was told as committed is gone.

The meter and its own count file live on the host, and so does the cloud: neither loses its power. A row that the guest
has told as committed must after the cut be in the log, alone or within a merged one, or at the cloud.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from demo.site import Site
from demo.specs import MeterSpec
from tests.fakes.ports import free_port
from tests.integration.backlog import START, write_backlog
from tests.integration.databases import CloudBooks, StationLog
from tests.integration.world import eventually

from .images import data_image
from .machine import Machine

LEAST_COMMITS = 50
AIMS = ("any", "commit", "prune", "checkpoint", "migration")
"""What a cut may be aimed at, beside any moment."""
BACKLOG = 220_000
"""Events that the log begins with, all acknowledged: what pruning works on when the budget is made smaller."""
OLD_ROWS = 2_000
DATA_MIB = 64
STEP_MIB = 2
"""By so much the budget shrinks where pruning or a checkpoint is to be under way: work for more than fifty commits."""
BOOT_S, AIM_S = 180.0, 90.0


@dataclass
class Cycle:
    """One boot and its cut."""

    number: int
    aim: str
    commits: int = 0
    rows: int = 0
    under_way: str = ""
    lost: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A row as the guest told it."""

    position: int
    stream: str
    seq: int
    seqs: int
    counts: int

    @classmethod
    def of(cls, words: list[str]) -> Row:
        return cls(int(words[0]), words[1], *map(int, words[2:5]))


class Rig:
    """A cloud, a meter and one machine; `synchronous=OFF` among the words makes the negative control."""

    def __init__(self, folder: Path, seed: int, *, words: tuple[str, ...] = ()) -> None:
        self.folder, self._words = folder, words
        self._dice = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        last_counts = START + 6 * (BACKLOG - 1)
        meter = MeterSpec(pattern="steady", flow_l_min=20.0, start_counts=last_counts, identity=None)
        overrides = {"reader": {"commit_interval_s": 0.05, "poll_hz": 20}, "sync": {"linger_s": 0.5}}
        self.site = Site(folder / "site", cloud_port=free_port(), meters=[meter], overrides=overrides)
        self.cloud = CloudBooks(self.site.root / "cloud" / "cloud.db")
        self.told: dict[int, Row] = {}
        self._budget_mib = 0
        self.cycles: list[Cycle] = []
        self.machine = Machine(folder, folder / "data.img", self.site.port_path("tap-1"))
        try:
            self._prepare()
            self.site.start("meter:tap-1")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.machine.cut()
        for name in ("meter:tap-1", "sync", "cloud"):
            self.site.stop(name)

    def _prepare(self) -> None:
        """A station that has counted for long, its log delivered, and an old one's log beside it."""
        site = self.site
        site.provision()
        write_backlog(site, events=BACKLOG, streams=3)
        site.start("cloud")
        site.start("sync")
        log = StationLog(site.root / "station" / "log.db")
        eventually(lambda: log.pending() == 0, "the backlog delivered", 120)
        site.stop("sync")
        data = self.folder / "data"
        data.mkdir()
        for name in ("log.db", "ops.db"):
            source = site.root / "station" / name
            if source.exists():
                shutil.copy(source, data / name)
        self._budget_mib = (data / "log.db").stat().st_size // (1 << 20) + 2
        _old_log(self.folder / "old-site", data / "old-log.db")
        shutil.copy(site.root / "station.key", data / "station.key")
        (data / "station.toml").write_text(self._configuration())
        data_image(data, self.folder / "data.img", DATA_MIB)
        shutil.rmtree(data)

    def _configuration(self) -> str:
        text = self.site.config_path.read_text()
        for former, new in (
            ('state_dir = "station"', 'state_dir = "/var/lib/aquasmart"'),
            ('runtime_dir = "run"', 'runtime_dir = "/run/aquasmart"'),
            ('port = "run/tap-1"', 'port = "/dev/ttyS1"'),
            ("http://127.0.0.1:", "http://10.0.2.2:"),
        ):
            assert former in text, f"{former} is not in station.toml"
            text = text.replace(former, new)
        return f"{text}\n[log]\nbudget_mib = BUDGET_MIB\n"

    def cycle(self, aim: str) -> Cycle:
        """Boot, look at what survived, count, cut. A failure is in the cycle, not raised."""
        began_s = time.monotonic()
        cycle = Cycle(len(self.cycles) + 1, aim)
        self.cycles.append(cycle)
        if aim in {"prune", "checkpoint"}:
            self._budget_mib = max(1, self._budget_mib - STEP_MIB)
        since = min(self.told, default=(1 << 60) + 1) - 1
        self.machine.boot(f"since={since}", f"aim={aim}", f"budget={self._budget_mib}", *self._words)
        try:
            self._count(cycle)
        except AssertionError as fault:
            cycle.failures.append(f"{fault}\n{self.machine.said()}")
        finally:
            self.machine.cut()
        cycle.under_way = self.machine.under_way("migration" if aim == "migration" else "reader")
        lines = self.machine.lines()
        self._judge(cycle, lines)
        told = [Row.of(words[1:]) for words in lines if words[0] == "ROW"]
        cycle.rows = len(told)
        self.told = {row.position: row for row in told}
        cycle.seconds = time.monotonic() - began_s
        return cycle

    def _count(self, cycle: Cycle) -> None:
        """Until fifty commits are told, then until the moment of the cut."""
        self._await(cycle, lambda: self._commits() >= LEAST_COMMITS, BOOT_S, "fifty commits")
        if cycle.aim == "any":
            time.sleep(self._dice.uniform(0, 2.5))
        else:
            name = "migration" if cycle.aim == "migration" else "reader"
            self._await(
                cycle, lambda: self.machine.under_way(name) == cycle.aim, AIM_S, f"a {cycle.aim}", every_s=0.0005
            )
            time.sleep(self._dice.uniform(0, 0.003))
        cycle.commits = self._commits()

    def _commits(self) -> int:
        """Commits of the reader that were over, since the boot: of rows, and of what it prunes."""
        words = self.machine.marks["reader"].read_bytes()
        return words.count(b"-commit\n") + words.count(b"-prune\n")

    def _await(
        self, cycle: Cycle, condition: Callable[[], bool], seconds: float, what: str, every_s: float = 0.01
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.machine.running(), f"cycle {cycle.number}: the machine went by itself, waiting for {what}"
            assert time.monotonic() < deadline, f"cycle {cycle.number}: waited {seconds:g} s in vain for {what}"
            time.sleep(every_s)

    def _judge(self, cycle: Cycle, lines: list[list[str]]) -> None:
        """What this boot has found of what the last one had told."""
        survived = [words for words in lines if words[0] == "SURVIVED"]
        main = [words for words in survived if words[1].endswith("aquasmart/log.db")]
        if not main:
            cycle.failures.append(f"the log was not found after the cut: {lines[:3]}")
            return
        cycle.failures += [f"{words[1]} after the cut: {words[2]}" for words in survived if words[2] != "ok"]
        for words in survived:
            if words[1].endswith("old/log.db") and (int(words[5]) != OLD_ROWS or words[3] not in {"1", "3"}):
                cycle.failures.append(f"the log under migration: version {words[3]}, {words[5]} of {OLD_ROWS} rows")
        cycle.failures += [
            f"aquasmart check said {words[1]}" for words in lines if words[0] == "CHECKED" and words[1] != "0"
        ]
        found = [Row.of(words[1:]) for words in lines if words[0] == "HAVE"]
        gone = missing(self.told.values(), found, self._acknowledged())
        cycle.lost = len(gone)
        if gone:
            cycle.failures.append(f"{len(gone)} rows told as committed are gone, the first {gone[0]}")

    def _acknowledged(self) -> dict[str, int]:
        with closing(sqlite3.connect(f"file:{self.cloud.path}?mode=ro", uri=True, timeout=20)) as connection:
            return dict(connection.execute("SELECT stream, mark_seq FROM stream").fetchall())

    def settle(self) -> str:
        """The water stops; all of it must be in the log and at the cloud. Empty where it is, else what differs."""
        self.site.meters = tuple(replace(meter, pattern="idle") for meter in self.site.meters)
        self.site.stop("meter:tap-1")
        self.site.start("meter:tap-1")
        self.machine.boot(f"since={1 << 60}", "aim=any", f"budget={self._budget_mib}", *self._words)
        try:
            wanted = self._volume_ul()
            eventually(lambda: self.cloud.volume_ul() >= wanted, "all water at the cloud", 240, 0.2)
        except AssertionError as fault:
            return f"{fault}: meter {self._volume_ul()} µl, cloud {self.cloud.volume_ul()} µl\n{self.machine.said()}"
        finally:
            self.machine.cut()
        counted, at_cloud = self._volume_ul(), self.cloud.volume_ul()
        return "" if counted == at_cloud else f"meter {counted} µl, cloud {at_cloud} µl"

    def _volume_ul(self) -> int:
        """By the meter's own file, which the product never reads."""
        return self.site.meter_counts("tap-1").lifetime * 20_000 // 9 - START * 20_000 // 9


def missing(told: Iterable[Row], found: list[Row], acknowledged: dict[str, int]) -> list[Row]:
    """Told rows that are neither in the log, alone or within a merged one, nor at the cloud."""
    alone = {(row.stream, row.seq): row.counts for row in found if row.seqs == 1}
    merged = [row for row in found if row.seqs > 1]
    gone = []
    for row in told:
        if alone.get((row.stream, row.seq)) == row.counts or row.seq <= acknowledged.get(row.stream, 0):
            continue
        if any(m.stream == row.stream and m.seq - m.seqs < row.seq <= m.seq for m in merged):
            continue
        gone.append(row)
    return gone


def _old_log(folder: Path, target: Path) -> None:
    """A log of the schema's first version: what an update finds on its card."""
    folder.mkdir()
    site = Site(folder, cloud_port=1)
    write_backlog(site, events=OLD_ROWS, streams=1)
    path = site.root / "station" / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("boot_clock", "cloud_time", "dead_letter"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.move(path, target)
