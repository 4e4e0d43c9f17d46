"""`aquasmart doctor`: what of this station is not as it should be, and what to do about each thing.

Looks, never changes anything. On the network it speaks to the configured cloud only: a name, a connection, a handshake
and one signed question that has no effect.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..adapters import operation_rows
from ..adapters.clock import SystemClock
from ..adapters.live import read_meters, read_service
from ..adapters.log_space import limits
from ..adapters.log_view import LogView
from ..adapters.ops import OpsFile
from ..config import Config
from ..core.certificates import validities
from ..core.degraded import words
from ..core.errors import LogError, OpsError
from ..core.showing import ago
from .report import running_state

Verdict = Literal["ok", "warning", "fault"]
SOON_DAYS = 30
MIB = 1 << 20
LITTLE_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `next` says what to do; empty where nothing is."""

    check: str
    verdict: Verdict
    text: str
    next: str = ""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def examine(config: Config, reach: Callable[[], Iterator[Finding]] | None) -> Iterator[Finding]:
    """Every finding, in the order in which they are found. `reach` looks at the way to the cloud; None: offline."""
    yield ok("configuration", f"{config.path}: station {config.station_id}, {len(config.meters)} meter(s)")
    yield from _address(config)
    yield from _keys(config)
    yield from _certificates(config)
    yield from _clock()
    yield from _disk(config)
    yield from _log(config)
    yield from _services(config)
    yield from _power(config)
    yield from _ports(config)
    yield from _meters(config)
    yield from _operations(config)
    if reach is not None:
        yield from reach()


def _address(config: Config) -> Iterator[Finding]:
    url = config.cloud.url
    host = url.partition("://")[2].rpartition(":")[0] or url.partition("://")[2]
    if url.startswith("http://") and host not in {"127.0.0.1", "localhost", "[::1]"}:
        yield Finding(
            "cloud address",
            "warning",
            f"{url} is not encrypted: anybody on the way can read what is sent (not change it: it is signed)",
            "Ask the operator for the cloud's https:// address and set cloud.url.",
        )


def _keys(config: Config) -> Iterator[Finding]:
    """Whatever looks like a key beside the configuration and in the state folder is its owner's alone."""
    folders = dict.fromkeys([config.path.resolve().parent, config.state_dir, config.state_dir / "keys"])
    found = [path for folder in folders for path in sorted(folder.glob("*.key"))]
    loose = [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in loose:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding("keys", "fault", f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    if not loose:
        yield ok("keys", f"key {config.cloud.key_id}; key files are readable by their owner only")


def _certificates(config: Config) -> Iterator[Finding]:
    cloud = config.cloud
    for what, path in (("private CA", cloud.ca_file), ("client certificate", cloud.client_certificate_file)):
        if path is None:
            continue
        try:
            found = validities(path.read_text(encoding="ascii", errors="replace"))
        except (OSError, ValueError) as fault:
            yield Finding(what, "fault", f"{path} cannot be read: {fault}", "Put a PEM certificate there.")
            continue
        if not found:
            yield Finding(what, "fault", f"{path} holds no certificate", "Put a PEM certificate there.")
            continue
        # The first is the client's own, the chain follows; of several authorities the last to expire still serves.
        own = found[0] if what == "client certificate" else max(found, key=lambda validity: validity.not_after)
        yield expiry(what, own.not_after, own.not_before)


def expiry(what: str, not_after: datetime, not_before: datetime | None = None) -> Finding:
    """A certificate by its dates."""
    now = datetime.now(UTC)
    days = (not_after - now).days
    until = f"valid until {not_after:%Y-%m-%d}"
    renew = "Ask the operator to renew it; it is taken up without a restart."
    if not_before is not None and now < not_before:
        return Finding(what, "fault", f"not valid before {not_before:%Y-%m-%d %H:%M} UTC", "Is the clock right?")
    if not_after < now:
        return Finding(what, "fault", f"expired on {not_after:%Y-%m-%d}", renew)
    if days < SOON_DAYS:
        return Finding(what, "warning", f"{until}, {days} days", renew)
    return ok(what, f"{until}, {days} days")


def _clock() -> Iterator[Finding]:
    quality, now = SystemClock().quality(), datetime.now(UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC, {quality}"
    if quality == "unset":
        step = "Connect the network (NTP), set the clock, or fit a battery. Counting does not need it; TLS does."
        yield Finding("clock", "fault", f"{text}: the time is not known", step)
    elif quality == "rtc":
        yield Finding("clock", "warning", f"{text}: no time service says that it is right", "timedatectl status")
    else:
        yield ok("clock", text)


def _disk(config: Config) -> Iterator[Finding]:
    folder = config.state_dir
    if not folder.is_dir():
        yield Finding("disk", "fault", f"{folder} is not there", "Start the reader once, or mount the data partition.")
        return
    if not os.access(folder, os.W_OK):
        yield Finding("disk", "fault", f"{folder} cannot be written by this user", "Try again as root or aquasmart.")
        return
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    if free < LITTLE_BYTES:
        step = f"Free space on it: du -xh {folder} | sort -h | tail. The log keeps a reserve and goes on counting."
        yield Finding("disk", "fault", f"{free // MIB} MiB are free in {folder}", step)
    else:
        yield ok("disk", f"{free // MIB} MiB are free in {folder}")


def _log(config: Config) -> Iterator[Finding]:
    try:
        with LogView(config.log_path) as log:
            standings, usage = log.standings(), log.usage()
    except LogError as fault:
        yield Finding("log", "fault", str(fault), fault.hint or "Run `aquasmart check`.")
        return
    limit = limits(config.log_path, config.log.budget_bytes, config.log.retention_ms)
    pending = sum(standing.pending for standing in standings)
    oldest = [s.oldest_pending_at_ms for s in standings if s.oldest_pending_at_ms is not None]
    waits = f", the oldest for {ago(time.time() - min(oldest) / 1000)}" if oldest else ""
    room = f"{usage.use.used_bytes / MIB:.1f} of {limit.budget_bytes // MIB} MiB"
    yield ok("log", f"{pending} events wait for the cloud{waits}; {room}")


def _services(config: Config) -> Iterator[Finding]:
    for service in ("reader", "sync"):
        said = read_service(config.live_path, f"{service}_state")
        state = running_state(said)
        unit = f"aquasmart-{service}"
        if said is None or state in {"not-running", "stopped"}:
            yield Finding(service, "fault", state, f"systemctl start {unit}; journalctl -u {unit}")
            continue
        reasons = said.figures.get("degraded") or []
        if state in {"running", "online", "starting"} and not reasons:
            yield ok(service, said.text)
        else:
            text = "; ".join([said.text, *(words(str(reason)) for reason in reasons)])
            step = _NEXT.get(state, f"docs/technician.md, state {state}; journalctl -u {unit}")
            yield Finding(service, "fault" if state == "hold" else "warning", text, step)


_NEXT = {
    "hold": "Call the operator with these words. Everything is kept; sync asks again by itself every 15 minutes.",
    "unverified": "Is a portal's sign-in in the way? Compare cloud.url, key_id and key with what the operator gave.",
    "log-fault": "aquasmart check --full, with reader and sync stopped; the card may be full or failing.",
}
_POWER = ("rail-low", "throttled", "hot")


def _power(config: Config) -> Iterator[Finding]:
    """By what the reader last saw of the board; nothing where it does not run."""
    said = read_service(config.live_path, "reader_state")
    if said is None or running_state(said) in {"not-running", "stopped"}:
        return
    shown = [name for name in _POWER if name in said.figures.get("conditions", [])]
    if shown:
        step = "Power supply (5.1 V, 3 A), its plug and cable; ventilation, sun."
        yield Finding("power", "warning", "; ".join(words(name) for name in shown), step)
    else:
        yield ok("power", "no low supply, no throttling, not hot")


def _meters(config: Config) -> Iterator[Finding]:
    """Whether each meter answers, by what the reader sees: it has the port for itself."""
    said = read_service(config.live_path, "reader_state")
    running = said is not None and running_state(said) not in {"not-running", "stopped"}
    live = read_meters(config.live_path) if running else {}
    for meter in config.meters:
        check, found = f"meter {meter.id}", live.get(meter.id)
        if found is None:
            yield Finding(check, "warning", "not asked: the reader does not run", f"aquasmart meter probe {meter.id}")
            continue
        good, bad = (int(found.figures.get(name) or 0) for name in ("polls_good", "polls_bad"))
        text = f"{found.state}, {good} good and {bad} bad polls since the reader started"
        if found.state == "ok" and bad * 20 <= good:
            yield ok(check, text)
        elif found.state == "ok":
            step = "Noise on the line: shielding, termination, length, baud rate; two masters?"
            yield Finding(check, "warning", text, step)
        else:
            step = _METER_NEXT.get(found.state, "Wait a few seconds and look again.")
            yield Finding(check, "fault", f"{found.state}: {found.text}".rstrip(": "), step.format(meter.id))


_METER_NEXT = {
    "link-down": "Adapter, its plug and cable; stop other programs that use the port. It is reopened by itself.",
    "silent": "Power of the meter? A and B the right way round? Baud and address: stop the reader, then"
    " `aquasmart meter probe {} --sweep`.",
    "frozen": "Was the meter replaced? `aquasmart meter swap {}`; else put the former one back.",
    "suspect": "It resolves itself after three polls that agree.",
}


def _operations(config: Config) -> Iterator[Finding]:
    """What waits for a person."""
    if not config.ops_path.exists():
        return
    try:
        with OpsFile(config.ops_path).reading() as connection:
            counts = operation_rows.counted(connection)
    except OpsError as fault:
        yield Finding("operations", "fault", str(fault), fault.hint)
        return
    waits = [f"{counts[state]} {state}" for state in ("failed", "refused", "conflict") if counts.get(state)]
    if waits:
        yield Finding("operations", "warning", ", ".join(waits), "aquasmart operations list")
    else:
        yield ok("operations", f"{counts.get('pending', 0)} wait for the cloud, none has failed")


def _ports(config: Config) -> Iterator[Finding]:
    for meter in config.meters:
        check = f"port of {meter.id}"
        if not meter.port.exists():
            step = f"{_present_ports()} Is the adapter plugged in?"
            yield Finding(check, "fault", f"{meter.port} is not there", step)
        elif not stat.S_ISCHR(meter.port.stat().st_mode):
            yield Finding(check, "fault", f"{meter.port} is not a serial port", _present_ports())
        elif not os.access(meter.port, os.R_OK | os.W_OK):
            step = "Try again as root or aquasmart; the user must be in the group dialout."
            yield Finding(check, "fault", f"{meter.port} cannot be opened by this user", step)
        else:
            yield ok(check, f"{meter.port} is there")


def _present_ports() -> str:
    folder = Path("/dev/serial/by-path")
    names = sorted(str(path) for path in folder.glob("*")) if folder.is_dir() else []
    return f"Ports that are there: {', '.join(names)}." if names else "No USB serial adapter is there."
