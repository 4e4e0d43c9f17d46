"""`aquasmart log`: verify, salvage and export the log."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from ..config import load_config
from ..core.phrases import joined
from ..core.showing import litres
from .check import BUSY, DAMAGED, SALVAGED, show
from .words import tr


@click.group()
def log() -> None:
    """The log itself: verify, salvage, export."""


@log.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document, volumes in µl.")
@click.pass_context
def verify(context: click.Context, *, as_json: bool) -> None:
    """Verify every row; touches nothing. Exit status 4 if the log is damaged."""
    from ..services.verify import verify_log

    report = verify_log(load_config(context.obj, secrets=False).log_path, time.monotonic)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show_report(report)
    context.exit(DAMAGED if report["damage"] else 0)


def _show_report(report: dict[str, Any]) -> None:
    click.echo(
        tr(
            "{rows} rows in {streams} streams, {bad_rows} with a wrong checksum",
            rows=report["rows"],
            streams=report["streams"],
            bad_rows=report["bad_rows"],
        )
    )
    click.echo(
        tr(
            "{pending} events ({litres} L) not yet acknowledged by the cloud",
            pending=report["pending"],
            litres=litres(report["pending_ul"], 6),
        )
    )
    if report["damage"]:
        click.echo(tr("the log is DAMAGED: {damage}", damage=joined("; ", report["damage"])))
        click.echo(tr("Stop reader and sync and run `aquasmart check`."))
    else:
        click.echo(tr("the log is sound"))


@log.command()
@click.option("--force", is_flag=True, help="Build the log anew whatever is found, also from a failing card.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def salvage(context: click.Context, *, force: bool, as_json: bool) -> None:
    """As `aquasmart check --full`: quarantine and salvage. Stop reader and sync first."""
    from ..wiring.checking import checker

    verdict = checker(load_config(context.obj, secrets=False)).check(full=True, force=force)
    show(verdict, as_json=as_json)
    context.exit({"salvaged": SALVAGED, "damaged": DAMAGED, "busy": BUSY}.get(verdict.state, 0))


@log.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="What the cloud has acknowledged too, as far as it is here.")
@click.option("--from", "card", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Another card.")
@click.option("--station-id", help="Whose log it is, where that card does not say.")
@click.option("--key-id", help="That station's key id.")
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="That station's key.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def export(
    config_path: Path,
    target: Path,
    *,
    everything: bool,
    card: Path | None,
    station_id: str | None,
    key_id: str | None,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Write what the cloud does not have to TARGET (a file, or a folder such as a USB stick), signed.

    The cloud takes it with `aquasmart-cloud import`, exactly once beside later sync.
    """
    from ..services.export import export_log
    from ..wiring.exporting import card_source, own_source, readable, target_of

    if card is None:
        source = own_source(load_config(config_path))
    else:
        source = card_source(card, station_id=station_id, key_id=key_id, key_file=key_file)
    now_ms = time.time_ns() // 1_000_000
    path = target_of(target, source.identity.station_id, now_ms)
    with readable(source.log, path.parent) as readable_log, _Bar(hidden=as_json) as bar:
        done = export_log(readable_log, path, source.identity, now_ms, everything=everything, progress=bar.show)
    if as_json:
        click.echo(
            json.dumps(
                {"path": str(path), "requests": done.requests, "events": done.events, "volume_ul": done.volume_ul}
            )
        )
        return
    click.echo(
        tr(
            "{path}: {n} events, {litres} L, of station {station}",
            path=path,
            n=done.events,
            litres=litres(done.volume_ul, 6),
            station=source.identity.station_id,
        )
    )
    click.echo(tr("Take it to the cloud: aquasmart-cloud import FILE. What sync delivers later is counted once."))


class _Bar:
    """A progress bar on standard error, which says nothing where that is no terminal."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden or not sys.stderr.isatty()
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def show(self, done: int, total: int) -> None:
        if self._hidden:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=tr("exporting"), file=sys.stderr)
        self._bar.update(done - self._done)
        self._done = done
