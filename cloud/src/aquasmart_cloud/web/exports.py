"""Long answers as streams: CSV, JSON Lines, Parquet, of any number of rows in the memory of a few hundred.

Writing only; rows come as an iterator from the store. The first row is fetched before the answer begins, so that a
database that cannot be read is still a 503; a fault later breaks the connection off, which no client takes for
the end (the body is chunked).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

import msgspec
from flask import Response, stream_with_context

from aquasmart_cloud.core.problems import Refusal

COLUMNS = (
    "client_id",
    "event_id",
    "id",
    "source",
    "metric",
    "amount",
    "timestamp",
    "station",
    "at",
    "received_at",
    "normaliser",
)
"""What a table of events has; lists and originals are in JSON Lines only."""
STATION_COLUMNS = (
    "station_id",
    "meter_id",
    "event_id",
    "stream",
    "seq",
    "seqs",
    "at",
    "kind",
    "flags",
    "counts",
    "volume_ul",
)
_INTEGERS = frozenset({"at", "received_at", "normaliser", "seq", "seqs", "flags", "counts", "volume_ul"})
_GROUP = 5_000
_LINES = 250
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Rows = Iterable[dict[str, Any]]
Columns = tuple[str, ...]


def answer(extension: str, rows: Rows, name: str, columns: Columns) -> Response:
    """The rows as a file to keep. Errors: Refusal not-found for a form there is not."""
    if extension not in _FORMS:
        raise Refusal("not-found", f"there is no .{extension}; there are {', '.join('.' + each for each in _FORMS)}")
    mimetype, write = _FORMS[extension]
    found = iter(rows)
    first = list(islice(found, 1))
    body = write(chain(first, found), columns)
    made = Response(stream_with_context(body), 200, mimetype=mimetype)
    made.headers["Content-Disposition"] = f'attachment; filename="{name}.{extension}"'
    made.headers["X-Content-Type-Options"] = "nosniff"
    return made


def _jsonl(rows: Rows, columns: Columns) -> Iterator[bytes]:  # noqa: ARG001  (a line holds everything)
    encoder = msgspec.json.Encoder()
    found = iter(rows)
    # A piece of many lines: each piece costs a chunk and a system call.
    while group := list(islice(found, _LINES)):
        yield encoder.encode_lines(group)


def _csv(rows: Rows, columns: Columns) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    found = iter(rows)
    while group := list(islice(found, _LINES)):
        writer.writerows([_cell(row[name]) for name in columns] for row in group)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    if text.tell():
        yield text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A spreadsheet runs a text that begins like a formula; an apostrophe keeps it a text."""
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA) else value


def _parquet(rows: Rows, columns: Columns) -> Iterator[bytes]:
    """Row groups of a few thousand; amounts stay texts, so that no reader rounds them."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise Refusal("not-found", "Parquet needs the extra 'parquet': pip install aquasmart-cloud[parquet]") from error
    schema = pa.schema([(name, pa.int64() if name in _INTEGERS else pa.string()) for name in columns])
    sink = _Sink()
    found = iter(rows)
    return _groups(pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema), schema, sink, found)


def _groups(writer: Any, schema: Any, sink: _Sink, rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    import pyarrow as pa

    while group := list(islice(rows, _GROUP)):
        values = {name: [row[name] for row in group] for name in schema.names}
        writer.write_table(pa.table(values, schema=schema))
        yield sink.taken()
    writer.close()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What Parquet's writer has written since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


_FORMS: dict[str, tuple[str, Callable[[Rows, Columns], Iterator[bytes]]]] = {
    "csv": ("text/csv", _csv),
    "jsonl": ("application/x-ndjson", _jsonl),
    "parquet": ("application/vnd.apache.parquet", _parquet),
}
