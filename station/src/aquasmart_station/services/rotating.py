"""Key rotation, the station's half (docs/protocol.md §7): a nonce kept before it is sent, a key kept before it is used.

Why a power cut at any step ends with a working key: (1) the own nonce and the operation that carries it are one
transaction, so what the cloud may have seen is never forgotten, and the operation goes out until it is answered;
(2) the cloud keeps the first nonce and says which, so both derive the same key also where this card was rolled back;
(3) the key's file is durable before the operation ends, and deriving it again gives the same; (4) the former key stays
in the ring: a cloud restored to before all this still knows it, and offers again what it has forgotten.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..adapters import operation_rows
from ..adapters.key_files import write_key
from ..adapters.operation_rows import Operation
from ..adapters.ops import OpsFile
from ..core.conversation import Identity
from ..core.errors import OpsError, StationError
from ..core.keyring import KeyRing
from ..core.operations import parameters_of
from ..core.signing import derived_key
from .effects import DeliveryEffect

KEY_CONFIRM = "key_confirm"
AGAIN_S = 10.0
"""A cloud that goes on offering what has been answered is answered once more, but not at every answer."""

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NONCE = re.compile(r"[0-9a-f]{64}")

_FIND = "SELECT nonce, base_key_id, state FROM rotation WHERE key_id = ?"
_KEEP = "INSERT INTO rotation (key_id, cloud_nonce, base_key_id, nonce, state, at_ms) VALUES (?, ?, ?, ?, 'offered', ?)"
_STATE = "UPDATE rotation SET state = ? WHERE key_id = ?"
_ON_ITS_WAY = "SELECT 1 FROM operation WHERE type = ? AND state = 'pending' AND parameters LIKE ? ESCAPE '\\'"


class KeyRotation(DeliveryEffect):
    """Answers offers, and is the effect of `key_confirm` operations. After one that failed the offer is still there,
    and is answered again.
    """

    NOTHING_TO_RESOLVE = "there is nothing to decide about a key"

    def __init__(
        self, *, ops: OpsFile, keys: KeyRing, folder: Path, now_ms: Callable[[], int], mono_s: Callable[[], float]
    ) -> None:
        self._ops, self._keys, self._folder = ops, keys, folder
        self._now_ms, self._mono_s = now_ms, mono_s
        self._answered: dict[str, float] = {}

    def offered(self, data: Mapping[str, Any]) -> None:
        """Take note of a verified answer's data: an offer is answered by a `key_confirm`. A fault waits."""
        offer = data.get("rotate")
        if not isinstance(offer, dict):
            return
        key_id, nonce = offer.get("key_id"), offer.get("nonce")
        if not isinstance(key_id, str) or not isinstance(nonce, str):
            return
        if not _KEY_ID.fullmatch(key_id) or not _NONCE.fullmatch(nonce) or key_id == self._keys.current.key_id:
            return
        if self._mono_s() < self._answered.get(key_id, float("-inf")) + AGAIN_S:
            return
        try:
            self._answer(key_id, nonce)
        except OpsError:
            return  # it is offered again with the next answer
        self._answered[key_id] = self._mono_s()

    def delivered(
        self,
        connection: sqlite3.Connection,
        operation: Operation,
        data: Mapping[str, Any],
        now_ms: int,  # noqa: ARG002
    ) -> None:
        """Derive, keep durably, and only then prefer the new key; its first use tells the cloud."""
        said = {name: data.get(name) for name in ("key_id", "base_key_id", "cloud_nonce", "nonce")}
        asked = parameters_of(operation.parameters)
        base = self._keys.of_id(str(said["base_key_id"]))
        nonces = [str(said[name]) for name in ("cloud_nonce", "nonce")]
        if base is None or said["key_id"] != asked["key_id"] or not all(map(_NONCE.fullmatch, nonces)):
            # The cloud agreed with a key that this card does not have: only provisioning helps, the present one holds.
            connection.execute(_STATE, ("refused", asked["key_id"]))
            return
        key_id = asked["key_id"]
        key = derived_key(base.key, *nonces)
        try:
            write_key(self._folder, key_id, key)
        except StationError as fault:
            raise OpsError(str(fault), hint=fault.hint) from fault  # stays pending; the same key once there is room
        connection.execute(_STATE, ("done", key_id))
        self._keys.add(Identity(base.station_id, key_id, base.software, key))

    def refused(self, connection: sqlite3.Connection, operation: Operation, reason: str) -> None:  # noqa: ARG002
        """The offer has been withdrawn: the present key stays."""
        connection.execute(_STATE, ("refused", parameters_of(operation.parameters)["key_id"]))

    def _answer(self, key_id: str, cloud_nonce: str) -> None:
        """Our nonce, kept in the same transaction as the operation that carries it; the same one at each repetition."""
        now_ms = self._now_ms()
        with self._ops.writing() as connection:
            if connection.execute(_ON_ITS_WAY, (KEY_CONFIRM, f'%"key_id":"{_escaped(key_id)}"%')).fetchone():
                return
            row = connection.execute(_FIND, (key_id,)).fetchone()
            if row is None:
                nonce, base_key_id = secrets.token_hex(32), self._keys.current.key_id
                connection.execute(_KEEP, (key_id, cloud_nonce, base_key_id, nonce, now_ms))
            elif row[2] == "refused":
                return
            else:
                nonce, base_key_id = row[0], row[1]
            parameters = {"key_id": key_id, "base_key_id": base_key_id, "nonce": nonce}
            operation_rows.enqueue(connection, KEY_CONFIRM, parameters, now_ms)


def _escaped(key_id: str) -> str:
    return key_id.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
