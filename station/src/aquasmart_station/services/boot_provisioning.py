"""Provisioning without a person: what the boot partition's file asks for, once, and a word beside it for a laptop.

A file that was dealt with is not dealt with again until it has changed: what was set on the station since stands, and
a start of every day writes nothing. The note of it is the last thing written. A cut before that repeats all of it,
which ends in the same files (services/provisioning.py); a cut after it leaves nothing to do.

A file with faults changes nothing: the station counts on with what it has. The faults go to the caller and into
`aquasmart-provision.txt` beside the file. Nothing depends on that text: it may be torn by a cut, or missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..adapters.durable_files import write_durably
from ..adapters.provision_files import PUBLIC, CannotWrite, put
from ..core.provisioning import BadProvision, read_plan, wipe_ranges
from .provisioning import Done, Places, provision

BOOT_FILES = (Path("/boot/firmware/aquasmart.toml"), Path("/boot/aquasmart.toml"))
"""Where a laptop's file appears: Raspberry Pi OS since 12, other boards. The unit's conditions are the same."""
NOTE = ".provisioned.json"
REPORT = "aquasmart-provision.txt"
SHORTEST = 4
"""A shorter secret is not looked for in words: it would stand in every second one."""
_LINE_END = "\r\n"
"""Of every laptop's editor."""
_LIKE_A_KEY = re.compile(r"[0-9a-fA-F]{33,}")
"""A key in the wrong place, or with a digit missing, is still most of a key. A board's id has 32 digits."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the file. `text`: one line for people, without any secret."""

    state: Literal["done", "unchanged", "faults", "failed"]
    text: str
    done: Done | None = None
    faults: tuple[str, ...] = ()


def boot_file(candidates: Sequence[Path] = BOOT_FILES) -> Path:
    """The first that is there; the usual one where none is."""
    return next((path for path in candidates if path.is_file()), candidates[0])


def at_boot(source: Path, places: Places) -> Outcome:
    """Provision from `source` unless that has been done. Never raises for what is wrong with the file or the disk."""
    standing, noted = places.config.is_file(), _noted(places)
    unchanged = Outcome("unchanged", f"{source} has not changed since this station was provisioned from it")
    if standing and noted == _seen(source):
        return unchanged
    try:
        if standing and noted is None and _dealt_with_by_hand(source):
            remember(source, places)
            return unchanged
        if noted is None:
            # That it was begun: after a cut, stars in the file alone do not say that everything is done.
            put(places.folder / NOTE, json.dumps({"path": str(source), "sha256": ""}) + "\n", PUBLIC)
        done = provision(source, places)
        # The word first: after the note nothing is done again.
        _leave_word(source, _done_text(source, done))
        remember(source, places)
    except BadProvision as fault:
        faults = tuple(_without_secrets(each, source) for each in fault.faults)
        _leave_word(source, _faults_text(source, faults, standing=standing))
        return Outcome("faults", f"{source} cannot be used: {'; '.join(faults)}. {_stands(standing)}", faults=faults)
    except (CannotWrite, OSError) as fault:
        said = _without_secrets(f"{fault} {getattr(fault, 'hint', '')}".strip(), source)
        _leave_word(source, f"AquaSmart could not do what {source.name} asks for:\n\n{said}\n\nIt is tried again.\n")
        return Outcome("failed", said)
    return Outcome("done", f"station {done.station_id} is provisioned from {source}, key {done.key_id}", done)


def remember(source: Path, places: Places) -> None:
    """Note that `source`, as it is now, has been dealt with. Raises CannotWrite."""
    path, digest = _seen(source)
    put(places.folder / NOTE, json.dumps({"path": path, "sha256": digest}) + "\n", PUBLIC)


def _noted(places: Places) -> tuple[str, str] | None:
    try:
        note = json.loads((places.folder / NOTE).read_text(encoding="utf-8"))
        return str(note["path"]), str(note["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seen(source: Path) -> tuple[str, str]:
    """A file by its name and content; without the secrets, which are stars once it has been dealt with."""
    try:
        return str(source), hashlib.sha256(source.read_bytes()).hexdigest()
    except OSError:
        return str(source), ""


def _dealt_with_by_hand(source: Path) -> bool:
    """Whether the file's key was moved to this station before there was a note: by a person's command, or by an older
    version of this software. Applied once more it would set back what was changed on the station since."""
    try:
        return read_plan(str(source), source.read_bytes()).key is None
    except (OSError, BadProvision):
        return False


def _stands(standing: bool) -> str:
    return "The former settings stand." if standing else "This station is not set up yet."


def _faults_text(source: Path, faults: Sequence[str], *, standing: bool) -> str:
    number = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}"
    lines = [f"AquaSmart could not use {source.name}: {number}.", ""]
    lines += [f"  - {fault}" for fault in faults]
    lines += ["", f"Nothing was changed. {_stands(standing)}", "Correct the file and start the station again."]
    return "\n".join(lines) + "\n"


def _done_text(source: Path, done: Done) -> str:
    lines = [f"AquaSmart has set this station up from {source.name}.", ""]
    lines += [f"station      {done.station_id}", f"key          {done.key_id}, fingerprint {done.key_fingerprint}", ""]
    lines += ["The secrets in the file were moved to the station and replaced by stars.", "To change a setting, edit"]
    lines[-1] += " the file and start the station again; what shows stars stays as it is."
    return "\n".join(lines) + "\n"


def _without_secrets(text: str, source: Path) -> str:
    """Faults name settings and not their values, as a rule. What a person put in the wrong place is no exception."""
    with contextlib.suppress(OSError):
        data = source.read_bytes()
        for offset, length in (each for each in wipe_ranges(data) if each[1] >= SHORTEST):
            text = text.replace(data[offset : offset + length].decode("utf-8", "replace"), "*" * 8)
    return _LIKE_A_KEY.sub("*" * 8, text)


def _leave_word(source: Path, text: str) -> None:
    """The text beside the file, if its partition takes it: FAT has no modes to set, and nothing depends on it."""
    path = source.with_name(REPORT)
    text = text.replace("\n", _LINE_END)
    with contextlib.suppress(OSError):
        if not path.is_file() or path.read_bytes() != text.encode():
            write_durably(path, text)
