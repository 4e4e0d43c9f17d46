"""The operator's commands for what stations are told from afar: settings, notices, keys; and what they told besides.

Arguments in, services called, words or JSON out.
"""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from .cli_wiring import Wiring, as_json, now_ms, print_json, wired
from .core import settings
from .store import notices, rotation
from .store import operations as stored
from .store.config_documents import FLEET, GROUP, POLICY, STATION

_scope = [
    click.option("--all", "fleet", is_flag=True, help="For every station."),
    click.option("--group", help="For the stations of a group."),
    click.option("--station", "station_id", help="For one station."),
]


def _scoped(command: Any) -> Any:
    for option in reversed(_scope):
        command = option(command)
    return command


def _chosen(fleet: bool, group: str | None, station_id: str | None) -> tuple[str, str]:
    given = [(FLEET, "")] * fleet + [(GROUP, group)] * bool(group) + [(STATION, station_id)] * bool(station_id)
    if len(given) != 1:
        raise click.UsageError("say for whom: one of --all, --group NAME, --station ID")
    scope, subject = given[0]
    return scope, subject or ""


def _who(by: str | None) -> str:
    return by or getpass.getuser()


@click.group()
def config() -> None:
    """Settings of stations: fleet, then group, then station; the later one wins, setting by setting."""


@config.command("set")
@click.argument("changes", nargs=-1, metavar="KEY=VALUE...")
@_scoped
@click.option("--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A whole document, JSON.")
@click.option("--unset", multiple=True, metavar="KEY", help="Take a setting out.")
@click.option("--by", help="Who sets it; the user of this machine by default.")
@as_json
@wired
def set_config(
    wiring: Wiring,
    changes: tuple[str, ...],
    *,
    fleet: bool,
    group: str | None,
    station_id: str | None,
    file: Path | None,
    unset: tuple[str, ...],
    by: str | None,
    as_json: bool,
) -> None:
    """Set KEY to VALUE (JSON), such as reader.commit_interval_s=2. Stations fetch it with their next answer.

    Whether a value is allowed is each station's to say: see `config status`.
    """
    scope, subject = _chosen(fleet, group, station_id)
    if file is not None:
        if changes or unset:
            raise click.UsageError("either --file or single settings")
        version = wiring.documents.replace(scope, subject, _document(file), _who(by), now_ms())
    elif not changes and not unset:
        raise click.UsageError("nothing to set: KEY=VALUE, --unset KEY or --file FILE")
    else:
        wanted = dict(_change(each) for each in changes)
        removed = [_path(each) for each in unset]
        version = wiring.documents.change(scope, subject, wanted, removed, _who(by), now_ms())
    if as_json:
        print_json({"scope": scope, "subject": subject, "version": version})
    else:
        click.echo(f"{scope} {subject}".strip() + f": version {version}; `aquasmart-cloud config status` shows how far")


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise click.UsageError(f"{file} is not JSON: {fault}") from fault
    faults = settings.shape_faults(document)
    if faults:
        raise click.UsageError("; ".join(faults))
    assert isinstance(document, dict)
    return document


def _change(text: str) -> tuple[settings.Path, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    try:
        return _path(name), json.loads(value)
    except ValueError as fault:
        raise click.UsageError(f"{name}: {value!r} is not JSON (text needs its quotes)") from fault


def _path(name: str) -> settings.Path:
    try:
        return settings.path_of(name)
    except ValueError as fault:
        raise click.UsageError(str(fault)) from fault


@config.command("show")
@_scoped
@as_json
@wired
def show_config(wiring: Wiring, *, fleet: bool, group: str | None, station_id: str | None, as_json: bool) -> None:
    """A document; with --station what counts for that station, merged."""
    scope, subject = _chosen(fleet, group, station_id)
    if scope == STATION:
        found = wiring.documents.effective(subject)
        document: dict[str, Any] = found._asdict() | {"own": wiring.documents.newest(STATION, subject)}
    else:
        document = {"document": wiring.documents.newest(scope, subject)}
    if as_json:
        print_json(document)
        return
    if scope == STATION:
        click.echo(f"version {document['version']}, set by {document['set_by'] or 'nobody'}")
    click.echo(json.dumps(document["document"], indent=2, ensure_ascii=False))


@config.command("history")
@_scoped
@as_json
@wired
def history(wiring: Wiring, *, fleet: bool, group: str | None, station_id: str | None, as_json: bool) -> None:
    """Every version of a document: when, by whom, what."""
    scope, subject = _chosen(fleet, group, station_id)
    found = wiring.documents.history(scope, subject)
    if as_json:
        print_json({"versions": found})
        return
    for each in found:
        text = settings.canonical(each["document"])
        click.echo(f"{each['version']}  {_when(each['set_at'])}  {each['set_by']}  {text}")
    if not found:
        click.echo("nothing has been set")


@config.command("status")
@as_json
@wired
def config_status(wiring: Wiring, *, as_json: bool) -> None:
    """Each station: which version counts, and whether it was sent, received, applied, refused or rolled back."""
    found = wiring.documents.progress()
    if as_json:
        print_json({"stations": found})
        return
    for each in found:
        group = f" ({each['group_name']})" if each["group_name"] else ""
        click.echo(f"{each['station_id']}{group}  version {each['version'] or 0}  {each['state']}")
        for reason in each["reasons"] if each["state"] in {"refused", "rolled-back"} else ():
            click.echo(f"  {reason}")


@config.command("policy")
@click.argument("rules", nargs=-1, metavar="RULE=VALUE...")
@click.option("--by", help="Who sets it; the user of this machine by default.")
@as_json
@wired
def policy(wiring: Wiring, rules: tuple[str, ...], *, by: str | None, as_json: bool) -> None:
    """Which local changes technicians may make. Without RULE, show it.

    scale_change_ppm_max=20000: a calibration may move a price by 2 %. refuse='["reader"]': what is not theirs.
    """
    document = wiring.documents.newest(POLICY, "")
    if rules:
        changed: dict[str, Any] = dict(document)
        for rule in rules:
            name, _, value = rule.partition("=")
            try:
                changed[name] = json.loads(value)
            except ValueError as fault:
                raise click.UsageError(f"{name}: {value!r} is not JSON") from fault
        document = {name: value for name, value in changed.items() if value is not None}
        faults = settings.policy_faults(document)
        if faults:
            raise click.UsageError("; ".join(faults))
        wiring.documents.replace(POLICY, "", document, _who(by), now_ms())
    if as_json:
        print_json(document)
    else:
        click.echo(json.dumps(document, indent=2) if document else "technicians may change what the protocol allows")


@click.group()
def notice() -> None:
    """Words for whoever stands before a station."""


@notice.command("send")
@click.argument("text")
@_scoped
@as_json
@wired
def send_notice(
    wiring: Wiring, text: str, *, fleet: bool, group: str | None, station_id: str | None, as_json: bool
) -> None:
    """Send TEXT (up to 200 characters); stations fetch it with their next answer and show it in `aquasmart status`."""
    scope, subject = _chosen(fleet, group, station_id)
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise click.UsageError("a notice is one line of 1 to 200 characters")
    stations = [subject] if scope == STATION else None
    sent = notices.send(
        wiring.database, text, stations=stations, group=subject if scope == GROUP else None, now_ms=now_ms()
    )
    if as_json:
        print_json({"stations": sent})
    else:
        click.echo(
            f"for {len(sent)} station{'s' if len(sent) != 1 else ''}; `aquasmart-cloud notice list` shows who has it"
        )


@notice.command("list")
@as_json
@wired
def list_notices(wiring: Wiring, *, as_json: bool) -> None:
    """Every notice per station: sent, fetched, received."""
    found = notices.listed(wiring.database)
    if as_json:
        print_json({"notices": found})
        return
    for each in found:
        state = "received" if each["received_at"] else "fetched" if each["fetched_at"] else "sent"
        click.echo(f"{_when(each['sent_at'])}  {each['station_id']}  {each['number']}  {state}  {each['text']}")
    if not found:
        click.echo("no notices yet")


@click.group()
def operations() -> None:
    """What stations told besides telemetry."""


@operations.command("list")
@click.argument("station_id")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json
@wired
def list_operations(wiring: Wiring, station_id: str, *, limit: int, as_json: bool) -> None:
    """The latest operations of a station, newest first."""
    found = stored.listed(wiring.database, station_id, limit)
    if as_json:
        print_json({"operations": found})
        return
    for each in found:
        said = settings.canonical(each["payload"])
        click.echo(f"{_when(each['received_at'])}  {each['type']}  {each['status'] or 'in progress'}  {said[:100]}")
    if not found:
        click.echo("no operations yet")


@click.command("rotate")
@click.argument("station_id")
@as_json
@wired
def rotate(wiring: Wiring, station_id: str, *, as_json: bool) -> None:
    """Offer a station a new key. No key travels; the former one stays valid until `station revoke`.

    A key that has leaked is not cured by this: revoke it and provision anew.
    """
    offer = rotation.offer(
        wiring.database,
        station_id,
        lambda connection: wiring.stations.next_key_id(connection, station_id),
        now_ms(),
    )
    if as_json:
        print_json(
            {
                "station_id": station_id,
                "key_id": offer.key_id,
                "rotations": rotation.listed(wiring.database, station_id),
            }
        )
        return
    click.echo(f"{station_id} is offered key {offer.key_id}; its first use confirms it (`station show {station_id}`)")


@click.command("group")
@click.argument("station_id")
@click.argument("group", required=False, default="")
@as_json
@wired
def join_group(wiring: Wiring, station_id: str, group: str, *, as_json: bool) -> None:
    """Put a station into GROUP; without GROUP, into none."""
    found = wiring.documents.join(station_id, group, now_ms())
    if as_json:
        print_json({"station_id": station_id, "group": group, "version": found.version})
    else:
        click.echo(f"{station_id} is in {f'group {group}' if group else 'no group'}; its version is {found.version}")


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
