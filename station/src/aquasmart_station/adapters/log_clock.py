"""What log.db knows of time: the offset of each boot (writer: reader) and the cloud's last word (writer: sync)."""

from __future__ import annotations

import sqlite3

from ..core.boot_clock import BootOffset

_NOTE_OFFSET = """
INSERT INTO boot_clock VALUES (?, ?, ?, ?)
ON CONFLICT (boot_id) DO UPDATE SET offset_ms = excluded.offset_ms, source = excluded.source,
  at_mono_ms = excluded.at_mono_ms
"""
_NOTE_CLOUD_TIME = """
INSERT INTO cloud_time VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET server_time_ms = excluded.server_time_ms
"""


def note_boot_offset(connection: sqlite3.Connection, boot_id: str, offset: BootOffset) -> None:
    """Store what is known of a boot. Repeatable: the same again changes nothing. Raises sqlite3.Error."""
    connection.execute(_NOTE_OFFSET, (boot_id, offset.offset_ms, offset.source, offset.at_mono_ms))


def boot_offsets(connection: sqlite3.Connection) -> dict[str, BootOffset]:
    """What is known, by boot id. Empty for a log of version 1, which an export or the check may read as it is."""
    try:
        found = connection.execute("SELECT boot_id, offset_ms, source, at_mono_ms FROM boot_clock").fetchall()
    except sqlite3.OperationalError as fault:
        if _no_table(fault):
            return {}
        raise
    return {boot_id: BootOffset(offset_ms, source, at_mono_ms) for boot_id, offset_ms, source, at_mono_ms in found}


def note_cloud_time(connection: sqlite3.Connection, server_time_ms: int) -> None:
    """Store the time of an answer whose signature verified. Raises sqlite3.Error."""
    connection.execute(_NOTE_CLOUD_TIME, (server_time_ms,))


def cloud_time_ms(connection: sqlite3.Connection) -> int | None:
    """The cloud's time in the last answer that verified, to the hour; None where there was none."""
    try:
        found = connection.execute("SELECT server_time_ms FROM cloud_time").fetchone()
    except sqlite3.OperationalError as fault:
        if _no_table(fault):
            return None
        raise
    return None if found is None else int(found[0])


def _no_table(fault: sqlite3.OperationalError) -> bool:
    return "no such table" in str(fault)
