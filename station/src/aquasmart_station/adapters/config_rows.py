"""Settings in ops.db: the cloud's documents and the technician's local changes, and which of them are in force.

Functions of a connection, so that a change and the operation that tells of it stand in one transaction. States of a
row: `desired` (a local change in force, not yet confirmed), `unconfirmed` (its operation has failed; still in force),
`trial` (a cloud document in force, on probation), `applied`; and out of force: `refused`, `rolled-back`, `conflict`
(the cloud's value counts until a technician decides), `superseded`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.encoding import compact
from ..core.remote_config import EMPTY_SHA256, Path, canonical, flatten, layered, nested

_COLUMNS = "id, origin, state, version, sha256, document, former, base, txn_token, at_ms, reasons, baseline, trial_ms"
IN_FORCE_LOCAL = ("desired", "unconfirmed", "applied")


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One row, its JSON read."""

    id: int
    origin: str
    state: str
    version: int | None
    sha256: str | None
    document: dict[str, Any]
    former: dict[str, Any] | None
    base: dict[str, Any] | None
    txn_token: str | None
    at_ms: int
    reasons: list[str]
    baseline: dict[str, Any] | None
    trial_ms: int

    @property
    def key(self) -> Path:
        """Of a local change: which setting."""
        return tuple(self.document["key"])

    @property
    def value(self) -> Any:
        """Of a local change: what it was set to."""
        return self.document["value"]


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings that count now, above station.toml."""

    version: int
    sha256: str
    settings: dict[Path, Any]
    tokens: dict[Path, str]
    """Of settings that a local change made and nobody has confirmed: its token."""
    trial: bool
    made_here: dict[Path, str]
    """Of settings whose value a local change brought, confirmed since or not: its token."""


def in_force(connection: sqlite3.Connection) -> InForce:
    """What counts: the newest cloud document on trial or applied, and above it what technicians changed since."""
    cloud = current_document(connection)
    changes = rows(connection, "local")
    local = [row for row in changes if row.state in IN_FORCE_LOCAL]
    layers: list[Mapping[Path, Any]] = [flatten(cloud.document)] if cloud else []
    layers += [{row.key: row.value} for row in local]
    tokens: dict[Path, str] = {}
    for row in local:
        tokens.pop(row.key, None)
        if row.state != "applied" and row.txn_token is not None:
            tokens[row.key] = row.txn_token
    settings = layered(layers)
    return InForce(
        version=(cloud.version or 0) if cloud else 0,
        sha256=(cloud.sha256 or EMPTY_SHA256) if cloud else EMPTY_SHA256,
        settings=settings,
        tokens=tokens,
        trial=cloud is not None and cloud.state == "trial",
        made_here={
            row.key: row.txn_token
            for row in changes
            if row.txn_token and row.state in (*IN_FORCE_LOCAL, "superseded") and settings.get(row.key) == row.value
        },
    )


def current_document(connection: sqlite3.Connection) -> ConfigRow | None:
    """The cloud's document that is in force; None where there was never one."""
    return _last(connection, "origin = 'cloud' AND state IN ('trial', 'applied')")


def last_applied(connection: sqlite3.Connection) -> ConfigRow | None:
    """The cloud's document that a trial is measured against, and that a rollback returns to."""
    return _last(connection, "origin = 'cloud' AND state = 'applied'")


def known_bad(connection: sqlite3.Connection, sha256: str) -> ConfigRow | None:
    """The document of this hash where it was refused or rolled back: it is remembered, and never tried in a loop."""
    return _last(connection, "origin = 'cloud' AND state IN ('refused', 'rolled-back') AND sha256 = ?", sha256)


def local_change(connection: sqlite3.Connection, txn_token: str) -> ConfigRow | None:
    """The local change with this token."""
    return _last(connection, "origin = 'local' AND txn_token = ?", txn_token)


def rows(connection: sqlite3.Connection, origin: str) -> list[ConfigRow]:
    """All rows of an origin, oldest first."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM config WHERE origin = ? ORDER BY id",  # noqa: S608
        (origin,),
    )
    return [_row(values) for values in found]


def add_document(
    connection: sqlite3.Connection,
    *,
    state: str,
    version: int,
    sha256: str,
    document: Mapping[str, Any],
    now_ms: int,
    reasons: Sequence[str] = (),
    baseline: Mapping[str, Any] | None = None,
) -> None:
    """A document of the cloud's in `state`. One that is in force takes the place of the former one, which is kept:
    a rollback returns to it."""
    connection.execute(
        "INSERT INTO config (origin, state, version, sha256, document, at_ms, reasons, baseline)"
        " VALUES ('cloud', ?, ?, ?, ?, ?, ?, ?)",
        (
            state,
            version,
            sha256,
            canonical(document),
            now_ms,
            compact(list(reasons)),
            None if baseline is None else compact(baseline),
        ),
    )
    if state == "applied":
        _retire_former(connection)
    elif state == "trial":
        # One trial at a time: a rollback returns to what was good, not to what was on trial.
        connection.execute(
            "UPDATE config SET state = 'superseded' WHERE origin = 'cloud' AND state = 'trial' AND id <"
            " (SELECT max(id) FROM config WHERE state = 'trial')"
        )


def renumber(connection: sqlite3.Connection, number: int, version: int) -> None:
    """The same document under another version: nothing but its number changes."""
    connection.execute("UPDATE config SET version = ? WHERE id = ?", (version, number))


def set_state(connection: sqlite3.Connection, number: int, state: str, reasons: Sequence[str] = ()) -> None:
    """Move a row to another state."""
    connection.execute("UPDATE config SET state = ?, reasons = ? WHERE id = ?", (state, compact(list(reasons)), number))
    if state == "applied":
        _retire_former(connection)


def add_trial_time(connection: sqlite3.Connection, number: int, trial_ms: int) -> None:
    """Keep how much of the trial is behind us: a restart does not begin it anew."""
    connection.execute("UPDATE config SET trial_ms = ? WHERE id = ?", (trial_ms, number))


def add_local(
    connection: sqlite3.Connection, *, key: Path, value: Any, former: Any, txn_token: str, now_ms: int
) -> None:
    """A technician's change, in force at once."""
    cloud = current_document(connection)
    connection.execute(
        "INSERT INTO config (origin, state, version, document, former, base, txn_token, at_ms)"
        " VALUES ('local', 'desired', NULL, ?, ?, ?, ?, ?)",
        (
            compact({"key": list(key), "value": value}),
            compact({"value": former}),
            canonical(cloud.document if cloud else {}),
            txn_token,
            now_ms,
        ),
    )


def confirm_local(connection: sqlite3.Connection, number: int, version: int) -> None:
    """The cloud has taken the change into its document of `version`: it stays in force until that one is here."""
    connection.execute("UPDATE config SET state = 'applied', version = ? WHERE id = ?", (version, number))


def absorb_local(connection: sqlite3.Connection, version: int) -> None:
    """Confirmed changes that the document of `version` has in it are in force by that document from now on."""
    connection.execute(
        "UPDATE config SET state = 'superseded' WHERE origin = 'local' AND state = 'applied' AND version <= ?",
        (version,),
    )


def rebase_local(connection: sqlite3.Connection, number: int, base: Mapping[str, Any]) -> None:
    """The change stands upon another document now; it is the same change, with its token."""
    connection.execute("UPDATE config SET base = ?, state = 'desired' WHERE id = ?", (canonical(base), number))


def display(found: InForce) -> dict[str, Any]:
    """For people and programs."""
    return {
        "version": found.version,
        "sha256": found.sha256,
        "trial": found.trial,
        "settings": nested(found.settings),
        "unconfirmed": [".".join(path) for path in found.tokens],
    }


def _retire_former(connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE config SET state = 'superseded' WHERE origin = 'cloud' AND state IN ('trial', 'applied') AND id <"
        " (SELECT max(id) FROM config WHERE origin = 'cloud' AND state = 'applied')"
    )


def _last(connection: sqlite3.Connection, where: str, *values: Any) -> ConfigRow | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM config WHERE {where} ORDER BY id DESC LIMIT 1",  # noqa: S608
        values,
    ).fetchone()
    return None if row is None else _row(row)


def _row(values: Sequence[Any]) -> ConfigRow:
    found = list(values)
    for index in (5, 6, 7, 10, 11):
        found[index] = None if found[index] is None else json.loads(found[index])
    return ConfigRow(*found)
