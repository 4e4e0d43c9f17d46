"""What the kernel says of a process: resident memory and processor time (proc(5)). Reading only, by whoever asks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    resident_bytes: int
    cpu_s: float
    """User and system time since the process started."""


def usage_of(pid: int) -> ProcessUsage | None:
    """None where there is no such process any more."""
    try:
        # The name in the second field may hold blanks and brackets; what follows its last bracket may not.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        pages = int(fields[21])
    except (OSError, ValueError, IndexError):
        return None
    return ProcessUsage(pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))
