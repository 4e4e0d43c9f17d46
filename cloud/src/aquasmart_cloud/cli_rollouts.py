"""The operator's commands for images' updates: `bundle …`, `rollout …`, and where a station's clock is.

Arguments in, services called, words or JSON out.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from .cli_wiring import Wiring, as_json, now_ms, print_json, wired
from .core.rollouts import CANARIES, DEFAULT_WINDOW, ITSELF, STOPPED, Bundle, Window
from .services.bundling import Said, Shelf, pieces_of
from .store import bundles, rollout_view, rollouts, zones
from .store.intake_log import Occasion


def register(main: click.Group, station: click.Group) -> None:
    """Add these commands to `aquasmart-cloud` and `aquasmart-cloud station`."""
    main.add_command(bundle)
    main.add_command(rollout)
    station.add_command(zone)


def _occasion() -> Occasion:
    return Occasion(now_ms(), secrets.token_hex(16), secrets.token_hex(16), "command line")


def _shelf(wiring: Wiring) -> Shelf:
    updates = wiring.config.updates
    return Shelf(wiring.database, updates.folder, updates.most_bytes, updates.keyring)


@click.group()
def bundle() -> None:
    """Bundles: signed images for stations to update to."""


@bundle.command("add")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--version", default="", help="The image's version; read from the bundle where rauc can verify it.")
@click.option("--number", type=click.IntRange(min=1), default=None, help="Its number: `build` of its manifest.")
@click.option("--compatible", default="", help="For which kind of image: `compatible` of its manifest.")
@as_json
@wired
def add(wiring: Wiring, file: Path, *, version: str, number: int | None, compatible: str, as_json: bool) -> None:
    """Take in FILE, a RAUC bundle. Nothing is offered to any station before `rollout start`.

    Where rauc is installed and AQUASMART_RAUC_KEYRING is set, its signature is verified and its manifest read;
    otherwise say version, number and compatible.
    """
    found = _shelf(wiring).add(pieces_of(file), Said(version, number or 0, compatible), _occasion())
    if as_json:
        print_json(found._asdict())
        return
    click.echo(f"bundle {found.sha256[:12]}: {_told(found)}")
    if not found.verified:
        click.echo("its signature was not verified here; each station verifies it before it installs")
    click.echo(f"next: aquasmart-cloud rollout start {found.sha256[:12]} --group GROUP")


@bundle.command("list")
@as_json
@wired
def list_bundles(wiring: Wiring, *, as_json: bool) -> None:
    """Every bundle, the newest first."""
    found = bundles.listed(wiring.database)
    if as_json:
        print_json({"bundles": [each._asdict() for each in found]})
        return
    for each in found:
        click.echo(f"{each.sha256[:12]}  {_told(each)}  {'verified' if each.verified else 'not verified here'}")
    if not found:
        click.echo("no bundles yet: 'aquasmart-cloud bundle add FILE' takes one in")


@bundle.command("remove")
@click.argument("name", metavar="SHA256")
@as_json
@wired
def remove(wiring: Wiring, name: str, *, as_json: bool) -> None:
    """Let a bundle go, named by its SHA-256 or the beginning of it. Refused while a roll-out of it runs."""
    found = _shelf(wiring).remove(name, _occasion())
    if as_json:
        print_json({"sha256": found.sha256, "removed": True})
    else:
        click.echo(f"bundle {found.sha256[:12]} is gone")


def _told(each: Bundle) -> str:
    return f"version {each.version}, number {each.number}, for {each.compatible}, {each.size_bytes:,} bytes"


@click.group()
def rollout() -> None:
    """Roll-outs: a bundle for the stations of a group, canaries first."""


@rollout.command("start")
@click.argument("name", metavar="SHA256")
@click.option("--all", "fleet", is_flag=True, help="For every station.")
@click.option("--group", default="", help="For the stations of a group.")
@click.option("--canaries", type=click.IntRange(0, 10_000), default=None, help="So many, of those heard last. [1]")
@click.option("--canary", "named", multiple=True, metavar="STATION", help="This one; may be given several times.")
@click.option("--window", "window_text", default=DEFAULT_WINDOW, show_default=True, help="In the station's time.")
@click.option("--time-zone", default=zones.UTC_NAME, show_default=True, help="Of stations that have none set.")
@as_json
@wired
def start(
    wiring: Wiring,
    name: str,
    *,
    fleet: bool,
    group: str,
    canaries: int | None,
    named: tuple[str, ...],
    window_text: str,
    time_zone: str,
    as_json: bool,
) -> None:
    """Offer a bundle, named by its SHA-256 or the beginning of it.

    The canaries are offered it first, the others once every canary is good; a canary that ends otherwise stops it.
    Stations fetch and install it within the maintenance window, and never while water runs.
    """
    if fleet == bool(group):
        raise click.UsageError("say for whom: --all or --group NAME")
    if named and canaries is not None:
        raise click.UsageError("either --canaries or --canary")
    window = Window.parse(window_text)
    if window is None:
        raise click.UsageError(f"{window_text!r} is no window: it is written {DEFAULT_WINDOW}")
    zones.checked(time_zone)
    chosen = list(named) if named else 1 if canaries is None else canaries
    with wiring.database.writing() as connection:
        found = bundles.named(connection, name)
        rollout_id = rollouts.start(connection, found, group, chosen, window, time_zone, _occasion())
    _show(wiring, rollout_id, as_json=as_json)


@rollout.command("list")
@as_json
@wired
def list_rollouts(wiring: Wiring, *, as_json: bool) -> None:
    """Every roll-out, the newest first."""
    found = rollout_view.listed(wiring.database)
    if as_json:
        print_json({"rollouts": found})
        return
    for each in found:
        click.echo(_line(each))
    if not found:
        click.echo("no roll-outs yet: 'aquasmart-cloud rollout start SHA256 --group GROUP' begins one")


@rollout.command("show")
@click.argument("rollout_id", type=click.IntRange(min=1))
@as_json
@wired
def show(wiring: Wiring, rollout_id: int, *, as_json: bool) -> None:
    """One roll-out: where each station stands."""
    _show(wiring, rollout_id, as_json=as_json)


@rollout.command("stop")
@click.argument("rollout_id", type=click.IntRange(min=1))
@click.option("--reason", default="", help="For whoever looks later.")
@as_json
@wired
def stop(wiring: Wiring, rollout_id: int, reason: str, *, as_json: bool) -> None:
    """Offer it to nobody any more; stations that fetch it cease. One that stopped by itself: you have seen to it."""
    with wiring.database.writing() as connection:
        rollouts.stop(connection, rollout_id, reason, _occasion())
    _show(wiring, rollout_id, as_json=as_json)


@rollout.command("resume")
@click.argument("rollout_id", type=click.IntRange(min=1))
@as_json
@wired
def resume(wiring: Wiring, rollout_id: int, *, as_json: bool) -> None:
    """Let a stopped one go on. Canaries that ended badly are given up; another must be good before all follow."""
    with wiring.database.writing() as connection:
        rollouts.resume(connection, rollout_id, _occasion())
    _show(wiring, rollout_id, as_json=as_json)


def _show(wiring: Wiring, rollout_id: int, *, as_json: bool) -> None:
    found = rollout_view.shown(wiring.database, rollout_id)
    if as_json:
        print_json(found)
        return
    click.echo(_line(found))
    window = found["window"]
    click.echo(
        f"window {window['from']}-{window['to']}, in {found['time_zone']} where a station has no zone of its own"
    )
    if found["reason"]:
        click.echo(f"why: {found['reason']}")
    for each in found["stations"]:
        state = each["state"] or ("offered" if each["offered_at"] else "not begun")
        canary = "  canary" if each["canary"] else ""
        when = f"  {_when(each['reported_at'])}" if each["reported_at"] else ""
        click.echo(f"  {each['station_id']}{canary}  {state}{when}  {each['detail']}".rstrip())


def _line(each: dict[str, Any]) -> str:
    of = each["bundle"]
    by_itself = " by itself" if each["state"] == STOPPED and each["changed_by"] == ITSELF else ""
    stage = ", canaries first" if each["stage"] == CANARIES else ""
    return (
        f"{each['rollout_id']}  {each['state']}{by_itself}{stage}  version {of['version']} (number {of['number']})"
        f"  for {each['group'] or 'every station'}  {each['good']} of {each['total']} good, {each['bad']} not"
    )


@click.command("zone")
@click.argument("station_id")
@click.argument("time_zone", required=False, default="")
@as_json
@wired
def zone(wiring: Wiring, station_id: str, time_zone: str, *, as_json: bool) -> None:
    """Say in which TIME_ZONE (Europe/Berlin) a station stands, for maintenance windows; without one, in none."""
    zones.place(wiring.database, station_id, time_zone, now_ms())
    if as_json:
        print_json({"station_id": station_id, "time_zone": time_zone or None})
    else:
        click.echo(f"{station_id} stands in {time_zone or 'no time zone of its own'}")


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
