"""The audit of whatever somebody names, or of everything: stations and senders of foreign events, one after the other.

Choosing and ordering only; what is verified stands in store.auditing and store.foreign_auditing. A station that signs
foreign events is both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aquasmart_cloud.store.auditing import Audit, verify_station
from aquasmart_cloud.store.clients import PREFIX
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.foreign_auditing import ForeignAudit, rebuild_sender, senders, verify_sender
from aquasmart_cloud.store.rebuilding import rebuild_station
from aquasmart_cloud.store.replaying import Finding
from aquasmart_cloud.store.stations import Stations

Progress = Callable[[str, int, int], None]
"""Told whose batches or events are looked at, how many were, and of how many."""


def verify(
    database: Database, stations: Stations, name: str | None, progress: Progress = lambda *_: None
) -> Iterator[Audit | ForeignAudit]:
    """Audit a station or a sender of foreign events by its id; None: all of them.

    Errors: StationError or ClientError for an id that is nobody's; DatabaseError, SealError.
    """
    for station_id in _stations(stations, name):
        yield verify_station(database, stations, station_id, _of(station_id, "batches", progress))
    for client_id in _senders(database, name):
        yield verify_sender(database, client_id, _of(client_id, "events", progress))


def rebuild(
    database: Database, stations: Stations, name: str, now_ms: int, progress: Progress = lambda *_: None
) -> list[Finding]:
    """Make the books of a station and the figures of a sender again where they differ; what they differed in.

    Errors: StationError, ClientError, DatabaseError, SealError.
    """
    found: list[Finding] = []
    for station_id in _stations(stations, name):
        found += rebuild_station(database, stations, station_id, now_ms, _of(station_id, "batches", progress))
    for client_id in _senders(database, name):
        found += rebuild_sender(database, client_id, _of(client_id, "events", progress))
    return found


def _stations(stations: Stations, name: str | None) -> list[str]:
    if name is None:
        return [each["station_id"] for each in stations.all()]
    return [] if name.startswith(PREFIX) else [name]


def _senders(database: Database, name: str | None) -> list[str]:
    known = senders(database)
    if name is None:
        return known
    # A client that never sent is named as such; a station need not have sent foreign events.
    return [name] if name in known or name.startswith(PREFIX) else []


def _of(name: str, what: str, progress: Progress) -> Callable[[int, int], None]:
    return lambda done, of: progress(f"{name}, {what}", done, of)
