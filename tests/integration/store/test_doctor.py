"""`aquasmart-cloud doctor` on both stores: each fault is named with what to do next, and nothing is changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from aquasmart_cloud.services import doctor
from aquasmart_cloud.services.doctor import BAD, GOOD, UNKNOWN, WARNING
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.examining import clock_ms
from aquasmart_cloud.store.keyring import NEXT, PREVIOUS, beside
from tests.fakes.postgres import Postgres
from tests.fakes.redis import RedisServer
from tests.integration.cloud.senders import CloudUnderTest, Run

Command = Callable[..., tuple[int, str, str]]


class Report:
    """What doctor said, by check."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.document = status, json.loads(said)

    def of(self, what: str) -> list[dict[str, str]]:
        return [each for each in self.document["findings"] if each["what"] == what]

    def one(self, what: str) -> dict[str, str]:
        [found] = self.of(what)
        return found

    def states(self) -> dict[str, str]:
        return {each["what"]: each["state"] for each in self.document["findings"]}


@pytest.fixture
def ask(command: Command, tmp_path: Path) -> Callable[..., Report]:
    tmp_path.chmod(0o700)
    for path in tmp_path.glob("cloud.db*"):
        path.chmod(0o600)

    def run(*words: str) -> Report:
        status, said, errors = command("doctor", "--json", *words)
        assert said, errors
        return Report(status, said)

    return run


def execute(cloud: CloudUnderTest, *statements: str) -> None:
    with cloud.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def dump(cloud: CloudUnderTest) -> list[Any]:
    tables = ("station", "station_key", "failed_event", "ledger_entry", "client", "sign_in_link")
    return [cloud.query(f"SELECT * FROM {table}") for table in tables]


def test_a_cloud_that_is_well(cloud: CloudUnderTest, ask: Callable[..., Report], command: Command) -> None:
    sender = cloud.station()
    sender.take(Run(1_000_000).batch([1]))
    before = dump(cloud)
    report = ask()
    local = {"disk": report.one("disk")["state"]} if cloud.database.kind == "sqlite" else {"disk": UNKNOWN}
    good = dict.fromkeys(("files", "schema", "durability", "secrets", "clock", "rates", "open"), GOOD)
    assert report.states() == good | local | {"worker": UNKNOWN, "backup": UNKNOWN}
    assert (report.status, report.document["well"]) == (0, True)
    assert all(each["next"] for each in report.document["findings"] if each["state"] != GOOD)
    assert dump(cloud) == before
    status, said, _ = command("doctor")
    assert status == 0
    assert "ok    files:" in said
    assert "next: aquasmart-cloud doctor --backups FOLDER" in said


def test_a_configuration_that_cannot_be_used(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "master.key").chmod(0o644)
    monkeypatch.setenv("AQUASMART_PROXIES", "many")
    status, said, _ = command("doctor", "--json")
    report = Report(status, said)
    assert status == 78
    assert [each["what"] for each in report.document["findings"]] == ["configuration"] * 2
    assert "chmod 600" in said
    assert "AQUASMART_PROXIES" in said


def test_files_that_others_may_change(
    cloud: CloudUnderTest, ask: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    report = ask()
    assert report.status == 1
    assert report.of("files")[0] == {
        "what": "files",
        "state": BAD,
        "said": f"others may replace what is in {tmp_path} (mode 0777)",
        "next": f"chmod go-w {tmp_path}",
    }
    tmp_path.chmod(0o700)
    if cloud.database.kind == "sqlite":
        cloud.path.chmod(0o644)
        assert ask().of("files")[0]["next"] == f"chmod o-rwx {cloud.path}*"
        if os.geteuid() == 0:
            cloud.path.chmod(0o600)
            os.chown(tmp_path / "master.key", 65534, 65534)
            assert "different owners" in ask().of("files")[0]["said"]
            os.chown(tmp_path / "master.key", 0, 0)
    for ending in (PREVIOUS, NEXT):
        beside(tmp_path / "master.key", ending).write_text("ab" * 32)
    report = ask()
    assert [each["next"] for each in report.of("files") if "rekey" in each["next"]] == ["aquasmart-cloud rekey"] * 2
    assert report.status == 0


def test_a_database_that_is_not_there_or_not_migrated(
    cloud: CloudUnderTest, ask: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    execute(cloud, "UPDATE alembic_version SET version_num = '0001'")
    schema = ask().one("schema")
    assert (schema["state"], schema["next"]) == (BAD, "aquasmart-cloud db upgrade")
    gone = f"sqlite:///{tmp_path}/gone.db" if cloud.database.kind == "sqlite" else cloud.database.url + "x"
    if cloud.database.kind == "postgresql":
        gone = cloud.database.url.replace("/t", "/gone", 1)
    monkeypatch.setenv("AQUASMART_DATABASE_URL", gone)
    report = ask()
    assert report.status == 1
    assert {report.states()[each] for each in ("schema", "durability", "secrets", "clock")} == {BAD}
    assert not (tmp_path / "gone.db").exists()


def test_another_master_key(cloud: CloudUnderTest, ask: Callable[..., Report], tmp_path: Path) -> None:
    for number in range(8):
        cloud.station(f"s-{number}")
    (tmp_path / "master.key").write_text("1234567890abcdef" * 4)
    found = ask().one("secrets")
    assert found["state"] == BAD
    assert found["said"].startswith("the master key does not open station_key s-0 k1, station_key s-1 k1")
    assert found["said"].endswith("…")
    assert "runbook-keys" in found["next"]


def test_clocks_that_differ(cloud: CloudUnderTest, ask: Callable[..., Report], monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.station()
    now_ms = time.time_ns() // 1_000_000
    execute(cloud, f"UPDATE station SET last_seen_at = {now_ms + 60_000}")
    found = ask().one("clock")
    assert found["state"] == BAD
    assert "a station was heard" in found["said"]
    execute(cloud, f"UPDATE station SET last_seen_at = {now_ms}")
    monkeypatch.setattr("aquasmart_cloud.cli_doctor.now_ms", lambda: now_ms - 3_600_000)
    found = ask().one("clock")
    assert "3600 s off" in found["said"]
    assert "timedatectl" in found["next"]


def test_little_room(cloud: CloudUnderTest, ask: Callable[..., Report], monkeypatch: pytest.MonkeyPatch) -> None:
    if cloud.database.kind != "sqlite":
        assert ask().one("disk")["state"] == UNKNOWN
        return
    for limit, state in (("LITTLE_BYTES", WARNING), ("TOO_LITTLE_BYTES", BAD)):
        monkeypatch.setattr(doctor, limit, 1 << 60)
        found = ask().one("disk")
        assert (found["state"], "let-go" in found["next"]) == (state, True)


@pytest.mark.parametrize(("kind", "state"), [("nfs4", BAD), ("tmpfs", WARNING), ("ext4", GOOD)])
def test_file_systems_that_are_none_for_a_database(
    cloud: CloudUnderTest, ask: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, kind: str, state: str
) -> None:
    monkeypatch.setattr(doctor, "_file_system", lambda _: kind)
    assert ask().of("durability")[0]["state"] == (state if cloud.database.kind == "sqlite" else GOOD)


def test_the_file_system_is_that_of_the_longest_mount_point() -> None:
    assert doctor._file_system(Path("/proc/self/status")) == "proc"
    assert doctor._file_system(Path("/nowhere/at/all")) == doctor._file_system(Path("/"))


@pytest.mark.needs("redis")
def test_redis_there_and_gone(
    cloud: CloudUnderTest, ask: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        monkeypatch.setenv("AQUASMART_RATE_LIMIT_STORAGE", redis.url)
        assert ask().one("rates")["state"] == GOOD
    report = ask()
    assert (report.one("rates")["state"], report.status) == (WARNING, 0)
    assert "AQUASMART_RATE_LIMIT_STORAGE" in report.one("rates")["next"]


def test_a_worker_alive_late_and_with_a_failing_job(cloud: CloudUnderTest, ask: Callable[..., Report]) -> None:
    if not inspect(cloud.database.engine).has_table("lease"):
        execute(
            cloud,
            "CREATE TABLE lease (name VARCHAR(32), holder VARCHAR(200), expires_at BIGINT)",
            "CREATE TABLE job_run (job VARCHAR(64), failures BIGINT, error VARCHAR(500))",
        )
        lease = "INSERT INTO lease (name, holder, expires_at) VALUES ('worker', 'host 7', {})"
        job = "INSERT INTO job_run (job, failures, error) VALUES ('webhooks', 3, 'no route')"
    else:
        lease = "INSERT INTO lease (name, holder, fence, taken_at, expires_at) VALUES ('worker', 'host 7', 1, 0, {})"
        job = (
            "INSERT INTO job_run (job, started_at, duration_ms, runs, failed_runs, failures, said, error, due_at)"
            " VALUES ('webhooks', 0, 0, 3, 3, 3, '', 'no route', 0)"
        )
    now_ms = time.time_ns() // 1_000_000
    execute(cloud, lease.format(now_ms + 600_000))
    assert ask().one("worker") == {"what": "worker", "state": GOOD, "said": "the worker host 7 is alive", "next": ""}
    execute(cloud, f"UPDATE lease SET expires_at = {now_ms - 60_000}", job)
    report = ask()
    assert [each["state"] for each in report.of("worker")] == [BAD, WARNING]
    assert "aquasmart-cloud worker" in report.of("worker")[0]["next"]
    assert report.of("worker")[1]["said"] == "its job webhooks has failed 3 times: no route"
    assert report.status == 1
    execute(cloud, "UPDATE lease SET expires_at = 0")
    assert "was stopped" in ask().one("worker")["said"]


def test_backups_young_old_and_none(
    cloud: CloudUnderTest, ask: Callable[..., Report], command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "notes.txt").write_text("no backup")
    report = ask("--backups", str(folder))
    assert (report.status, report.one("backup")["state"]) == (1, BAD)
    file = folder / "monday.db"
    assert command("backup", str(file))[0] == 0
    assert ask("--backups", str(folder)).one("backup")["state"] == GOOD
    old_s = time.time() - 3 * 86_400
    os.utime(file, (old_s, old_s))
    found = ask("--backups", str(folder)).one("backup")
    assert (found["state"], found["said"]) == (WARNING, f"{file} is 72 h old")


def test_what_is_open_is_counted(cloud: CloudUnderTest, ask: Callable[..., Report]) -> None:
    sender = cloud.station()
    sender.take(Run(1_000_000).batch([1]))
    sender.take(Run(2_000_000).batch([1]))
    execute(
        cloud,
        "INSERT INTO failed_event (client_id, failed_seq, raw_hash, raw, code, errors, warnings, normaliser, state,"
        " received_at) VALUES ('c_acme', 1, '', '{}', 'invalid', '[]', '[]', 1, 'open', 1)",
    )
    report = ask()
    assert [each["state"] for each in report.of("open")] == [WARNING] * 2
    assert report.of("open")[0]["next"] == "aquasmart-cloud failed list"
    assert report.status == 0


@pytest.mark.needs("postgresql")
def test_a_server_that_would_forget_is_named(
    postgres: Postgres, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud refuses such a server itself; full_page_writes it does not look at, doctor does."""
    name = postgres.fresh()
    try:
        monkeypatch.setenv("AQUASMART_DATABASE_URL", postgres.url(name))
        postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        status, said, _ = command("doctor", "--json")
        found = Report(status, said).one("durability")
        assert (status, found["state"]) == (1, BAD)
        assert "synchronous_commit off" in found["said"]
        assert "postgresql.conf" in found["next"]
    finally:
        postgres.drop(name)


def test_a_check_that_cannot_look_lets_the_others(cloud: CloudUnderTest, ask: Callable[..., Report]) -> None:
    execute(cloud, "ALTER TABLE failed_event RENAME TO gone")
    report = ask()
    assert report.one("open")["state"] == BAD
    assert report.one("schema")["state"] == GOOD
    execute(cloud, "ALTER TABLE gone RENAME TO failed_event")


def test_the_clock_of_the_database_is_in_milliseconds(cloud: CloudUnderTest) -> None:
    database = Database(cloud.database.url)
    assert abs(clock_ms(database) - time.time_ns() // 1_000_000) < 2_000
    database.close()
