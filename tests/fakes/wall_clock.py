"""A process's wall clock, and nothing else of it, other than the machine's: libfaketime, preloaded.

Not the `faketime` program: it makes a semaphore named by its process id and leaves it where it is killed, as tests do,
and refuses to start where the next process of that id finds it. The library by itself passes it over.
"""

from __future__ import annotations

import os
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")


def shifted(shift: str) -> list[str]:
    """What to start a process under so that its wall clock differs: "+3h", "-2d"."""
    return _under(f"FAKETIME={shift}")


class WallClock:
    """What processes started under `prefix` read as wall time; may be set while they run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.prefix = _under(f"FAKETIME_TIMESTAMP_FILE={file}", "FAKETIME_NO_CACHE=1")

    def at(self, shift_s: int) -> None:
        """So many seconds beside the true time. Replaced whole: a process may be reading it."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{shift_s:+d}\n")
        part.replace(self._file)


def _under(*settings: str) -> list[str]:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        raise FileNotFoundError("libfaketime is not here: apt-get install faketime")
    return ["env", f"LD_PRELOAD={library}", "DONT_FAKE_MONOTONIC=1", *settings]


def sweep() -> int:
    """Remove what the library has left in shared memory for processes that are no more. Returns how many files."""
    # Sorted, the memory goes before its semaphore: the library ends a process that finds memory alone.
    swept = 0
    for file in sorted(_SHARED_MEMORY.glob("*faketime_s[eh]m_*")):
        pid = file.name.rpartition("_")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and file.stat().st_uid == os.getuid():
            file.unlink(missing_ok=True)
            swept += 1
    return swept
