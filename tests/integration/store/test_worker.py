"""One worker works, however many there are: real processes, stopped, killed, frozen, on both stores."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aquasmart_cloud.core.errors import DatabaseError, LeaseLost, WorkStopped
from aquasmart_cloud.services import leading
from aquasmart_cloud.store import job_runs, leases
from aquasmart_cloud.store.fenced import FencedDatabase
from demo.site import program
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest, Run
from tests.integration.store.stores import POSTGRESQL, Store
from tests.integration.store.test_fleet_rollups import stations_sum, stored

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE_S = 60


def until(what: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `what`."""
    deadline = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


class Pack:
    """Worker processes of one test; all are gone afterwards."""

    def __init__(self, cloud: CloudUnderTest, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.processes: list[subprocess.Popen[bytes]] = []
        for name, text in (("master.key", MASTER_KEY.hex()), ("admin.token", "correct-horse-battery-staple")):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        self.environment = os.environ | {
            "AQUASMART_MASTER_KEY_FILE": str(folder / "master.key"),
            "AQUASMART_DATABASE_URL": cloud.database.url,
        }

    def counting(self, name: str) -> subprocess.Popen[bytes]:
        """The loop with the test's own job."""
        return self._start(
            sys.executable, "-m", "tests.integration.store.one_job", self.cloud.database.url, str(self.folder), name
        )

    def worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """The product's command."""
        return self._start(program("aquasmart-cloud"), "worker", "--json", **environment)

    def _start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"process-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env=self.environment | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self.processes.append(process)
        return process

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"process-{self.processes.index(process)}.log").read_text()

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(30)

    def leader(self) -> str:
        held = leases.show(self.cloud.database, leases.WORKER)
        return held.holder if held and held.valid else ""

    def leads(self, process: subprocess.Popen[bytes]) -> bool:
        return f"/{process.pid}/" in self.leader()

    def count(self) -> int:
        return int(self.cloud.one("SELECT value FROM policy WHERE name = 'count'"))

    def written(self, name: str) -> list[int]:
        path = self.folder / f"{name}.written"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def pack(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[Pack]:
    with cloud.database.writing() as connection:
        connection.execute("INSERT INTO policy (name, value, set_at) VALUES ('count', '0', 0)")
    made = Pack(cloud, tmp_path)
    yield made
    made.end()


def test_a_frozen_leader_that_wakes_does_not_act_twice(pack: Pack) -> None:
    """It had read a figure, and would write it plus one: the figure is another's by then."""
    (pack.folder / "hold-first").touch()
    first = pack.counting("first")
    until((pack.folder / "first.read").exists)
    second = pack.counting("second")
    time.sleep(2)
    # Held as it is, within a run that lasts, the lease is renewed: nobody takes it over.
    assert (pack.leader(), pack.count()) == ("first", 0)
    first.send_signal(signal.SIGSTOP)
    frozen = time.monotonic()
    until(lambda: pack.leader() == "second")
    assert time.monotonic() - frozen < PATIENCE_S / 2
    until(lambda: pack.count() >= 5)
    (pack.folder / "hold-first").unlink()
    first.send_signal(signal.SIGCONT)
    until(lambda: "taken it over" in pack.log_of(first))
    seen = pack.count()
    until(lambda: pack.count() >= seen + 5)
    second.terminate()
    assert second.wait(20) == 0
    # Whose lease was given back need not be waited for.
    until(lambda: pack.leader() == "first")
    until(lambda: len(pack.written("first")) >= 5)
    first.terminate()
    assert first.wait(20) == 0
    steps = sorted(pack.written("first") + pack.written("second"))
    assert steps == list(range(pack.count())), "a step was done twice, or lost"


def test_a_leader_that_is_killed_is_followed_within_seconds_and_nothing_is_done_twice(pack: Pack) -> None:
    workers = {name: pack.counting(name) for name in ("a", "b", "c")}
    for _ in range(2):
        name = until(pack.leader)
        until(lambda led=name: len(pack.written(led)) >= 3)
        before = pack.count()
        workers.pop(name).kill()
        killed = time.monotonic()
        until(lambda former=name: pack.leader() not in ("", former))
        assert time.monotonic() - killed < PATIENCE_S / 2
        until(lambda reached=before: pack.count() >= reached + 5)
    [last] = workers.values()
    last.terminate()
    assert last.wait(20) == 0
    steps = sorted(step for each in "abc" for step in pack.written(each))
    # One that was killed between its commit and its file has done a step that it could not tell of.
    assert len(set(steps)) == len(steps)
    assert pack.count() - len(steps) in (0, 1, 2)
    assert pack.leader() == ""
    assert leases.show(pack.cloud.database, leases.WORKER) is not None


def test_a_worker_whose_job_hangs_ends_when_asked_and_what_it_held_runs_out(pack: Pack) -> None:
    (pack.folder / "hold-first").touch()
    first = pack.counting("first")
    until((pack.folder / "first.read").exists)
    asked = time.monotonic()
    first.terminate()
    assert first.wait(20) == 0
    assert time.monotonic() - asked > 3
    pack.counting("second")
    until(lambda: pack.leader() == "second")
    until(lambda: pack.count() >= 3)
    assert pack.written("first") == []


def test_work_that_hangs_loses_the_lease(cloud: CloudUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "RENEW_EVERY_S", 0.05)
    monkeypatch.setattr(leading, "LONGEST_SILENCE_S", 1.0)
    lease = leases.take(cloud.database, leases.WORKER, "one")
    assert lease is not None
    with leading.Tenure(cloud.database, lease) as tenure:
        began = time.monotonic()
        while time.monotonic() - began < 2:
            tenure.show_life()
            time.sleep(0.05)
        assert not tenure.over
        until(lambda: tenure.over)
        # Not given back: whoever hangs may be within something. It runs out.
    held = leases.show(cloud.database, leases.WORKER)
    assert held is not None
    assert held.valid


@pytest.mark.parametrize("store", [POSTGRESQL], indirect=True)
def test_a_server_that_went_away_is_waited_for(pack: Pack, store: Store) -> None:
    process = pack.counting("first")
    until(lambda: pack.count() >= 3)
    store.server.stop("immediate")
    try:
        time.sleep(3)
        assert process.poll() is None
    finally:
        store.server.start()
    before = until(lambda: _count_again(pack))
    until(lambda: pack.count() >= before + 5, patience_s=90)
    process.terminate()
    assert process.wait(20) == 0
    # What was committed and not answered is a step of which nobody told.
    told = pack.written("first")
    assert len(set(told)) == len(told)


def _count_again(pack: Pack) -> int:
    try:
        return pack.count()
    except DatabaseError:
        return 0


def test_two_commands_at_once_and_the_figures_are_added_once(pack: Pack) -> None:
    workers = [pack.worker(), pack.worker()]
    senders = [pack.cloud.station(f"tap-{number}") for number in range(3)]
    runs = [Run(1_000_000) for _ in senders]
    leader = until(lambda: next((each for each in workers if pack.leads(each)), None))
    for number in range(12):
        for sender, run in zip(senders, runs, strict=True):
            sender.take(run.batch([1, 2, 3]))
        if number == 5:
            leader.kill()
    until(lambda: any(pack.leads(each) for each in workers if each is not leader))
    until(lambda: stored(pack.cloud) == stations_sum(pack.cloud) != {})
    other = next(each for each in workers if each is not leader)
    asked = time.monotonic()
    other.terminate()
    assert other.wait(20) == 0
    assert time.monotonic() - asked < 15  # 5 s on a machine that has nothing else to do
    assert pack.leader() == ""
    told = [json.loads(line) for line in pack.log_of(other).splitlines() if line.startswith("{")]
    assert {each["job"] for each in told} >= {"fleet-rollups"}


def test_systemd_is_told_of_readiness_life_and_state(pack: Pack) -> None:
    path = pack.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(PATIENCE_S)
        process = pack.worker(NOTIFY_SOCKET=str(path))
        said: list[str] = []
        while not {"READY=1", "WATCHDOG=1", "STATUS=leads"} <= set(said):
            said.append(listening.recv(4096).decode())
        process.terminate()
        while "STOPPING=1" not in said:
            said.append(listening.recv(4096).decode())
        assert process.wait(20) == 0


def test_a_lease_is_anothers_only_when_it_ran_out(cloud: CloudUnderTest) -> None:
    database = cloud.database
    one = leases.take(database, leases.WORKER, "one")
    assert one is not None
    assert leases.take(database, leases.WORKER, "two") is None
    assert leases.take(database, leases.WORKER, "one") is None
    _expire(cloud, -1)
    leases.renew(database, one)
    assert leases.take(database, leases.WORKER, "two") is None
    _expire(cloud, -1)
    two = leases.take(database, leases.WORKER, "two")
    assert two is not None
    assert two.fence == one.fence + 1
    with pytest.raises(LeaseLost):
        leases.renew(database, one)
    leases.release(database, one)
    held = leases.show(database, leases.WORKER)
    assert held is not None
    assert (held.holder, held.valid) == ("two", True)
    # A clock that was set back by a day: nobody waits for a day.
    _expire(cloud, 86_400_000)
    assert leases.take(database, leases.WORKER, "three") is not None


def _expire(cloud: CloudUnderTest, from_now_ms: int) -> None:
    with cloud.database.writing() as connection:
        connection.execute(f"UPDATE lease SET expires_at = {cloud.database.clock} + ?", (from_now_ms,))


def test_what_a_former_holder_writes_is_not_stored(cloud: CloudUnderTest) -> None:
    lease = leases.take(cloud.database, leases.WORKER, "one")
    assert lease is not None
    stopping: list[bool] = []
    fenced = FencedDatabase(cloud.database, lease, lambda: bool(stopping))
    add = "INSERT INTO policy (name, value, set_at) VALUES (?, '', 0)"
    with fenced.writing() as connection:
        connection.execute(add, ("a",))
    fenced.write(lambda connection: connection.execute(add, ("b",)), "demo-1")
    _expire(cloud, -1)
    assert leases.take(cloud.database, leases.WORKER, "two") is not None
    with pytest.raises(LeaseLost), fenced.writing("demo-1") as connection:
        connection.execute(add, ("c",))
    with pytest.raises(LeaseLost):
        fenced.write(lambda connection: connection.execute(add, ("d",)))
    stopping.append(True)
    with pytest.raises(WorkStopped):
        fenced.reading()
    assert cloud.query("SELECT name FROM policy ORDER BY name") == [("a",), ("b",)]


def test_the_command_once_and_its_status(
    cloud: CloudUnderTest, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("worker", "status")[0] == 1
    status, said, _ = command("worker", "--once", "--json")
    assert status == 0
    assert {each["job"] for each in json.loads(said)["jobs"]} >= {"months", "retry-queue", "fleet-rollups", "retention"}
    leases.take(cloud.database, leases.WORKER, "another")
    status, said, _ = command("worker", "--once", "--json")
    assert (status, json.loads(said)) == (0, {"led": False, "leader": "another", "jobs": []})
    status, said, _ = command("worker", "status", "--json")
    shown = json.loads(said)
    assert (status, shown["leader"]["holder"]) == (0, "another")
    assert all(each["runs"] == 1 and each["failures"] == 0 for each in shown["jobs"])
    with cloud.database.writing() as connection:
        connection.execute("UPDATE job_run SET failures = 3, error = 'no room' WHERE job = 'months'")
    status, said, errors = command("worker", "status")
    assert status == 1
    assert "3 times in a row: no room" in said
    assert "months" in errors
    assert job_runs.every(cloud.database)["months"].failures == 3
