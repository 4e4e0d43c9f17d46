"""Who may sign in, by `aquasmart provision`: the PIN's hash and the keys, whole or again, and no PIN left behind."""

from __future__ import annotations

import json
from pathlib import Path

from aquasmart_station.core.pin import matches
from tests.integration.station.test_provision import command
from tests.unit.station.test_technician_access import FILE, KEY

PIN = "271828"
METER = '\n[[meters]]\nid = "tap-1"\ndriver = "pulse"\nport = "/dev/null"\nk_factor = 450\n'


def provisioned(folder: Path, text: str = FILE + METER) -> dict[str, object]:
    (folder / "aquasmart.toml").write_text(text)
    done = command(folder, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_it_keeps_a_hash_and_the_keys(tmp_path: Path) -> None:
    said = provisioned(tmp_path)
    kept = tmp_path / "etc/panel.pin"
    assert matches(PIN, kept.read_text())
    assert PIN not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc/technician.keys").read_text() == f"{KEY}\n"
    assert said["secrets_wiped"] == 2
    assert PIN not in (tmp_path / "aquasmart.toml").read_text()


def test_again_with_stars_or_with_the_same_pin_changes_nothing(tmp_path: Path) -> None:
    provisioned(tmp_path)
    before = (tmp_path / "etc/panel.pin").read_bytes()
    again = command(tmp_path, "--json")
    assert json.loads(again.stdout)["changed"] == []
    # As after a cut before the wiping: the PIN still stands there.
    assert provisioned(tmp_path)["changed"] == []
    assert (tmp_path / "etc/panel.pin").read_bytes() == before


def test_another_pin_and_no_keys_any_more(tmp_path: Path) -> None:
    provisioned(tmp_path)
    provisioned(tmp_path, (FILE + METER).replace(PIN, "314159").replace(f'["{KEY}"]', "[]"))
    assert matches("314159", (tmp_path / "etc/panel.pin").read_text())
    assert (tmp_path / "etc/technician.keys").read_text() == ""


def test_a_file_that_does_not_speak_of_access_leaves_it(tmp_path: Path) -> None:
    provisioned(tmp_path)
    head = FILE[: FILE.index("[access]")]
    assert provisioned(tmp_path, head + METER)["changed"] == []
    assert matches(PIN, (tmp_path / "etc/panel.pin").read_text())


def test_stars_without_a_pin_here_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "aquasmart.toml").write_text((FILE + METER).replace(PIN, "******"))
    done = command(tmp_path, "--json")
    assert done.returncode == 78
    assert json.loads(done.stdout)["faults"] == ["access.pin: was moved before, but is not here: put it in again"]
    assert not (tmp_path / "etc/station.toml").exists()
