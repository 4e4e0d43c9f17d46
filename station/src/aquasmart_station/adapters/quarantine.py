"""Moving a damaged log out of the way, so that a cut at any step can be repeated and ends in the same result.

An *intent* file beside the log says that a quarantine has begun and where it goes. It is durable before the first file
moves and removed after the last step; while it is there, reader and sync do not start (wiring/running.py), so nobody
opens half of a log, or a salvaged file beside an old `-wal`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .durable_files import sync_file, sync_folder, write_durably

PARTS = ("", "-wal", "-shm")
"""log.db is these three files together. Separated, SQLite silently lays an old write-ahead log over a new file."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A quarantine under way."""

    log: Path
    folder: Path
    reason: str
    at_ms: int
    skip_unreadable: bool
    """Asked for by a person: go on without what the disk cannot give any more."""

    @property
    def quarantined(self) -> Path:
        """Where log.db lies once it has been moved."""
        return self.folder / self.log.name

    @property
    def fresh(self) -> Path:
        """The log being built. Its name is another one, so that no `-wal` of the old log can ever fit it."""
        return self.log.with_name(self.log.name + ".new")


def intent_path(log: Path) -> Path:
    return log.with_name(log.name + ".salvage")


def pending_intent(log: Path) -> Intent | None:
    """The quarantine that was begun and not finished. Raises OSError, ValueError."""
    try:
        said = json.loads(intent_path(log).read_text())
    except FileNotFoundError:
        return None
    return Intent(
        log, log.parent / "quarantine" / said["folder"], said["reason"], said["at_ms"], said["skip_unreadable"]
    )


def begin(log: Path, reason: str, now_ms: int, *, skip_unreadable: bool = False) -> Intent:
    """Decide where the log goes, durably. Raises OSError."""
    shelf = log.parent / "quarantine"
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name, number = stamp, 1
    while (shelf / name).exists():
        number += 1
        name = f"{stamp}-{number}"
    intent = Intent(log, shelf / name, reason, now_ms, skip_unreadable)
    document = {"folder": name, "reason": reason, "at_ms": now_ms, "skip_unreadable": skip_unreadable}
    write_durably(intent_path(log), json.dumps(document))
    return intent


def move(intent: Intent) -> None:
    """Take the log's three files into the folder; those that were moved before a cut stay. Raises OSError."""
    if _moved(intent).exists():
        return
    intent.folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = intent.log.with_name(intent.log.name + part)
        if source.exists():
            source.rename(intent.folder / source.name)
    for folder in (intent.folder, intent.folder.parent, intent.log.parent):
        sync_folder(folder)
    write_durably(_moved(intent), intent.reason + "\n")


def put_in_place(intent: Intent) -> None:
    """Make the new log the log: whole, alone and durable. Raises OSError."""
    # Nobody can have made these while the intent stands; if somebody did, they are evidence and no part of this log.
    for part in PARTS[1:]:
        stray = intent.log.with_name(intent.log.name + part)
        if stray.exists():
            stray.rename(intent.folder / f"stray{part}")
    sync_file(intent.fresh)
    intent.fresh.replace(intent.log)
    sync_folder(intent.log.parent)


def in_place(intent: Intent) -> bool:
    """Whether the new log is the log already: the old one was moved, and there is one."""
    return _moved(intent).exists() and intent.log.exists()


def finish(intent: Intent) -> None:
    """Forget the intent: reader and sync may start. Raises OSError."""
    discard_fresh(intent)
    intent_path(intent.log).unlink(missing_ok=True)
    sync_folder(intent.log.parent)


def discard_fresh(intent: Intent) -> None:
    """Remove what a cut left of an unfinished new log."""
    for part in (*PARTS, "-journal"):
        intent.fresh.with_name(intent.fresh.name + part).unlink(missing_ok=True)


def _moved(intent: Intent) -> Path:
    """Present once all three files lie in the folder."""
    return intent.folder / "moved"
