"""Commands that ask whether the books are true, and that make them again.

Arguments in, services called, words or JSON out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .cli_progress import bars, litres
from .cli_wiring import Wiring, now_ms, print_json, wired
from .cli_wiring import as_json as as_json_option

if TYPE_CHECKING:
    from .store.auditing import Audit
    from .store.foreign_auditing import ForeignAudit


@click.group()
def audit() -> None:
    """Whether what is stored is what the stations signed, and the books follow from it."""


@audit.command("verify")
@click.argument("name", metavar="STATION|CLIENT", required=False)
@click.option("--all", "everything", is_flag=True, help="Every station and every client.")
@as_json_option
@wired
def audit_verify(wiring: Wiring, name: str | None, *, everything: bool, as_json: bool) -> None:
    """Verify what is stored again, and reckon the books from it. Exit status 1 where anything differs.

    Of a station: every signature, contiguity, marks, ledger, rollups and totals. Of a client, or a station that signs
    foreign events: identities, numbers, and the figures by minute, hour and day. Reads only; all may send meanwhile.
    With --all and --json: a line for each.
    """
    from .services.verifying import verify

    if (name is None) != everything:
        raise click.UsageError("name a station or a client, or say --all")
    documents: list[dict[str, Any]] = []
    findings = let_go = 0
    with bars(quiet=as_json) as progress:
        for found in verify(wiring.database, wiring.stations, name, progress):
            findings, let_go = findings + len(found.findings), let_go + found.missing
            documents.append(found.document())
            if not as_json:
                _print_audit(found)
    if as_json:
        for document in documents if everything else [_joined(documents)]:
            print_json(document)
    if findings:
        raise click.ClickException(
            f"{findings} findings\nwhere only the books differ, 'aquasmart-cloud rebuild {name or 'NAME'}' makes them"
            " again from the bodies; a body, a signature or an identity that does not hold needs a backup"
        )
    if not as_json and not let_go:
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
        click.echo("not complete: 'aquasmart-cloud worker' makes the figures; stations are added up till then")
    else:
        for finding in found.findings:
            click.echo(f"{finding.what}: {finding.where}: {finding.detail}")
    if found.findings:
        raise click.ClickException("'aquasmart-cloud audit fleet --refill' makes them anew from the stations' rollups")
    if found.state == fleet_rollups.COMPLETE and not as_json:
        click.echo(f"{found.buckets} buckets of the fleet are the sum of the stations'")


def audit_everything(wiring: Wiring, *, quiet: bool) -> int:
    """Audit all, showing how far it is; how many findings."""
    from .services.verifying import verify

    with bars(quiet=quiet) as progress:
        return sum(len(each.findings) for each in verify(wiring.database, wiring.stations, None, progress))


def _joined(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """One that is a station and a sender as one document."""
    first, *foreign = documents
    return first | ({"foreign_events": foreign[0]} if foreign else {})


def _print_audit(found: Audit | ForeignAudit) -> None:
    from .store.auditing import Audit

    if isinstance(found, Audit):
        click.echo(f"{found.station_id}: {found.batches} batches, {found.events} events, {litres(found.volume_ul)}")
        if found.missing:
            click.echo(f"{found.missing} batches were let go: their part of the books cannot be reckoned again")
    else:
        click.echo(f"{found.client_id}: {found.events} foreign events, {found.failures} that failed")
        if found.missing:
            click.echo(f"{found.missing} events were let go: the figures cannot be reckoned again")
    for finding in found.findings:
        click.echo(f"{finding.what}: {finding.where}: {finding.detail}")


@click.command()
@click.argument("name", metavar="STATION|CLIENT")
@as_json_option
@wired
def rebuild(wiring: Wiring, name: str, *, as_json: bool) -> None:
    """Make books that differ again: a station's from its stored batches, a client's figures from its events."""
    from .services import verifying

    with bars(quiet=as_json) as progress:
        differences = verifying.rebuild(wiring.database, wiring.stations, name, now_ms(), progress)
    if as_json:
        who = "client_id" if name.startswith("c_") else "station_id"
        print_json({who: name, "rebuilt": bool(differences), "differences": len(differences)})
    elif differences:
        for finding in differences:
            click.echo(f"{finding.what}: {finding.detail}")
        click.echo(f"{name}: made again from what it sent")
    else:
        click.echo(f"{name}: nothing to do, its books follow from what it sent")
