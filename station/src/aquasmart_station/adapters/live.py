"""live.db: what the services show of themselves, on tmpfs. Volatile; nothing here is ever needed to be right.

A fault here is swallowed after one retry per call and shows as an old beat: the meter must not wait for a display.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..core.phrases import packed, unpacked
from ..core.showing import MeterState, ServiceState
from .durable_files import make_shared

PHRASES = "phrases"
"""Beside the figures: the same sentences with their values, for who shows them in another language."""
_METER_FIELDS = ("meter_id", "state", "epoch", "counts", "raw_counts", "flow_ul_s", "at_ms", "text", "figures")
_STATE = """
INSERT INTO {table} VALUES (1, ?, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET pid = excluded.pid,
  beat_mono_ms = excluded.beat_mono_ms, beat_at_ms = excluded.beat_at_ms, state = excluded.state,
  text = excluded.text, figures = excluded.figures
"""


class LiveBoard:
    """Writes one service's part of live.db."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self.fault = ""
        """Why nothing could be shown the last time; empty where it was."""

    def show(self, table: str, state: ServiceState, meters: list[MeterState] | None = None) -> bool:
        """Replace what is shown; False where it could not be written."""
        for _ in range(2):
            try:
                self._write(table, state, meters or [])
            except (sqlite3.Error, OSError) as fault:
                self.close()
                self.fault = str(fault)
            else:
                self.fault = ""
                return True
        return False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, table: str, state: ServiceState, meters: list[MeterState]) -> None:
        if self._connection is None or not self._path.exists():
            self.close()
            self._connection = _open(self._path)
        connection = self._connection
        assert table in {"reader_state", "sync_state"}
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                _STATE.format(table=table),
                (
                    os.getpid(),
                    state.beat_mono_ms,
                    state.beat_at_ms,
                    state.state,
                    state.text,
                    _figures(state.text, state.figures),
                ),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO reader_meter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        m.meter_id,
                        m.state,
                        m.epoch,
                        m.counts,
                        m.raw_counts,
                        m.flow_ul_s,
                        m.at_ms,
                        m.text,
                        _figures(m.text, m.figures),
                    )
                    for m in meters
                ],
            )
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def read_service(path: Path, table: str) -> ServiceState | None:
    """What a service last said; None where it never ran since the machine started."""
    assert table in {"reader_state", "sync_state"}
    rows = _rows(path, f"SELECT state, text, figures, beat_mono_ms, beat_at_ms, pid FROM {table}")  # noqa: S608
    if not rows:
        return None
    state, text, figures, mono, at, pid = rows[0]
    said, text = _read(text, figures)
    return ServiceState(state, text, said, mono, at, pid)


def asked_to_hurry(path: Path) -> bool:
    """Whether the reader is short of space and asks sync to send what it has."""
    said = read_service(path, "reader_state")
    return said is not None and bool(said.figures.get("hurry"))


def board_conditions(path: Path) -> list[str]:
    """Why the station is degraded, as the reader last said."""
    said = read_service(path, "reader_state")
    return [] if said is None else [str(reason) for reason in said.figures.get("degraded", [])]


def read_meters(path: Path) -> dict[str, MeterState]:
    """What the reader last said of each meter, by meter id."""
    rows = _rows(
        path,
        "SELECT meter_id, state, epoch, counts, raw_counts, flow_ul_s, at_ms, text, figures FROM reader_meter",
    )
    found = {}
    for row in rows:
        figures, text = _read(row[7], row[8])
        found[row[0]] = MeterState(**dict(zip(_METER_FIELDS, row, strict=True)) | {"figures": figures, "text": text})
    return found


def _figures(text: str, figures: Mapping[str, Any]) -> str:
    """Figures as JSON, with what their sentences are made of. The sentences themselves stand in English as ever."""
    phrases = {name: kept for name, value in figures.items() if isinstance(value, str) and (kept := packed(value))}
    return json.dumps({**figures, PHRASES: phrases | {"": packed(text)}})


def _read(text: str, written: str) -> tuple[dict[str, Any], str]:
    """Figures and text as they were shown; sentences can be translated again."""
    figures: dict[str, Any] = json.loads(written)
    phrases = figures.pop(PHRASES, {})
    for name in phrases.keys() & figures.keys():
        figures[name] = unpacked(phrases[name], figures[name])
    return figures, unpacked(phrases.get(""), text)


def why_unread(path: Path, table: str) -> str:
    """Why what a service shows cannot be read, in SQLite's words; empty where it can, or where there is nothing."""
    assert table in {"reader_state", "sync_state"}
    try:
        _read_rows(path, f"SELECT 1 FROM {table}")  # noqa: S608
    except sqlite3.Error as fault:
        return str(fault)
    return ""


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Before SQLite makes it: who looks at it is of the folder's group, and may be the one who makes its -shm.
    make_shared(path)
    connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        script = resources.files("aquasmart_station.adapters.sql").joinpath("live_0001.sql")
        connection.executescript(script.read_text())
    except BaseException:
        connection.close()
        raise
    return connection


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        return _read_rows(path, query)
    except sqlite3.Error:
        return []


def _read_rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.5)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
