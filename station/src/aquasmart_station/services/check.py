"""`aquasmart check`: is the log sound, and if not, save what can be saved, before the services start.

Runs alone: under an exclusive lock that reader and sync hold shared. Where they hold it, it only looks and says. A full
disk, an I/O error, a missing permission or a lock is an error to report, never a reason to move the log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..adapters.durable_files import write_durably
from ..adapters.examination import Examination, examine
from ..adapters.log_file import lock
from ..adapters.log_writer import LogWriter
from ..adapters.quarantine import (
    Intent,
    begin,
    discard_fresh,
    finish,
    in_place,
    move,
    pending_intent,
    put_in_place,
)
from ..adapters.salvage import salvage, seal
from ..adapters.salvage_figures import Figures
from ..core.errors import LogBusy, LogError
from ..core.model import Draft, Kind, StreamHeader
from ..core.phrases import Phrase, joined
from ..core.showing import litres

REPORT = "report"
QUICK_S = 1.5
"""How long the look before the services start may take: recovery to the first commit has five seconds on a Pi."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `check` found and did. `state`: none, sound, salvaged, damaged (seen, not touched), busy (seen, sound)."""

    state: str
    examination: Examination
    reason: str = ""
    figures: Figures | None = None
    folder: Path | None = None

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "state": self.state,
            "reason": self.reason,
            "examination": asdict(self.examination),
            "salvage": None if self.figures is None else asdict(self.figures),
            "quarantine": None if self.folder is None else str(self.folder),
        }


@dataclass(frozen=True, slots=True)
class Checker:
    """Everything the check needs; time and identities are parameters. `new_stream` opens a meterless stream."""

    log: Path
    lock: Path
    mono_s: Callable[[], float]
    now_ms: Callable[[], int]
    mono_ms: Callable[[], int]
    new_stream: Callable[[], StreamHeader]

    def check(self, *, full: bool = False, force: bool = False) -> Verdict:
        """Look; quarantine and salvage what is damaged. Raises LogError for what is no damage.

        `full`: all rows and the whole structure, however long it takes. `force`: a person asked for a salvage whatever
        is found, also from a disk that cannot give all of it any more (`aquasmart log salvage --force`).
        """
        with _exclusive(self.lock) as ours:
            try:
                return self._alone(full=full, force=force) if ours else self._beside_services(full=full)
            except (OSError, ValueError) as fault:
                raise LogError(
                    Phrase("the check could not be done: {fault}", fault=fault),
                    hint=Phrase("Nothing is lost; correct this and run it again."),
                ) from fault

    def _alone(self, *, full: bool, force: bool) -> Verdict:
        intent = pending_intent(self.log)
        found = Examination()
        if intent is None:
            found = self._examine(full=full, force=force)
            if not found.damage and not (force and found.exists):
                return Verdict("sound" if found.exists else "none", found)
            reason = joined("; ", found.damage) or "a salvage was asked for"
            intent = begin(self.log, reason, self.now_ms(), skip_unreadable=force)
        figures = self._save(intent)
        return Verdict("salvaged", found, intent.reason, figures, intent.folder)

    def _beside_services(self, *, full: bool) -> Verdict:
        # SQLite's own check is one long read transaction, which would keep the log from being checkpointed.
        within_s = None if full else QUICK_S
        found = examine(self.log, mono_s=self.mono_s, within_s=within_s, structure=False)
        reason = joined("; ", found.damage)
        return Verdict("damaged" if reason else "busy", found, reason)

    def _examine(self, *, full: bool, force: bool) -> Examination:
        try:
            return examine(self.log, mono_s=self.mono_s, within_s=None if full else QUICK_S)
        except LogBusy:
            raise
        except LogError as fault:
            if not force:
                raise
            return Examination(damage=[str(fault)])

    def _save(self, intent: Intent) -> Figures:
        """Every step may be cut and is done again by the next check; the last one forgets the intent."""
        if not in_place(intent):
            move(intent)
            discard_fresh(intent)
            figures = salvage(intent.quarantined, intent.fresh, skip_unreadable=intent.skip_unreadable)
            self._leave_word(intent, figures)
            seal(intent.fresh)
            self._report(intent, figures)
            put_in_place(intent)
        figures = Figures(**json.loads((intent.folder / f"{REPORT}.json").read_text())["salvage"])
        finish(intent)
        return figures

    def _leave_word(self, intent: Intent, figures: Figures) -> None:
        """The event that the operator sees: in the new log before it is in place, so that it cannot be missing."""
        data = {"salvage": {"reason": intent.reason[:500], "folder": intent.folder.name, **asdict(figures)}}
        writer = LogWriter(intent.fresh)
        try:
            writer.open()
            header = self.new_stream()
            writer.append([Draft(header, Kind.DIAGNOSTIC, self.now_ms(), self.mono_ms(), 0, data=data)])
        finally:
            writer.close()

    def _report(self, intent: Intent, figures: Figures) -> None:
        document = {"reason": intent.reason, "at_ms": intent.at_ms, "salvage": asdict(figures)}
        write_durably(intent.folder / f"{REPORT}.txt", "\n".join(report_lines(intent.reason, figures)) + "\n")
        write_durably(intent.folder / f"{REPORT}.json", json.dumps(document, indent=2) + "\n")


def report_lines(reason: str, figures: Figures) -> list[str]:
    """What a technician needs to know of a salvage."""
    lines: list[str] = [
        Phrase("damage: {reason}", reason=reason),
        Phrase("saved: {rows} events of {streams} streams", rows=figures.rows, streams=figures.streams),
        Phrase("of these not yet acknowledged by the cloud: {n}", n=figures.unacknowledged_rows),
        Phrase(
            "lost: {n} events not yet acknowledged; {bad} rows were damaged",
            n=figures.missing_unacknowledged,
            bad=figures.bad_rows,
        ),
    ]
    if figures.gap_ul:
        volume = litres(figures.gap_ul, 6)
        lines.append(
            Phrase("volume of lost events between saved ones: {litres} L, kept exactly as gaps", litres=volume)
        )
    lines.append(Phrase("what the meter counted since the last saved event comes back with the reader's next reading"))
    if figures.pages_unreadable:
        unreadable = figures.pages_unreadable
        lines.append(Phrase("the disk could not give {n} pages: replace the card", n=unreadable))
    if figures.marks_distrusted:
        lines.append(
            Phrase("{n} streams are sent again whole: their marks did not fit their events", n=figures.marks_distrusted)
        )
    if figures.acknowledged_left_behind:
        lines.append(
            Phrase("the disk was too full for all acknowledged events; the rest of them is in the quarantine only")
        )
    return lines


@contextmanager
def _exclusive(path: Path) -> Any:
    """The log's lock, exclusively; False where the services hold it."""
    try:
        descriptor = lock(path, exclusive=True)
    except BlockingIOError:
        yield False
        return
    except OSError as fault:
        raise LogError(Phrase("{path} cannot be locked: {strerror}", path=path, strerror=fault.strerror)) from fault
    try:
        yield True
    finally:
        os.close(descriptor)
