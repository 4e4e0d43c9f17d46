"""What a salvage came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Figures:
    """What was saved and what was not, for people and programs."""

    pages: int = 0
    pages_unreadable: int = 0
    streams: int = 0
    rows: int = 0
    unacknowledged_rows: int = 0
    bad_rows: int = 0
    """Rows that were there, with a checksum that does not hold or of a stream whose header is lost."""
    missing_unacknowledged: int = 0
    """Events not yet acknowledged that are gone, as far as the numbers around them tell."""
    gap_ul: int = 0
    """Volume of what is gone between saved rows: sent as gaps, exact by the neighbours' counts."""
    marks: int = 0
    marks_distrusted: int = 0
    """Marks that do not fit the rows: dropped, so that the whole stream is sent again and nothing is skipped."""
    acknowledged_left_behind: bool = False
    """The disk filled up with acknowledged rows: the rest of those stays in the quarantine."""
