"""What the running station shows before an update and on trial: by the real reader and sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aquasmart_station.adapters.rauc import Rauc
from aquasmart_station.adapters.update_files import UpdateFiles
from aquasmart_station.config import Config, load_config
from aquasmart_station.core.errors import StationError
from aquasmart_station.services.proving import evidence_now, prove
from aquasmart_station.services.updating import look_at_station, update_status
from aquasmart_station.wiring.updating import ImageInstaller
from tests.integration.world import World, eventually
from tests.update.bundles import COMPATIBLE, make_bundle, make_keys, system_conf

pytestmark = pytest.mark.e2e
NO_RAUC = Rauc("/nonexistent/rauc")


def files_of(folder: Path, *, words: str = "") -> UpdateFiles:
    image, line = folder / "image.json", folder / "cmdline"
    image.write_text(f'{{"version": "1.4.0", "number": 12, "compatible": "{COMPATIBLE}"}}')
    line.write_text(f"console=ttyS0 {words}\n")
    return UpdateFiles(folder / "update", folder / "run", image, (folder / "gone", line))


def config_of(world: World) -> Config:
    return load_config(world.site.config_path, secrets=False)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    made = make_world()
    made.start("meter:tap-1")
    made.take_baseline("idle")
    return made


def test_the_cloud_out_of_reach_does_not_count_against_an_image(world: World, tmp_path: Path) -> None:
    files, said = files_of(tmp_path), []
    # No cloud was ever started: sync lives, and is offline.
    world.site.start("sync")
    # An ordinary boot marks nothing at the boot loader: RAUC is not even asked.
    assert prove(config_of(world), files, NO_RAUC, say=said.append, hold_ms=1_000)
    assert files.highest_good() == 12
    assert files.marked_good()
    assert said[-1] == "image 1.4.0 (number 12) is good"
    assert (tmp_path / "update/highest-good").stat().st_mode & 0o777 == 0o644, "a technician reads it"
    assert (tmp_path / "update").stat().st_mode & 0o777 == 0o711
    files.record_good(11)
    assert files.highest_good() == 12, "it never falls"


def test_without_sync_an_image_on_trial_is_given_up(world: World, tmp_path: Path) -> None:
    files, said = files_of(tmp_path, words="aquasmart.trial=fallback"), []
    assert not prove(config_of(world), files, NO_RAUC, say=said.append, hold_ms=500, within_ms=2_000)
    assert said[-1] == "on trial and not proved in its time: sync alive"
    assert files.highest_good() == 0
    assert files.on_trial()


def test_a_meter_that_the_former_image_read_must_be_read(world: World, tmp_path: Path) -> None:
    files, said = files_of(tmp_path, words="aquasmart.trial=fallback"), []
    world.site.start("sync")
    files.expect(12, ["tap-1"])
    assert files.expected(12) == {"tap-1"}
    assert files.expected(13) == frozenset(), "of another bundle"
    world.site.stop("meter:tap-1")
    eventually(lambda: not evidence_now(config_of(world)).read, "the reader says that the port is gone")
    assert not prove(config_of(world), files, NO_RAUC, say=said.append, hold_ms=500, within_ms=2_000)
    assert "tap-1 read" in said[-1]


def test_the_number_is_never_kept_before_the_mark(world: World, tmp_path: Path) -> None:
    """Proved, but RAUC does not answer: tried until the time is over. A number alone would refuse the way back."""
    files, said = files_of(tmp_path, words="aquasmart.trial=fallback"), []
    world.site.start("sync")
    eventually(lambda: evidence_now(config_of(world)).sync_alive, "sync is up")
    assert not prove(config_of(world), files, NO_RAUC, say=said.append, hold_ms=500, within_ms=3_000)
    assert "cannot be marked: rauc cannot be run" in said[-1]
    assert not (tmp_path / "update").exists()
    assert not files.marked_good()


def test_what_an_installation_wants_to_know(world: World, tmp_path: Path) -> None:
    files, config = files_of(tmp_path), config_of(world)
    still = look_at_station(config, files)
    assert [(meter.read, meter.flowing) for meter in still.meters] == [(True, False)]
    assert (still.log_fault, still.on_trial, still.highest_good) == ("", False, 0)
    world.with_pattern("steady")
    eventually(lambda: look_at_station(config, files).meters[0].flowing, "the pour is seen")
    world.site.stop("meter:tap-1")
    eventually(lambda: not look_at_station(config, files).meters[0].read, "a port that is gone")
    world.site.stop("reader")
    gone = look_at_station(config, files)
    assert (gone.meters[0].read, gone.log_fault) == (False, "the reader does not run")


@pytest.mark.needs("rauc")
def test_the_agent_notes_which_meters_the_new_image_must_read(world: World, tmp_path: Path) -> None:
    """Before RAUC is asked to write anything: without its service it then says no, and the note is there."""
    keys = make_keys(tmp_path / "keys")
    (tmp_path / "system.conf").write_text(system_conf(bootloader="noop", device_a="/dev/null", device_b="/dev/zero"))
    (tmp_path / "keyring.pem").write_bytes(keys.keyring.read_bytes())
    program = tmp_path / "rauc"
    lines = (
        "#!/bin/sh",
        "export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent",
        f'exec rauc --conf {tmp_path}/system.conf "$@"',
    )
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    config = config_of(world)
    folder = tmp_path / "update"
    agents = replace(config, update=replace(config.update, folder=folder, image_file=tmp_path / "image.json"))
    files_of(tmp_path)
    with pytest.raises(StationError, match="not installed"):
        ImageInstaller(agents, Rauc(str(program))).install(make_bundle(tmp_path, keys, number=13), lambda *_: None)
    files = UpdateFiles(folder, tmp_path / "run", tmp_path / "image.json", ())
    assert (files.expected(13), files.expected(12)) == ({"tap-1"}, frozenset())


def test_the_state_of_updates_without_rauc(tmp_path: Path) -> None:
    said = update_status(files_of(tmp_path, words="aquasmart.trial=last"), None)
    assert (said["boot"], said["on_trial"], said["slots"], said["fell_back"]) == ("last", True, [], None)
