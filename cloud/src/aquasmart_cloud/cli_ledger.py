"""The operator's commands about ledgers: what is booked, what does not fit, and why. Words or JSON out."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from .cli_progress import litres
from .cli_wiring import Wiring, as_json, now_ms, print_json, wired
from .core.errors import StationError
from .services import explaining
from .store import ledger_view
from .store.ledger_view import CLOSED, OPEN, STATES, Balance, Entry

BY = "command line"


@click.group()
def ledger() -> None:
    """What is booked of each meter, and every difference by name."""


@ledger.command("list")
@as_json
@wired
def list_open(wiring: Wiring, *, as_json: bool) -> None:
    """Stations whose books have open differences, by kind."""
    found = ledger_view.read_open(wiring.database)
    if as_json:
        print_json({"open": [each._asdict() for each in found]})
        return
    for each in found:
        times = f" ({each.number})" if each.number > 1 else ""
        click.echo(f"{each.station_id}  {each.kind}{times}  {litres(each.volume_ul)}  since {_moment(each.since_at)}")
    if not found:
        click.echo("every station's books are in balance")


@ledger.command("show")
@click.argument("station_id")
@click.option("--all", "everything", is_flag=True, help="Closed differences too.")
@click.option("--intervals", is_flag=True, help="What is booked: every stretch of each meter's counter.")
@as_json
@wired
def show(wiring: Wiring, station_id: str, *, everything: bool, intervals: bool, as_json: bool) -> None:
    """A station's ledger. With --json: the balance on the first line, then a line for each difference or stretch."""
    balance = ledger_view.read_balance(wiring.database, station_id)
    if balance is None:
        raise StationError(f"no station is called {station_id}", "'aquasmart-cloud station list' shows those there are")
    print_json({"station_id": station_id, **balance.document()}) if as_json else _print_balance(station_id, balance)
    if intervals:
        for stretch in ledger_view.each_interval(wiring.database, station_id):
            if as_json:
                print_json(stretch.document())
                continue
            place = (
                f"{stretch.meter_id}  epoch {stretch.epoch[:8]}  counts {stretch.from_counts} to {stretch.to_counts}"
            )
            click.echo(f"{place}  {stretch.kind}  {litres(stretch.volume_ul)}")
        return
    for entry in ledger_view.each_entry(wiring.database, station_id, STATES if everything else STATES[:2]):
        print_json(entry.document()) if as_json else _print_entry(entry)


@ledger.command("explain")
@click.argument("station_id")
@click.argument("number", type=click.IntRange(1, (1 << 53) - 1))
@click.option("--note", required=True, help="Why it is there. It is kept with your words, for ever.")
@as_json
@wired
def explain(wiring: Wiring, station_id: str, number: int, note: str, *, as_json: bool) -> None:
    """Say why difference NUMBER of a station is there. It stays in the books, and alarms nobody any more.

    No count changes. An explained hole is still filled by what the station may send.
    """
    found = explaining.explain(wiring.database, station_id, number, BY, note, now_ms())
    print_json(found.document()) if as_json else _print_entry(found)


@ledger.command("reopen")
@click.argument("station_id")
@click.argument("number", type=click.IntRange(1, (1 << 53) - 1))
@as_json
@wired
def reopen(wiring: Wiring, station_id: str, number: int, *, as_json: bool) -> None:
    """Take the explanation of difference NUMBER back."""
    found = explaining.reopen(wiring.database, station_id, number)
    print_json(found.document()) if as_json else _print_entry(found)


def _print_balance(station_id: str, balance: Balance) -> None:
    disputed = f", of it {litres(balance.disputed_ul)} disputed" if balance.disputed_ul else ""
    click.echo(f"{station_id}: {litres(balance.volume_ul)} booked from {balance.events:,} events{disputed}")
    for each in balance.differences:
        if each.state != CLOSED:
            click.echo(f"  {each.state}  {each.kind}  {each.number}  {litres(each.volume_ul)}")
    if not any(each.state == OPEN for each in balance.differences):
        click.echo("  in balance: no difference is open")


def _print_entry(entry: Entry) -> None:
    where = f"  {entry.meter_id}, counts {entry.from_counts} to {entry.to_counts}" if entry.meter_id else ""
    click.echo(f"{entry.entry_id}  {entry.state}  {entry.kind}  {litres(entry.volume_ul)}{where}")
    click.echo(f"     since {_moment(entry.opened_at)}")
    if entry.closed_at is not None:
        said = f": {entry.note}" if entry.note else ""
        click.echo(f"     {entry.state} {_moment(entry.closed_at)} by {entry.closed_by}{said}")


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
