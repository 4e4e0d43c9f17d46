"""A database with ten million events in it, by the store's own ingest in its largest batches, beside a fleet of many.

What is measured elsewhere reads it; how fast it fills is no figure. The fleet's rollups and heartbeats are written as
ingest leaves them: pages must not depend on how many events lie behind them.
"""

from __future__ import annotations

import gzip
import json
import time
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert

from aquasmart_cloud.core.decoding import decode_batch
from aquasmart_cloud.core.normalising.incoming import incoming
from aquasmart_cloud.core.normalising.rules import Rules
from aquasmart_cloud.store import intake, schema
from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.intake_log import Occasion
from aquasmart_cloud.store.recording import SignedBody, record
from aquasmart_cloud.store.stations import Stations

from .figures import Sizes

MINUTE_MS = 60_000
STATIONS_WITH_A_MONTH = 4
ROWS = 10_000
"""Of one batch: what the protocol allows at most. Its rows are a second apart."""
EVENTS_PER_MINUTE = 600
UL_PER_MINUTE = 8_000_000
SOFTWARE = "0.1.0"


def fill(database: Database, master_key: bytes, sizes: Sizes) -> int:
    """A fleet, stations with a month of events each, foreign events; how many events are stored in all."""
    now_ms = time.time_ns() // 1_000_000
    _fleet(database, sizes, now_ms)
    stations = Stations(database, master_key)
    for number in range(1, STATIONS_WITH_A_MONTH + 1):
        _month(database, stations, f"month-{number}", sizes.month_batches, now_ms)
    _foreign(database, sizes.foreign_events, now_ms)
    return STATIONS_WITH_A_MONTH * sizes.month_batches * ROWS + sizes.foreign_events


def _month(database: Database, stations: Stations, station_id: str, batches: int, now_ms: int) -> None:
    """One run of one meter, a row a second, up to now; each batch as a station signs it, but for the signature."""
    key_id = stations.add(station_id, "", now_ms).key_id
    at, position = now_ms - batches * ROWS * 1_000, 1_000_000
    header = {
        "id": str(uuid4()), "meter_id": "tap-1", "identity": {"kind": "strong", "value": station_id},
        "epoch": str(uuid4()), "epoch_from": position, "modulus": None, "opening_counts": position,
        "scale": {"ul_num": 20_000, "den": 9}, "opened_at": at, "boot_id": str(uuid4()), "meter_boot_id": None,
        "hardware_id": "0" * 32, "software": SOFTWARE, "clock": "ntp", "change_token": None,
    }  # fmt: skip
    counts = [(0, 1, 1, 2, 60)[row % 5] for row in range(ROWS)]
    for number in range(batches):
        document = {
            "meta": {"trace_id": uuid4().hex}, "stream": header, "first_seq": number * ROWS + 1, "at": at,
            "at_mono": number * ROWS * 1_000, "dt": [0] + [1_000] * (ROWS - 1), "wall_steps": [],
            "counts_before": position, "counts": counts, "flags": [[0, 0]], "rows": [],
        }  # fmt: skip
        text = json.dumps(document).encode()
        body = gzip.compress(text, 1)
        signed = SignedBody(
            station_id, key_id, now_ms, "/v1/ingest", "gzip", None, None, "v1=" + "00" * 32, body
        )  # fmt: skip
        record(database, signed, decode_batch(text), now_ms, uuid4().hex)
        at, position = at + ROWS * 1_000, position + sum(counts)


def _foreign(database: Database, events: int, now_ms: int) -> None:
    """Two clients' events, every ten minutes back in time, one of a hundred unreadable."""
    clients = Clients(database)
    for client_id in (clients.add(name, now_ms).client_id for name in ("tills", "kiosks")):
        rules, occasion = Rules(client_id), Occasion(now_ms, uuid4().hex, uuid4().hex, client_id)
        for start in range(0, events // 2, 500):
            made = (_event(number, now_ms) for number in range(start, min(start + 500, events // 2)))
            intake.take(database, client_id, [incoming(each, rules) for each in made], occasion)


def _event(number: int, now_ms: int) -> dict[str, Any]:
    at = now_ms - number * 10 * MINUTE_MS
    amount = "?" if number % 100 == 99 else f"{number % 977 + 1}.25"
    return {"id": str(number), "metric": ("sale", "tip", "refill")[number % 3], "amount": amount, "timestamp": at}


def _fleet(database: Database, sizes: Sizes, now_ms: int) -> None:
    """Stations that dispensed all the time, up to this minute."""
    names = [f"query-{number:04}" for number in range(1, sizes.stations + 1)]
    epoch = UUID(int=1)
    with database.engine.begin() as connection:
        connection.execute(insert(schema.station), [_station(name, sizes.minutes, now_ms) for name in names])
        connection.execute(
            insert(schema.epoch),
            [
                {
                    "station_id": name, "meter_id": "tap-1", "epoch": epoch, "identity_strong": False, "epoch_from": 0,
                    "root_epoch": epoch, "shift_counts": 0, "counts_through": 0, "opened_at": now_ms,
                }
                for name in names
            ],
        )  # fmt: skip
        connection.execute(insert(schema.heartbeat), [_heartbeat(name, now_ms) for name in names])
        for grain, width_ms in schema.GRAIN_WIDTHS_MS.items():
            for name in names:
                connection.execute(insert(schema.rollup), _rollups(name, grain, width_ms, now_ms, sizes.minutes))


def _station(name: str, minutes: int, now_ms: int) -> dict[str, Any]:
    return {
        "station_id": name, "name": name, "state": "active", "created_at": now_ms, "last_seen_at": now_ms,
        "hardware_id": "0" * 32, "hardware_seen": "[]", "events": minutes * EVENTS_PER_MINUTE,
        "volume_ul": minutes * UL_PER_MINUTE, "disputed_ul": 0,
    }  # fmt: skip


def _heartbeat(name: str, now_ms: int) -> dict[str, Any]:
    payload = {
        "state": "online", "software": SOFTWARE, "clock": "ntp", "pending": 0, "oldest_pending_s": 0, "meters": [],
    }  # fmt: skip
    return {"station_id": name, "received_at": now_ms, "document": json.dumps(payload)}


def _rollups(name: str, grain: str, width_ms: int, now_ms: int, minutes: int) -> list[dict[str, Any]]:
    buckets: dict[int, int] = {}
    for minute in range(minutes):
        at = (now_ms - minute * MINUTE_MS) // width_ms * width_ms
        buckets[at] = buckets.get(at, 0) + 1
    return [
        {
            "station_id": name, "meter_id": "tap-1", "grain": grain, "bucket_at": at,
            "volume_ul": count * UL_PER_MINUTE, "disputed_ul": 0, "events": count * EVENTS_PER_MINUTE,
        }
        for at, count in buckets.items()
    ]  # fmt: skip
