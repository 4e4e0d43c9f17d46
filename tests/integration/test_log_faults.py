"""Faults of the card and its log against the real services, files and commands; the meter's own file is the truth."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo.site import SiteError, program
from demo.specs import MeterSpec
from tests.integration.balance import UL_PER_COUNT, assert_books_balance, volume_ul
from tests.integration.station.some_logs import flip, pages_of
from tests.integration.world import World, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
MakeWorld = Callable[..., World]
TUF = MeterSpec(driver="modbus", pattern="steady", identity="1234567", start_counts=1_000_000, k_factor="1000")


def command(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """`aquasmart --config … WORDS`, whatever its exit status."""
    line = [program("aquasmart"), "--config", str(world.site.config_path), *words]
    return subprocess.run(line, capture_output=True, text=True)


def check(world: World) -> tuple[int, dict[str, Any]]:
    done = command(world, "check", "--json")
    return done.returncode, json.loads(done.stdout)


def counting(make_world: MakeWorld, **settings: Any) -> World:
    """A site whose meter runs and whose station has delivered some of it."""
    world = make_world(**settings)
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow(10)
    world.await_delivered()
    return world


def then_offline(world: World, events: int = 25) -> None:
    """The network goes; more is counted, and then the station is stopped."""
    world.relay.set_state("cut")
    world.await_flow(events)
    assert world.site.stop("sync") == 0
    assert world.site.stop("reader") == 0


def back(world: World) -> None:
    """Everything runs again until all is delivered and the meter's last count is in."""
    world.relay.set_state("pass")
    world.site.start("reader")
    world.site.start("sync")
    world.await_flow(5)
    world.settle()


def last_leaf(log: Path) -> None:
    flip(log, (pages_of(log, "event")[-1] - 1) * 1024)


def header(log: Path) -> None:
    flip(log, *range(100))


def rows_by_sql(log: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE event SET counts = counts + 7 WHERE position IN (SELECT position FROM event WHERE counts > 0"
            " ORDER BY position DESC LIMIT 3 OFFSET 5)"
        )


@pytest.mark.parametrize("damage", [last_leaf, header, rows_by_sql], ids=lambda each: each.__name__)
def test_a_corrupt_log_is_salvaged_and_the_meter_brings_back_the_rest(
    make_world: MakeWorld, damage: Callable[[Path], None]
) -> None:
    world = counting(make_world)
    then_offline(world)
    damage(world.log.path)
    status, said = check(world)
    assert (status, said["state"]) == (3, "salvaged")
    assert said["salvage"]["unacknowledged_rows"] > 0
    assert check(world)[0] == 0
    back(world)
    # Total exact to the microlitre, nothing named but what the operator is told in an event.
    assert world.cloud.volume_ul() == volume_ul(world.site.meter_counts().lifetime)
    assert world.cloud.differences() == {}
    notable = [json.loads(data) for (data,) in world.cloud.query("SELECT data FROM notable WHERE kind = 'diagnostic'")]
    assert [each["salvage"]["rows"] for each in notable if "salvage" in each] == [said["salvage"]["rows"]]
    assert world.log.integrity() == "ok"


@pytest.mark.parametrize("how", ["zero length", "garbage"])
def test_a_log_of_which_nothing_is_left_costs_a_named_beginning(make_world: MakeWorld, how: str) -> None:
    world = counting(make_world)
    then_offline(world)
    acked = max(row.counts for row in world.log.rows() if row.seq <= world.log.acknowledged().get(row.stream, 0))
    world.log.path.write_bytes(b"" if how == "zero length" else b"\xaa\x55" * 20_000)
    assert check(world)[0] == 3
    back(world)
    baseline = next(row.counts for row in world.log.rows() if row.kind == "baseline")
    lost_ul = int(baseline * UL_PER_COUNT) - int(acked * UL_PER_COUNT)
    assert lost_ul > 0
    assert world.cloud.volume_ul() == volume_ul(world.site.meter_counts().lifetime) - lost_ul
    # A pulse bridge has no serial number: nothing shows that it is the same life of the same meter.
    assert set(world.cloud.differences()) == {"unknown-before"}


def test_a_log_that_is_damaged_while_it_is_in_use_is_let_go_of_and_salvaged(make_world: MakeWorld) -> None:
    world = counting(make_world)
    wal = world.log.path.with_name("log.db-wal")
    with world.log.path.open("r+b") as file:
        file.write(b"\x11" * world.log.path.stat().st_size)
    with wal.open("r+b") as file:
        file.seek(32)
        file.write(b"\x11" * (wal.stat().st_size - 32))
    eventually(lambda: not world.site.alive("reader"), "the reader gives up")
    assert "aquasmart check" in world.site.log_tail("reader")
    eventually(lambda: not world.site.alive("sync"), "sync gives up, too")
    assert check(world)[0] == 3
    back(world)
    assert set(world.cloud.differences()) <= {"unknown-before"}


def test_check_beside_running_services_only_looks(make_world: MakeWorld) -> None:
    world = counting(make_world)
    status, said = check(world)
    assert (status, said["state"]) == (75, "busy")
    assert world.site.alive("reader")
    assert command(world, "log", "verify").returncode == 0
    world.settle()
    assert_books_balance(world)


def test_services_do_not_start_on_half_a_salvage(make_world: MakeWorld) -> None:
    """The check was cut: until it has run to its end, nobody opens the log."""
    world = counting(make_world)
    then_offline(world)
    header(world.log.path)
    quarantine = world.log.path.parent / "quarantine" / "20260101T000000Z"
    quarantine.mkdir(parents=True)
    intent = {"folder": quarantine.name, "reason": "test", "at_ms": 1, "skip_unreadable": False}
    world.log.path.with_name("log.db.salvage").write_text(json.dumps(intent))
    world.log.path.rename(quarantine / "log.db")
    for service in ("reader", "sync"):
        done = command(world, service)
        assert done.returncode == 1
        assert "aquasmart check" in done.stderr
    assert not world.log.path.exists()
    assert check(world)[0] == 3
    back(world)
    assert world.cloud.volume_ul() == volume_ul(world.site.meter_counts().lifetime)
    assert world.cloud.differences() == {}


def test_one_row_with_a_wrong_checksum_is_a_gap_with_its_exact_volume(make_world: MakeWorld) -> None:
    world = counting(make_world)
    then_offline(world)
    with closing(sqlite3.connect(world.log.path, isolation_level=None)) as connection:
        wanted = "SELECT position FROM event WHERE kind = 0 ORDER BY position DESC LIMIT 1 OFFSET 8"
        (position,) = connection.execute(wanted).fetchone()
        connection.execute("UPDATE event SET counts = 5, seq = seq + 100000 WHERE position = ?", (position,))
    world.relay.set_state("pass")
    world.site.start("reader")
    world.site.start("sync")
    world.await_flow(5)
    assert world.site.stop("reader") == 0
    eventually(lambda: world.site.status()["pending"] == 0, "everything delivered")
    assert world.cloud.volume_ul() == volume_ul(world.site.meter_counts().lifetime)
    assert world.cloud.differences() == {}
    assert len(world.cloud.query("SELECT 1 FROM notable WHERE kind = 'gap'")) == 1
    assert world.site.status()["pending"] == 0


def test_a_card_rolled_back_overlaps_by_name_and_is_booked_once(make_world: MakeWorld) -> None:
    world = counting(make_world)
    world.settle()
    former = world.site.root / "former"
    shutil.copytree(world.log.path.parent, former)
    world.site.start("reader")
    world.await_flow(20)
    world.settle()
    world.site.stop("sync")
    shutil.rmtree(world.log.path.parent)
    shutil.copytree(former, world.log.path.parent)
    assert check(world)[0] == 0
    back(world)
    assert world.cloud.volume_ul() == volume_ul(world.site.meter_counts().lifetime)
    assert set(world.cloud.differences()) == {"overlap"}
    assert world.cloud.differences()["overlap"] > 0


def test_a_wal_deleted_after_its_rows_were_acknowledged(make_world: MakeWorld) -> None:
    world = counting(make_world)
    world.settle()
    world.site.stop("sync")  # the last one to let go of the log folds the -wal in
    world.site.start("sync")
    world.site.start("reader")
    world.await_flow(20)
    world.await_delivered()
    world.site.kill("reader")
    world.site.kill("sync")
    for end in ("-wal", "-shm"):
        world.log.path.with_name("log.db" + end).unlink()
    assert check(world)[0] == 0
    back(world)
    assert world.cloud.volume_ul() == volume_ul(world.site.meter_counts().lifetime)
    assert set(world.cloud.differences()) == {"overlap"}


def test_a_dead_card_leaves_a_hole_that_its_log_closes(make_world: MakeWorld, tmp_path: Path) -> None:
    """The same meter by its serial number, another card; later the old card is found to be readable after all."""
    world = counting(make_world, meters=[TUF])
    then_offline(world)
    dead = tmp_path / "dead-card"
    shutil.move(world.log.path.parent, dead)
    world.log.path.parent.mkdir()
    back(world)

    def meter_ul() -> int:
        return (world.site.meter_counts().lifetime - TUF.start_counts) * 1000

    differences = world.cloud.differences()
    assert set(differences) == {"hole"}
    assert differences["hole"] > 0
    assert world.cloud.volume_ul() == meter_ul() - differences["hole"]
    # The card in another board: its own name, key and log.
    shutil.copy(world.site.config_path, dead / "station.toml")
    shutil.copy(world.site.root / "station.key", dead / "station.key")
    board = make_world()
    board.prepare()
    bundle = tmp_path / "dead-card.bundle"
    board.site.station("log", "export", str(bundle), "--from", str(dead))
    said = json.loads(world.site.cloud("import", str(bundle), "--json"))
    assert said["inserted"] > 0
    # What flowed between the old card's last row and the new one's baseline no card ever held: it stays named.
    rest = world.cloud.differences().get("hole", 0)
    assert rest < differences["hole"]
    assert world.cloud.volume_ul() == meter_ul() - rest
    assert set(world.cloud.differences()) <= {"hole"}


def test_a_dead_card_without_water_in_between_is_made_whole(make_world: MakeWorld, tmp_path: Path) -> None:
    world = counting(make_world, meters=[TUF])
    world.relay.set_state("cut")
    world.await_flow(10)
    world.with_pattern("idle")
    eventually(world.logged_all, "the meter's last count in the log")
    then_offline(world, events=0)
    dead = tmp_path / "dead-card"
    shutil.move(world.log.path.parent, dead)
    world.log.path.parent.mkdir()
    world.site.start("reader")
    world.log.await_kind("baseline", "tap-1")
    world.with_pattern("steady")
    back(world)
    assert set(world.cloud.differences()) == {"hole"}
    words = ["--from", str(dead), "--station-id", "demo-1", "--key-id", "k1"]
    key = ["--key-file", str(world.site.root / "station.key")]
    world.site.station("log", "export", str(tmp_path / "x.bundle"), *words, *key)
    world.site.cloud("import", str(tmp_path / "x.bundle"))
    assert world.cloud.differences() == {}
    assert world.cloud.volume_ul() == (world.site.meter_counts().lifetime - TUF.start_counts) * 1000


# Factory reset


def test_a_factory_reset_is_refused_while_services_run_or_anything_is_undelivered(make_world: MakeWorld) -> None:
    world = counting(make_world)
    busy = command(world, "reset", "--factory")
    assert busy.returncode == 75
    then_offline(world)
    before = world.log.path.read_bytes()
    refused = command(world, "reset", "--factory")
    assert refused.returncode == 1
    assert "have not been delivered; nothing was removed" in refused.stderr
    assert "--abandon" in refused.stderr
    assert world.log.path.read_bytes() == before
    back(world)
    world.site.stop("sync")
    done = command(world, "reset", "--factory")
    assert done.returncode == 0, done
    assert "everything in it had been acknowledged" in done.stdout
    assert not list(world.log.path.parent.glob("log.db*"))
    assert (world.site.root / "station.key").exists()


def _undelivered_ul(world: World) -> tuple[int, int]:
    status = world.site.status()
    return status["log_ul"] - status["acked_ul"], status["pending"]


def test_what_a_factory_reset_abandons_is_named_in_the_cloud_first(make_world: MakeWorld) -> None:
    world = counting(make_world)
    then_offline(world)
    lost_ul, events = _undelivered_ul(world)
    assert lost_ul > 0
    world.relay.set_state("pass")
    said = command(world, "reset", "--factory", "--abandon")
    assert said.returncode == 0, said
    assert f"abandoned: {lost_ul // 1_000_000}.{lost_ul % 1_000_000:06} L in {events} events" in said.stdout
    assert "named in the cloud's ledger" in said.stdout
    assert world.cloud.differences() == {"abandoned": lost_ul}
    (detail,) = world.cloud.query("SELECT detail FROM ledger_entry WHERE kind = 'abandoned'")[0]
    assert json.loads(detail)["events"] == events
    assert not list(world.log.path.parent.glob("log.db*"))


def test_where_the_cloud_cannot_be_reached_a_signed_file_names_it(make_world: MakeWorld) -> None:
    world = counting(make_world)
    then_offline(world)
    lost_ul, _ = _undelivered_ul(world)
    said = command(world, "reset", "--factory", "--abandon", "--key")
    assert said.returncode == 0, said
    left = {path.suffix for path in world.log.path.parent.glob("factory-reset-*")}
    assert left == {".bundle", ".txt"}
    assert not list(world.log.path.parent.glob("log.db*"))
    assert not (world.site.root / "station.key").exists()
    (bundle,) = world.log.path.parent.glob("factory-reset-*.bundle")
    world.site.cloud("import", str(bundle))
    assert world.cloud.differences() == {"abandoned": lost_ul}


def test_a_damaged_log_is_not_wiped(make_world: MakeWorld) -> None:
    world = counting(make_world)
    then_offline(world)
    header(world.log.path)
    with pytest.raises(SiteError, match="damaged"):
        world.site.station("reset", "--factory", "--abandon")
    assert world.log.path.exists()
