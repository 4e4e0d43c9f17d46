"""A configuration that cannot be used: one message naming every fault, exit status 78, nothing half-started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from demo.site import program

EX_CONFIG = 78
KEY = "a1" * 32

GOOD = """
station_id = "demo-1"
state_dir = "station"
runtime_dir = "run"
[cloud]
url = "http://127.0.0.1:9"
key_id = "k1"
key_file = "station.key"
[[meters]]
id = "tap-1"
driver = "pulse"
port = "run/tap-1"
k_factor = "450"
"""

FAULTS = {
    "an unknown key": (GOOD.replace("[cloud]", "[cloud]\nlinger = 2"), ["cloud.linger"]),
    "an unknown key at the top": ("colour = 1\n" + GOOD, ["colour"]),
    "an unknown table": (GOOD + "[panel]\nport = 80\n", ["panel"]),
    "a missing port": (GOOD.replace('port = "run/tap-1"\n', ""), ["port", "missing"]),
    "no cloud address": (GOOD.replace('url = "http://127.0.0.1:9"\n', ""), ["cloud.url"]),
    "an address that is none": (GOOD.replace("http://127.0.0.1:9", "cloud.example"), ["cloud.url"]),
    "no meters": (GOOD.partition("[[meters]]")[0], ["meters"]),
    "a station id in capitals": (GOOD.replace('"demo-1"', '"Demo 1"'), ["station_id"]),
    "an unknown driver": (GOOD.replace('"pulse"', '"hourglass"'), ["driver", "hourglass"]),
    "a K-factor of zero": (GOOD.replace('"450"', '"0"'), ["k_factor"]),
    "a K-factor in words": (GOOD.replace('"450"', '"many"'), ["k_factor"]),
    "text for a number": (GOOD + '[reader]\npoll_hz = "ten"\n', ["reader.poll_hz"]),
    "a number out of range": (GOOD + "[sync]\nbatch_rows_max = 10001\n", ["sync.batch_rows_max"]),
    "one tap twice": (GOOD + GOOD[GOOD.index("[[meters]]") :], ["tap-1", "twice"]),
    "no TOML": ("station_id = demo\n", ["TOML"]),
    "an empty file": ("", ["station_id", "cloud", "meters"]),
}


def _run(folder: Path, text: str | None, command: str = "reader") -> subprocess.CompletedProcess[str]:
    config = folder / "station.toml"
    if text is not None:
        config.write_text(text)
    return subprocess.run(
        [program("aquasmart"), "--config", str(config), command], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key_file = tmp_path / "station.key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    return tmp_path


def _assert_refused(done: subprocess.CompletedProcess[str], folder: Path, words: list[str]) -> None:
    assert done.returncode == EX_CONFIG, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr + done.stdout
    assert not (folder / "station").exists()
    assert not (folder / "run").exists()


@pytest.mark.e2e
@pytest.mark.parametrize(("text", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_nothing_starts(folder: Path, text: str, words: list[str]) -> None:
    _assert_refused(_run(folder, text), folder, words)


@pytest.mark.e2e
@pytest.mark.parametrize("command", ["reader", "sync", "status", "tail"])
def test_every_fault_at_once_in_one_message(folder: Path, command: str) -> None:
    (folder / "station.key").chmod(0o644)
    broken = GOOD.replace('port = "run/tap-1"\n', "").replace('"demo-1"', '"DEMO"').replace('"450"', '"-1"')
    broken = broken.replace("[cloud]", "[cloud]\nuser = 1").replace('"http://127.0.0.1:9"', '""')
    done = _run(folder, "colour = 1\n" + broken, command)
    words = ["colour", "station_id", "cloud.user", "cloud.url", "port", "k_factor", "faults in"]
    # Only who speaks with the cloud opens its key.
    words += ["key_file"] if command == "sync" else []
    _assert_refused(done, folder, words)
    assert "Nothing was started" in done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        (None, 0, "cannot be read"),
        (KEY, 0o644, "read by others"),
        (KEY, 0o640, "read by others"),
        (KEY[:-1], 0o600, "64"),
        (KEY + "00", 0o600, "64"),
        ("z" * 64, 0o600, "64"),
        ("", 0o600, "64"),
        ("ключ", 0o600, "64"),
    ],
    ids=["missing", "world-readable", "group-readable", "63-digits", "66-digits", "no-hex", "empty", "no-ascii"],
)
def test_a_key_file_that_cannot_be_used(folder: Path, content: str | None, mode: int, word: str) -> None:
    key_file = folder / "station.key"
    key_file.unlink()
    if content is not None:
        key_file.write_text(content)
        key_file.chmod(mode)
    # The reader needs no key, and counts without one.
    _assert_refused(_run(folder, GOOD, "sync"), folder, ["key_file", word])


@pytest.mark.e2e
def test_an_unreadable_key_file(folder: Path) -> None:
    # A folder in its place cannot be read by anyone, root included.
    (folder / "station.key").unlink()
    (folder / "station.key").mkdir(mode=0o700)
    _assert_refused(_run(folder, GOOD, "sync"), folder, ["key_file", "cannot be read"])


@pytest.mark.e2e
def test_no_file_at_all(folder: Path) -> None:
    _assert_refused(_run(folder, None), folder, ["station.toml", "does not exist"])


def _cloud(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AQUASMART_")}
    command = [program("gunicorn"), "--bind", "127.0.0.1:0", "--check-config", "aquasmart_cloud:create_app()"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=kept | environment)


@pytest.mark.e2e
def test_the_cloud_names_every_fault_too(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text("0" * 64)
    (tmp_path / "admin.token").write_text("changeme")
    for name in ("master.key", "admin.token"):
        (tmp_path / name).chmod(0o644)
    done = _cloud(
        {
            "AQUASMART_MASTER_KEY_FILE": str(tmp_path / "master.key"),
            "AQUASMART_DATABASE_URL": "mysql://nowhere/x",
            "AQUASMART_BIND": "here",
        }
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    names = ("master key", "admin token", "AQUASMART_DATABASE_URL", "AQUASMART_BIND")
    for word in (*names, "readable by others", "default"):
        assert word in said
    assert not (tmp_path / "cloud.db").exists()


@pytest.mark.e2e
def test_the_cloud_does_not_start_without_a_secret(tmp_path: Path) -> None:
    done = subprocess.run(
        [program("aquasmart-cloud"), "db", "upgrade"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "AQUASMART_MASTER_KEY_FILE": str(tmp_path / "none.key")},
    )
    assert done.returncode == EX_CONFIG
    assert "init" in done.stderr
    assert list(tmp_path.iterdir()) == []
