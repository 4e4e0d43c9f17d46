"""The wall clock is set while the services run under systemd, on line and off line: nothing is lost, doubled or killed.

On a machine of its own, since a container has no clock of its own. The machine's monotonic clock does not jump: with
what both clocks said when the wall clock was right, it is the true time that everything is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import eventually
from tests.system import report
from tests.system.emulated.pc import METER_PORT, PC
from tests.system.emulated.station import EmulatedStation, emulated_station
from tests.system.emulated.times import assert_flags, assert_times, believable, bodies, logged
from tests.system.rootfs import layered
from tests.system.station import READER, SYNC, Cloud

pytestmark = [pytest.mark.e2e, pytest.mark.needs("qemu", "socat")]

DAY_MS = 86_400_000
EVENTS = 12
"""Counted under each setting of the clock: more than a second's worth, the pace at which the reader looks at it."""
JUMPS = ("a day ahead", "over 2^31 s", "1970", "a day back")


@pytest.fixture
def station(installed: Path, cloud: Cloud, tmp_path: Path) -> Iterator[EmulatedStation]:
    with layered(installed, tmp_path / "files") as root:
        made = emulated_station(PC(), root, tmp_path / "pc", cloud, "jumping-clock", METER_PORT)
        with made as station:
            yield station


def offset_of(jump: str, true_offset_ms: int, mono_ms: int) -> int:
    """Wall less monotonic time after a jump. 2038 is reached two seconds later, while water is counted."""
    if jump == "over 2^31 s":
        return (1 << 31) * 1_000 - 2_000 - mono_ms
    if jump == "1970":
        return 3_600_000 - mono_ms
    return true_offset_ms + (DAY_MS if jump == "a day ahead" else -DAY_MS)


def jump_through_all(station: EmulatedStation, true_offset_ms: int, *, online: bool) -> None:
    """Each jump, and back to the true time from each."""
    for jump in JUMPS:
        for offset_ms in (offset_of(jump, true_offset_ms, station.machine.clocks().mono_ms), true_offset_ms):
            station.machine.clocks(offset_ms)
            arrived = station.books.events()
            station.await_events(EVENTS)
            if online:
                eventually(lambda had=arrived: station.books.events() >= had + EVENTS, f"delivered under {jump}")


def assert_raised_to_its_floor(station: EmulatedStation, true_offset_ms: int) -> None:
    """What the image does at boot: from 1970 up to the cloud's last verified word, which no jump has lifted."""
    station.machine.clocks(offset_of("1970", true_offset_ms, station.machine.clocks().mono_ms))
    said = station.command("clock", "--raise")
    raised, now = station.machine.clocks(), station.machine.clocks(true_offset_ms)
    assert said["raised"]
    assert raised.wall_ms >= said["floor_ms"]
    assert said["floor_source"] == "the cloud's last verified answer"
    assert abs(said["floor_ms"] - now.wall_ms) < DAY_MS


def test_the_clock_jumps_while_counting(station: EmulatedStation, record_property: object) -> None:
    station.machine.boot()
    station.await_up(READER, SYNC, timeout_s=120)
    true_offset_ms = station.machine.clocks(station.machine.clocks().offset_ms).offset_ms
    station.begin()
    pids = {unit: station.pid(unit) for unit in (READER, SYNC)}
    boot = eventually(station.boot_time, "the boot's time is known")
    jump_through_all(station, true_offset_ms, online=True)
    station.link.set_state("cut")
    jump_through_all(station, true_offset_ms, online=False)
    station.link.set_state("pass")
    volume_ul = station.settle()

    # Nobody was killed by a watchdog, or ended by itself, over a clock.
    assert {unit: station.pid(unit) for unit in pids} == pids
    assert [int(station.shown(unit, "NRestarts")) for unit in pids] == [0, 0]
    # A glitch teaches nothing that lasts about the boot's time.
    assert station.boot_time() == boot
    station.stand_still()

    rows = logged(station, station.boot_id())
    assert_flags(rows)
    told = bodies(station.books, station.id)
    for body in told:
        assert_times(body, rows, boot)
    events = [(event.stream, event.seq) for body in told for event in body.events]
    assert len(set(events)) == len(events) == len(rows) == station.books.events(), "each event once"
    mono = [row.mono_ms for row in rows.values() if row.metered]
    assert mono == sorted(mono), "the log's order is the board's own clock's"
    wrong = sum(abs(row.at_ms - row.mono_ms - true_offset_ms) > 1_000 for row in rows.values())
    doubted = sum(len(body.events) for body in told if not believable(body))
    assert wrong >= len(JUMPS) * EVENTS, "the clock did jump"
    assert doubted > 0, "some of it could not be true"
    assert_raised_to_its_floor(station, true_offset_ms)
    report.note(
        record_property,
        "clock set a day ahead, over 2^31 s (2038), to 1970, a day back, and right again; on line and off line",
        cycles=2 * len(JUMPS), volume_ul=volume_ul,
        measured=f"{wrong} of {len(rows)} events under a wrong clock; {doubted} told in bodies whose times the cloud "
        "replaced; no restart, doubled 0",
    )  # fmt: skip
