"""Whole requests for the vectors: a stream's header, a batch, and the HTTP headers that sign it."""

from __future__ import annotations

from typing import Any

from tests.contract import reference as ref

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EPOCH = "6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c001"
STREAM = "0b9c2f4e-8d43-4a55-9d1e-6f1f4f6f2a10"
AT = ref.NOW_MS - 1_000
MONO = 91_230_456


def header(**changes: Any) -> dict[str, Any]:
    """A stream header as of docs/protocol.md §3, K = 450, opened by a baseline at 1,000,000 counts."""
    document: dict[str, Any] = {
        "id": STREAM,
        "meter_id": "tap-1",
        "identity": {"kind": "weak", "value": None},
        "epoch": EPOCH,
        "epoch_from": 1_000_000,
        "modulus": 1 << 32,
        "opening_counts": 1_000_000,
        "scale": {"ul_num": 20_000, "den": 9},
        "opened_at": AT - 500,
        "boot_id": "c6d5a1f0-3b1e-4a39-9d53-b5d7a2f6e001",
        "meter_boot_id": "A1B2C3D4",
        "hardware_id": "9f86d081884c7d65",
        "software": "0.1.0",
        "clock": "ntp",
        "change_token": None,
    }
    return document | changes


def meterless_header(**changes: Any) -> dict[str, Any]:
    """The header of a run's stream without a meter."""
    kept = ("opened_at", "boot_id", "hardware_id", "software", "clock")
    whole = header()
    document = {"id": "0b9c2f4e-8d43-4a55-9d1e-6f1f4f6f2a11"} | {name: whole[name] for name in kept}
    return document | changes


def batch(counts: list[int] | None = None, **changes: Any) -> dict[str, Any]:
    """A batch of `volume` rows 100 ms apart, whole header, from seq 1."""
    counts = [1, 1, 1] if counts is None else counts
    document: dict[str, Any] = {
        "meta": {"trace_id": TRACE},
        "stream": header(),
        "first_seq": 1,
        "at": AT,
        "at_mono": MONO,
        "dt": [0] + [100] * (len(counts) - 1),
        "wall_steps": [],
        "counts_before": 1_000_000,
        "counts": counts,
        "flags": [[0, 0]],
        "rows": [],
    }
    return document | changes


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def request(
    body: Any,
    *,
    target: str = "/v1/ingest",
    station: str = ref.STATION,
    key_id: str = ref.KEY_ID,
    key: bytes = ref.KEY,
    timestamp: str = str(ref.NOW_MS),
    encoding: str | None = None,
    change: dict[str, str | None] | None = None,
    add: list[list[str]] | None = None,
    signed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A request with its signature. `body` is a document or a recipe (reference.body_of).

    `signed` changes what is *signed* (method, target, station, timestamp, body …), not what is sent; `change`
    replaces headers afterwards (None: leaves one out), `add` appends headers.
    """
    sent = ref.canonical(body) if isinstance(body, dict) and "stream" in body else body
    facts: dict[str, Any] = {
        "timestamp": timestamp,
        "method": "POST",
        "target": target,
        "station": station,
        "body": ref.body_of(sent),
        "encoding": encoding,
    }
    headers = {
        "X-Station-Id": station,
        "X-Key-Id": key_id,
        "X-Timestamp": timestamp,
        "X-Signature": ref.signature(key, ref.signing_string(**(facts | (signed or {})))),
        "X-Software-Version": "0.1.0",
        "Content-Type": "application/json",
    }
    if encoding:
        headers["Content-Encoding"] = encoding
    for name, value in (change or {}).items():
        if value is None:
            del headers[name]
        else:
            headers[name] = value
    pairs = [[name, value] for name, value in headers.items()] + (add or [])
    return {"method": "POST", "target": target, "headers": pairs, "body": sent}


def packed(document: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a document's gzipped body."""
    return {"gzip": ref.canonical(document)}
