"""Commands about foreign events: `client …`, `failed …`, `reprocess`. Arguments in, words or JSON out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, BinaryIO

import click
import msgspec

from .cli_wiring import Wiring, as_json, now_ms, wired
from .core.errors import ClientError
from .core.normalising.reading import read_json
from .core.problems import Refusal
from .services.reprocessing import Reprocessing
from .store import failures, foreign_queries, intake
from .store.clients import Clients, NewToken
from .store.failures import Failed, parse_failed_id
from .store.intake_log import Occasion

_ALL_TIME = (0, 1 << 62)


def _clients(wiring: Wiring) -> Clients:
    return Clients(wiring.database)


def _reprocessing(wiring: Wiring) -> Reprocessing:
    return Reprocessing(wiring.database, _clients(wiring))


def register(main: click.Group) -> None:
    """Add these commands to `aquasmart-cloud`."""
    main.add_command(client)
    main.add_command(failed)
    main.add_command(reprocess)


def _occasion() -> Occasion:
    return Occasion(now_ms(), secrets.token_hex(16), secrets.token_hex(16), "command line")


def print_json(document: object) -> None:
    """One document on one line; originals as they are kept, so that no number changes."""
    click.echo(msgspec.json.encode(document).decode())


def _print_token(new: NewToken, *, as_json: bool) -> None:
    if as_json:
        print_json({"client_id": new.client_id, "token": new.token})
        return
    click.echo(f"client {new.client_id}, token shown this once:\n{new.token}")
    click.echo("it is sent with every request as  Authorization: Bearer TOKEN  (docs/integrator.md)")


@click.group()
def client() -> None:
    """Systems that send foreign events, and how theirs are read."""


@client.command("add")
@click.argument("name")
@as_json
@wired
def add(wiring: Wiring, name: str, *, as_json: bool) -> None:
    """Make a client and print its token, once."""
    _print_token(_clients(wiring).add(name, _occasion().now_ms), as_json=as_json)


@client.command("new-token")
@click.argument("client_id")
@as_json
@wired
def new_token(wiring: Wiring, client_id: str, *, as_json: bool) -> None:
    """Replace a client's token and print the new one, once. The former one is refused from now on."""
    _print_token(_clients(wiring).new_token(client_id), as_json=as_json)


@client.command("list")
@as_json
@wired
def list_clients(wiring: Wiring, *, as_json: bool) -> None:
    """Every client."""
    found = [each.document() for each in _clients(wiring).all()]
    processed = foreign_queries.senders(wiring.database)
    if as_json:
        print_json({"clients": [each | {"processed": processed.get(each["client_id"], 0)} for each in found]})
        return
    for each in found:
        click.echo(f"{each['client_id']}  {each['state']}  {processed.get(each['client_id'], 0)} events")
    if not found:
        click.echo("no clients yet: 'aquasmart-cloud client add NAME' makes one")


@client.command("show")
@click.argument("client_id")
@wired
def show(wiring: Wiring, client_id: str) -> None:
    """One client's settings, as JSON (never its token)."""
    print_json(_clients(wiring).show(client_id).document())


@client.command("set")
@click.argument("client_id")
@click.option("--date-order", help="How 01/03/2024 is read: dmy or mdy.")
@click.option("--decimal-mark", help="'.' or ','.")
@click.option("--most-events", type=int, help="Events in one request.")
@click.option("--most-bytes", type=int, help="Bytes of one request.")
@click.option("--rate-limit", help="Requests, such as 600/minute; none for no limit.")
@click.option(
    "--mapping",
    type=click.File("rb"),
    help='JSON: {"fields": {their name: ours}, "defaults": {ours: value}}; - reads standard input.',
)
@wired
def change(wiring: Wiring, /, client_id: str, mapping: Any, **settings: Any) -> None:
    """Change how a client's events are read, or its limits; acts on its next request."""
    changes = {name: value for name, value in settings.items() if value is not None}
    if changes.get("rate_limit") == "none":
        changes["rate_limit"] = None
    if mapping is not None:
        changes["mapping"] = _document(mapping.read(), "the mapping")
    print_json(_clients(wiring).change(client_id, changes).document())


@client.command("revoke")
@click.argument("client_id")
@as_json
@wired
def revoke(wiring: Wiring, client_id: str, *, as_json: bool) -> None:
    """Refuse a client's requests from this moment on. What it sent stays."""
    _clients(wiring).revoke(client_id)
    if as_json:
        print_json({"client_id": client_id, "state": "revoked"})
    else:
        click.echo(f"{client_id} is revoked")


@click.group()
def failed() -> None:
    """Foreign events that could not be read: look, correct, dismiss."""


@failed.command("list")
@click.option("--client", "client_id", default=None, help="Of one client only.")
@click.option("--all", "every", is_flag=True, help="Processed and dismissed ones too.")
@as_json
@wired
def list_failed(wiring: Wiring, client_id: str | None, *, every: bool, as_json: bool) -> None:
    """Open failures, the oldest first; with --json one document per line."""
    told = False
    for sender in [client_id] if client_id else foreign_queries.senders(wiring.database):
        after = 0
        while found := failures.page(wiring.database, sender, after, _ALL_TIME, "" if every else failures.OPEN, 200):
            after, told = found[-1].failed_seq, True
            for each in found:
                if as_json:
                    print_json(_document_of(each))
                else:
                    click.echo(f"{each.failed_id}  {each.state}  {_reasons(each)}")
    if not (told or as_json):
        click.echo("none: every foreign event was read")


@failed.command("show")
@click.argument("failed_id")
@wired
def show_failed(wiring: Wiring, failed_id: str) -> None:
    """One failure with what came, as JSON."""
    print_json(_document_of(_load(wiring, failed_id)))


@failed.command("edit")
@click.argument("failed_id")
@click.argument("file", type=click.File("rb"))
@as_json
@wired
def edit(wiring: Wiring, failed_id: str, file: BinaryIO, *, as_json: bool) -> None:
    """Process the corrected event in FILE (JSON; - for standard input) in place of one that failed.

    Exit status 1 if it fails again.
    """
    _load(wiring, failed_id)
    edited = _document(file.read(), "the event")
    with _refusals_in_words():
        result = _reprocessing(wiring).one(_place(failed_id), _occasion(), edited)
    if as_json:
        print_json({"status": result.status, "event_id": result.event_id, "errors": result.errors})
    elif result.status != intake.FAILED:
        click.echo(f"{failed_id} is {result.status} as event {result.event_id}")
    if result.status == intake.FAILED:
        said = "; ".join(f"{each['where']} {each['what']}" for each in result.errors)
        raise click.ClickException(f"it still fails: {said}")


@failed.command("dismiss")
@click.argument("failed_id")
@click.option("--reason", required=True, help="Why it needs no event; kept for ever.")
@as_json
@wired
def dismiss(wiring: Wiring, failed_id: str, reason: str, *, as_json: bool) -> None:
    """Close a failure without an event."""
    with _refusals_in_words():
        intake.dismiss(wiring.database, _place(failed_id), reason, _occasion())
    if as_json:
        print_json({"event_id": failed_id, "state": failures.DISMISSED})
    else:
        click.echo(f"{failed_id} is dismissed")


@click.command()
@click.option("--client", "client_id", default=None, help="Of one client only.")
@click.option("--all", "everything", is_flag=True, help="Every open failure, not only those of an older version.")
@as_json
@wired
def reprocess(wiring: Wiring, client_id: str | None, *, everything: bool, as_json: bool) -> None:
    """Try failed events again: after an update (those of an older version), or with --all after a new mapping."""
    done = _reprocessing(wiring).all(_occasion(), client_id, everything=everything)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(
        f"{done.tried} tried: {done.processed} processed, {done.duplicates} known already, {done.failed} fail still"
    )


def _load(wiring: Wiring, failed_id: str) -> Failed:
    found = failures.show(wiring.database, _place(failed_id))
    if found is None:
        raise _no_failure(failed_id)
    return found


def _place(failed_id: str) -> tuple[str, int]:
    place = parse_failed_id(failed_id)
    if place is None:
        raise _no_failure(failed_id)
    return place


def _no_failure(failed_id: str) -> ClientError:
    return ClientError(f"there is no failed event {failed_id}", "'aquasmart-cloud failed list' shows those there are")


def _document(text: bytes, what: object) -> Any:
    try:
        return read_json(text)
    except Refusal as refusal:
        raise ClientError(f"{what} cannot be read: {refusal.detail}") from refusal


@contextmanager
def _refusals_in_words() -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise click.ClickException(refusal.detail) from refusal


def _reasons(failure: Failed) -> str:
    return "; ".join(f"{each['where']} {each['what']}" for each in failure.errors)


def _document_of(failure: Failed) -> dict[str, Any]:
    """A failure as shown; what came is printed as it is kept, so that no number changes."""
    edited = None if failure.edited is None else msgspec.Raw(failure.edited.encode())
    original = {"original": msgspec.Raw(failure.raw.encode()), "edited": edited}
    shown = ("client_id", "state", "code", "errors", "warnings", "received_at", "closed_at", "closed_by", "reason")
    return {"event_id": failure.failed_id} | {name: getattr(failure, name) for name in shown} | original
