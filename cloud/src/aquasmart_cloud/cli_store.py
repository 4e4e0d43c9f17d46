"""Commands about the database as a whole: its schema, its months, moving house, backups.

Arguments in, the store called, words or JSON out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_audit import audit_everything
from .cli_progress import bars, litres
from .cli_wiring import Wiring, now_ms, print_json, wired
from .cli_wiring import as_json as as_json_option
from .config import MASTER_KEY
from .store import migrating
from .store.database import Database
from .store.partitions import let_go, make_partitions

if TYPE_CHECKING:
    from .store.copying import Copied


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


@db.command("distribute")
@as_json_option
@wired
def distribute(wiring: Wiring, *, as_json: bool) -> None:
    """Spread the tables of a PostgreSQL with the Citus extension over its nodes. Stop the cloud first.

    Harmless when repeated; run it again after each upgrade. docs/scaling.md says what has been tried of it.
    """
    from .store import distributing

    done = distributing.distribute(wiring.database)
    if as_json:
        print_json({"database": wiring.database.name, "distributed": done})
    else:
        click.echo(f"{wiring.database.name}: {len(done)} tables distributed{': ' + ', '.join(done) if done else ''}")


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
@click.option("--moment", is_flag=True, help="Copy the present moment, though the cloud goes on writing.")
@as_json_option
def copy(source: str, target: str, *, moment: bool, as_json: bool) -> None:
    """Copy everything from the database SOURCE into the empty database TARGET (URLs), and verify it.

    From SQLite to PostgreSQL or back. Broken off, the same command goes on. Stop the cloud first: a source that was
    written meanwhile is refused at the end. With --moment its present moment is copied nonetheless, what came after
    it is counted, and stations send theirs again; clients and people do not.
    """
    from .store.copying import copy_database

    one, other = Database(source), Database(target)
    try:
        with bars(quiet=as_json) as progress:
            copied = copy_database(one, other, now_ms(), progress, moment_is_enough=moment)
    finally:
        one.close()
        other.close()
    _print_copied(copied, other.name, as_json=as_json)


def _print_copied(copied: Copied, name: str, *, as_json: bool, findings: int | None = None) -> None:
    """`findings` of the audit that followed; None where there was none."""
    tables, totals = copied.tables, copied.totals
    if as_json:
        document = {"database": name, "rows": tables, "totals": totals, "since": copied.since}
        print_json(document if findings is None else document | {"audit_findings": findings})
        return
    click.echo(f"{name}: {sum(tables.values()):,} rows in {len(tables)} tables, every column verified")
    click.echo(
        f"{totals['events']:,} events, {litres(totals['volume_ul'])}; {totals['foreign_events']:,} foreign events"
    )
    if findings == 0:
        click.echo("every signature holds; marks, ledger, rollups and totals follow from the bodies")
    if copied.since:
        came = ", ".join(f"{table} {rows:+,}" for table, rows in copied.since.items())
        click.echo(f"what the source has taken in since is missing here: {came}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@as_json_option
@wired
def backup(wiring: Wiring, file: Path, *, as_json: bool) -> None:
    """Write everything but the master key to the new FILE, while the cloud runs. Keep the master key elsewhere."""
    from .store.saving import back_up

    with bars(quiet=as_json) as progress:
        back_up(wiring.database, file, now_ms(), progress)
    if as_json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        click.echo(f"{file}: {file.stat().st_size:,} bytes; without {MASTER_KEY} its stations' keys cannot be read")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--skip-audit", is_flag=True, help="Do not verify every signature again afterwards.")
@as_json_option
@wired
def restore_backup(wiring: Wiring, file: Path, *, skip_audit: bool, as_json: bool) -> None:
    """Fill the configured database, which must be empty, from a backup, and audit all of it.

    Every column is compared with the backup; then every signature is verified and the books are reckoned again, as
    'audit verify --all' does. Stations send again what the backup lacks.
    """
    from .store.saving import restore

    with bars(quiet=as_json) as progress:
        copied = restore(file, wiring.database, now_ms(), progress)
    findings = None if skip_audit else audit_everything(wiring, quiet=as_json)
    _print_copied(copied, wiring.database.name, as_json=as_json, findings=findings)
    if findings:
        raise click.ClickException(f"{findings} findings\n'aquasmart-cloud audit verify --all' names them")
