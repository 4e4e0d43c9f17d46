"""Keys that follow each other: offered, derived on both sides, used, and never a lock-out, wherever the power goes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aquasmart_cloud.store.operations import CLAIM_MS
from tests.integration.operations import rotation_scenes
from tests.integration.operations.rotation_scenes import STATION, Pair
from tests.integration.world import World, eventually

pytestmark = pytest.mark.timeout(280)


def rotate(world: World) -> str:
    return str(json.loads(world.site.cloud("station", "rotate", world.site.station_id, "--json"))["key_id"])


def last_key(world: World) -> str:
    """What the newest request past the relay was signed with."""
    answered = [each for each in world.relay.exchanges if each.status == 200]
    return answered[-1].headers["x-key-id"] if answered else ""


def confirmed(world: World) -> list[bool]:
    return [
        row[0] is not None for row in world.cloud.query("SELECT confirmed_at FROM key_rotation ORDER BY offered_at")
    ]


@pytest.mark.e2e
def test_a_new_key_is_agreed_used_and_kept_and_no_key_travels(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.start()
    world.await_flow()
    new = rotate(world)
    eventually(lambda: confirmed(world) == [True], "the new key used")
    eventually(lambda: last_key(world) == new, "signed with the new key")
    [file] = (world.site.root / "station" / "keys").glob("*.key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = file.read_text().strip().encode()
    assert not any(key in each.request or key in each.answer for each in world.relay.exchanges)
    # The former one stays valid on both sides, and a restart begins with the new one.
    world.site.stop("sync")
    seen = len(world.relay.exchanges)
    world.site.start("sync")
    eventually(lambda: len(world.relay.exchanges) > seen, "a request after the restart")
    assert world.relay.exchanges[seen].headers["x-key-id"] == new
    again = rotate(world)
    eventually(lambda: confirmed(world) == [True, True], "and once more")
    eventually(lambda: last_key(world) == again, "signed with the newest key")
    world.settle()


@pytest.mark.e2e
def test_a_cloud_restored_to_before_it_is_answered_with_the_former_key(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.start()
    world.await_flow()
    folder = world.site.root / "cloud"
    world.site.stop("cloud")
    shutil.copytree(folder, world.site.root / "backup")
    world.site.start("cloud")
    new = rotate(world)
    eventually(lambda: confirmed(world) == [True], "the new key used")
    world.site.stop("cloud")
    shutil.rmtree(folder)
    shutil.copytree(world.site.root / "backup", folder)
    world.site.start("cloud")
    eventually(lambda: last_key(world) not in ("", new), "signed with the former key")
    newer = rotate(world)
    assert newer != new
    eventually(lambda: last_key(world) == newer, "and rotated anew")
    world.settle()
    assert world.cloud.differences() == {}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses nothing that it gave to the kernel."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as found:
        yield Path(found)


def assert_it_works(folder: Path) -> str:
    """Whatever happened before: a request is verified, the rotation ends, both sides have the same newest key."""
    pair = Pair(folder, ahead_ms=CLAIM_MS)
    try:
        pair.turn()
        assert pair.keys.current.key_id != "k1"
        with pair.database.reading() as connection:
            [(confirmed_at,)] = connection.execute("SELECT confirmed_at FROM key_rotation").fetchall()
        assert confirmed_at is not None
        found = pair.stations.find_key(STATION, pair.keys.current.key_id)
        assert found is not None
        assert found.key == pair.keys.current.key
        assert pair.keys.other is not None
        return pair.keys.current.key.hex()
    finally:
        pair.close()


def test_killed_at_every_step_on_either_side_it_ends_with_a_working_key(folder: Path) -> None:
    prepared, target = folder / "prepared", folder / "killed"
    prepared.mkdir()
    target.mkdir()
    rotation_scenes.provisioned(str(prepared))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.boundaries", "tests.integration.operations.rotation_scenes:rotate",
         str(prepared), str(target)],
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    boundaries = int(done.stdout)
    assert boundaries > 60
    print(f"{boundaries} boundaries")
    for number in range(1, boundaries + 2):
        assert_it_works(target / str(number))


def test_a_cloud_that_forgot_offers_again_and_gets_the_same_key(folder: Path) -> None:
    rotation_scenes.provisioned(str(folder))
    before = (folder / "cloud.db").read_bytes()
    rotation_scenes.rotate(str(folder))
    key = assert_it_works(folder)
    for end in ("-wal", "-shm"):
        (folder / f"cloud.db{end}").unlink(missing_ok=True)
    (folder / "cloud.db").write_bytes(before)
    assert assert_it_works(folder) == key


def _roll_back_the_card(folder: Path, ops_before: bytes) -> None:
    shutil.rmtree(folder / "keys")
    for end in ("-wal", "-shm"):
        (folder / f"ops.db{end}").unlink(missing_ok=True)
    (folder / "ops.db").write_bytes(ops_before)


def test_a_card_rolled_back_in_between_derives_what_the_cloud_has(folder: Path) -> None:
    rotation_scenes.provisioned(str(folder))
    before = (folder / "ops.db").read_bytes()
    pair = Pair(folder)
    pair.fetch()
    pair.lane.step()
    key = pair.keys.current.key.hex()
    pair.close()
    assert pair.keys.current.key_id != "k1"
    # Its own nonce is gone, and it makes another: the cloud has kept the first one and says so.
    _roll_back_the_card(folder, before)
    assert assert_it_works(folder) == key


def test_a_card_rolled_back_afterwards_goes_on_with_the_former_key(folder: Path) -> None:
    rotation_scenes.provisioned(str(folder))
    before = (folder / "ops.db").read_bytes()
    rotation_scenes.rotate(str(folder))
    _roll_back_the_card(folder, before)
    pair = Pair(folder)
    pair.turn()
    assert pair.keys.key_ids == ["k1"]
    pair.close()
