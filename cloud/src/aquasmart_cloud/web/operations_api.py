"""`POST /v1/operations/{type}`: what stations tell besides telemetry, each done once (docs/protocol.md §7).

Signature and clock have been checked before (station_api). Here: envelope, idempotency key, claim, work, answer.
"""

from __future__ import annotations

import contextlib
from typing import Any

from flask import Blueprint, Response, g

from aquasmart_cloud.core.decoding import inflate
from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.operations import Operation, decode_operation, fingerprint, is_key
from aquasmart_cloud.core.problems import Fault, Refusal
from aquasmart_cloud.core.strict_json import invalid
from aquasmart_cloud.services.operating import Work, do
from aquasmart_cloud.store import operations
from aquasmart_cloud.store.announcing import announcements

from .answers import new_id
from .services import cloud
from .station_api import Caller, answer, unavailable

blueprint = Blueprint("operations_api", __name__)


@blueprint.post("/v1/operations/<name>")
@blueprint.post("/v1/operations/<name>/<path:subject>")
def operate(name: str, subject: str = "") -> Response:
    """One operation."""
    caller: Caller = g.caller
    signed = caller.signed
    body = inflate(signed.body, signed.encoding)
    operation = decode_operation(name, subject.split("/") if subject else [], body)
    g.trace_id = operation.trace_id
    key = signed.idempotency_key
    if key is None or not is_key(key):
        raise invalid("Idempotency-Key", "must be a UUID, one for each operation, the same at each retry")
    if operation.kind.if_match and signed.if_match is None:
        raise invalid("If-Match", f"{name} must say which version of the configuration it was made upon")
    now_ms, request_id = cloud().clock_ms(), new_id()
    print_ = fingerprint(signed.target, signed.if_match, body)
    try:
        found = operations.claim(cloud().database, signed.station_id, key, operation, print_, request_id, now_ms)
        if isinstance(found, operations.Claim):
            found = _work(caller, operation, found, now_ms)
        more = announcements(cloud().database, signed.station_id, signed.key_id, now_ms)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    if found.status != 200:
        raise _refusal(found.document)
    return answer(found.request_id, now_ms, found.document | more, txn_token=operation.txn_token)


def _work(caller: Caller, operation: Operation, held: operations.Claim, now_ms: int) -> operations.FirstAnswer:
    """Work and answer in one transaction. Where it fails the key is free again at once, or after the claim's time."""
    services, signed = cloud(), caller.signed
    try:
        with services.database.writing() as connection:
            work = Work(connection, services.stations, signed.station_id, operation, signed.if_match, now_ms)
            done = do(work)
            status, document = (done.status, _kept(done)) if isinstance(done, Refusal) else (200, done)
            operations.finish(connection, held, status, document)
    except BaseException:
        with contextlib.suppress(DatabaseError):
            operations.release(services.database, held)
        raise
    return operations.FirstAnswer(status, document, held.mark)


def _kept(refusal: Refusal) -> dict[str, Any]:
    """A refusal that is an operation's end, as it is kept."""
    faults = [fault.document() for fault in refusal.faults]
    return {"code": refusal.type.code, "detail": refusal.detail, "faults": faults}


def _refusal(kept: dict[str, Any]) -> Refusal:
    """The same refusal again."""
    faults = [Fault(each["where"], each["what"]) for each in kept["faults"]]
    return Refusal(kept["code"], kept["detail"], faults=faults)
