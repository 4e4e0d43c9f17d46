"""Provisioning as tests/fakes/boundaries.py runs it: `provision(folder)` in a folder that holds the boot file."""

from __future__ import annotations

from pathlib import Path

from aquasmart_station.services.boot_provisioning import Outcome, at_boot
from aquasmart_station.services.provisioning import Done, Places
from aquasmart_station.services.provisioning import provision as run


def places(folder: Path) -> Places:
    (folder / "etc").mkdir(exist_ok=True)
    return Places(folder / "etc" / "station.toml", folder / "network")


def provision(folder: str) -> Done:
    return run(Path(folder) / "aquasmart.toml", places(Path(folder)))


def provision_at_boot(folder: str) -> Outcome:
    return at_boot(Path(folder) / "aquasmart.toml", places(Path(folder)))
