"""Keys at rest: a copy of the database signs nothing; the master key changes under load, killed anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.client import HTTPException
from itertools import count
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import SealError
from aquasmart_cloud.services import rekeying
from aquasmart_cloud.store import resealing
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.keyring import NEXT, PREVIOUS, MasterKeys, beside, read_keys
from aquasmart_cloud.store.schema import metadata
from aquasmart_cloud.store.sealing import seal
from aquasmart_cloud.store.stations import Stations
from demo.site import REPOSITORY, program
from tests.integration.cloud.foreign.gunicorn import ADMIN, Served
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest
from tests.integration.cloud.test_answers import BEAT
from tests.integration.store.stores import Store
from tests.integration.wire import Message

STATIONS = 5
Known = dict[tuple[str, str], bytes]


def provision(stations: Stations, many: int = STATIONS) -> Known:
    """Stations with two keys each: what they must sign with, whatever happens to the master key."""
    known: Known = {}
    for number in range(many):
        for new in (stations.add(f"s-{number}", "", 1), stations.rotate_key(f"s-{number}", 2)):
            known[new.station_id, new.key_id] = bytes.fromhex(new.key)
    return known


def assert_all_verify(url: str, file: Path, known: Known) -> None:
    """A process that begins now, with the files as they are, opens every key."""
    database = Database(url)
    stations = Stations(database, MasterKeys(read_keys(file).current, file))
    for (station_id, key_id), key in known.items():
        found = stations.find_key(station_id, key_id)
        assert found is not None
        assert found.key == key
    database.close()


def assert_opens_nothing(url: str, master_key: bytes, known: Known) -> None:
    database = Database(url)
    stations = Stations(database, master_key)
    for station_id, key_id in known:
        with pytest.raises(SealError):
            stations.find_key(station_id, key_id)
    database.close()


def key_file(folder: Path, key: bytes = MASTER_KEY) -> Path:
    file = folder / "master.key"
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(key.hex() + "\n")
    return file


def test_every_column_of_secrets_is_sealed_anew() -> None:
    """A table with a sealed column that store.resealing does not know would be lost with the former key."""
    found = {
        (table.name, column.name) for table in metadata.sorted_tables for column in table.c if "seal" in column.name
    }
    assert found == {(each.table, each.column) for each in resealing.SEALED}


def test_a_copy_of_the_database_alone_signs_nothing(cloud: CloudUnderTest) -> None:
    known = provision(cloud.stations)
    rows = cloud.query("SELECT station_id, key_id, sealed FROM station_key")
    for station_id, key_id, sealed in rows:
        assert known[station_id, key_id] not in bytes(sealed)
    if cloud.database.kind == "sqlite":
        whole = b"".join(path.read_bytes() for path in cloud.path.parent.glob("cloud.db*"))
        assert not any(key in whole or key.hex().encode() in whole for key in known.values())
    assert_opens_nothing(cloud.database.url, bytes(32), known)
    # Nor does a sealed key open in the place of another one.
    with cloud.database.writing() as connection:
        connection.execute("UPDATE station_key SET sealed = ? WHERE key_id = 'k2'", (bytes(rows[0][2]),))
    with pytest.raises(SealError):
        cloud.stations.find_key("s-0", "k2")


def test_the_command_changes_it_and_the_former_one_opens_nothing(
    cloud: CloudUnderTest, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    known, file = provision(cloud.stations), tmp_path / "master.key"
    status, said, _ = command("rekey", "--json")
    told = json.loads(said)
    assert (status, told["sealed"], told["already"], told["unreadable"]) == (0, 2 * STATIONS, 0, [])
    assert (told["resumed"], told["file"]) == (False, str(file))
    assert not beside(file, PREVIOUS).exists()
    assert not beside(file, NEXT).exists()
    assert file.stat().st_mode & 0o777 == 0o600
    assert_all_verify(cloud.database.url, file, known)
    assert_opens_nothing(cloud.database.url, MASTER_KEY, known)
    assert command("rekey")[0] == 0
    assert_all_verify(cloud.database.url, file, known)


def test_a_running_process_follows_at_once_in_both_directions(cloud: CloudUnderTest, tmp_path: Path) -> None:
    file = key_file(tmp_path)
    running = Stations(cloud.database, MasterKeys(MASTER_KEY, file))
    known = provision(running)
    rekeying.rekey(file, Database(cloud.database.url))
    new = running.add("later", "", 3)  # sealed under the new one, by a process that was told nothing
    known[new.station_id, new.key_id] = bytes.fromhex(new.key)
    for place, key in known.items():
        found = running.find_key(*place)
        assert found is not None
        assert found.key == key
    assert_opens_nothing(cloud.database.url, MASTER_KEY, known)


def test_what_no_key_opens_is_named_and_everything_else_is_sealed_anew(
    cloud: CloudUnderTest, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    known = provision(cloud.stations)
    stray = seal(bytes(32), "s-1", "k1", bytes(32))
    with cloud.database.writing() as connection:
        connection.execute("UPDATE station_key SET sealed = ? WHERE station_id = 's-1' AND key_id = 'k1'", (stray,))
    del known["s-1", "k1"]
    status, _, errors = command("rekey")
    assert status == 1
    assert "no key opens station_key s-1 k1" in errors
    assert "rotate-key" in errors
    assert_all_verify(cloud.database.url, tmp_path / "master.key", known)
    assert_opens_nothing(cloud.database.url, MASTER_KEY, known)


def test_several_machines_have_the_coming_key_before_one_seals_with_it(
    cloud: CloudUnderTest, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    known, here = provision(cloud.stations), tmp_path / "master.key"
    (tmp_path / "there").mkdir()
    there = key_file(tmp_path / "there")
    assert command("rekey", "--make-only")[0] == 0
    assert command("rekey", "--make-only")[0] == 0
    coming = read_keys(here).coming
    assert coming is not None
    beside(there, NEXT).write_text(coming.hex())
    assert_all_verify(cloud.database.url, there, known)
    command("rekey")
    assert read_keys(here).current == coming
    assert_all_verify(cloud.database.url, here, known)
    assert_all_verify(cloud.database.url, there, known)
    rekeying.rekey(there, Database(cloud.database.url))
    assert read_keys(there).current == coming
    assert_all_verify(cloud.database.url, there, known)
    assert_opens_nothing(cloud.database.url, MASTER_KEY, known)


def test_killed_at_every_boundary_of_files_and_statements_every_station_verifies(tmp_path: Path) -> None:
    prepared, target = tmp_path / "prepared", tmp_path / "killed"
    prepared.mkdir()
    cloud = CloudUnderTest(prepared)
    known, _ = provision(cloud.stations), key_file(prepared)
    cloud.close()
    scene = "tests.integration.store.rekey_scenes:rekey"
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.boundaries", scene, str(prepared), str(target)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    boundaries = int(done.stdout)
    assert boundaries > 40
    for number in range(1, boundaries + 2):
        folder = target / str(number)
        url, file = f"sqlite:///{folder}/cloud.db", folder / "master.key"
        assert_all_verify(url, file, known)
        database = Database(url)
        rekeying.rekey(file, database)
        database.close()
        assert_all_verify(url, file, known)
        assert_opens_nothing(url, MASTER_KEY, known)
        assert sorted(path.name for path in folder.glob("master*")) == ["master.key"]


@pytest.mark.needs("postgresql")
def test_killed_at_every_boundary_on_postgresql_too(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = Store("postgresql", lambda: request.getfixturevalue("postgres"))
    with store.cloud(tmp_path) as cloud:
        known, url = provision(cloud.stations, 2), cloud.database.url
        first = cloud.query("SELECT sealed, station_id, key_id FROM station_key")
        # Coverage keeps its figures in SQLite: its statements would be boundaries, too.
        unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        for kill_at in count(1):
            file = key_file(tmp_path)
            for ending in (PREVIOUS, NEXT):
                beside(file, ending).unlink(missing_ok=True)
            with cloud.database.writing() as connection:
                connection.executemany("UPDATE station_key SET sealed = ? WHERE station_id = ? AND key_id = ?", first)
            words = [sys.executable, "-m", "tests.integration.store.rekey_scenes", str(file), url, str(kill_at)]
            status = subprocess.run(words, cwd=REPOSITORY, env=unmeasured, timeout=60).returncode
            assert status in (0, -signal.SIGKILL)
            assert_all_verify(url, file, known)
            other = Database(url)
            rekeying.rekey(file, other)
            other.close()
            assert_all_verify(url, file, known)
            assert_opens_nothing(url, MASTER_KEY, known)
            if status == 0:
                break
        assert kill_at > 20


def beat(cloud: Served, station_id: str, key_id: str, key: bytes) -> int:
    """A signed heartbeat's status; 0 where nothing was answered."""
    headers = (("Host", "cloud"), ("X-Station-Id", station_id), ("X-Key-Id", key_id))
    message = Message("POST /v1/heartbeat HTTP/1.1", headers, json.dumps(BEAT).encode()).signed(key)
    try:
        return cloud.ask("POST", "/v1/heartbeat", message.body, dict(message.headers)).status
    except (OSError, HTTPException):
        return 0


def test_while_gunicorn_serves_no_station_notices(store: Store, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = None if store.kind == "sqlite" else store.server.url(store.server.fresh())
    with Served(tmp_path / "cloud", url, AQUASMART_WORKERS="2") as cloud:
        known = provision(Stations(cloud.database, cloud.master_key), 20)
        signed_in = cloud.ask(
            "POST", "/sign-in", f"token={ADMIN}".encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        )
        cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        assert cloud.ask("GET", "/api/fleet", None, cookie).status == 200
        over, answers = threading.Event(), list[int]()

        def send() -> None:
            while not over.is_set():
                for (station_id, key_id), key in known.items():
                    answers.append(beat(cloud, station_id, key_id, key))

        sender = threading.Thread(target=send)
        sender.start()
        words = [program("aquasmart-cloud"), "rekey", "--json"]
        for _ in range(3):
            done = subprocess.run(words, env=cloud.environment(), capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
        over.set()
        sender.join()
        assert set(answers) == {200}
        assert len(answers) > len(known)
        assert_opens_nothing(cloud.url, cloud.master_key, known)
        assert cloud.ask("GET", "/api/fleet", None, cookie).status == 401, "sessions were signed with the former key"
        assert cloud.person("GET", "/api/fleet").status == 200


@pytest.mark.needs("root")
def test_made_by_root_the_new_key_still_belongs_to_the_cloud_s_user(tmp_path: Path) -> None:
    cloud, file = CloudUnderTest(tmp_path), key_file(tmp_path)
    os.chown(file, 65534, 65534)
    rekeying.rekey(file, cloud.database)
    cloud.close()
    assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (65534, 65534, 0o600)
