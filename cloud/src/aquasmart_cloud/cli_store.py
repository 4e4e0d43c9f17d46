"""Commands about the database as a whole: its schema, its months, its audit, moving house, backups.

Arguments in, the store called, words or JSON out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .cli_wiring import Wiring, now_ms, print_json, wired
from .cli_wiring import as_json as as_json_option
from .config import MASTER_KEY
from .store import migrating
from .store.database import Database
from .store.partitions import let_go, make_partitions


def litres(volume_ul: int) -> str:
    """Microlitres as litres with all six decimals, by integers."""
    return f"{volume_ul // 1_000_000}.{volume_ul % 1_000_000:06d} l"


@contextmanager
def _counting(what: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A line on standard error that counts, for people at a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    with console.status(what) as status:
        yield lambda number: status.update(f"{number:,} {what}")


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each part on standard error, for people at a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    with Progress(console=console) as bars:
        known: dict[str, Any] = {}

        def show_part(what: str, done: int, of: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what)
            bars.update(known[what], completed=done, total=of)

        yield show_part


@click.group()
def db() -> None:
    """The database's schema."""


@db.command("upgrade")
@as_json_option
@wired
def upgrade(wiring: Wiring, *, as_json: bool) -> None:
    """Make the database, or bring it to this version's schema. Harmless when repeated."""
    revision = migrating.upgrade(wiring.database)
    partitions = make_partitions(wiring.database, now_ms())
    if as_json:
        print_json({"database": wiring.database.name, "revision": revision, "partitions": partitions})
    else:
        click.echo(f"{wiring.database.name} is at revision {revision}")


@db.command("let-go")
@click.option("--keep-months", type=click.IntRange(min=1), help="AQUASMART_RETENTION_MONTHS by default.")
@as_json_option
@wired
def let_go_of_months(wiring: Wiring, keep_months: int | None, *, as_json: bool) -> None:
    """Delete batches and notable events older than so many whole months. Totals, ledger and rollups stay.

    Everything is kept unless you say so: without this command, or without a number, nothing is deleted. What is gone
    can neither be exported nor verified again.
    """
    months = keep_months or wiring.config.retention_months
    if months is None:
        raise click.ClickException(
            "nothing says how long to keep events, so all are kept\n"
            "set AQUASMART_RETENTION_MONTHS, or say --keep-months N"
        )
    gone = let_go(wiring.database, months, now_ms())
    if as_json:
        print_json({"keep_months": months, "deleted": gone})
    else:
        click.echo(f"deleted {gone['batch']} batches and {gone['notable']} notable events")


@db.command("copy")
@click.argument("source")
@click.argument("target")
@as_json_option
def copy(source: str, target: str, *, as_json: bool) -> None:
    """Copy everything from the database SOURCE into the empty database TARGET (URLs), and verify it.

    From SQLite to PostgreSQL or back. Broken off, the same command goes on. Stop the cloud first: what it took in
    meanwhile would be missing, and its stations would have to send it again.
    """
    from .store.copying import copy_database

    one, other = Database(source), Database(target)
    try:
        with _bars(quiet=as_json) as progress:
            copied = copy_database(one, other, now_ms(), progress)
    finally:
        one.close()
        other.close()
    _print_copied(copied.tables, copied.totals, other.name, as_json=as_json)


def _print_copied(tables: dict[str, int], totals: dict[str, int], name: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"database": name, "rows": tables, "totals": totals})
        return
    click.echo(f"{name}: {sum(tables.values()):,} rows in {len(tables)} tables, every column verified")
    click.echo(f"{totals['events']:,} events, {litres(totals['volume_ul'])}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@as_json_option
@wired
def backup(wiring: Wiring, file: Path, *, as_json: bool) -> None:
    """Write everything but the master key to the new FILE, while the cloud runs. Keep the master key elsewhere."""
    from .store.saving import back_up

    with _bars(quiet=as_json) as progress:
        back_up(wiring.database, file, now_ms(), progress)
    if as_json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        click.echo(f"{file}: {file.stat().st_size:,} bytes; without {MASTER_KEY} its stations' keys cannot be read")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@as_json_option
@wired
def restore_backup(wiring: Wiring, file: Path, *, as_json: bool) -> None:
    """Fill the configured database, which must be empty, from a backup. Stations send again what it lacks."""
    from .store.saving import restore

    with _bars(quiet=as_json) as progress:
        copied = restore(file, wiring.database, now_ms(), progress)
    _print_copied(copied.tables, copied.totals, wiring.database.name, as_json=as_json)


@click.group()
def audit() -> None:
    """Whether what is stored is what the stations signed, and the books follow from it."""


@audit.command("verify")
@click.argument("station_id")
@as_json_option
@wired
def audit_verify(wiring: Wiring, station_id: str, *, as_json: bool) -> None:
    """Verify every stored signature of STATION_ID again, and reckon its books from the bodies. Exit status 1 if not so.

    Reads only; the station may send meanwhile.
    """
    from .store.auditing import verify_station

    with _counting("batches verified", quiet=as_json) as progress:
        found = verify_station(wiring.database, wiring.stations, station_id, progress)
    if as_json:
        print_json(found.document())
    else:
        click.echo(f"{station_id}: {found.batches} batches, {found.events} events, {litres(found.volume_ul)}")
        if found.missing:
            click.echo(f"{found.missing} batches were let go: their part of the books cannot be reckoned again")
        for finding in found.findings:
            click.echo(f"{finding.what}: {finding.where}: {finding.detail}")
    if found.findings:
        raise click.ClickException(
            f"{len(found.findings)} findings\nwhere only the books differ, 'aquasmart-cloud rebuild {station_id}' makes"
            " them again from the bodies; a body or signature that does not hold needs a backup"
        )
    if not as_json and not found.missing:
        click.echo("every signature holds; marks, ledger, rollups and totals follow from the bodies")


@audit.command("fleet")
@click.option("--refill", is_flag=True, help="Have the worker make the figures of the fleet anew.")
@as_json_option
@wired
def audit_fleet(wiring: Wiring, *, refill: bool, as_json: bool) -> None:
    """Compare the figures of the whole fleet with the stations' own rollups. Exit status 1 where they differ."""
    from .store import fleet_figures, fleet_rollups

    if refill:
        fleet_rollups.refill(wiring.database, now_ms())
    found = fleet_figures.audit(wiring.database)
    if as_json:
        findings = [each._asdict() for each in found.findings]
        print_json({"state": found.state, "buckets": found.buckets, "findings": findings})
    elif found.state != fleet_rollups.COMPLETE:
        click.echo(
            "not complete: 'aquasmart-cloud worker' makes the figures of the fleet; stations are added up till then"
        )
    else:
        for finding in found.findings:
            click.echo(f"{finding.what}: {finding.where}: {finding.detail}")
    if found.findings:
        raise click.ClickException("'aquasmart-cloud audit fleet --refill' makes them anew from the stations' rollups")
    if found.state == fleet_rollups.COMPLETE and not as_json:
        click.echo(f"{found.buckets} buckets of the fleet are the sum of the stations'")


@click.command()
@click.argument("station_id")
@as_json_option
@wired
def rebuild(wiring: Wiring, station_id: str, *, as_json: bool) -> None:
    """Make the ledger, rollups, marks and totals of STATION_ID again from its stored batches, if they differ."""
    from .store.rebuilding import rebuild_station

    with _counting("batches reckoned", quiet=as_json) as progress:
        differences = rebuild_station(wiring.database, wiring.stations, station_id, now_ms(), progress)
    if as_json:
        print_json({"station_id": station_id, "rebuilt": bool(differences), "differences": len(differences)})
    elif differences:
        for finding in differences:
            click.echo(f"{finding.what}: {finding.detail}")
        click.echo(f"{station_id}: made again from its batches")
    else:
        click.echo(f"{station_id}: nothing to do, its books follow from its batches")
