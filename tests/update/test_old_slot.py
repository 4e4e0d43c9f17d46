"""The old slot reads what the new one has written: schemas only grow by tables, and today's software opens tomorrow's.

A station on trial with a new image migrates the databases at its first start, and may go back to the old image minutes
later (docs/decisions/0052-updates.md).
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path
from uuid import UUID

import pytest

from aquasmart_station.adapters import log_file, ops
from aquasmart_station.adapters.log_file import run_script, schema_texts
from aquasmart_station.adapters.log_rows import row_crc32
from aquasmart_station.core.encoding import compact
from aquasmart_station.core.errors import LogDamaged
from aquasmart_station.core.model import Row
from tests.integration.station.log_bench import header
from tests.integration.world import World, eventually

NEWEST = {"log": log_file.SCHEMA_VERSION, "ops": ops.SCHEMA_VERSION}
UNKNOWN_KIND = 200


def schema(name: str, version: int) -> dict[str, str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for each in range(1, version + 1):
            run_script(connection, f"{name}_{each:04}.sql")
        return schema_texts(connection)


@pytest.mark.parametrize("name", sorted(NEWEST))
def test_a_version_adds_tables_and_changes_nothing_that_was_there(name: str) -> None:
    """Not even a column: rows are written by position, in old software as in new."""
    for version in range(2, NEWEST[name] + 1):
        before, after = schema(name, version - 1), schema(name, version)
        assert before.items() < after.items()
        script = resources.files("aquasmart_station.adapters.sql").joinpath(f"{name}_{version:04}.sql").read_text()
        statements = re.sub(r"--.*", "", script).split(";")
        words = {" ".join(statement.split()[:2]).upper() for statement in statements if statement.strip()}
        assert words <= {"CREATE TABLE", "INSERT INTO"}, "nothing that would fire at an old image's writes"


@pytest.mark.parametrize("name", sorted(NEWEST))
def test_there_is_a_script_for_each_version_and_no_other(name: str) -> None:
    found = {each.name for each in resources.files("aquasmart_station.adapters.sql").iterdir()}
    scripts = {each for each in found if each.startswith(f"{name}_")}
    assert scripts == {f"{name}_{version:04}.sql" for version in range(1, NEWEST[name] + 1)}


def migrate_to_tomorrow(path: Path, version: int) -> None:
    """What a newer image does at its first start: a table of its own, a larger number."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE tomorrow (one INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
        connection.execute("INSERT INTO tomorrow VALUES (1, 'kept')")
        connection.execute(f"PRAGMA user_version = {version}")


def write_tomorrows_row(path: Path) -> None:
    """A row of a kind that today's software does not know, behind the last one of the meter's stream."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        stream, identity = connection.execute(
            "SELECT stream, id FROM stream WHERE meter_id = 'tap-1' ORDER BY stream DESC LIMIT 1"
        ).fetchone()
        last = connection.execute(
            "SELECT seq, at_ms, mono_ms, counts FROM event WHERE stream = ? ORDER BY seq DESC LIMIT 1", (stream,)
        ).fetchone()
        position = connection.execute("SELECT max(position) + 1 FROM event").fetchone()[0]
        row = Row(
            position, last[0] + 1, 1, UNKNOWN_KIND, 1 << 20, last[1] + 1, last[2] + 1, last[3] + 7, '{"of":"tomorrow"}'
        )
        crc32 = row_crc32(UUID(bytes=identity), row)
        values = (position, stream, *row[1:], crc32)
        connection.execute(f"INSERT INTO event VALUES ({', '.join('?' * len(values))})", values)


def tomorrow_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM tomorrow")]


def command(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "aquasmart_station.cli.entry", "--config", str(world.site.config_path), *words]
    program = (
        f"import sys; sys.argv = ['aquasmart', *{whole[3:]!r}]; from aquasmart_station.cli.entry import main; main()"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.e2e
def test_todays_station_goes_on_with_tomorrows_databases(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow()
    eventually((world.site.root / "station" / "ops.db").exists, "ops.db")
    # The new image's minutes: both databases of its version, a row of a kind of its own. Then back to this image.
    for name in ("reader", "sync"):
        world.site.stop(name)
    log, ops_db = world.site.root / "station" / "log.db", world.site.root / "station" / "ops.db"
    migrate_to_tomorrow(log, NEWEST["log"] + 1)
    migrate_to_tomorrow(ops_db, NEWEST["ops"] + 1)
    write_tomorrows_row(log)

    checked = command(world, "check", "--full")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shown = command(world, "tail", "-n", "3")
    assert f"kind-{UNKNOWN_KIND}" in shown.stdout, shown.stdout + shown.stderr
    world.site.start("reader")
    world.site.start("sync")
    world.await_flow()
    assert json.loads(command(world, "status", "--json").stdout)["degraded"] == []
    world.settle()
    # Nothing of tomorrow's was thrown away: the next try of the newer image finds it.
    assert tomorrow_in(log) == tomorrow_in(ops_db) == ["kept"]
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == NEWEST["log"] + 1


def test_a_header_with_a_field_of_tomorrow_is_taken_for_damage() -> None:
    """Why a stream's header may not grow within a major: it prices every row, so nothing in it is overlooked."""
    document = json.loads(log_file.header_text(header()))
    document.pop("crc32")
    grown = document | {"tomorrow": 1}
    text = compact(grown | {"crc32": zlib.crc32(compact(grown).encode())})
    with pytest.raises(LogDamaged):
        log_file.read_header(text)
