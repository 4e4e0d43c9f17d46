"""The package on an emulated Raspberry Pi: installed there by its own dpkg, up by itself at the next boot, with a clock
that is wrong until a time service comes; meter = log = cloud in the end.

The board has no battery clock: it boots with the time at which its systemd was built. The cloud refuses what is signed
with such a time, and the station has to find that out, and how far it is off, from the cloud's signed answer.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import eventually
from tests.system import report
from tests.system.emulated.station import EmulatedStation, emulated_station
from tests.system.emulated.times import WINDOW_MS, assert_flags, assert_times, bodies, logged
from tests.system.raspberry.board import METER_PORT, Pi, add_modules, debian_for_the_board
from tests.system.rootfs import layered
from tests.system.station import READER, SYNC, Cloud

pytestmark = [pytest.mark.e2e, pytest.mark.needs("raspberry", "socat", "nspawn")]

SERVICES_S = 180.0
"""An emulated Pi's patience: it starts three interpreters at once, on processors that other tests may use."""
HOUR_MS = 3_600_000


@pytest.fixture
def pi(station_deb: Path, cloud: Cloud, tmp_path: Path) -> Iterator[EmulatedStation]:
    """A Debian on its card, the package's file on it and a provisioned station's configuration; nothing installed."""
    with layered(debian_for_the_board(), tmp_path / "files") as root:
        add_modules(root)
        shutil.copy(station_deb, root / "station.deb")
        made = emulated_station(Pi(), root, tmp_path / "pi", cloud, "raspberry", METER_PORT)
        with made as station:
            yield station


def off_by_ms(pi: EmulatedStation) -> int:
    """How far its clock is from the host's."""
    return abs(pi.machine.clocks().wall_ms - time.time_ns() // 1_000_000)


def test_a_raspberry_pi_counts_and_delivers_whatever_its_clock_says(
    pi: EmulatedStation, record_property: object
) -> None:
    # Installed by the board's own dpkg: maintainer scripts, byte code and units by its own processor.
    pi.machine.boot()
    began = time.monotonic()
    pi.machine.run("dpkg", "-i", "/station.deb")
    installed_s = time.monotonic() - began
    assert pi.machine.run("dpkg", "--print-architecture").stdout.strip() == "arm64"
    assert pi.machine.run("dpkg", "--audit").stdout == "", "nothing is half installed, or of another processor"
    assert "Raspberry Pi 3 Model B" in pi.machine.run("cat", "/sys/firmware/devicetree/base/model").stdout
    pi.await_up(READER, SYNC, timeout_s=SERVICES_S)
    pi.begin()

    # Up by itself at the next boot. Water flows while the board is off, and its clock is wrong again.
    pi.machine.power_off()
    began = time.monotonic()
    pi.machine.boot()
    pi.await_up(READER, SYNC, timeout_s=SERVICES_S)
    booted_s = time.monotonic() - began
    wrong_ms = off_by_ms(pi)
    assert wrong_ms > WINDOW_MS, "a clock that the cloud would accept as it is shows nothing"
    pi.await_events(20)
    arrived = pi.books.events()
    eventually(lambda: pi.books.events() >= arrived + 20, "delivered under a wrong clock")
    assert off_by_ms(pi) > WINDOW_MS
    refused = sum(exchange.status == 401 for exchange in pi.link.exchanges)
    assert refused >= 1, "the cloud had to correct it"

    # No network, and a board that thinks it is 1970; then a time service, in the middle of the water.
    pi.link.set_state("cut")
    pi.machine.clocks(HOUR_MS - pi.machine.clocks().mono_ms)
    pi.await_events(30)
    unset = [row for row in logged(pi, pi.boot_id()).values() if row.metered and row.at_ms < 2 * HOUR_MS]
    assert len(unset) >= 20
    right_ms = pi.machine.clocks(time.time_ns() // 1_000_000 - pi.machine.clocks().mono_ms).offset_ms
    pi.machine.run("sh", "-c", "mkdir -p /run/systemd/timesync; touch /run/systemd/timesync/synchronized")
    eventually(lambda: (pi.boot_time() or (0, ""))[1] == "ntp", "the boot's time is known")
    pi.await_events(10)
    pi.link.set_state("pass")
    volume_ul = pi.settle()

    assert [int(pi.shown(unit, "NRestarts")) for unit in (READER, SYNC)] == [0, 0]
    assert pi.systemctl("--failed", "--no-legend") == "", "neither the package's units nor Debian's"
    pi.stand_still()

    # What was counted in 1970 was told with its true time: the monotonic clock's, and what the boot learned later.
    boot = pi.boot_time()
    assert boot is not None
    assert abs(boot.offset_ms - right_ms) < 1_000
    rows = logged(pi, pi.boot_id())
    assert_flags(rows)
    told = {(event.stream, event.seq): event for body in bodies(pi.books, pi.id) for event in body.events}
    assert len(told) == pi.log.events() == pi.books.events(), "each event once"
    for row in unset:
        assert abs(told[row.stream, row.seq].believed_ms - row.mono_ms - right_ms) <= 1_250
    for body in bodies(pi.books, pi.id):
        if (
            all((event.stream, event.seq) in rows for event in body.events)
            and body.events[0].mono_ms >= unset[0].mono_ms
        ):
            assert_times(body, rows, boot)
    report.note(
        record_property,
        "emulated Raspberry Pi 3B: installed, rebooted under flow, wrong clock, 1970, network cut, time service",
        cycles=2, volume_ul=volume_ul,
        measured=f"clock {wrong_ms / 86_400_000:.0f} days off after boot, {refused} refusals before the signing was "
        f"right; dpkg -i {installed_s:.0f} s, boot to services {booted_s:.0f} s, under emulation",
    )  # fmt: skip
