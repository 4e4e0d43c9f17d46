"""The station's errors: one small tree, each with a hint for the person who reads it.

Nothing here does I/O. A `hint` says what to do next, in words a technician can act on.
"""

from __future__ import annotations

from .phrases import Phrase, counted, joined


class StationError(Exception):
    """Anything the station can name. `hint` says what to do about it. Both may be phrases (core/phrases.py), which
    `str()` of the error is not: it is English."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class BadFrame(StationError):
    """Bytes from a meter that are not a whole, valid answer. The poll is dropped, never guessed."""


class LinkDown(StationError):
    """The port is missing, in use, or was unplugged. Close, wait, open again by its stable name."""


class NoAnswer(StationError):
    """The meter said nothing, or nothing whole, within the deadline."""


class BadConfig(StationError):
    """A configuration file that cannot be used. `faults` names every fault at once."""

    def __init__(self, path: str, faults: list[str]) -> None:
        self.faults = faults
        said = counted(
            "{path}: {n} fault in the configuration", "{path}: {n} faults in the configuration", len(faults), path=path
        )
        super().__init__(
            joined("\n  - ", [said, *faults]),
            hint=Phrase("Nothing was started. Correct the file and start again."),
        )


class LogError(StationError):
    """The station's log could not be opened, read or appended to."""


class LogFull(LogError):
    """The disk has no room for the log. Never a sign of a broken file; nothing is lost, the meter remembers."""


class RowDamaged(LogError):
    """A row of the log whose CRC does not match its contents."""


class LogDamaged(LogError):
    """The log's file is malformed (SQLite's CORRUPT or NOTADB): only `aquasmart check` can help."""


class LogBusy(LogError):
    """The log is in use by somebody who does not let go of it. Nothing is wrong with it."""


class Fenced(LogError):
    """Another sync process has taken over; this one may not write any more."""


class CountsOutOfRange(StationError):
    """A position that the wire and the books cannot carry: counts · ul_num must stay below 2^63."""


class BadOperation(StationError):
    """An operation that cannot be sent: unknown type, missing parameter, unreadable. Refused before any request."""


class NotThis(StationError):
    """What was offered must not be taken by this station, now or later; nothing of it was."""


class NotNow(StationError):
    """What was asked cannot be done at this moment, and nothing of it was; later it may."""


class OpsError(StationError):
    """The station's ops.db could not be opened, read or written."""


class UpdateError(StationError):
    """A bundle that cannot be installed, or an image that cannot be marked good. Nothing that counts was changed."""
