"""The part of the configuration that concerns what people see: the LED and the panel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .core.phrases import LANGUAGES, Phrase

if TYPE_CHECKING:
    from .config_table import Table

LANGUAGE = re.compile("|".join(LANGUAGES))
LED_NAME = re.compile(r"[A-Za-z0-9:._-]{1,64}")
OWN_NETWORKS = ("127.0.0.0/8", "::1/128", "192.168.77.0/24", "fe80::/64")
"""Where the panel answers unless said otherwise: the board itself, and the network it makes for a technician."""


@dataclass(frozen=True, slots=True)
class LedConfig:
    name: str | None
    """None: the first of the usual names that the board has."""
    folder: Path


@dataclass(frozen=True, slots=True)
class PanelConfig:
    """The technician's page."""

    networks: tuple[str, ...]
    """Addresses outside get no answer."""
    pin_file: Path
    idle_stop_s: float
    language: str
    """Of a visitor whose browser asks for none that we speak."""


def led_config(table: Table) -> LedConfig:
    config = LedConfig(
        name=table.text("name", LED_NAME) if table.raw("name") is not None else None,
        folder=Path(table.text("folder", default="/sys/class/leds")),
    )
    table.done()
    return config


def panel_config(table: Table, folder: Path) -> PanelConfig:
    config = PanelConfig(
        networks=_networks(table),
        pin_file=folder / table.text("pin_file", default="/etc/aquasmart/panel.pin"),
        idle_stop_s=table.number("idle_stop_s", 600, 1, 86_400),
        language=table.text("language", LANGUAGE, default=LANGUAGES[0]),
    )
    table.done()
    return config


def _networks(table: Table) -> tuple[str, ...]:
    listed = table.raw("networks")
    if listed is None:
        return OWN_NETWORKS
    from ipaddress import ip_network  # a megabyte that the reader does without where nothing is set

    for each in listed if isinstance(listed, list) else [listed]:
        try:
            ip_network(each if isinstance(each, str) else "")
        except ValueError:
            table.fault("networks", Phrase("{each!r} is not a network such as 192.168.77.0/24", each=each))
    return tuple(listed) if isinstance(listed, list) else ()
