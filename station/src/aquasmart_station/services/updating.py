"""Installing a bundle after asking whether it may be, and what `aquasmart update status` shows.

The same function serves the technician's command and the agent that fetches bundles: there is no second way in. RAUC's
own install handler asks about number and trial once more, for whoever calls `rauc install` by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..adapters.live import read_meters, read_service
from ..adapters.rauc import SlotStatus
from ..adapters.update_files import UpdateFiles
from ..config import Config
from ..core.errors import UpdateError
from ..core.phrases import Phrase, joined
from ..core.showing import MeterState
from ..core.updating import BundleInfo, ImageInfo, MeterNow, Reason, StationNow, reasons_against
from .report import running_state

LOOK_S = 2.5
"""Between two looks at a meter: half a second longer than the pause that ends a pour."""
COUNTING = frozenset({"running", "log-fault"})
"""The reader's states in which it polls."""


class Installer(Protocol):
    """RAUC, as far as installing needs it."""

    def info(self, path: Path) -> BundleInfo: ...

    def install(self, path: Path, on_progress: Callable[[int, str], None]) -> None: ...


class Refused(UpdateError):
    """Not this bundle, or not now. `reasons` has everything that speaks against it."""

    def __init__(self, bundle: BundleInfo, reasons: Sequence[Reason]) -> None:
        self.bundle, self.reasons = bundle, tuple(reasons)
        self.final = any(reason.final for reason in reasons)
        said = Phrase(
            "bundle {number} (version {version}) is not installed", number=bundle.number, version=bundle.version
        )
        later = Phrase("Nothing was changed. Try again when that is over.")
        super().__init__(
            joined("\n  - ", [said, *(reason.text for reason in reasons)]),
            hint=Phrase("Nothing was changed.") if self.final else later,
        )


def look_at_station(config: Config, files: UpdateFiles, *, sleep: Callable[[float], None] = time.sleep) -> StationNow:
    """How the station stands now: two looks at the reader, two and a half seconds apart."""
    before = _meters_now(config)
    sleep(LOOK_S)
    after, reader = _meters_now(config), read_service(config.live_path, "reader_state")
    fault: str = "" if reader is None else reader.figures.get("fault") or ""
    if reader is None or running_state(reader) not in COUNTING:
        fault = fault or Phrase("the reader does not run")
    meters = tuple(
        MeterNow(
            meter.id,
            read=meter.id in after and _answered(before.get(meter.id), after[meter.id]),
            flowing=meter.id in after and _flows(before.get(meter.id), after[meter.id]),
        )
        for meter in config.meters
    )
    return StationNow(files.highest_good(), files.on_trial(), meters, fault)


def _meters_now(config: Config) -> dict[str, MeterState]:
    """What the reader shows of its meters; nothing where it does not poll: what stands there is old."""
    if running_state(read_service(config.live_path, "reader_state")) not in COUNTING:
        return {}
    return read_meters(config.live_path)


def _answered(before: MeterState | None, after: MeterState) -> bool:
    """Polls were answered between the looks, and what came is counted."""
    if before is None or after.state != "ok":
        return False
    return int(after.figures.get("polls_good") or 0) > int(before.figures.get("polls_good") or 0)


def _flows(before: MeterState | None, after: MeterState) -> bool:
    moved = before is not None and None not in (before.counts, after.counts) and before.counts != after.counts
    return moved or bool(after.flow_ul_s)


def install(
    path: Path,
    *,
    rauc: Installer,
    files: UpdateFiles,
    look: Callable[[], StationNow],
    on_progress: Callable[[int, str], None] = lambda _percent, _words: None,
    again: bool = False,
    despite_meters: bool = False,
) -> BundleInfo:
    """Write a bundle into the slot that does not run; the next boot tries it. What was installed.

    Raises Refused with every reason, UpdateError where RAUC failed. Killed at any point, the slot that runs is as it
    was, and the boot loader changes its mind only after the other slot is whole (RAUC marks it bad first, good last).
    """
    image = files.image()
    bundle = rauc.info(path)
    now = look()
    reasons = reasons_against(image, bundle, now, again=again, despite_meters=despite_meters)
    if reasons:
        raise Refused(bundle, reasons)
    try:
        # Before the slot is written: a trial without this note would be content with any one meter.
        files.expect(bundle.number, [meter.meter_id for meter in now.meters if meter.read])
    except OSError as fault:
        raise UpdateError(
            Phrase("the data partition cannot be written: {strerror}", strerror=fault.strerror)
        ) from fault
    rauc.install(path, on_progress)
    return bundle


def update_status(files: UpdateFiles, slots: SlotStatus | None) -> dict[str, Any]:
    """Everything about updates as one document. `slots` None: RAUC did not answer. Raises UpdateError: no image."""
    image = files.image()
    shown = [] if slots is None else [slot.document() for slot in slots.slots]
    return {
        "image": _image(image),
        "highest_good": files.readable_highest_good(),
        "boot": files.boot() or "normal",
        "marked_good": files.marked_good(),
        "on_trial": files.on_trial(),
        "booted": None if slots is None else slots.booted,
        "next": None if slots is None else slots.primary,
        "slots": shown,
        "fell_back": _fell_back(image, slots),
    }


def _image(image: ImageInfo) -> dict[str, Any]:
    return {"version": image.version, "number": image.number, "compatible": image.compatible}


def _fell_back(image: ImageInfo, slots: SlotStatus | None) -> dict[str, Any] | None:
    """The newer bundle that was tried and given up: it lies in the other slot, which is not started any more."""
    for slot in () if slots is None else slots.slots:
        if not slot.booted and not slot.bootable and slot.number is not None and slot.number > image.number:
            return {"version": slot.version, "number": slot.number}
    return None
