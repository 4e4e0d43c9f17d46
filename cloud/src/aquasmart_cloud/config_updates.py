"""Where bundles of images lie, how large one may be, and whose signatures they bear: settings, read and judged.

Part of `config`, which calls it; no file is opened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MOST_MIB = 2_048
_MOST_MIB = 1 << 20
FOLDER = "bundles"


@dataclass(frozen=True, slots=True)
class Updates:
    """What was judged usable."""

    folder: Path = Path(FOLDER)
    """Of every node that answers stations, where there are several: a folder that they share."""
    most_bytes: int = DEFAULT_MOST_MIB << 20
    keyring: Path | None = None
    """None: signatures are left to the stations, which verify each in any case."""


def read_updates(env: Mapping[str, str], beside: Path, faults: list[str]) -> Updates:
    """The settings; what is wrong with them is appended to `faults`. `beside`: where the secrets are."""
    text = env.get("AQUASMART_BUNDLE_MOST_MIB") or str(DEFAULT_MOST_MIB)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST_MIB):
        faults.append(f"AQUASMART_BUNDLE_MOST_MIB must be a size in MiB from 1, not {text!r}")
        text = str(DEFAULT_MOST_MIB)
    keyring = env.get("AQUASMART_RAUC_KEYRING") or None
    if keyring is not None and not Path(keyring).is_file():
        faults.append(f"AQUASMART_RAUC_KEYRING names {keyring}, which is no file: the certificates that bundles bear")
    folder = Path(env.get("AQUASMART_BUNDLE_FOLDER") or beside / FOLDER)
    return Updates(folder, int(text) << 20, None if keyring is None else Path(keyring))
