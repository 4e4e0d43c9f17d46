"""`aquasmart bundle`: grepped for every secret of the machine, wherever it might hide; bounded; told to the cloud."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_station.config import load_config
from aquasmart_station.services import bundling
from demo.site import program
from tests.integration.operations.telling import await_state, heard_by_cloud, operation
from tests.integration.world import World

pytestmark = pytest.mark.e2e
ROTATED, PSK, BOOT = "1d" * 32, "correct horse battery", "0f" * 32


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow(5)
    return world


def archive_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        found = {}
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.partition("/")[2]] = file.read()
        return found


def test_an_archive_holds_what_helps_and_no_secret(world: World, tmp_path: Path) -> None:
    """The key also where nobody would put it: in a note, in the configuration's comments, in upper case."""
    key = world.key().hex()
    keys = world.site.root / "station" / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    (keys / "000001.k9.key").write_text(ROTATED + "\n")
    (keys / "000001.k9.key").chmod(0o600)
    world.site.station(
        "operations", "add", "service_visit", "technician=Ada", f"note=key is {key} or {ROTATED.upper()}"
    )
    config = world.site.config_path
    config.write_text(f"# {key}\n" + config.read_text())
    done = json.loads(world.site.station("bundle", str(tmp_path), "--send", "--json"))
    path = Path(done["file"])
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, done["bytes"])
    found = archive_of(path)
    assert {"about.json", "status.json", "doctor.json", "station.toml", "events.jsonl", "operations.jsonl"} <= set(
        found
    )
    assert json.loads(found["status.json"])["station_id"] == "demo-1"
    assert found["events.jsonl"].count(b"\n") >= 5
    await_state(world, done["operation"], "done")
    told = json.dumps(operation(world, done["operation"])).encode()
    assert b"[secret removed]" in found["station.toml"]
    for form in (*(each(text).encode() for text in (key, ROTATED) for each in (str.lower, str.upper)), world.key()):
        assert not [name for name, data in found.items() if form in data]
        assert form not in told
    assert [each["type"] for each in heard_by_cloud(world)].count("diagnostics_bundle") == 1


def test_every_part_is_bounded_and_ends_with_the_latest(world: World) -> None:
    config = load_config(world.site.config_path)
    made = bundling.parts(config, part_bytes=2_000)
    assert all(len(text.encode()) <= 2_100 for text in made.values())
    whole = bundling.parts(config)["events.jsonl"]
    cut = bundling.parts(config, part_bytes=600)["events.jsonl"]
    assert cut.startswith("[")
    assert "left out" in cut
    assert json.loads(cut.splitlines()[-1])[1] >= json.loads(whole.splitlines()[-1])[1]


def test_secrets_of_network_files_are_known(world: World, tmp_path: Path) -> None:
    (tmp_path / "aquasmart-wifi.nmconnection").write_text(f"[wifi-security]\npsk={PSK}\n")
    found = bundling.secrets_of(load_config(world.site.config_path), tmp_path)
    assert PSK in found
    assert world.key().hex() in found
    assert bundling._blackened(f"a {PSK} b", found) == "a [secret removed] b"


def test_a_station_that_is_broken_still_gives_a_bundle(world: World, tmp_path: Path) -> None:
    world.site.stop("reader")
    world.site.stop("sync")
    (world.site.root / "station" / "log.db").write_bytes(b"no database at all" * 100)
    for name in ("log.db-wal", "log.db-shm"):
        (world.site.root / "station" / name).unlink(missing_ok=True)
    done = json.loads(world.site.station("bundle", str(tmp_path / "b.tar.gz"), "--json"))
    found = archive_of(Path(done["file"]))
    assert b"could not be had" in found["events.jsonl"]
    assert "log" in found["doctor.json"].decode()


def test_where_it_cannot_be_written_it_says_so(world: World) -> None:
    command = [program("aquasmart"), "--config", str(world.site.config_path), "bundle", "/proc/nowhere/b.tar.gz"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert (done.returncode, "cannot be written" in done.stderr) == (1, True)
