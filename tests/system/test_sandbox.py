"""The sandbox as it is enforced, not as it is written: each unit's own settings around a probe that tries them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.system.station import READER, STATE, SYNC, Station

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nspawn")]

SERVICES = ("provision", "check", "reader", "sync", "panel", "led", "mark-good", "trial-over", "update")
UNITS = tuple(f"aquasmart-{name}.service" for name in SERVICES)
OTHERS = {"aquasmart.target", "aquasmart-panel.socket", "aquasmart-trial-over.timer"}
MOST_EXPOSED = 2.0

# Run in place of the service: tries everything, tells in JSON.
_PROBE = """\
#!/usr/bin/python3 -I
import ctypes, json, os, socket, sys

def attempt(what):
    try:
        what()
    except OSError as fault:
        return fault.strerror
    return "done"

def write(path):
    # Neither made nor emptied: an existing file must be intact afterwards.
    return lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))

def create(path):
    return lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

def mount():
    if ctypes.CDLL(None, use_errno=True).mount(b"x", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

state = "/var/lib/aquasmart"
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
said = {
    "created": {p: attempt(create(p + "/probe")) for p in ("/etc", "/usr/bin", "/var/lib", "/run", "/var/log")},
    "appended": {p: attempt(write(p)) for p in ("/etc/aquasmart/station.toml", state + "/log.db")},
    "state": attempt(create(state + "/probe")),
    "ops": attempt(create(state + "/ops/probe")),
    "removed": attempt(lambda: os.unlink(state + "/log.db")) if sys.argv[1] == "panel" else "not tried",
    "read_log": attempt(lambda: open(state + "/log.db", "rb").read(16)),
    "read_live": attempt(lambda: open("/run/aquasmart/live.db", "rb").read(16)),
    "read_key": attempt(lambda: open("/etc/aquasmart/station.key").read()),
    "credential": attempt(lambda: open(credentials + "/station.key").read()),
    "inet": attempt(lambda: socket.socket(socket.AF_INET).close()),
    "network": attempt(lambda: socket.create_connection(("10.213.0.1", 9), 0.3)),
    "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK).close()),
    "mount": attempt(mount),
    "capabilities": status["CapEff"].strip(), "no_new_privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(), "tmp": os.listdir("/tmp"), "home": attempt(lambda: os.listdir("/home")),
}
print("PROBE " + json.dumps(said), flush=True)
"""


def probe(station: Station, name: str) -> dict[str, object]:
    """What the probe could do as that unit. The unit is one of the package's; only what it starts differs."""
    root = station.machine.root
    script = root / "usr/local/bin/probe"
    script.write_text(_PROBE)
    script.chmod(0o755)
    folder = root / f"etc/systemd/system/aquasmart-{name}.service.d"
    folder.mkdir(exist_ok=True)
    drop_in = folder / "zz-probe.conf"
    drop_in.write_text(
        f"[Unit]\nConditionPathExistsGlob=\nConditionPathExists=\n[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\n"
        f"ExecStart=/usr/local/bin/probe {name}\n"
    )
    station.systemctl("daemon-reload")
    station.systemctl("stop", f"aquasmart-{name}.socket", check=False)
    station.systemctl("restart", f"aquasmart-{name}.service")
    said = station.journal("-u", f"aquasmart-{name}.service")
    drop_in.unlink()
    station.systemctl("daemon-reload")
    found = re.findall(r"^PROBE (.*)$", said, re.MULTILINE)
    assert found, said
    return dict(json.loads(found[-1]))


def test_each_sandbox_holds(station: Station) -> None:
    before = station.log.events()
    # Sync is probed last: it leaves the log to the others meanwhile.
    for name in ("panel", "led", "check", "reader", "sync"):
        said = probe(station, name)
        assert "done" not in said["created"].values(), (name, said)
        assert said["appended"]["/etc/aquasmart/station.toml"] != "done"
        assert said["mount"] == "Operation not permitted"
        assert said["netlink"] != "done"
        assert (said["capabilities"], said["no_new_privileges"], said["seccomp"]) == ("0" * 16, "1", "2")
        assert said["tmp"] == []
        # Only who speaks with the cloud is given the key, and nobody may open its file.
        assert said["read_key"] == "Permission denied"
        assert (said["credential"] == "done") == (name == "sync")
        assert (said["read_log"], said["read_live"]) == ("done", "done"), (name, said)
        writes = name not in {"panel", "led"}
        assert (said["appended"][f"/{STATE}/log.db"] == "done", said["state"] == "done") == (writes, writes), (
            name,
            said,
        )
        assert (said["ops"] == "done") == (name != "led"), (name, said)
        assert said["network"] != "done"
        assert (said["inet"] == "done") == (name in {"panel", "sync"})
        for leftover in ("probe", "ops/probe"):
            (station.machine.root / STATE / leftover).unlink(missing_ok=True)
        if name == "panel":
            assert said["removed"] != "done"
    station.systemctl("start", "aquasmart.target", READER, SYNC)
    station.await_up(READER, SYNC)
    station.await_events()
    assert station.log.events() > before
    station.settle()


def test_what_provisions_at_boot_may_write_its_four_folders_and_nothing_else(station: Station) -> None:
    """Root, for the sake of files that root alone may read; without capabilities it is little more than their owner."""
    said = probe(station, "provision")
    assert "done" not in said["created"].values(), said
    assert said["appended"] == {"/etc/aquasmart/station.toml": "done", f"/{STATE}/log.db": "Permission denied"}
    assert "done" not in {said["state"], said["ops"], said["read_log"]}
    assert said["mount"] == "Operation not permitted"
    assert (said["netlink"] != "done", said["inet"] != "done", said["network"] != "done") == (True, True, True)
    assert (said["capabilities"], said["no_new_privileges"], said["seccomp"]) == ("0" * 16, "1", "2")
    assert (said["tmp"], said["home"]) == ([], "Permission denied")
    station.settle()


def test_the_update_agent_is_root_and_can_write_two_folders_only(station: Station) -> None:
    """Root, since RAUC's service takes orders from root alone; of the station's own it queues results, nothing else."""
    before = station.log.events()
    said = probe(station, "update")
    assert "done" not in said["created"].values(), said
    assert "done" not in said["appended"].values(), said
    assert (said["state"], said["ops"]) == ("Read-only file system", "done")
    assert said["mount"] == "Operation not permitted"
    assert said["netlink"] != "done"
    # CAP_DAC_OVERRIDE.
    assert (said["capabilities"], said["no_new_privileges"], said["seccomp"]) == ("0" * 15 + "2", "1", "2")
    assert (said["credential"], said["read_live"], said["inet"]) == ("done", "done", "done")
    (station.machine.root / STATE / "ops/probe").unlink(missing_ok=True)
    station.await_events()
    assert station.log.events() > before


def test_the_panels_user_cannot_write_the_log_even_outside_its_sandbox(station: Station) -> None:
    as_panel = ("setpriv", "--reuid=aquasmart-panel", "--regid=aquasmart-panel", "--init-groups", "sh", "-c")
    for script in (
        "echo x >> /var/lib/aquasmart/log.db",
        "echo x >> /var/lib/aquasmart/log.db-wal",
        "rm -f /var/lib/aquasmart/log.db",
        "mv /var/lib/aquasmart/log.db /var/lib/aquasmart/ops/log.db",
        "touch /var/lib/aquasmart/new",
    ):
        assert station.machine.run(*as_panel, script, check=False).returncode != 0, script
    assert station.machine.run(*as_panel, "head -c 16 /var/lib/aquasmart/log.db >/dev/null").returncode == 0
    assert station.machine.run(*as_panel, "touch /var/lib/aquasmart/ops/new").returncode == 0


def test_systemd_finds_nothing_to_say_of_the_units(station: Station) -> None:
    installed = sorted(Path(station.machine.root, "usr/lib/systemd/system").glob("aquasmart*"))
    names = [path.name for path in installed]
    assert set(UNITS) | OTHERS == set(names)
    said = station.machine.run("systemd-analyze", "verify", *(f"/usr/lib/systemd/system/{name}" for name in names))
    assert said.stdout + said.stderr == ""
    for unit in UNITS:
        threshold = f"--threshold={int(MOST_EXPOSED * 10)}"
        station.machine.run("systemd-analyze", "security", "--no-pager", threshold, unit)
    # And the gate can close: the same question of a service of the system's own.
    refused = station.machine.run("systemd-analyze", "security", "--no-pager", threshold, "dbus.service", check=False)
    assert refused.returncode != 0


def test_no_unit_waits_for_network_clock_or_the_checks_success(station: Station) -> None:
    for unit in UNITS:
        after = set(station.shown(unit, "After").split())
        assert not after & {"network-online.target", "time-sync.target", "time-set.target"}, unit
        needed = set(" ".join(station.shown(unit, name) for name in ("Requires", "Requisite", "BindsTo")).split())
        assert "aquasmart-check.service" not in needed, unit
        assert station.shown(unit, "StartLimitIntervalUSec") == "0", unit
    for unit in (READER, SYNC):
        assert "aquasmart-check.service" in station.shown(unit, "Wants").split()
        assert station.shown(unit, "Restart") == "always"
