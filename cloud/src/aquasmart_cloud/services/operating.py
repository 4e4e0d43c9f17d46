"""What each operation does in the cloud (docs/protocol.md §7): one function a type, within the caller's transaction.

A function returns the answer's data, or a Refusal that is the operation's end and is remembered with its key. What it
raises is not remembered: nothing was stored, and the same request may come again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from aquasmart_cloud.core.model import Scale
from aquasmart_cloud.core.operations import Operation
from aquasmart_cloud.core.problems import Fault, Refusal
from aquasmart_cloud.core.settings import as_scale, change_faults
from aquasmart_cloud.store import config_documents, notices, resending, rollouts, rotation, scale_refusals
from aquasmart_cloud.store.connection import Connection
from aquasmart_cloud.store.entries import Entries
from aquasmart_cloud.store.stations import Stations

Answer = dict[str, Any] | Refusal


@dataclass(frozen=True, slots=True)
class Work:
    """One operation being done."""

    connection: Connection
    stations: Stations
    station_id: str
    operation: Operation
    if_match: str | None
    now_ms: int

    @property
    def payload(self) -> Mapping[str, Any]:
        return self.operation.payload


def do(work: Work) -> Answer:
    """Do it. Errors: Refusal, DatabaseError; nothing of it is stored then."""
    return _DOING[work.operation.kind.name](work)


def _kept(_work: Work) -> Answer:
    """Telling is all: the operation itself is the record."""
    return {}


def _config_applied(work: Work) -> Answer:
    config_documents.note_reported(work.connection, work.station_id, work.payload, work.now_ms)
    return {}


def _notice_received(work: Work) -> Answer:
    if not notices.note_received(work.connection, work.station_id, work.payload["number"], work.now_ms):
        return Refusal("not-found", f"there is no notice {work.payload['number']}")
    return {}


def _resend_event(work: Work) -> Answer:
    resending.resend(work.connection, work.station_id, work.payload, work.now_ms)
    return {"stream": work.payload["stream"], "seq": work.payload["seq"]}


def _update_result(work: Work) -> Answer:
    """How far an image's update has come, with what follows from it for the roll-out.

    A roll-out that is not known (a cloud that was restored from a backup) is nothing that a station could mend: what it
    told is kept, as an operation.
    """
    known = rollouts.note_result(work.connection, work.station_id, work.payload, work.operation.trace_id, work.now_ms)
    return {"known": known}


def _key_confirm(work: Work) -> Answer:
    """Both nonces are known from here on: the key exists. It is offered until it is used."""
    payload = work.payload
    agreed = rotation.agree(
        work.connection, work.station_id, payload["key_id"], payload["base_key_id"], payload["nonce"], work.now_ms
    )
    if not work.stations.add_derived(work.connection, work.station_id, agreed, payload["key_id"], work.now_ms):
        raise Refusal("change-refused", f"key {agreed.base_key_id} cannot be followed: it is unknown or revoked")
    return {
        "key_id": payload["key_id"],
        "base_key_id": agreed.base_key_id,
        "cloud_nonce": agreed.cloud_nonce,
        "nonce": agreed.station_nonce,
    }


def _local_change(work: Work) -> Answer:
    """A technician's setting: refused by the operator's policy, in conflict with a newer version, or taken."""
    payload, connection = work.payload, work.connection
    path, value, former = tuple(payload["key"]), payload.get("value"), payload.get("former")
    policy = config_documents.newest(connection, config_documents.POLICY, "")
    faults = change_faults(policy, path, value, former)
    if faults:
        _name_refusal(work, path, value, former)
        return Refusal("change-refused", "; ".join(faults), faults=[Fault("$.payload.value", each) for each in faults])
    current = config_documents.effective(connection, work.station_id)
    if work.if_match != str(current.version):
        raise Refusal(
            "config-conflict",
            f"the change was made upon version {work.if_match}; {current.set_by} has set version {current.version}",
            members={
                "version": current.version,
                "sha256": current.sha256,
                "document": current.document,
                "set_by": current.set_by,
                "set_at": current.set_at,
            },
        )
    who = f"technician at {work.station_id}"
    changed = config_documents.set_one(connection, work.station_id, path, value, who, work.now_ms)
    return {"config_version": changed.version, "config_sha256": changed.sha256}


def _name_refusal(work: Work, path: tuple[str, ...], value: Any, former: Any) -> None:
    """A refused calibration has priced counts already, or will have when they arrive: their difference gets a name."""
    new, old = as_scale(value), as_scale(former)
    if path[0] != "meters" or len(path) != 3 or new is None or old is None:
        return
    entries = Entries(work.connection, work.station_id, work.now_ms)
    scale, before = Scale(value["ul_num"], value["den"]), Scale(former["ul_num"], former["den"])
    scale_refusals.refuse(
        work.connection,
        work.station_id,
        work.payload["change_token"],
        path[1],
        scale,
        before,
        entries,
        work.now_ms,
    )


_DOING: Mapping[str, Callable[[Work], Answer]] = MappingProxyType(
    {
        "config_applied": _config_applied,
        "local_change": _local_change,
        "service_visit": _kept,
        "meter_change": _kept,
        "notice_received": _notice_received,
        "diagnostics_bundle": _kept,
        "key_confirm": _key_confirm,
        "resend_event": _resend_event,
        "update_result": _update_result,
    }
)
