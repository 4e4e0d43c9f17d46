"""Where the command begins: the services start without the command line's machinery, and fail as it would."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from aquasmart_station.adapters import clock
from aquasmart_station.cli.conventions import DEFAULT_CONFIG
from aquasmart_station.cli.entry import plain_service

HEAVY = {"click", "_hashlib", "ssl", "_ssl", "urllib3", "rich", "email.utils", "logging", "asyncio"}


def test_a_reader_carries_nothing_that_only_others_need() -> None:
    def imported(what: str) -> set[str]:
        code = f"import sys{what}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return {*done.stdout.split()}

    # Beside what the interpreter has anyway: measuring coverage brings some of it into every process.
    ours = imported(", aquasmart_station.cli.entry, aquasmart_station.wiring.reading") - imported("")
    assert HEAVY & ours == set()


def test_the_boards_identity_is_what_hashlib_makes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = tmp_path / "serial"
    serial.write_bytes(b"100000001234abcd\0")
    monkeypatch.setattr(clock, "_SERIALS", (tmp_path / "none", serial))
    assert clock.hardware_id() == hashlib.sha256(b"aquasmart-hardware:100000001234abcd").hexdigest()[:32]


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["reader"], {}, ("reader", DEFAULT_CONFIG)),
        (["--config", "a.toml", "sync"], {}, ("sync", Path("a.toml"))),
        (["--config=a.toml", "sync"], {"AQUASMART_CONFIG": "b.toml"}, ("sync", Path("a.toml"))),
        (["reader"], {"AQUASMART_CONFIG": "b.toml"}, ("reader", Path("b.toml"))),
        (["reader", "--help"], {}, None),
        (["--help", "reader"], {}, None),
        (["--config", "reader"], {}, None),
        (["--config", "a.toml"], {}, None),
        (["--config", "", "reader"], {}, None),
        (["status"], {}, None),
        ([], {}, None),
    ],
)
def test_only_the_plain_form_is_taken(
    words: list[str], environment: dict[str, str], expected: tuple[str, Path] | None
) -> None:
    assert plain_service(words, environment) == expected


@pytest.mark.parametrize("words", [["reader"], ["sync"], ["status"], ["nonsense"], ["--version"]])
def test_both_ways_in_end_alike(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("station_id = 7\n")
    ended = []
    for name in ("entry", "main"):
        code = f"from aquasmart_station.cli.{name} import main; main()"
        command = [sys.executable, "-c", code, "--config", str(tmp_path / "bad.toml"), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        ended.append((done.returncode, done.stdout, done.stderr))
    assert ended[0] == ended[1]
    assert ended[0][0] == {"nonsense": 2, "--version": 0}.get(words[0], 78)
