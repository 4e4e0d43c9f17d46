"""The cloud as one would write it at first: a row per event in SQLite under its random id, summed when asked.

Signed, durable (WAL, synchronous=FULL) and idempotent as ours is: the comparison is of layouts, not of promises.
Its database is the file that NAIVE_DATABASE names. Run by gunicorn with the same worker and threads as ours.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import threading

from flask import Flask, Response, jsonify, request

KEY = b"naive" * 8
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  event_id TEXT PRIMARY KEY, station_id TEXT NOT NULL, meter_id TEXT, timestamp REAL NOT NULL,
  counts INTEGER NOT NULL, kind TEXT NOT NULL, received_at TEXT DEFAULT CURRENT_TIMESTAMP
)
"""
_INSERT = "INSERT OR IGNORE INTO events VALUES (:event_id, :station_id, :meter_id, :timestamp, :counts, :kind, NULL)"


def signature(body: bytes) -> str:
    return hmac.new(KEY, body, hashlib.sha256).hexdigest()


def create_app() -> Flask:
    app, local = Flask("naive"), threading.local()

    def connection() -> sqlite3.Connection:
        if not hasattr(local, "connection"):
            local.connection = sqlite3.connect(os.environ["NAIVE_DATABASE"], timeout=30)
            local.connection.execute("PRAGMA journal_mode = WAL")
            local.connection.execute("PRAGMA synchronous = FULL")
            local.connection.execute(_SCHEMA)
        return local.connection

    @app.get("/healthz")
    def healthz() -> Response:
        connection()
        return jsonify(ok=True)

    @app.post("/events")
    def take() -> tuple[Response, int]:
        body = request.get_data()
        if not hmac.compare_digest(signature(body), request.headers.get("X-Signature", "")):
            return jsonify(error="signature"), 401
        with connection() as transaction:
            inserted = transaction.executemany(_INSERT, json.loads(body)).rowcount
        return jsonify(inserted=inserted), 200

    @app.get("/totals")
    def totals() -> Response:
        rows = connection().execute(
            "SELECT station_id, count(*), max(counts) - min(counts), max(timestamp) FROM events GROUP BY station_id"
        )
        return jsonify([list(row) for row in rows])

    return app
