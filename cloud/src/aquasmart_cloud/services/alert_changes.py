"""Alerts change and are told of, in one transaction: what a look decided, and what people do to them.

No rule of what is so and no delivery lives here. A change that the database refuses, because it has happened already,
is told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aquasmart_cloud.config_telling import Telling
from aquasmart_cloud.core.alert_kinds import AlertError
from aquasmart_cloud.core.alerting import Decision
from aquasmart_cloud.store import alerts, outbox, webhooks
from aquasmart_cloud.store.alerts import Alert
from aquasmart_cloud.store.connection import Connection
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.outbox import MAILTO, News, Receiver

OPENED, SEEN, OVER = "alert.opened", "alert.acknowledged", "alert.closed"
Change = Callable[[Database, Sequence[Receiver], str, str, str | None, int], Alert]
"""What people do to an alert: acknowledge, close."""
ITSELF = "itself"
"""Who closes an alert that is over."""
LONGEST_NOTE = 1_000


def people(telling: Telling) -> list[Receiver]:
    """Who is told by e-mail."""
    return [Receiver(MAILTO + each, telling.mail_kinds, person=True) for each in telling.recipients]


def receivers(connection: Connection, by_mail: Sequence[Receiver]) -> list[Receiver]:
    """Everybody who is told, as of this transaction."""
    return [*webhooks.receivers(connection), *by_mail]


def apply(
    connection: Connection, owner: str, decision: Decision, told: Sequence[Receiver], now_ms: int
) -> tuple[int, int]:
    """Write what was decided for an owner; how many alerts it opened and closed."""
    opened = closed = 0
    for key, track in decision.opened:
        alert = alerts.open_one(connection, owner, key, track, now_ms)
        if alert is not None:
            opened += 1
            outbox.put(connection, told, _news(OPENED, alert), now_ms)
    for key, track in decision.noted:
        alerts.note(connection, owner, key, track, now_ms)
    for key in decision.closed:
        standing = alerts.standing(connection, owner, key)
        if standing is not None and _end(connection, standing, ITSELF, told, now_ms, None):
            closed += 1
    return opened, closed


def acknowledge(
    database: Database, by_mail: Sequence[Receiver], alert_id: str, by: str, note: str | None, now_ms: int
) -> Alert:
    """Somebody has seen it and sees to it. Again, or once it is closed: nothing changes.

    Errors: AlertError where there is no such alert, DatabaseError.
    """
    place = _place(alert_id)
    with database.writing("") as connection:
        changed = alerts.acknowledge(connection, place, by, now_ms, note)
        alert = _load(connection, place, alert_id)
        if changed:
            outbox.put(connection, receivers(connection, by_mail), _news(SEEN, alert), now_ms)
    return alert


def close(
    database: Database, by_mail: Sequence[Receiver], alert_id: str, by: str, note: str | None, now_ms: int
) -> Alert:
    """Somebody says that it is dealt with: it opens again only once it has been over and comes back.

    Errors: AlertError where there is no such alert, DatabaseError.
    """
    place = _place(alert_id)
    with database.writing("") as connection:
        alert = _load(connection, place, alert_id)
        _end(connection, alert, by, receivers(connection, by_mail), now_ms, note)
        return _load(connection, place, alert_id)


def show(database: Database, alert_id: str) -> Alert:
    """One alert. Errors: AlertError where there is none, DatabaseError."""
    with database.reading() as connection:
        return _load(connection, _place(alert_id), alert_id)


def _end(
    connection: Connection, alert: Alert, by: str, told: Sequence[Receiver], now_ms: int, note: str | None
) -> bool:
    place = (alert.station_id, alert.alert_id)
    if not alerts.close(connection, place, by, now_ms, note):
        return False
    outbox.put(connection, told, _news(OVER, _load(connection, place, alert.name)), now_ms)
    return True


def _news(event: str, alert: Alert) -> News:
    return News(event, alert.kind, {"alert": alert.document()})


def _load(connection: Connection, place: tuple[str, int], alert_id: str) -> Alert:
    found = alerts.load(connection, place)
    if found is None:
        raise _unknown(alert_id)
    return found


def _place(alert_id: str) -> tuple[str, int]:
    place = alerts.parse_alert_id(alert_id)
    if place is None:
        raise _unknown(alert_id)
    return place


def _unknown(alert_id: str) -> AlertError:
    return AlertError(
        f"there is no alert {alert_id[:100]}", "'aquasmart-cloud alerts list --all' shows those there are"
    )
