"""The operator's commands about alerts and who is told of them. Arguments in, services called, words or JSON out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from .cli_wiring import Wiring, as_json, now_ms, wired
from .core.alert_kinds import KINDS, AlertError
from .core.alerting import read_setting
from .outgoing.posting import Posting
from .services import alert_changes
from .services.delivering import Delivering
from .store import alert_settings, outbox
from .store import alerts as stored
from .store.alerts import Wanted
from .store.outbox import News
from .store.webhooks import Webhooks

BY = "command line"
_PAGE = 200


def register(main: click.Group) -> None:
    """Add these commands to `aquasmart-cloud`."""
    main.add_command(alerts)
    main.add_command(webhook)


def _print(document: object) -> None:
    click.echo(msgspec.json.encode(document).decode())


def _moment(at_ms: int | None) -> str:
    return "-" if at_ms is None else datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@click.group()
def alerts() -> None:
    """What is wrong: listed, seen, closed; and how long it must last."""


@alerts.command("list")
@click.option("--all", "every", is_flag=True, help="Closed ones too.")
@click.option("--kind", type=click.Choice(list(KINDS)), default=None, help="Of one kind only.")
@click.option("--station", "station_id", default=None, help="Of one station or client only.")
@as_json
@wired
def list_alerts(wiring: Wiring, *, every: bool, kind: str | None, station_id: str | None, as_json: bool) -> None:
    """What is not closed, newest first; with --json one document per line."""
    wanted = Wanted(stored.STATES if every else stored.CURRENT, kind or "", station_id or "")
    after, told = None, False
    while found := stored.read_page(wiring.database, wanted, after, _PAGE):
        told = True
        after = stored.Place(found[-1].opened_at, found[-1].station_id, found[-1].alert_id)
        for each in found:
            _print(each.document()) if as_json else click.echo(_line(each.document()))
    if not (told or as_json):
        click.echo("none: nothing is wrong that this cloud knows of")


def _line(shown: dict[str, Any]) -> str:
    return f"{shown['alert_id']}  {shown['state']}  {shown['severity']}  {shown['title']}: {shown['text']}"


@alerts.command("show")
@click.argument("alert_id")
@as_json
@wired
def show(wiring: Wiring, alert_id: str, *, as_json: bool) -> None:
    """One alert: what it means, what to do, who has seen it."""
    _print_one(alert_changes.show(wiring.database, alert_id), as_json=as_json)


@alerts.command("acknowledge")
@click.argument("alert_id")
@click.option("--note", default=None, help="What is being done about it.")
@as_json
@wired
def acknowledge(wiring: Wiring, alert_id: str, note: str | None, *, as_json: bool) -> None:
    """Say that somebody sees to it. It stays until it is over."""
    people = alert_changes.people(wiring.config.telling)
    changed = alert_changes.acknowledge(wiring.database, people, alert_id, BY, note, now_ms())
    _print_one(changed, as_json=as_json)


@alerts.command("close")
@click.argument("alert_id")
@click.option("--note", default=None, help="Why.")
@as_json
@wired
def close(wiring: Wiring, alert_id: str, note: str | None, *, as_json: bool) -> None:
    """Close it although it may still be so. It opens again only after it has been over and comes back."""
    people = alert_changes.people(wiring.config.telling)
    _print_one(alert_changes.close(wiring.database, people, alert_id, BY, note, now_ms()), as_json=as_json)


def _print_one(alert: stored.Alert, *, as_json: bool) -> None:
    shown = alert.document()
    if as_json:
        _print(shown)
        return
    click.echo(_line(shown))
    click.echo(f"what to do: {shown['advice']}")
    click.echo(f"since {_moment(alert.since_at)}, opened {_moment(alert.opened_at)}, seen {_moment(alert.seen_at)}")
    if alert.acknowledged_at is not None:
        click.echo(f"acknowledged {_moment(alert.acknowledged_at)} by {alert.acknowledged_by}")
    if alert.closed_at is not None:
        click.echo(f"closed {_moment(alert.closed_at)} by {alert.closed_by}")
    if alert.note:
        click.echo(f"note: {alert.note}")


@alerts.command("settings")
@as_json
@wired
def settings(wiring: Wiring, *, as_json: bool) -> None:
    """Each kind with how long it must last and be over, and what was set otherwise."""
    changed = alert_settings.listed(wiring.database)
    fleet = alert_settings.read(wiring.database).thresholds()
    if as_json:
        rows = {name: _seconds(threshold) for name, threshold in fleet.items()}
        _print({"fleet": rows, "set": changed})
        return
    for name, threshold in fleet.items():
        state = "" if threshold.enabled else "  (off)"
        after_s, clear_s = threshold.after_ms // 1000, threshold.clear_ms // 1000
        click.echo(f"{name}: opens after {after_s} s, over after {clear_s} s{state}")
    for each in changed:
        click.echo(f"set for {each['scope']} {each['subject']}: {each['name']}={each['value']}")


def _seconds(threshold: Any) -> dict[str, Any]:
    """A threshold in seconds."""
    return {
        "after_s": threshold.after_ms // 1000,
        "clear_s": threshold.clear_ms // 1000,
        "enabled": threshold.enabled,
    }


@alerts.command("set")
@click.argument("changes", nargs=-1)
@click.option("--unset", multiple=True, metavar="NAME", help="Back to what the group, the fleet or the product says.")
@click.option("--group", default=None, help="For a group of stations.")
@click.option("--station", default=None, help="For one station.")
@as_json
@wired
def change(
    wiring: Wiring,
    changes: tuple[str, ...],
    unset: tuple[str, ...],
    group: str | None,
    station: str | None,
    *,
    as_json: bool,
) -> None:
    """Set thresholds: offline.after_s=1800, leak.clear_s=600, anomaly.enabled=0. Acts at the worker's next look."""
    if group is not None and station is not None:
        raise click.UsageError("either --group or --station")
    new: dict[str, int | None] = dict(read_setting(each) for each in changes)
    new |= {read_setting(f"{name}=0")[0]: None for name in unset}
    if not new:
        raise click.UsageError("nothing to set: KIND.after_s=SECONDS, KIND.clear_s=SECONDS or KIND.enabled=0")
    scope, subject = (
        (alert_settings.STATION, station)
        if station is not None
        else (alert_settings.GROUP, group)
        if group is not None
        else (alert_settings.FLEET, "")
    )
    alert_settings.put(wiring.database, scope, subject, new, now_ms())
    if as_json:
        _print({"scope": scope, "subject": subject, "set": new})
    else:
        click.echo(f"set for {scope} {subject}".rstrip())


@click.group()
def webhook() -> None:
    """Who is told of alerts by HTTP, and what became of each delivery."""


def _webhooks(wiring: Wiring) -> Webhooks:
    return Webhooks(wiring.database, wiring.keys)


@webhook.command("add")
@click.argument("url")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these kinds; all by default."
)
@as_json
@wired
def add(wiring: Wiring, url: str, kinds: tuple[str, ...], *, as_json: bool) -> None:
    """Tell URL from now on, and print the secret that signs it, once."""
    new = _webhooks(wiring).add(url, kinds, now_ms())
    if as_json:
        _print({"webhook_id": new.webhook_id, "secret": new.secret})
        return
    click.echo(f"webhook {new.webhook_id}, secret shown this once:\n{new.secret}")
    click.echo(f"next: 'aquasmart-cloud webhook test {new.webhook_id}'; what it gets is in docs/operator.md")


@webhook.command("list")
@as_json
@wired
def list_webhooks(wiring: Wiring, *, as_json: bool) -> None:
    """Every webhook (never its secret)."""
    found = _webhooks(wiring).all()
    if as_json:
        _print({"webhooks": found})
        return
    for each in found:
        state = "enabled" if each["enabled"] else "disabled"
        click.echo(f"{each['webhook_id']}  {state}  {each['url']}  {', '.join(each['kinds']) or 'all kinds'}")
    if not found:
        click.echo("no webhooks yet: 'aquasmart-cloud webhook add URL' makes one")


@webhook.command("remove")
@click.argument("webhook_id")
@as_json
@wired
def remove(wiring: Wiring, webhook_id: str, *, as_json: bool) -> None:
    """Forget a webhook and its secret. What waits for it fails."""
    _webhooks(wiring).remove(webhook_id)
    _print({"webhook_id": webhook_id, "state": "removed"}) if as_json else click.echo(f"{webhook_id} is removed")


def _switch(wiring: Wiring, webhook_id: str, *, enabled: bool, as_json: bool) -> None:
    _webhooks(wiring).enable(webhook_id, enabled=enabled)
    state = "enabled" if enabled else "disabled"
    _print({"webhook_id": webhook_id, "state": state}) if as_json else click.echo(f"{webhook_id} is {state}")


@webhook.command("enable")
@click.argument("webhook_id")
@as_json
@wired
def enable(wiring: Wiring, webhook_id: str, *, as_json: bool) -> None:
    """Tell a disabled webhook again, of what happens from now on."""
    _switch(wiring, webhook_id, enabled=True, as_json=as_json)


@webhook.command("disable")
@click.argument("webhook_id")
@as_json
@wired
def disable(wiring: Wiring, webhook_id: str, *, as_json: bool) -> None:
    """Tell it nothing for now. What waits for it fails, and can be retried."""
    _switch(wiring, webhook_id, enabled=False, as_json=as_json)


@webhook.command("test")
@click.argument("webhook_id")
@as_json
@wired
def test(wiring: Wiring, webhook_id: str, *, as_json: bool) -> None:
    """Deliver a test now and say how it went; exit status 1 if it was not taken."""
    webhooks = _webhooks(wiring)
    webhooks.require(webhook_id)
    news = News("test", "test", {"text": "A test of AquaSmart's alerts. Nothing is wrong."})
    with wiring.database.writing("") as connection:
        delivery_id = outbox.add(connection, webhook_id, news, now_ms())
    telling = wiring.config.telling
    job = Delivering(wiring.database, webhooks, telling, Posting(telling.webhook_allow))
    found = job.one(delivery_id, now_ms())
    assert found is not None
    if as_json:
        _print(found.document())
    else:
        click.echo(f"{found.delivery_id}: {found.state}: {_answer(found)}")
    if found.state != outbox.DELIVERED:
        raise click.ClickException("it was not taken; the worker tries it again")


@webhook.command("deliveries")
@click.option("--state", type=click.Choice(list(outbox.STATES)), default=None, help="Only those.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@as_json
@wired
def deliveries(wiring: Wiring, state: str | None, limit: int, *, as_json: bool) -> None:
    """What was told or is to be told, newest first, e-mails too; with --json one document per line."""
    found = outbox.page(wiring.database, state or "", None, limit)
    for each in found:
        if as_json:
            _print(each.document())
        else:
            click.echo(
                f"{each.delivery_id}  {each.state}  {each.target}  {each.kind}  {each.attempts}×  {_answer(each)}"
            )
    if not (found or as_json):
        click.echo("none")


def _answer(found: outbox.Delivery) -> str:
    status = "" if found.status is None else f"{found.status} "
    if found.said and found.said.startswith(status.strip()) and status:
        status = ""
    again = f"; again at {_moment(found.due_at)}" if found.state == outbox.WAITING and found.attempts else ""
    return f"{status}{found.said or ''}".strip() + again


@webhook.command("retry")
@click.argument("delivery_ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every failed delivery that is still kept.")
@as_json
@wired
def retry(wiring: Wiring, delivery_ids: tuple[str, ...], *, every: bool, as_json: bool) -> None:
    """Try failed deliveries again, under the same ids."""
    if bool(delivery_ids) == every:
        raise click.UsageError("name deliveries, or --all")
    wanted = list(delivery_ids)
    if every:
        after = None
        while found := outbox.page(wiring.database, outbox.FAILED, after, _PAGE):
            wanted += [each.delivery_id for each in found]
            after = (found[-1].created_at, found[-1].delivery_id)
    again = []
    for each in wanted:
        with wiring.database.writing("") as connection:
            if outbox.retry(connection, each, now_ms()):
                again.append(each)
            elif not every:
                raise AlertError(f"{each} has not failed", "'aquasmart-cloud webhook deliveries --state failed'")
    _print({"retried": again}) if as_json else click.echo(f"{len(again)} are tried again by the worker")
