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
from ..core.phrases import Phrase, counted, joined, sentences
from ..core.showing import ago, state_words
from .report import nothing_shown, operations_waiting, running_state

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
    yield ok(
        Phrase("configuration"),
        Phrase(
            "{path}: station {station_id}, {n} meter(s)",
            path=config.path,
            station_id=config.station_id,
            n=len(config.meters),
        ),
    )
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
            Phrase("cloud address"),
            "warning",
            Phrase(
                "{url} is not encrypted: anybody on the way can read what is sent (not change it: it is signed)",
                url=url,
            ),
            Phrase("Ask the operator for the cloud's https:// address and set cloud.url."),
        )


def _keys(config: Config) -> Iterator[Finding]:
    """Whatever looks like a key beside the configuration and in the state folder is its owner's alone."""
    folders = dict.fromkeys([config.path.resolve().parent, config.state_dir, config.state_dir / "keys"])
    found = [path for folder in folders for path in sorted(folder.glob("*.key"))]
    loose = [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in loose:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding(
            Phrase("keys"),
            "fault",
            Phrase("{path} can be read by others (mode {mode:o})", path=path, mode=mode),
            f"chmod 600 {path}",
        )
    if not loose:
        yield ok(
            Phrase("keys"),
            Phrase("key {key_id}; key files are readable by their owner only", key_id=config.cloud.key_id),
        )


def _certificates(config: Config) -> Iterator[Finding]:
    cloud = config.cloud
    for what, path in (
        (Phrase("private CA"), cloud.ca_file),
        (Phrase("client certificate"), cloud.client_certificate_file),
    ):
        if path is None:
            continue
        try:
            found = validities(path.read_text(encoding="ascii", errors="replace"))
        except (OSError, ValueError) as fault:
            yield Finding(
                what,
                "fault",
                Phrase("{path} cannot be read: {fault}", path=path, fault=fault),
                Phrase("Put a PEM certificate there."),
            )
            continue
        if not found:
            yield Finding(
                what, "fault", Phrase("{path} holds no certificate", path=path), Phrase("Put a PEM certificate there.")
            )
            continue
        # The first is the client's own, the chain follows; of several authorities the last to expire still serves.
        own = found[0] if path == cloud.client_certificate_file else max(found, key=lambda validity: validity.not_after)
        yield expiry(what, own.not_after, own.not_before)


def expiry(what: str, not_after: datetime, not_before: datetime | None = None) -> Finding:
    """A certificate by its dates."""
    now = datetime.now(UTC)
    days = (not_after - now).days
    until = Phrase("valid until {day}", day=f"{not_after:%Y-%m-%d}")
    renew = Phrase("Ask the operator to renew it; it is taken up without a restart.")
    if not_before is not None and now < not_before:
        return Finding(
            what,
            "fault",
            Phrase("not valid before {time} UTC", time=f"{not_before:%Y-%m-%d %H:%M}"),
            Phrase("Is the clock right?"),
        )
    if not_after < now:
        return Finding(what, "fault", Phrase("expired on {day}", day=f"{not_after:%Y-%m-%d}"), renew)
    if days < SOON_DAYS:
        return Finding(what, "warning", Phrase("{until}, {n} days", until=until, n=days), renew)
    return ok(what, Phrase("{until}, {n} days", until=until, n=days))


def _clock() -> Iterator[Finding]:
    quality, now = SystemClock().quality(), datetime.now(UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC, {quality}"
    if quality == "unset":
        step = Phrase(
            "Connect the network (NTP), set the clock, or fit a battery. Counting does not need it; TLS does."
        )
        yield Finding(Phrase("clock"), "fault", Phrase("{clock}: the time is not known", clock=text), step)
    elif quality == "rtc":
        yield Finding(
            Phrase("clock"),
            "warning",
            Phrase("{clock}: no time service says that it is right", clock=text),
            "timedatectl status",
        )
    else:
        yield ok(Phrase("clock"), text)


def _disk(config: Config) -> Iterator[Finding]:
    folder = config.state_dir
    if not folder.is_dir():
        yield Finding(
            Phrase("disk"),
            "fault",
            Phrase("{folder} is not there", folder=folder),
            Phrase("Start the reader once, or mount the data partition."),
        )
        return
    if not os.access(folder, os.W_OK):
        yield Finding(
            Phrase("disk"),
            "fault",
            Phrase("{folder} cannot be written by this user", folder=folder),
            Phrase("Try again as root or aquasmart."),
        )
        return
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    if free < LITTLE_BYTES:
        step = Phrase(
            "Free space on it: du -xh {folder} | sort -h | tail. The log keeps a reserve and goes on counting.",
            folder=folder,
        )
        yield Finding(
            Phrase("disk"), "fault", Phrase("{free} MiB are free in {folder}", free=free // MIB, folder=folder), step
        )
    else:
        yield ok(Phrase("disk"), Phrase("{free} MiB are free in {folder}", free=free // MIB, folder=folder))


def _log(config: Config) -> Iterator[Finding]:
    try:
        with LogView(config.log_path) as log:
            standings, usage = log.standings(), log.usage()
    except LogError as fault:
        yield Finding(Phrase("log"), "fault", fault.message, fault.hint or Phrase("Run `aquasmart check`."))
        return
    limit = limits(config.log_path, config.log.budget_bytes, config.log.retention_ms)
    pending = sum(standing.pending for standing in standings)
    oldest = [s.oldest_pending_at_ms for s in standings if s.oldest_pending_at_ms is not None]
    room = Phrase("{used:.1f} of {budget} MiB", used=usage.use.used_bytes / MIB, budget=limit.budget_bytes // MIB)
    waits = counted("{n} event waits for the cloud", "{n} events wait for the cloud", pending)
    if oldest:
        age = ago(time.time() - min(oldest) / 1000)
        waits = Phrase("{events}, the oldest for {time}", events=waits, time=age)
    yield ok(Phrase("log"), joined("; ", (waits, room)))


def _services(config: Config) -> Iterator[Finding]:
    for service in ("reader", "sync"):
        said = read_service(config.live_path, f"{service}_state")
        state = running_state(said)
        unit = f"aquasmart-{service}"
        if said is None or state in {"not-running", "stopped"}:
            text = state_words(state)
            if said is None:
                text = joined(": ", (text, nothing_shown(config.live_path, f"{service}_state")))
            yield Finding(service, "fault", text, f"systemctl start {unit}; journalctl -u {unit}")
            continue
        reasons = said.figures.get("degraded") or []
        if state in {"running", "online", "starting"} and not reasons:
            yield ok(service, said.text)
        else:
            text = joined("; ", [said.text, *(words(str(reason)) for reason in reasons)])
            known = Phrase("docs/technician.md, state {state}; journalctl -u {unit}", state=state, unit=unit)
            step = _NEXT.get(state, known)
            yield Finding(service, "fault" if state == "hold" else "warning", text, step)


_NEXT = {
    "hold": Phrase(
        "Call the operator with these words. Everything is kept; sync asks again by itself every 15 minutes."
    ),
    "unverified": Phrase(
        "Is a portal's sign-in in the way? Compare cloud.url, key_id and key with what the operator gave."
    ),
    "log-fault": Phrase("aquasmart check --full, with reader and sync stopped; the card may be full or failing."),
}
_POWER = ("rail-low", "throttled", "hot")


def _power(config: Config) -> Iterator[Finding]:
    """By what the reader last saw of the board; nothing where it does not run."""
    said = read_service(config.live_path, "reader_state")
    if said is None or running_state(said) in {"not-running", "stopped"}:
        return
    shown = [name for name in _POWER if name in said.figures.get("conditions", [])]
    if shown:
        step = Phrase("Power supply (5.1 V, 3 A), its plug and cable; ventilation, sun.")
        yield Finding(Phrase("power"), "warning", joined("; ", (words(name) for name in shown)), step)
    else:
        yield ok(Phrase("power"), Phrase("no low supply, no throttling, not hot"))


def _meters(config: Config) -> Iterator[Finding]:
    """Whether each meter answers, by what the reader sees: it has the port for itself."""
    said = read_service(config.live_path, "reader_state")
    running = said is not None and running_state(said) not in {"not-running", "stopped"}
    live = read_meters(config.live_path) if running else {}
    for meter in config.meters:
        check, found = Phrase("meter {meter}", meter=meter.id), live.get(meter.id)
        if found is None:
            yield Finding(
                check,
                "warning",
                Phrase("not asked: the reader does not run"),
                f"aquasmart meter probe {meter.id}",
            )
            continue
        good, bad = (int(found.figures.get(name) or 0) for name in ("polls_good", "polls_bad"))
        state = state_words(found.state)
        said_so = {"state": state, "good": good, "bad": bad}
        text = Phrase("{state}, {good} good and {bad} bad polls since the reader started", **said_so)
        if found.state == "ok" and bad * 20 <= good:
            yield ok(check, text)
        elif found.state == "ok":
            step = Phrase("Noise on the line: shielding, termination, length, baud rate; two masters?")
            yield Finding(check, "warning", text, step)
        else:
            why = joined(": ", (state, found.text)) if found.text else state
            yield Finding(check, "fault", why, _meter_next(found.state, meter.id))


def _meter_next(state: str, meter_id: str) -> str:
    """What to do about a meter in this state."""
    match state:
        case "link-down":
            return Phrase(
                "Adapter, its plug and cable; stop other programs that use the port. It is reopened by itself."
            )
        case "silent":
            return Phrase(
                "Power of the meter? A and B the right way round? Baud and address: stop the reader, then"
                " `aquasmart meter probe {meter} --sweep`.",
                meter=meter_id,
            )
        case "frozen":
            return Phrase(
                "Was the meter replaced? `aquasmart meter swap {meter}`; else put the former one back.", meter=meter_id
            )
        case "suspect":
            return Phrase("It resolves itself after three polls that agree.")
    return Phrase("Wait a few seconds and look again.")


def _operations(config: Config) -> Iterator[Finding]:
    """What waits for a person."""
    if not config.ops_path.exists():
        return
    try:
        with OpsFile(config.ops_path).reading() as connection:
            counts = operation_rows.counted(connection)
    except OpsError as fault:
        yield Finding(Phrase("operations"), "fault", fault.message, fault.hint)
        return
    waits = operations_waiting(counts)
    if waits:
        yield Finding(Phrase("operations"), "warning", joined(", ", waits), "aquasmart operations list")
    else:
        yield ok(Phrase("operations"), Phrase("{n} wait for the cloud, none has failed", n=counts.get("pending", 0)))


def _ports(config: Config) -> Iterator[Finding]:
    for meter in config.meters:
        check = Phrase("port of {meter}", meter=meter.id)
        if not meter.port.exists():
            step = sentences(_present_ports(), Phrase("Is the adapter plugged in?"))
            yield Finding(check, "fault", Phrase("{port} is not there", port=meter.port), step)
        elif not stat.S_ISCHR(meter.port.stat().st_mode):
            yield Finding(check, "fault", Phrase("{port} is not a serial port", port=meter.port), _present_ports())
        elif not os.access(meter.port, os.R_OK | os.W_OK):
            step = Phrase("Try again as root or aquasmart; the user must be in the group dialout.")
            yield Finding(check, "fault", Phrase("{port} cannot be opened by this user", port=meter.port), step)
        else:
            yield ok(check, Phrase("{port} is there", port=meter.port))


def _present_ports() -> str:
    folder = Path("/dev/serial/by-path")
    names = sorted(str(path) for path in folder.glob("*")) if folder.is_dir() else []
    if not names:
        return Phrase("No USB serial adapter is there.")
    return Phrase("Ports that are there: {ports}.", ports=", ".join(names))
