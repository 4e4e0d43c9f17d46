"""A cloud on a real database and stations that sign real requests to it through Flask's test client."""

from __future__ import annotations

import gzip
import json
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

from werkzeug.test import TestResponse

from aquasmart_cloud.config import Config
from aquasmart_cloud.store import migrating
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from aquasmart_cloud.web.app import create_app
from tests.contract import reference as ref
from tests.contract.messages import header

NOW_MS = ref.NOW_MS
MASTER_KEY = bytes(range(100, 132))
TABLES = ("stream", "epoch", "ledger_interval", "batch", "notable", "rollup", "ledger_entry", "heartbeat")


@cache
def _fresh() -> bytes:
    """The database that `db upgrade` makes, made once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.db"
        database = Database(f"sqlite:///{path}")
        migrating.upgrade(database)
        database.close()
        return path.read_bytes()


def _copy_of_fresh(path: Path) -> None:
    path.write_bytes(_fresh())


class CloudUnderTest:
    """One application, its database, and a clock that the test sets."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """On a fresh SQLite file in `folder`, or on the migrated database that `url` names."""
        self.path = folder / "cloud.db"
        self.config = Config(url or f"sqlite:///{self.path}", MASTER_KEY, "correct-horse-battery-staple")
        self.database = Database(self.config.database_url)
        if url is None:
            _copy_of_fresh(self.path)
        self.stations = Stations(self.database, MASTER_KEY)
        self.now_ms = NOW_MS
        self.app = create_app(self.config, clock_ms=lambda: self.now_ms)
        self.client = self.app.test_client()

    def station(self, station_id: str = "demo-1") -> Sender:
        """A new station with its key."""
        new = self.stations.add(station_id, "", self.now_ms)
        return Sender(self, station_id, new.key_id, bytes.fromhex(new.key))

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, read as any third party would."""
        if self.database.kind != "sqlite":
            with self.database.reading() as found:
                return found.execute(text, values).fetchall()
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(text, values).fetchall()

    def one(self, text: str, *values: Any) -> Any:
        [(value,)] = self.query(text, *values)
        return value

    def stored(self) -> dict[str, int]:
        """How many rows each growing table has."""
        return {table: self.one(f"SELECT count(*) FROM {table}") for table in TABLES}

    def entries(self, *, state: str = "open") -> dict[str, int]:
        """Named differences of a state: kind → volume µl."""
        found = self.query("SELECT kind, sum(volume_ul) FROM ledger_entry WHERE state = ? GROUP BY kind", state)
        return dict(found)

    def detail(self, kind: str) -> dict[str, Any]:
        return dict(json.loads(self.one("SELECT detail FROM ledger_entry WHERE kind = ?", kind)))

    def close(self) -> None:
        self.database.close()
        self.app.extensions["aquasmart"].database.close()

    def assert_books_balance(self) -> None:
        """Station total = Σ rollups of each grain = measure of the ledger; holes and intervals make the extent."""
        for station_id, volume_ul, disputed_ul, events in self.query(
            "SELECT station_id, volume_ul, disputed_ul, events FROM station"
        ):
            intervals = self.query(
                "SELECT meter_id, epoch, from_counts, to_counts, ul_num, den, shift_counts FROM ledger_interval"
                " WHERE station_id = ? ORDER BY meter_id, epoch, from_counts",
                station_id,
            )
            measure = sum(ref.volume_ul(low - s, high - s, num, den) for _, _, low, high, num, den, s in intervals)
            assert measure == volume_ul
            for before, after in pairwise(intervals):
                assert before[:2] != after[:2] or before[3] <= after[2]
            for grain in ("minute", "hour", "day"):
                [sums] = self.query(
                    "SELECT coalesce(sum(volume_ul), 0), coalesce(sum(disputed_ul), 0), coalesce(sum(events), 0)"
                    " FROM rollup WHERE station_id = ? AND grain = ?",
                    station_id,
                    grain,
                )
                assert sums == (volume_ul, disputed_ul, events)
            marks = self.one("SELECT coalesce(sum(mark_seq), 0) FROM stream WHERE station_id = ?", station_id)
            assert marks == events
            self._assert_tiled(station_id, intervals)

    def _assert_tiled(self, station_id: str, intervals: list[tuple[Any, ...]]) -> None:
        for meter_id, epoch, low, high in self.query(
            "SELECT meter_id, epoch, epoch_from, counts_through FROM epoch WHERE station_id = ? AND epoch = root_epoch",
            station_id,
        ):
            holes = self.query(
                "SELECT from_counts, to_counts FROM ledger_entry WHERE station_id = ? AND kind = 'hole'"
                " AND state = 'open' AND meter_id = ? AND epoch = ?",
                station_id,
                meter_id,
                epoch,
            )
            covered = [each[2:4] for each in intervals if each[:2] == (meter_id, epoch)]
            tiles = sorted(holes + covered)
            edges = [low] + [edge for tile in tiles for edge in tile] + [high]
            assert edges[::2] == edges[1::2], f"holes and intervals do not make the extent {low}..{high}: {tiles}"


class Sender:
    """A station as the cloud sees it: signs whatever a test wants sent."""

    def __init__(self, cloud: CloudUnderTest, station_id: str, key_id: str, key: bytes) -> None:
        self.cloud, self.station_id, self.key_id, self.key = cloud, station_id, key_id, key

    def request(
        self,
        body: bytes,
        *,
        target: str = "/v1/ingest",
        method: str = "POST",
        encoding: str | None = None,
        extra: dict[str, str] | None = None,
    ) -> TestResponse:
        """One signed request."""
        extra = extra or {}
        timestamp = str(self.cloud.now_ms)
        string = ref.signing_string(
            timestamp,
            method,
            target,
            self.station_id,
            body,
            encoding=encoding,
            idempotency_key=extra.get("Idempotency-Key"),
            if_match=extra.get("If-Match"),
        )
        headers = {
            "X-Station-Id": self.station_id,
            "X-Key-Id": self.key_id,
            "X-Timestamp": timestamp,
            "X-Signature": ref.signature(self.key, string),
            "X-Software-Version": "0.1.0",
        } | extra
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        answer = self.cloud.client.open(target, method=method, data=body, headers=headers)
        if "X-Signature" in answer.headers:
            reply = ref.reply_string(
                answer.headers["X-Timestamp"], answer.status_code, headers["X-Signature"], answer.get_data()
            )
            assert answer.headers["X-Signature"] == ref.signature(self.key, reply)
        return answer

    def send(self, document: dict[str, Any], *, packed: bool = False) -> TestResponse:
        """One batch or heartbeat."""
        body = json.dumps(document, separators=(",", ":")).encode()
        return self.request(gzip.compress(body, mtime=0), encoding="gzip") if packed else self.request(body)

    def take(self, document: dict[str, Any], *, packed: bool = False) -> dict[str, Any]:
        """One batch that must be taken; the answer's data."""
        answer = self.send(document, packed=packed)
        assert answer.status_code == 200, answer.text
        assert "X-Signature" in answer.headers
        return dict(answer.json["data"])


class Run:
    """One run of a reader on one meter: hands out the batches of its stream in order."""

    def __init__(self, opening: int, *, at: int = NOW_MS - 60_000, **changes: Any) -> None:
        self.header = header(id=str(uuid4()), opening_counts=opening, opened_at=at, **changes)
        self.position, self.seq, self.at = opening, 1, at

    def batch(self, counts: list[int], *, rows: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
        """The next batch, rows 100 ms apart; its header is whole, which is always allowed."""
        rows = rows or []
        seqs = len(counts) + sum(row.get("seqs", 1) - 1 for row in rows)
        document = {
            "meta": {"trace_id": uuid4().hex},
            "stream": self.header,
            "first_seq": self.seq,
            "at": self.at,
            "at_mono": self.at - NOW_MS + 100 * 86_400_000,
            "dt": [0] + [100] * (len(counts) - 1),
            "wall_steps": [],
            "counts_before": self.position,
            "counts": counts,
            "flags": [[0, 0]],
            "rows": rows,
        }
        self.seq += seqs
        self.position += sum(counts)
        self.at += 100 * len(counts)
        return document | changes
