"""`aquasmart log verify`: what the log holds and whether it is sound, in one document. Reads only, in short looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..adapters.examination import examine
from ..adapters.log_view import LogView
from ..core.errors import LogError
from ..core.phrases import Phrase


def verify_log(log: Path, mono_s: Callable[[], float]) -> dict[str, Any]:
    """Every row's checksum, and what is not yet acknowledged; volumes in µl. Raises LogError."""
    in_use = log.with_name(log.name + "-shm").exists()
    # SQLite's own check is one long read transaction: not beside services that write.
    found = examine(log, mono_s=mono_s, structure=not in_use)
    if not found.exists and not found.damage:
        raise LogError(
            Phrase("there is no log at {log}", log=log), hint=Phrase("It is created when the reader first starts.")
        )
    report: dict[str, Any] = {
        "log": str(log),
        "damage": found.damage,
        "rows": found.rows,
        "bad_rows": found.bad_rows,
        "structure": found.structure,
        "streams": 0,
        "pending": 0,
        "pending_ul": 0,
    }
    if found.damage and not found.bad_rows:
        return report
    with LogView(log) as view:
        for standing in view.standings():
            waiting = standing.header.volume_ul(standing.last_counts) - standing.header.volume_ul(standing.acked_counts)
            report["streams"] += 1
            report["pending"] += standing.pending
            report["pending_ul"] += max(0, waiting)
    return report
