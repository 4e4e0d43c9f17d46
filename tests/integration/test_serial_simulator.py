"""`aquasmart simulate` as a process: the real protocol on a real pseudo-terminal, and a count that is its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import pytest

from aquasmart_station.adapters.serial_port import SerialLine
from aquasmart_station.core.accounting import Account
from aquasmart_station.core.errors import StationError
from aquasmart_station.core.model import Board, Draft, Kind, Reading, Resume
from aquasmart_station.meters.driver import Driver, DriverSettings, make_driver

AQUASMART = str(Path(sys.executable).parent / "aquasmart")
PULSE = DriverSettings("tap-1", "pulse", None, Fraction(450), 1_000_000, None, None, 1)
TUF = DriverSettings("tap-1", "modbus", None, None, 1_000_000, None, "tuf2000", 1)


class Meter:
    """The process, its port, and its own count."""

    def __init__(self, folder: Path) -> None:
        self.link, self.count_file = folder / "tap-1", folder / "meter" / "tap-1.count"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [AQUASMART, "simulate", "--link", str(self.link), "--count-file", str(self.count_file), *arguments],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert b"simulated" in self.process.stdout.readline()

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return status

    def counts(self) -> tuple[int, int, int]:
        counts, lifetime, boots = (int(word) for word in self.count_file.read_text().split())
        return counts, lifetime, boots


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    made = Meter(tmp_path)
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


def ask(port: SerialLine, driver: Driver) -> Reading:
    """One reading, as often as the meter must be asked for it on a busy machine."""
    for _ in range(20):
        try:
            return port.exchange(driver.request(), driver)
        except StationError:
            if not port.is_open:
                raise
    raise AssertionError("no answer in twenty polls")


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (PULSE, ("--pattern", "steady", "--flow-l-min", "30")),
        (TUF, ("--driver", "modbus", "--pattern", "steady", "--flow-l-min", "30", "--identity", "4711")),
    ],
)
def test_every_answer_is_the_meters_own_count(
    meter: Meter, settings: DriverSettings, arguments: tuple[str, ...]
) -> None:
    meter.start("--start-counts", "1000000", *arguments)
    driver = make_driver(settings)
    port = SerialLine(meter.link, driver.line)
    port.open()
    seen = []
    for _ in range(10):
        reading = ask(port, driver)
        assert meter.counts() == (reading.forward_counts, reading.forward_counts, 1)
        seen.append(reading.forward_counts)
        time.sleep(0.02)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] >= 1_000_000
    assert reading.identity == (None if settings is PULSE else "00004711")
    port.close()
    assert meter.end(signal.SIGTERM) == 0
    assert not meter.link.is_symlink()


def test_readers_come_and_go_and_take_nothing_stale_with_them(meter: Meter) -> None:
    meter.start("--pattern", "steady")
    for _ in range(5):
        descriptor = os.open(meter.link, os.O_RDWR | os.O_NOCTTY)
        os.write(descriptor, b"?\n?\n?\n")  # a reader killed with answers under way
        os.close(descriptor)
        time.sleep(0.05)
        driver = make_driver(PULSE)
        port = SerialLine(meter.link, driver.line)
        port.open()
        reading = ask(port, driver)
        assert reading.forward_counts == meter.counts()[0]
        port.close()


def test_a_meter_that_nobody_reads_is_not_held_up(meter: Meter) -> None:
    meter.start("--pattern", "idle", "--start-counts", "7")
    descriptor = os.open(meter.link, os.O_RDWR | os.O_NOCTTY)
    for _ in range(500):
        os.write(descriptor, b"?\n")
        time.sleep(0.0005)
    os.close(descriptor)
    driver = make_driver(PULSE)
    port = SerialLine(meter.link, driver.line)
    port.open()
    assert ask(port, driver).forward_counts == 7
    port.close()
    assert meter.end(signal.SIGINT) == 0


def test_a_killed_nonvolatile_meter_goes_on_where_its_last_answer_was(meter: Meter) -> None:
    meter.start("--start-counts", "1000000", "--pattern", "steady")
    driver = make_driver(PULSE)
    port = SerialLine(meter.link, driver.line)
    boots = set()
    counts = 1_000_000
    for restart in range(3):
        port.open()
        for _ in range(3):
            reading = ask(port, driver)
            assert reading.forward_counts >= counts
            assert reading.nonvolatile
            counts = reading.forward_counts
        boots.add(reading.boot_id)
        assert meter.counts() == (counts, counts, restart + 1)
        meter.end(signal.SIGKILL)
        assert meter.link.is_symlink(), "killed, it cannot tidy up; the next start does"
        meter.start("--start-counts", "5", "--pattern", "steady")
    assert len(boots) == 3


def test_a_volatile_meter_begins_at_zero_and_its_lifetime_goes_on(meter: Meter) -> None:
    meter.start("--volatile", "--pattern", "steady", "--flow-l-min", "60")
    driver = make_driver(PULSE)
    port = SerialLine(meter.link, driver.line)
    port.open()
    time.sleep(0.3)
    first = ask(port, driver)
    assert first.nonvolatile is False
    assert first.forward_counts > 0
    meter.end(signal.SIGTERM)
    meter.start("--volatile", "--pattern", "idle")
    port.open()
    second = ask(port, driver)
    assert second.forward_counts == 0
    assert second.boot_id != first.boot_id
    assert meter.counts() == (0, first.forward_counts, 2)
    port.close()


def test_a_jump_moves_the_register_and_never_the_lifetime(meter: Meter) -> None:
    for jump, register in (("500", 1_500), ("-1600", 999_900), ("0", 999_900)):
        meter.start("--start-counts", "1000", "--modulus", "1000000", "--pattern", "idle", "--jump", jump)
        assert meter.counts()[:2] == (register, 1_000)
        meter.end(signal.SIGTERM)


@pytest.mark.parametrize("modulus", ["4294967296", "65536"])
def test_the_register_wraps(meter: Meter, modulus: str) -> None:
    start = int(modulus) - 20
    meter.start("--start-counts", str(start), "--modulus", modulus, "--pattern", "steady", "--flow-l-min", "60")
    driver = make_driver(PULSE)
    port = SerialLine(meter.link, driver.line)
    port.open()
    deadline = time.monotonic() + 10
    while ask(port, driver).forward_counts >= start:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    counts, lifetime, _ = meter.counts()
    assert lifetime == int(modulus) + counts
    port.close()


def test_the_books_are_exact_through_kills_of_the_meter_and_of_the_reader(meter: Meter) -> None:
    """Driver, line and accounting together, against the file that they never read."""
    arguments = ("--start-counts", str((1 << 32) - 100), "--pattern", "steady", "--flow-l-min", "55")
    meter.start(*arguments)
    log: list[Draft] = []
    for round_ in range(6):
        driver = make_driver(PULSE)
        last = log[-1] if log else None
        account = Account(
            board=Board("station-1", "boot", "hw", "0"),
            meter_id="tap-1",
            traits=driver.traits,
            resume=Resume(last.stream, last.counts, last.at_ms, last.mono_ms) if last else None,
            new_id=uuid4,
            clock="ntp",
        )
        port = SerialLine(meter.link, driver.line)
        port.open()
        ring: list[Draft] = []
        for _ in range(5):
            ring += account.take(ask(port, driver))
            time.sleep(0.03)
        log += ring[: -2 if round_ < 5 else None]  # the reader is killed with two rows not yet on disk
        port.close()
        if round_ % 2:
            meter.end(signal.SIGKILL)
            meter.start(*arguments)
    assert Kind.ROLLOVER in {row.kind for row in log}
    assert log[-1].counts - log[0].stream.epoch_from == account.view.counts - log[0].stream.epoch_from
    assert len({row.stream.epoch for row in log}) == 1
    # The last kill took the meter after its last answer; what it has kept is what was answered.
    _, lifetime, boots = meter.counts()
    assert (log[-1].counts, boots) == (lifetime, 4)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("--identity", "1"), 2, "no serial number"),
        (("--driver", "modbus", "--identity", "abc"), 2, "decimal digits"),
        (("--k-factor", "many"), 2, "no number of pulses"),
        (("--k-factor", "0"), 2, "above 0"),
        (("--k-factor", "1/0"), 2, "no number of pulses"),
    ],
)
def test_wrong_use_is_explained(meter: Meter, arguments: tuple[str, ...], status: int, text: str) -> None:
    done = _run("simulate", "--link", str(meter.link), "--count-file", str(meter.count_file), *arguments)
    assert done.returncode == status
    assert text in done.stderr
    assert not meter.link.is_symlink()


def test_a_file_that_is_no_count_file_is_left_alone(meter: Meter) -> None:
    meter.count_file.parent.mkdir()
    meter.count_file.write_text("my diary\n")
    done = _run("simulate", "--link", str(meter.link), "--count-file", str(meter.count_file))
    assert done.returncode == 1
    assert "not a meter's count file" in done.stderr
    assert meter.count_file.read_text() == "my diary\n"


# aquasmart meter probe


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([AQUASMART, *arguments], capture_output=True, text=True, timeout=60)


def _probe(meter: Meter, *arguments: str) -> tuple[int, dict]:
    done = _run("meter", "probe", "--port", str(meter.link), "--json", *arguments)
    return done.returncode, json.loads(done.stdout)["meters"][0]


def _patiently(attempt: Callable[[], tuple[int, dict]]) -> dict:
    """A busy machine may lose one poll of three; a meter that is well is found so at the third attempt."""
    for _ in range(3):
        status, found = attempt()
        if status == 0:
            break
    assert status == 0, found
    return found


def test_a_probe_says_what_it_found(meter: Meter) -> None:
    meter.start("--driver", "modbus", "--start-counts", "3123456", "--pattern", "idle", "--identity", "4711")
    found = _patiently(lambda: _probe(meter, "--driver", "modbus", "--profile", "tuf2000", "--polls", "3"))
    assert (found["identity"], found["counts"], found["flow_ul_s"]) == ("00004711", 3_123_456, 0)
    assert (found["ok"], found["answered"], found["problems"], found["notes"]) == (True, 3, [], [])
    assert 0 < found["rtt_us"] <= found["rtt_max_us"]


def test_a_probe_of_a_volatile_meter_without_a_serial_number_notes_both(meter: Meter) -> None:
    meter.start("--volatile", "--pattern", "idle")
    found = _patiently(lambda: _probe(meter, "--polls", "2"))
    assert found["nonvolatile"] is False
    assert len(found["notes"]) == 2
    done = _run("meter", "probe", "--port", str(meter.link))
    assert "lost at power cuts" in done.stdout
    assert "note" in done.stdout


def test_a_probe_with_the_wrong_driver_says_what_may_be_wrong(meter: Meter) -> None:
    meter.start("--driver", "modbus")
    status, found = _probe(meter, "--polls", "2")
    assert status == 1
    assert (found["ok"], found["answered"], found["polls"]) == (False, 0, 2)
    assert "do baud and address match" in found["problems"][0]
    assert "2 of 2 polls" in found["problems"][0]


def test_a_probe_of_a_port_that_is_not_there(meter: Meter) -> None:
    done = _run("meter", "probe", "--port", str(meter.link))
    assert done.returncode == 1
    assert "NOT OK" in done.stdout
    assert "plugged in" in done.stdout


def test_a_probe_of_a_port_in_use_says_so(meter: Meter) -> None:
    meter.start()
    driver = make_driver(PULSE)
    port = SerialLine(meter.link, driver.line)
    port.open()
    status, found = _probe(meter)
    port.close()
    assert status == 1
    assert "no other program use the port" in found["problems"][0]


def test_a_probe_without_a_port_takes_the_configurations_meters(meter: Meter, tmp_path: Path) -> None:
    meter.start("--pattern", "idle", "--start-counts", "12")
    (tmp_path / "station.key").write_text("0b" * 32 + "\n")
    (tmp_path / "station.key").chmod(0o600)
    config = tmp_path / "station.toml"
    config.write_text(
        'station_id = "demo-1"\nstate_dir = "station"\nruntime_dir = "run"\n'
        '[cloud]\nurl = "http://127.0.0.1:1"\nkey_id = "k1"\nkey_file = "station.key"\n'
        '[[meters]]\nid = "tap-1"\ndriver = "pulse"\nport = "tap-1"\nk_factor = "450"\nqmax_l_min = 60\n'
    )

    def attempt() -> tuple[int, dict]:
        done = _run("--config", str(config), "meter", "probe", "tap-1", "--json", "--polls", "2")
        return done.returncode, json.loads(done.stdout)["meters"][0]

    assert _patiently(attempt)["counts"] == 12
    done = _run("--config", str(config), "meter", "probe", "tap-9")
    assert done.returncode == 2
    assert "the configuration has tap-1" in done.stderr


def test_a_probe_with_wrong_options_explains_them(meter: Meter) -> None:
    done = _run("meter", "probe", "--port", str(meter.link), "--driver", "modbus", "--profile", "nix")
    assert done.returncode == 2
    assert "one of the profiles tuf2000" in done.stderr


def test_a_sweep_finds_the_address_of_an_unknown_meter(meter: Meter) -> None:
    meter.start("--driver", "modbus", "--identity", "12345678", "--slave", "5")
    done = _run(
        "meter", "probe", "--sweep", "--port", str(meter.link), "--slaves", "4-6", "--driver", "modbus", "--json"
    )
    found = json.loads(done.stdout)
    assert (found["found"].partition(" at ")[0], found["found"][-9:]) == ("modbus tuf2000", "address 5")
    assert found["meter"]["identity"] == "12345678"


def test_a_sweep_that_finds_nothing_says_what_to_look_at(meter: Meter) -> None:
    meter.start("--driver", "modbus", "--slave", "9")
    done = _run("meter", "probe", "--sweep", "--port", str(meter.link), "--driver", "pulse")
    assert done.returncode == 1
    assert "1 of 2: pulse bridge at 115200" in done.stderr
    assert "tried 2 ways" in done.stdout
    assert _run("meter", "probe", "--sweep", "--port", str(meter.link), "--slaves", "0-3").returncode == 2
    missing = _run("meter", "probe", "--sweep", "--port", str(meter.link) + "-not")
    assert (missing.returncode, "cannot open" in missing.stderr) == (1, True)
