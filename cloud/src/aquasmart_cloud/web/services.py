"""What the blueprints need from the application: its configuration, database and stations.

Only the bundle and its look-up; it is made once, by `web.app.create_app`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import current_app

from aquasmart_cloud.config import Config
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations

from .doorstep import Doorstep
from .turnstile import FleetSize, Turnstile

EXTENSION = "aquasmart"


@dataclass(frozen=True, slots=True)
class Cloud:
    """One application's services."""

    config: Config
    database: Database
    stations: Stations
    turnstile: Turnstile
    doorstep: Doorstep
    fleet: FleetSize
    clock_ms: Callable[[], int]
    """Unix milliseconds; tests pass their own."""


def cloud() -> Cloud:
    """The services of the application that is answering."""
    return cast("Cloud", current_app.extensions[EXTENSION])
