"""Local changes: a technician's setting, in force at once, told to the cloud, confirmed, rolled back or reconciled.

The change and the operation that tells of it are made in one transaction, with the former value kept beside them
under a transaction token. The reader opens a new stream with that token where the price of counts changes, so that
whatever becomes of the change, its readings stand apart and the difference can be named to the microlitre.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from typing import Any

from ..adapters import config_rows, operation_rows
from ..adapters.config_rows import ConfigRow
from ..adapters.operation_rows import Operation
from ..adapters.ops import OpsFile
from ..core.errors import BadOperation
from ..core.operations import parameters_of
from ..core.phrases import Phrase, joined
from ..core.remote_config import Path, flatten, setting_faults, wins

LOCAL_CHANGE = "local_change"


def change_setting(
    ops: OpsFile, key: Path, value: Any, *, base_value: Any, meters: Mapping[str, int], now_ms: int
) -> tuple[int, str]:
    """Set `key` to `value` from now on: the operation's number and the change's token. Raises BadOperation, OpsError.

    `base_value` is what station.toml says, the former value where nobody has changed it yet.
    """
    faults = setting_faults(key, value, meters)
    if faults:
        raise BadOperation(joined("; ", faults), hint=Phrase("Nothing was changed."))
    token = str(uuid.uuid4())
    with ops.writing() as connection:
        force = config_rows.in_force(connection)
        former = force.settings.get(key, base_value)
        config_rows.add_local(connection, key=key, value=value, former=former, txn_token=token, now_ms=now_ms)
        number = _enqueue(connection, key, value, former, token, force.version, now_ms)
    return number, token


def _enqueue(
    connection: sqlite3.Connection, key: Path, value: Any, former: Any, token: str, version: int, now_ms: int
) -> int:
    parameters = {
        "key": list(key),
        "value": value,
        "former": former,
        "change_token": token,
        "base_version": version,
        "changed_at_ms": now_ms,
    }
    return operation_rows.enqueue(connection, LOCAL_CHANGE, parameters, now_ms, txn_token=token, if_match=str(version))


class LocalChangeEffect:
    """What the end of a `local_change` operation means. Every step may be repeated."""

    def delivered(
        self,
        connection: sqlite3.Connection,
        operation: Operation,
        data: Mapping[str, Any],
        now_ms: int,  # noqa: ARG002
    ) -> None:
        """Confirmed: it stays, until the cloud's document with it in it is here."""
        row, version = _row(connection, operation), data.get("config_version")
        if row is not None and row.state in {"desired", "unconfirmed"}:
            config_rows.confirm_local(connection, row.id, version if isinstance(version, int) else 0)

    def refused(self, connection: sqlite3.Connection, operation: Operation, reason: str) -> None:
        """Rolled back: whatever stands below it is in force again, and the reader opens a new stream."""
        row = _row(connection, operation)
        if row is not None and row.state in {"desired", "unconfirmed"}:
            config_rows.set_state(connection, row.id, "rolled-back", [reason])

    def failed(self, connection: sqlite3.Connection, operation: Operation) -> None:
        """Nobody has said no: it stays, marked as unconfirmed."""
        row = _row(connection, operation)
        if row is not None and row.state == "desired":
            config_rows.set_state(connection, row.id, "unconfirmed")

    def conflict(
        self, connection: sqlite3.Connection, operation: Operation, problem: Mapping[str, Any], now_ms: int
    ) -> str:
        """The cloud's settings have moved on. Where they moved this very setting the cloud wins, and a technician may
        decide otherwise; else the change is made again upon the new version, as a new operation with a new key."""
        row, current, version = _row(connection, operation), problem.get("document"), problem.get("version")
        if row is None or row.state not in {"desired", "unconfirmed"}:
            return "superseded"
        if not isinstance(current, dict) or not isinstance(version, int):
            return "failed"
        if wins(_flat(row.base), _flat(current), row.key):
            who = problem.get("set_by", "the cloud")
            config_rows.set_state(connection, row.id, "conflict", [f"{who} has set it meanwhile, version {version}"])
            return "conflict"
        self._again(connection, row, current, version, now_ms)
        return "superseded"

    def resolve(self, connection: sqlite3.Connection, operation: Operation, keep: str, now_ms: int) -> str:
        """A technician's decision: `mine` makes the change anew upon what the cloud has now; `cloud` lets it be."""
        row = _row(connection, operation)
        if row is None:
            return "the change is no longer known"
        if keep != "mine":
            config_rows.set_state(connection, row.id, "superseded", ["the cloud's value was kept"])
            return "the cloud's value stays"
        document = config_rows.current_document(connection)
        base = document.document if document else {}
        config_rows.set_state(connection, row.id, "superseded", ["made anew"])
        token = str(uuid.uuid4())
        former = _flat(base).get(row.key, (row.former or {}).get("value"))
        config_rows.add_local(connection, key=row.key, value=row.value, former=former, txn_token=token, now_ms=now_ms)
        version = (document.version or 0) if document else 0
        number = _enqueue(connection, row.key, row.value, former, token, version, now_ms)
        return f"made anew as operation {number}"

    def _again(
        self, connection: sqlite3.Connection, row: ConfigRow, current: Mapping[str, Any], version: int, now_ms: int
    ) -> None:
        assert row.txn_token is not None
        config_rows.rebase_local(connection, row.id, current)
        former = (row.former or {}).get("value")
        _enqueue(connection, row.key, row.value, former, row.txn_token, version, now_ms)


def _row(connection: sqlite3.Connection, operation: Operation) -> ConfigRow | None:
    token = operation.txn_token or parameters_of(operation.parameters).get("change_token")
    return config_rows.local_change(connection, token) if isinstance(token, str) else None


def _flat(document: Mapping[str, Any] | None) -> dict[Path, Any]:
    try:
        return flatten(document or {})
    except (AttributeError, TypeError):
        return {}  # a document that this software cannot read moves nothing
