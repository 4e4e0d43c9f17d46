"""The key as a systemd credential, and files of keys that cannot be keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aquasmart_station.adapters.key_files import read_keys, write_key
from aquasmart_station.config import load_config
from aquasmart_station.core.errors import BadConfig, StationError
from aquasmart_station.wiring.keys import keyring_of

CONFIG = """
station_id = "demo-1"
state_dir = "state"
[cloud]
url = "http://127.0.0.1:1"
key_id = "k1"
key_file = "/etc/aquasmart/station.key"
[[meters]]
id = "tap-1"
driver = "pulse"
port = "port"
k_factor = 450
"""


def test_a_credential_takes_the_files_place(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "station.toml"
    path.write_text(CONFIG)
    with pytest.raises(BadConfig, match="key_file"):
        load_config(path)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "station.key").write_text("0a" * 32 + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    ring = keyring_of(load_config(path))
    assert (ring.key_ids, ring.current.key) == (["k1"], bytes([10]) * 32)
    write_key(tmp_path / "state" / "keys", "k2-00000000", bytes(32))
    assert keyring_of(load_config(path)).key_ids == ["k2-00000000", "k1"]


def test_the_newest_key_is_first_whatever_the_clock_says(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    for number in range(12):
        write_key(folder, f"k.{number}", bytes([number]) * 32)
        write_key(folder, f"k.{number}", bytes([number]) * 32)
    assert [key_id for key_id, _ in read_keys(folder)] == [f"k.{number}" for number in range(11, -1, -1)]
    assert all((each.stat().st_mode & 0o777) == 0o600 for each in folder.iterdir())


def test_what_cannot_be_a_key_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert read_keys(folder) == []
    write_key(folder, "k2", bytes(32))
    (folder / "000002.k3.key").write_text("half a k")
    (folder / "000003.k4.part").write_text("00" * 32)
    (folder / "notes.txt").write_text("x")
    assert [key_id for key_id, _ in read_keys(folder)] == ["k2"]
    write_key(folder, "k5", bytes(32))
    assert [key_id for key_id, _ in read_keys(folder)] == ["k5", "k2"]


def test_a_key_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(StationError):
        write_key(tmp_path / "keys", "k2", bytes(32))
