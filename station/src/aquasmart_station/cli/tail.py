"""`aquasmart tail`: the log's latest events as they are committed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from ..config import load_config
from ..core.model import Flag, Row, StreamHeader, event_id, kind_name

FOLLOW_EVERY_S = 0.25
PAGE_ROWS = 1_000


@click.command()
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(0), help="How many to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on as events are committed; Ctrl-C ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@click.pass_obj
def tail(config_path: Path, lines: int, *, follow: bool, as_json: bool) -> None:
    """Show the latest events of the log."""
    from ..adapters.log_view import LogView

    path = load_config(config_path, secrets=False).log_path
    with LogView(path) as log:
        position = max(0, log.last_position() - lines)
    while True:
        # A look of its own each time: no read transaction stays open, the WAL can always be checkpointed.
        with LogView(path) as log:
            shown = list(log.rows_after(position, PAGE_ROWS))
        for row, header in shown:
            click.echo(_json_line(row, header) if as_json else _line(row, header))
            position = row.position
        if len(shown) < PAGE_ROWS:
            if not follow:
                return
            time.sleep(FOLLOW_EVERY_S)


def _line(row: Row, header: StreamHeader) -> str:
    at = datetime.fromtimestamp(row.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    flags = "|".join(flag.name.lower() for flag in Flag if flag.name and flag & row.flags)
    who = header.meter_id or "station"
    said = f"{at}Z  {who:10} {str(header.id)[:8]}/{row.seq:<7} {kind_name(row.kind):12} {row.counts:>14}"
    return "  ".join(part for part in (said, flags, row.data or "") if part)


def _json_line(row: Row, header: StreamHeader) -> str:
    return json.dumps(
        {
            "event_id": str(event_id(header.id, row.seq)),
            "stream": str(header.id),
            "seq": row.seq,
            "seqs": row.seqs,
            "meter_id": header.meter_id,
            "kind": kind_name(row.kind),
            "flags": row.flags,
            "at_ms": row.at_ms,
            "mono_ms": row.mono_ms,
            "counts": row.counts,
            "cumulative_ul": header.volume_ul(row.counts),
            "data": None if row.data is None else json.loads(row.data),
        },
        ensure_ascii=False,
    )
