"""Exports: whose log, signed by which key, written where."""

from __future__ import annotations

import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..adapters.log_file import open_log_read_only
from ..adapters.quarantine import PARTS
from ..config import Config
from ..core.conversation import Identity
from ..core.errors import LogError, StationError
from ..core.phrases import Phrase
from .keys import keyring_of


@dataclass(frozen=True, slots=True)
class Source:
    """A log and who it belongs to."""

    log: Path
    identity: Identity


def own_source(config: Config) -> Source:
    """This station's own log."""
    return Source(config.log_path, keyring_of(config).current)


def card_source(folder: Path, *, station_id: str | None, key_id: str | None, key_file: Path | None) -> Source:
    """The log of another card, under its own identity: its station.toml and key, or as given. Raises StationError."""
    said = _said(folder)
    cloud = said.get("cloud")
    cloud = cloud if isinstance(cloud, dict) else {}
    station_id, key_id = station_id or _text(said, "station_id"), key_id or _text(cloud, "key_id")
    said_key = _text(cloud, "key_file")
    if key_file is None and said_key is not None:
        key_file = _on_card(folder, said_key)
    if station_id is None or key_id is None or key_file is None:
        raise StationError(
            Phrase("{folder} does not say whose log it is", folder=folder),
            hint=Phrase(
                "Where the card's station.toml is not in that folder, give --station-id, --key-id and --key-file."
            ),
        )
    log = folder / "log.db"
    if not log.exists():
        log = _on_card(folder, _text(said, "state_dir") or "/var/lib/aquasmart") / "log.db"
    if not log.exists():
        raise StationError(
            Phrase("there is no log.db in {folder}", folder=folder),
            hint=Phrase("Name the folder of the card that holds log.db."),
        )
    return Source(log, Identity(station_id, key_id, __version__, _key(key_file)))


def _text(table: dict[str, Any], name: str) -> str | None:
    value = table.get(name)
    return value if isinstance(value, str) and value else None


def _on_card(folder: Path, path: str) -> Path:
    """A path of the card's own configuration: an absolute one is meant within the card, never on this board."""
    return folder / path.lstrip("/")


@contextmanager
def readable(log: Path, scratch: Path) -> Iterator[Path]:
    """The log; a copy of it where it lies on something that cannot be written, which SQLite needs to read a -wal."""
    try:
        open_log_read_only(log).close()
    except LogError:
        try:
            with tempfile.TemporaryDirectory(dir=scratch, prefix=".aquasmart-card-") as folder:
                for part in PARTS[:2]:
                    source = log.with_name(log.name + part)
                    if source.exists():
                        shutil.copyfile(source, Path(folder) / source.name)
                yield Path(folder) / log.name
        except OSError as fault:
            raise StationError(
                Phrase(
                    "{log} cannot be copied to {scratch}: {strerror}", log=log, scratch=scratch, strerror=fault.strerror
                )
            ) from fault
        return
    yield log


def target_of(path: Path, station_id: str, now_ms: int) -> Path:
    """The bundle's file: `path` itself, or a name of its own in it where it is a folder."""
    if not path.is_dir():
        return path
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return path / f"aquasmart-{station_id}-{stamp}.bundle"


def _said(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "station.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise StationError(
            Phrase("{folder} cannot be read: {fault}", folder=folder / "station.toml", fault=fault)
        ) from fault


def _key(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise StationError(Phrase("the key {path} cannot be read: {fault}", path=path, fault=fault)) from fault
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise StationError(Phrase("{path} must hold 64 lower-case hex digits", path=path))
    return bytes.fromhex(text)
