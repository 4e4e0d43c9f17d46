"""The operator's command: `aquasmart-cloud`.

Arguments in, services called, words or JSON out. No SQL and no rule of the product lives here. Every error
says what to do next; status 78 for an unusable configuration, 1 for everything else that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from . import (
    __version__,
    cli_alerts,
    cli_audit,
    cli_clients,
    cli_doctor,
    cli_keys,
    cli_ledger,
    cli_policy,
    cli_remote,
    cli_rollouts,
    cli_store,
    cli_worker,
)
from .cli_progress import litres as _litres
from .cli_wiring import Group as _Group
from .cli_wiring import Wiring as _Wiring
from .cli_wiring import as_json as _json
from .cli_wiring import now_ms as _now_ms
from .cli_wiring import print_json as _print_json
from .cli_wiring import wired as _wired
from .config import MASTER_KEY, initialise
from .store import sign_in
from .store.stations import NewKey


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """AquaSmart cloud: verifies, books and shows what the stations count."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_json
def init(folder: Path, *, as_json: bool) -> None:
    """Make FOLDER with a master key and an admin token (mode 0600). Existing ones are kept."""
    made = initialise(folder)
    if as_json:
        _print_json({"folder": str(folder), "files": made})
        return
    for path, fresh in made.items():
        click.echo(f"{'made' if fresh else 'kept'} {path}")
    click.echo(f"next: export AQUASMART_MASTER_KEY_FILE={folder / MASTER_KEY}; aquasmart-cloud db upgrade")


@main.group()
def station() -> None:
    """Stations and their keys."""


def _print_key(new: NewKey, *, as_json: bool) -> None:
    if as_json:
        _print_json({"station_id": new.station_id, "key_id": new.key_id, "key": new.key})
        return
    click.echo(f"station {new.station_id}, key {new.key_id}, shown this once:\n{new.key}")
    click.echo("write it to the station's key file, mode 0600")


@station.command("add")
@click.argument("station_id")
@click.option("--name", default="", help="What people call it; the id by default.")
@_json
@_wired
def add(wiring: _Wiring, station_id: str, name: str, *, as_json: bool) -> None:
    """Make a station and print its key, once."""
    _print_key(wiring.stations.add(station_id, name, _now_ms()), as_json=as_json)


@station.command("rotate-key")
@click.argument("station_id")
@_json
@_wired
def rotate_key(wiring: _Wiring, station_id: str, *, as_json: bool) -> None:
    """Add a second active key and print it, once. The former key stays valid until it is revoked."""
    _print_key(wiring.stations.rotate_key(station_id, _now_ms()), as_json=as_json)


@station.command("list")
@_json
@_wired
def list_stations(wiring: _Wiring, *, as_json: bool) -> None:
    """Every station with its totals."""
    stations = wiring.stations.all()
    if as_json:
        _print_json({"stations": stations})
        return
    for each in stations:
        click.echo(f"{each['station_id']}  {each['state']}  {each['events']} events  {_litres(each['volume_ul'])}")
    if not stations:
        click.echo("no stations yet: 'aquasmart-cloud station add ID' makes one")


@station.command("show")
@click.argument("station_id")
@_json
@_wired
def show(wiring: _Wiring, station_id: str, *, as_json: bool) -> None:
    """One station, its totals and its keys (never their secrets)."""
    found = wiring.stations.show(station_id)
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        if name != "keys":
            click.echo(f"{name}: {value}")
    for key in found["keys"]:
        click.echo(f"key {key['key_id']}: {'active' if key['revoked_at'] is None else 'revoked'}")


@station.command("revoke")
@click.argument("station_id")
@click.option("--key", "key_id", default=None, help="One key only; all active ones by default.")
@_json
@_wired
def revoke(wiring: _Wiring, station_id: str, key_id: str | None, *, as_json: bool) -> None:
    """Refuse a station's keys from this moment on. What it sent stays; its old signatures stay verifiable."""
    revoked = wiring.stations.revoke(station_id, key_id, _now_ms())
    if as_json:
        _print_json({"station_id": station_id, "revoked": revoked})
    else:
        click.echo(f"revoked: {', '.join(revoked) or 'nothing was active'}")


@station.command("retire")
@click.argument("station_id")
@_json
@_wired
def retire(wiring: _Wiring, station_id: str, *, as_json: bool) -> None:
    """Close a station for good: its requests are answered with 410, its figures stay."""
    wiring.stations.retire(station_id)
    if as_json:
        _print_json({"station_id": station_id, "state": "retired"})
    else:
        click.echo(f"{station_id} is retired")


@station.command("reinstate")
@click.argument("station_id")
@_json
@_wired
def reinstate(wiring: _Wiring, station_id: str, *, as_json: bool) -> None:
    """Take a retired station back. It asks again by itself within a quarter of an hour; everything it kept follows."""
    wiring.stations.reinstate(station_id)
    if as_json:
        _print_json({"station_id": station_id, "state": "active"})
    else:
        click.echo(f"{station_id} is active again; it asks within a quarter of an hour")


def _totals(stations: list[dict[str, Any]]) -> Mapping[str, Any]:
    rows = [{name: each[name] for name in ("station_id", "events", "volume_ul")} for each in stations]
    return {"stations": rows, "volume_ul": sum(row["volume_ul"] for row in rows)}


@main.command()
@_json
@_wired
def totals(wiring: _Wiring, *, as_json: bool) -> None:
    """What every station has delivered, and the sum."""
    found = _totals(wiring.stations.all())
    if as_json:
        _print_json(found)
        return
    for row in found["stations"]:
        click.echo(f"{row['station_id']}  {row['events']} events  {_litres(row['volume_ul'])}")
    click.echo(f"total  {_litres(found['volume_ul'])}")


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--allow-revoked", is_flag=True, help="Take it although its key was revoked: you know where it comes from."
)
@click.option("--allow-retired", is_flag=True, help="Take it although its station was retired.")
@_json
@_wired
def import_file(wiring: _Wiring, file: Path, *, allow_revoked: bool, allow_retired: bool, as_json: bool) -> None:
    """Take in FILE, written by `aquasmart log export`. Exactly once, before, after or beside the station's own sync.

    Exit status 1 if the file is refused, or if the cloud lacks events before those of a stream.
    """
    from .services.importing import Permissions, import_bundle

    allowed = Permissions(revoked=allow_revoked, retired=allow_retired)
    imported = import_bundle(file, wiring.database, wiring.stations, _now_ms, allowed)
    document = imported.document()
    if as_json:
        _print_json(document)
    else:
        for each in document["streams"]:
            said = f"{each['inserted']} new events, {each['duplicates']} known already"
            click.echo(f"stream {each['stream']}  {each['refused'] or said}")
        click.echo(f"{imported.station_id}: {document['inserted']} new events, {document['duplicates']} known already")
    if any(each["refused"] for each in document["streams"]):
        raise click.ClickException("some streams were not taken; export with --all, which begins where the log begins")


@main.command("sign-in-link")
@click.option("--base-url", default=None, help="Where people reach the cloud; http://BIND by default.")
@_json
@_wired
def sign_in_link(wiring: _Wiring, base_url: str | None, *, as_json: bool) -> None:
    """Print a link that signs one person in, once, within a quarter of an hour."""
    now_ms = _now_ms()
    token = sign_in.make_link(wiring.database, now_ms)
    base = (base_url or f"http://{wiring.config.bind}").rstrip("/")
    url = f"{base}/sign-in/{token}"
    if as_json:
        _print_json({"url": url, "token": token, "expires_at": now_ms + sign_in.LIFETIME_MS})
    else:
        click.echo(url)


for _command in (cli_store.db, cli_audit.audit, cli_audit.rebuild, cli_store.backup, cli_store.restore_backup):
    main.add_command(_command)
cli_alerts.register(main)
cli_clients.register(main)
cli_rollouts.register(main, station)
main.add_command(cli_worker.worker)
main.add_command(cli_policy.policy)
main.add_command(cli_keys.rekey)
main.add_command(cli_ledger.ledger)
main.add_command(cli_doctor.doctor)
main.add_command(cli_remote.config)
main.add_command(cli_remote.notice)
main.add_command(cli_remote.operations)
station.add_command(cli_remote.rotate)
station.add_command(cli_remote.join_group)
