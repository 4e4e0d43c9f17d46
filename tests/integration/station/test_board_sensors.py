"""The board's sensors over a real tree of files, as the kernels of a Raspberry Pi and a BeagleBone show them."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from aquasmart_station.adapters import clock
from aquasmart_station.adapters.board_sensors import BoardSensors, find_vcgencmd
from aquasmart_station.core.diagnosis import BoardFigures

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


class NtpClock:
    def mono_ns(self) -> int:
        return 0

    def wall_ns(self) -> int:
        return 0

    def quality(self) -> str:
        return "ntp"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def look(root: Path, state_dir: Path | None = None) -> BoardFigures:
    return BoardSensors(NtpClock(), state_dir or root / "missing", root).look()


def test_a_raspberry_pi(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            THROTTLED: "50005\n",
            "sys/class/thermal/thermal_zone0/temp": "61234\n",
            "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
            "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
            "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
            "proc/meminfo": "MemTotal:  948308 kB\nMemFree:  70000 kB\nMemAvailable:     512340 kB\nBuffers: 1 kB\n",
        },
    )
    assert look(tmp_path) == BoardFigures(
        clock="ntp",
        throttled=0x50005,
        supply_alarm=True,
        temperature_mc=61_234,
        memory_available_bytes=512_340 * 1024,
    )


def test_a_beaglebone_with_a_voltage_monitor_and_two_zones(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/temp": "40000\n",
            "sys/class/thermal/thermal_zone1/temp": "45000\n",
            "sys/class/hwmon/hwmon0/name": "ina219\n",
            "sys/class/hwmon/hwmon0/in0_input": "3\n",
            "sys/class/hwmon/hwmon0/in1_input": "5087\n",
        },
    )
    assert look(tmp_path) == BoardFigures(clock="ntp", supply_mv=5_087, temperature_mc=45_000)


def test_a_monitor_that_only_labels_its_supply(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon3"
    write(
        tmp_path,
        {
            f"{chip}/name": "some_pmic\n",
            f"{chip}/in1_label": "VSYS\n",
            f"{chip}/in1_input": "3300\n",
            f"{chip}/in2_label": "VIN\n",
            f"{chip}/in2_input": "11980\n",
        },
    )
    assert look(tmp_path).supply_mv == 11_980


@pytest.mark.parametrize("text", ["", "hot\n", "1.5\n", "\xff\xff"])
def test_what_cannot_be_read_is_no_figure_and_no_fault(tmp_path: Path, text: str) -> None:
    write(
        tmp_path,
        {
            THROTTLED: text,
            "sys/class/thermal/thermal_zone0/temp": text,
            "sys/class/hwmon/hwmon0/name": "rpi_volt\n",
            "sys/class/hwmon/hwmon0/in0_lcrit_alarm": text,
            "proc/meminfo": text,
        },
    )
    (tmp_path / "sys/class/thermal/thermal_zone1").mkdir()
    (tmp_path / "sys/class/thermal/thermal_zone1/temp").mkdir()
    assert look(tmp_path) == BoardFigures(clock="ntp")


def test_an_empty_board_has_a_clock(tmp_path: Path) -> None:
    assert look(tmp_path) == BoardFigures(clock="ntp")


def test_the_partition_of_the_state_folder(tmp_path: Path) -> None:
    figures, real = look(tmp_path, tmp_path), os.statvfs(tmp_path)
    assert figures.disk_bytes == real.f_blocks * real.f_frsize
    assert figures.disk_free_bytes is not None
    assert 0 < figures.disk_free_bytes <= figures.disk_bytes


def program(folder: Path, body: str) -> str:
    path = folder / "vcgencmd"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def eventually_throttled(sensors: BoardSensors) -> int | None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        bits = sensors.look().throttled
        if bits is not None:
            return bits
        time.sleep(0.02)
    return None


def test_without_the_firmwares_file_its_program_is_asked_and_never_waited_for(tmp_path: Path) -> None:
    asked = program(tmp_path, '[ "$1" = get_throttled ] && echo throttled=0x50000')
    sensors = BoardSensors(NtpClock(), tmp_path, tmp_path, vcgencmd=asked)
    assert sensors.look().throttled is None, "the first look starts it"
    assert eventually_throttled(sensors) == 0x50000
    sensors.close()
    write(tmp_path, {THROTTLED: "1\n"})
    assert sensors.look().throttled == 1


def test_a_program_that_hangs_costs_no_time_and_ends_with_the_reader(tmp_path: Path) -> None:
    sensors = BoardSensors(NtpClock(), tmp_path, tmp_path, vcgencmd=program(tmp_path, "exec sleep 60"))
    began = time.monotonic()
    assert [sensors.look().throttled for _ in range(5)] == [None] * 5
    sensors.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "echo throttled=0x5; exit 1"])
def test_a_program_that_fails_says_nothing(tmp_path: Path, body: str) -> None:
    sensors = BoardSensors(NtpClock(), tmp_path, tmp_path, vcgencmd=program(tmp_path, body))
    for _ in range(10):
        assert sensors.look().throttled is None
        time.sleep(0.02)
    sensors.close()


def test_a_program_that_is_not_there_is_not_asked_again(tmp_path: Path) -> None:
    sensors = BoardSensors(NtpClock(), tmp_path, tmp_path, vcgencmd=str(tmp_path / "nothing"))
    assert sensors.look().throttled is None
    assert sensors.look().throttled is None
    sensors.close()
    assert find_vcgencmd() is None or Path(str(find_vcgencmd())).exists()


def test_a_board_is_told_apart_by_a_hash_of_its_serial_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SHA-256 as anybody computes it, though the reader does without the library that brings OpenSSL."""
    serial = tmp_path / "serial-number"
    monkeypatch.setattr(clock, "_SERIALS", (tmp_path / "missing", serial))
    assert clock.hardware_id() == "0" * 32
    serial.write_bytes(b"10000000abcdef01\0")
    assert clock.hardware_id() == hashlib.sha256(b"aquasmart-hardware:10000000abcdef01").hexdigest()[:32]
