"""Lines for the journal by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), or plainly to stderr without one.

Never waits and never raises: what is worth saying is also in live.db and the log. Only the words and fields that a
service hands over are written; nothing here knows a key or a body.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
LONGEST_VALUE = 4_096
"""A reason of the other side's may be a page long; a line need not. Far below what one datagram takes."""


class Journal:
    """Writes as `identifier`. `path` is the journal's socket."""

    def __init__(self, identifier: str, path: Path = SOCKET) -> None:
        self._identifier, self._path = identifier, path
        self._socket: socket.socket | None = None

    def say(self, priority: int, message: str, fields: Mapping[str, object]) -> None:
        """One line. `priority` as syslog's (3 error … 6 info); `fields` in capitals, shown by `journalctl -o json`."""
        entry = {
            "MESSAGE": message,
            "PRIORITY": priority,
            "SYSLOG_IDENTIFIER": self._identifier,
            **{f"AQUASMART_{name.upper()}": value for name, value in fields.items() if value not in ("", None)},
        }
        if not self._sent(b"".join(_field(name, str(value)) for name, value in entry.items())):
            self._print(message, fields)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _sent(self, datagram: bytes) -> bool:
        try:
            if self._socket is None:
                if not self._path.exists():
                    return False
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)  # noqa: FBT003
            self._socket.sendto(datagram, str(self._path))
        except OSError:
            return False
        return True

    def _print(self, message: str, fields: Mapping[str, object]) -> None:
        trace_id = fields.get("trace_id")
        line = " ".join(message.split()) + (f" trace={trace_id}" if trace_id else "")
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)


def _field(name: str, value: str) -> bytes:
    """`NAME=value`, or with an explicit length where the value has a line break, which would begin another field."""
    data = value[:LONGEST_VALUE].encode("utf-8", "replace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
