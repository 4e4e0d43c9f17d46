"""Marking an image good: it reads the meter, commits, and sync lives, for half a minute, in this boot.

A cloud out of reach does not count against an image: the network of a basement is no fault of an update. Only a boot
that the boot loader counts is marked, so that the environment is not written at every boot; the number is kept after
the mark, so that a cut between the two leaves a number too small and never a station that refuses its own way back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ..adapters.clock import boot_id
from ..adapters.live import read_meters, read_service
from ..adapters.log_view import LogView
from ..adapters.update_files import UpdateFiles
from ..config import Config
from ..core.errors import LogError, UpdateError
from ..core.showing import ServiceState
from ..core.updating import HOLD_MS, TRIAL_MS, Evidence, Proof
from .report import running_state

STEP_S = 1.0
SLOW_STEP_S = 10.0
"""Where an image has all the time there is: after ten minutes looks become rarer."""
LATEST_ROWS = 100
_DEAD = frozenset({"not-running", "stopped", "log-fault", "log-damaged"})


class Marker(Protocol):
    """RAUC, as far as marking needs it."""

    def mark_good(self) -> None: ...


def prove(
    config: Config,
    files: UpdateFiles,
    rauc: Marker,
    *,
    say: Callable[[str], None],
    within_ms: int = TRIAL_MS,
    hold_ms: int = HOLD_MS,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Watch the station until the image has proved itself, and mark it. False: it is on trial and its time is over.

    Without a good slot to go back to there is no end of the time: an image that still counts at one tap is worth more
    than a board that restarts for ever. Raises UpdateError where this is no image.
    """
    image = files.image()
    boot = files.boot()
    configured = frozenset(meter.id for meter in config.meters)
    proof = Proof(
        expected=files.expected(image.number),
        configured=configured,
        hold_ms=hold_ms,
        within_ms=within_ms if boot == "fallback" else None,
    )
    began_ms = _mono_ms()
    while True:
        proved = proof.step(evidence_now(config), _mono_ms())
        if proved:
            fault = _marked(files, rauc, image.number, counted=bool(boot))
            if not fault:
                say(f"image {image.version} (number {image.number}) is good")
                return True
            say(f"has proved itself, cannot be marked: {fault}")
        elif proved is None:
            say("waiting for: " + (", ".join(proof.lacking) or f"{hold_ms // 1000} s of it"))
        else:
            say("on trial and not proved in its time: " + (", ".join(proof.lacking) or "it did not last"))
            return False
        late = _mono_ms() - began_ms > within_ms
        if late and boot == "fallback":
            return False
        sleep(SLOW_STEP_S if late else STEP_S)


def evidence_now(config: Config) -> Evidence:
    """What reader, sync and log show at this moment."""
    reader, sync = (read_service(config.live_path, f"{name}_state") for name in ("reader", "sync"))
    reading = reader is not None and running_state(reader) == "running"
    meters = read_meters(config.live_path).values() if reading else []
    return Evidence(
        read=frozenset(m.meter_id for m in meters if m.state == "ok" and m.figures.get("polls_good")),
        committed=reading and _commits(reader) and _committed_in_this_boot(config),
        sync_alive=running_state(sync) not in _DEAD,
        processes=tuple(said.pid for said in (reader, sync) if said is not None),
    )


def _commits(reader: ServiceState | None) -> bool:
    return reader is not None and not reader.figures.get("fault") and bool(reader.figures.get("commits"))


def _committed_in_this_boot(config: Config) -> bool:
    """Whether one of the log's latest events is of this boot: what the reader says, seen on the disk."""
    present = boot_id()
    try:
        with LogView(config.log_path) as log:
            rows = log.rows_after(max(0, log.last_position() - LATEST_ROWS), LATEST_ROWS)
            return any(header.boot_id == present for _, header in rows)
    except LogError:
        return False


def _marked(files: UpdateFiles, rauc: Marker, number: int, *, counted: bool) -> str:
    """Mark, then keep the number, then tell this boot. The fault in words; empty: done. Each can be repeated."""
    try:
        if counted:
            rauc.mark_good()
        files.record_good(number)
        files.note_good(number)
    except UpdateError as fault:
        return f"{fault} {fault.hint}".strip()
    except OSError as fault:
        return str(fault)
    return ""


def _mono_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
