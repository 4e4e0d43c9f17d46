"""The part of the configuration that concerns updates of the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config_table import Table


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """Nothing here need be set on a station that was made from an image."""

    folder: Path
    """Root's own, on the data partition: the bundle while it is fetched, and how far it has come."""
    image_file: Path
    """What the present image says of itself."""
    ask_s: float
    """How often the cloud is asked for an update."""
    quiet_s: float
    """So long without a count before anything is begun."""


def update_config(table: Table, folder: Path) -> UpdateConfig:
    config = UpdateConfig(
        folder=folder / table.text("folder", default="/var/lib/aquasmart-update"),
        image_file=folder / table.text("image_file", default="/etc/aquasmart/image.json"),
        ask_s=table.number("ask_s", 3_600, 1, 86_400),
        quiet_s=table.number("quiet_s", 10, 1, 3_600),
    )
    table.done()
    return config
