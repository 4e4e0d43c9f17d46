"""What the panel must remember while it is not running: wrong PINs and the key of its sessions. On tmpfs, 0600.

A restart of the board forgets both: everybody signs in again, and a guesser who can switch the board off and on has
other ways. Nothing else lives here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from pathlib import Path

from ..core.pin import Tries


class PanelState:
    """The file, read at each look and replaced whole at each change. Safe in any thread of one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def session_key(self) -> bytes:
        """The key that sessions are signed with, made at first use. Raises OSError."""
        with self._lock:
            kept = self._read()
            if "session_key" not in kept:
                kept["session_key"] = secrets.token_hex(32)
                self._write(kept)
            return bytes.fromhex(str(kept["session_key"]))

    def begin_try(self, now_s: int) -> int:
        """Count a try as wrong until `forgive`; how long to wait where it may not be made, and then it is not counted.

        Raises OSError: a try that cannot be counted is not made.
        """
        with self._lock:
            kept = self._read()
            tries = _tries(kept)
            wait_s = tries.wait_s(now_s)
            if not wait_s:
                tries = tries.one_more(now_s)
                self._write(kept | {"wrong": tries.wrong, "last_s": tries.last_s})
            return wait_s

    def forgive(self) -> None:
        """The PIN was right. Raises OSError."""
        with self._lock:
            self._write(self._read() | {"wrong": 0, "last_s": 0})

    def _read(self) -> dict[str, object]:
        try:
            kept = json.loads(self._path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(kept, file)
        fresh.replace(self._path)


def _tries(kept: dict[str, object]) -> Tries:
    wrong, last_s = kept.get("wrong", 0), kept.get("last_s", 0)
    return Tries(wrong, last_s) if isinstance(wrong, int) and isinstance(last_s, int) else Tries()
