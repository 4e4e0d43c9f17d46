"""The services of an installed station: up after boot, killed when they hang, restarted when they die, sandboxed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.integration.world import eventually
from tests.system import report
from tests.system.station import CHECK, READER, SYNC, Station

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nspawn")]

WATCHDOG_S = 30
MakeStation = Callable[..., Station]


def test_up_after_boot_and_after_each_reboot(make_station: MakeStation, record_property: object) -> None:
    station, took_s = make_station(), []
    station.machine.boot()
    station.await_up(READER, SYNC)
    station.begin()
    for _ in range(2):
        station.machine.power_off()
        began = time.monotonic()
        station.machine.boot()
        station.await_up(READER, SYNC)
        took_s.append(time.monotonic() - began)
    # Also without the time that the machine itself needed.
    up_s = [int(station.shown(unit, "ActiveEnterTimestampMonotonic")) / 1e6 for unit in (READER, SYNC)]
    assert max(took_s) < 10
    assert station.shown(CHECK, "Result") == "success"
    report.note(
        record_property, "orderly reboot", cycles=2, volume_ul=station.settle(), measured=f"up in {max(took_s):.1f} s"
    )
    assert up_s


def test_a_service_that_hangs_is_killed_by_its_watchdog(station: Station, record_property: object) -> None:
    former = [(unit, station.pid(unit)) for unit in (READER, SYNC)]
    began = time.monotonic()
    for unit, _ in former:
        station.kill(unit, "STOP")
    for unit, pid in former:
        station.await_restart(unit, pid, timeout_s=WATCHDOG_S + 10)
    took_s = time.monotonic() - began
    for unit, _ in former:
        said = station.journal("-u", unit)
        assert "Watchdog timeout" in said
        # SIGABRT wakes it for its last words: the line of each thread.
        assert "Fatal Python error: Aborted" in said
    station.await_events()
    report.note(
        record_property, "reader and sync stopped (SIGSTOP): killed by the watchdog, restarted",
        volume_ul=station.settle(), measured=f"restarted after {took_s:.0f} s (WatchdogSec={WATCHDOG_S})",
    )  # fmt: skip


def test_kill_9_in_a_loop(station: Station, record_property: object) -> None:
    cycles, slowest_s = 12, 0.0
    for cycle in range(cycles):
        former = [(unit, station.pid(unit)) for unit in ((READER,), (SYNC,), (READER, SYNC))[cycle % 3]]
        began = time.monotonic()
        for unit, _ in former:
            station.kill(unit)
        for unit, pid in former:
            station.await_restart(unit, pid)
        slowest_s = max(slowest_s, time.monotonic() - began)
        station.await_events(2)
    # No start limit has stopped either: systemd's default refuses the sixth start within ten seconds.
    assert int(station.shown(READER, "NRestarts")) >= 8
    report.note(
        record_property, "kill -9 of reader, of sync, of both", cycles=cycles, volume_ul=station.settle(),
        measured=f"back within {slowest_s:.1f} s",
    )  # fmt: skip


def test_status_tells_everything_at_a_glance(station: Station) -> None:
    eventually(lambda: station.status_text(SYNC).startswith("online"), "sync online")
    assert re.fullmatch(
        r"online for \d+ s · (everything delivered|\d+ events? waiting, the oldest for \d+ s)"
        r" · last acknowledgement \d+ s ago( · last error \d+ s ago: [^·]+)?",
        station.status_text(SYNC),
    )
    eventually(lambda: station.status_text(READER).startswith("tap-1 ok"), "the meter read again")
    assert re.fullmatch(
        r"tap-1 ok, \d+\.\d L/min, meter shows \d+\.\d{3} L \(\d+ counts\), \d+\.\d{3} L since start, "
        r"\d+\.\d % of polls answered in \d+ ms, (no anomalies|\d+ anomal.*) · last commit \d+ s ago"
        # For a minute it remembers that the port was gone while the meter was plugged in anew.
        r"( · DEGRADED: [a-z0-9:, -]+)?",
        station.status_text(READER),
    )
    whole = station.machine.run("systemctl", "status", "--no-pager", "-n", "0", READER, SYNC, check=False).stdout
    assert 'Status: "online for' in whole
    assert 'Status: "tap-1 ok' in whole
    # For docs/technician.md: what a person sees.
    (report.TARGET.parent / "systemctl-status.txt").write_text(whole)
    station.systemctl("stop", "meter.service")
    eventually(lambda: "tap-1 link-down" in station.status_text(READER), "the reader says that the port is gone")
    assert station.cable is not None
    station.cable.cut()
    text = eventually(lambda: _offline(station), "sync says that it is offline")
    assert re.search(r"^offline for .* · .+ · (next attempt in \d+ s|trying now) · ", text)
    assert "last acknowledgement" in text


def _offline(station: Station) -> str:
    text = station.status_text(SYNC)
    return text if text.startswith("offline") else ""


def test_a_configuration_that_cannot_be_used_says_so_and_is_taken_up_when_mended(station: Station) -> None:
    config = station.machine.root / "etc/aquasmart/station.toml"
    sound = config.read_text()
    config.write_text(sound.replace("k_factor = 450", "k_factor = -1"))
    station.systemctl("restart", "--no-block", READER)
    eventually(lambda: "k_factor" in station.status_text(READER), "the fault in the status line")
    config.write_text(sound)
    station.await_up(READER)
    station.await_events()
    station.settle()


def test_two_syncs(station: Station, record_property: object) -> None:
    # A second one started by hand, as the same user, with the same key: it waits for the first and takes over.
    station.machine.run(
        "systemd-run", "--unit=second-sync", "--property=User=aquasmart", "--property=Type=notify",
        "--property=LoadCredential=station.key:/etc/aquasmart/station.key", "--property=RuntimeDirectory=aquasmart",
        "--property=RuntimeDirectoryPreserve=yes", "/usr/bin/aquasmart", "sync",
    )  # fmt: skip
    assert "waiting: another sync" in station.status_text("second-sync.service")
    station.await_events()
    station.systemctl("stop", SYNC)
    eventually(lambda: "online" in station.status_text("second-sync.service"), "the second one took over")
    station.systemctl("start", SYNC)
    eventually(lambda: "waiting: another sync" in station.status_text(SYNC), "the first one waits now")
    station.kill("second-sync.service")
    eventually(lambda: "online" in station.status_text(SYNC), "and took over when it was killed")
    report.note(record_property, "two syncs at once, the holder killed", volume_ul=station.settle())


def test_the_panel_is_started_by_who_asks(station: Station) -> None:
    socket, service = "aquasmart-panel.socket", "aquasmart-panel.service"
    assert station.up(socket)
    assert not station.up(service)
    ask = "import json, urllib.request as u; print(u.urlopen('http://127.0.0.1/api/state', timeout=20).read().decode())"
    said = station.machine.run("python3", "-c", ask).stdout
    assert station.id in said
    assert station.up(service)
    # What it shows of the log is what the log says, read by a user that cannot write it.
    assert "tap-1" in said
    station.systemctl("stop", service)
    assert station.up(socket)
    assert station.id in station.machine.run("python3", "-c", ask).stdout


def test_a_sealed_key(station: Station) -> None:
    # The three commands of docs/technician.md, with the machine's own key in the place of a TPM.
    station.machine.run(
        "systemd-creds", "encrypt", "--with-key=host", "--name=station.key",
        "/etc/aquasmart/station.key", "/etc/aquasmart/station.key.sealed",
    )  # fmt: skip
    folder = station.machine.root / "etc/systemd/system/aquasmart-sync.service.d"
    folder.mkdir()
    sealed = "LoadCredentialEncrypted=station.key:/etc/aquasmart/station.key.sealed"
    (folder / "sealed.conf").write_text(f"[Service]\nLoadCredential=\n{sealed}\n")
    station.machine.run("shred", "-u", "/etc/aquasmart/station.key")
    station.systemctl("daemon-reload")
    station.systemctl("restart", SYNC)
    station.await_up(SYNC)
    station.settle()


def test_a_spanish_machine_speaks_spanish_to_people_and_english_to_the_journal(make_station: MakeStation) -> None:
    # systemd gives every service the machine's locale; none of them is installed here.
    station = make_station()
    (station.machine.root / "etc/locale.conf").write_text("LANG=es_ES.UTF-8\n")
    station.machine.boot()
    station.await_up(READER, SYNC)
    station.begin()
    eventually(lambda: station.status_text(SYNC).startswith("online for"), "sync's Status line in English")
    assert "meter shows" in station.status_text(READER)
    assert "there is no log yet" in station.journal("-u", CHECK)
    assert "LANG=es_ES.UTF-8" in station.machine.run("systemctl", "show-environment").stdout
    said = station.machine.run("env", "LANGUAGE=", "LANG=es_ES.UTF-8", "aquasmart", "status").stdout
    assert "el contador muestra" in said
    assert "desde el arranque" in said
    assert "meter shows" in station.machine.run("env", "LANG=C.UTF-8", "aquasmart", "status").stdout
    ask = "import urllib.request as u; r = u.Request('http://127.0.0.1/', headers={'Accept-Language': 'es'}); "
    ask += "print(u.urlopen(r, timeout=20).read().decode())"
    assert "Caudal ahora" in station.machine.run("python3", "-X", "utf8", "-c", ask).stdout
