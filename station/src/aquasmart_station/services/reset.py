"""`aquasmart reset --factory`: forget everything that was counted, but never silently what nobody else has.

Refused while anything is undelivered. What is abandoned all the same is first named to the cloud, in figures, or where
it cannot be reached, in a signed file that stays behind: only then is anything removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..adapters.durable_files import sync_folder, write_durably
from ..adapters.examination import examine
from ..adapters.log_view import LogView
from ..adapters.log_writer import LogWriter
from ..adapters.quarantine import intent_path
from ..core.conversation import Identity
from ..core.errors import StationError
from ..core.model import Draft, Kind, StreamHeader
from ..core.phrases import Phrase, joined
from ..core.ports import Clock
from ..core.showing import litres
from .export import export_log


@dataclass(frozen=True, slots=True)
class Loss:
    """What is in the log and not acknowledged."""

    events: int
    volume_ul: int
    meters: dict[str, int]
    """Volume in µl by meter."""

    def text(self) -> str:
        return Phrase("{litres} L in {n} events", litres=litres(self.volume_ul, 6), n=self.events)


@dataclass(frozen=True, slots=True)
class Wiped:
    """What a reset did. `named`: where what was abandoned has been named; empty where nothing was."""

    loss: Loss
    named: str


@dataclass(frozen=True, slots=True)
class FactoryReset:
    """Everything the reset needs. The caller holds the locks of reader, sync and log."""

    log: Path
    identity: Identity
    clock: Clock
    new_stream: Callable[[], StreamHeader]
    deliver: Callable[[str], bool]
    """Delivers one stream to the cloud; True where that was acknowledged, signed."""
    mono_s: Callable[[], float]

    def loss(self) -> Loss:
        """What would be lost. Raises StationError where the log cannot say: a damaged one is salvaged first."""
        if intent_path(self.log).exists():
            raise StationError(Phrase("the log's salvage is not finished"), hint=Phrase("Run `aquasmart check` first."))
        found = examine(self.log, mono_s=self.mono_s)
        if found.damage:
            raise StationError(
                Phrase("the log is damaged: {damage}", damage=joined("; ", found.damage)),
                hint=Phrase("Run `aquasmart check` first: it saves what was not delivered, or says what is lost."),
            )
        if not found.exists or not found.rows:
            return Loss(0, 0, {})
        with LogView(self.log) as view:
            waiting = [standing for standing in view.standings() if standing.pending]
        meters: dict[str, int] = {}
        for each in waiting:
            if each.header.meter_id is not None:
                volume_ul = each.header.volume_ul(each.last_counts) - each.header.volume_ul(each.acked_counts)
                meters[each.header.meter_id] = meters.get(each.header.meter_id, 0) + max(0, volume_ul)
        return Loss(sum(each.pending for each in waiting), sum(meters.values()), meters)

    def run(self, *, abandon: bool, say: Callable[[str], None], also_remove: Sequence[Path] = ()) -> Wiped:
        """Wipe the log. Raises StationError, with nothing removed, where undelivered events would be lost unasked."""
        loss = self.loss()
        named = ""
        if loss.events:
            if not abandon:
                raise StationError(
                    Phrase("{what} have not been delivered; nothing was removed", what=loss.text()),
                    hint=Phrase(
                        "Let sync deliver them, or carry them: `aquasmart log export`. To lose them: --abandon."
                    ),
                )
            say(Phrase("abandoned: {what}", what=loss.text()))
            named = self._name(loss)
            say(Phrase("named {where}", where=named))
        self._wipe(also_remove)
        return Wiped(loss, named)

    def _name(self, loss: Loss) -> str:
        """Say it where it stays, before it is gone."""
        header = self.new_stream()
        figures: dict[str, Any] = {"events": loss.events, "volume_ul": loss.volume_ul, "meters": loss.meters}
        now_ms, mono_ms = self.clock.wall_ns() // 1_000_000, self.clock.mono_ns() // 1_000_000
        writer = LogWriter(self.log)
        try:
            writer.open()
            writer.append([Draft(header, Kind.DIAGNOSTIC, now_ms, mono_ms, 0, data={"abandoned": figures})])
        finally:
            writer.close()
        if self.deliver(str(header.id)):
            return Phrase("in the cloud's ledger")
        target = self.log.parent / f"factory-reset-{now_ms}.bundle"
        export_log(self.log, target, self.identity, now_ms, only_stream=str(header.id))
        text = f"factory reset of {self.identity.station_id}: {loss.text()} abandoned\n"
        write_durably(target.with_suffix(".txt"), text)
        return Phrase("in {path}: take it to the cloud with aquasmart-cloud import", path=target)

    def _wipe(self, also_remove: Sequence[Path]) -> None:
        try:
            shutil.rmtree(self.log.parent / "quarantine", ignore_errors=True)
            for path in [*sorted(self.log.parent.glob(self.log.name + "*")), *also_remove]:
                path.unlink(missing_ok=True)
            if self.log.parent.exists():
                sync_folder(self.log.parent)
        except OSError as fault:
            raise StationError(
                Phrase("not everything could be removed: {fault}", fault=fault),
                hint=Phrase("Correct this and run it again."),
            ) from fault
