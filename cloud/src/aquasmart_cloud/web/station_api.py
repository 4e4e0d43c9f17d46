"""What stations ask: signed batches and heartbeats in, signed answers out (docs/protocol.md §1, §2).

Checks run in the protocol's order, and every answer to a request whose signature held is signed: 404, 500 and 503
too, and for keys that are revoked. Rules of the data are in core, the transaction is in store.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, NamedTuple

import msgspec
from flask import Blueprint, Response, g, request

from aquasmart_cloud.core.decoding import decode_batch, decode_heartbeat, inflate
from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.model import MAX_BODY_BYTES, WINDOW_MS
from aquasmart_cloud.core.policy import refuse_old_software
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.signing import sign_reply, signing_prefix, verify, well_formed
from aquasmart_cloud.store import heartbeats
from aquasmart_cloud.store.announcing import announcements
from aquasmart_cloud.store.policy import recent_policy
from aquasmart_cloud.store.receiving import receive
from aquasmart_cloud.store.recording import SignedBody
from aquasmart_cloud.store.stations import STATION_ID, refuse_unfit

from .answers import log, new_id, trace_id
from .bodies import read_body
from .services import cloud

PREFIX = "/v1/"
INGEST = "/v1/ingest"
CURES = ("/v1/update", "/v1/bundles/")
"""What software that is too old is given all the same: it is how it becomes newer."""

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,14}")
_NO_KEY = bytes(32)
_RETRY_SPREAD_S = 10

blueprint = Blueprint("station_api", __name__)


class Caller(NamedTuple):
    """Who signed this request, and with what: enough to sign the answer."""

    key: bytes
    signed: SignedBody


@blueprint.before_app_request
def authenticate() -> None:
    """Before anything under /v1/, whether there is such a route or not: an unsigned request learns nothing."""
    if request.path.startswith(PREFIX):
        identify()
        if not request.path.startswith(CURES):
            refuse_old_software(recent_policy(cloud().database), request.headers.get("X-Software-Version", ""))


def identify() -> Caller:
    """Who signed this request; its answer will be signed. Errors: Refusal where nobody may have."""
    services = cloud()
    signed, fit = _read_request(read_body(MAX_BODY_BYTES))
    address, credential = request.remote_addr or "", f"{signed.station_id} {signed.key_id}" if fit else ""
    services.doorstep.refuse_flood(address, credential, services.clock_ms())
    # A batch's transaction asks for the key once more; what else is under /v1/ is read as it is now.
    look_up = services.stations.recent_key if request.path == INGEST else services.stations.find_key
    found = look_up(signed.station_id, signed.key_id) if fit else None
    prefix = signing_prefix(
        request.headers.get("X-Timestamp", ""),
        request.method,
        signed.target,
        signed.station_id,
        signed.encoding,
        signed.idempotency_key,
        signed.if_match,
    )
    # An unknown key costs as much as a known one.
    holds = verify(_NO_KEY if found is None else found.key, prefix, signed.body, signed.signature)
    if found is None or not holds:
        services.doorstep.was_wrong(address, credential, services.clock_ms())
        raise Refusal("bad-signature", "station, key or signature is not right")
    services.doorstep.was_right(credential)
    caller = Caller(found.key, signed)
    g.caller = caller
    refuse_unfit(signed.station_id, signed.key_id, revoked=found.revoked, retired=found.retired)
    if abs(services.clock_ms() - signed.timestamp_ms) > WINDOW_MS:
        raise Refusal("clock-skew", f"X-Timestamp is more than {WINDOW_MS // 1000} s from the cloud's clock")
    services.turnstile.enter(signed.station_id, recent_policy(services.database).rate, services.clock_ms())
    return caller


def _read_request(body: bytes) -> tuple[SignedBody, bool]:
    """The request's signed parts, and whether their headers have the right form.

    A header that was sent twice arrives joined by a comma, which no form allows.
    """
    headers = request.headers
    station_id, key_id = headers.get("X-Station-Id", ""), headers.get("X-Key-Id", "")
    timestamp, signature = headers.get("X-Timestamp", ""), headers.get("X-Signature", "")
    fit = (
        STATION_ID.fullmatch(station_id) is not None
        and _KEY_ID.fullmatch(key_id) is not None
        and _TIMESTAMP.fullmatch(timestamp) is not None
        and well_formed(signature)
    )
    signed = SignedBody(
        station_id,
        key_id,
        int(timestamp) if fit else 0,
        _target(),
        headers.get("Content-Encoding"),
        headers.get("Idempotency-Key"),
        headers.get("If-Match"),
        signature,
        body,
    )
    return signed, fit


def _target() -> str:
    """Path and query as they stood in the request line, undecoded: that is what was signed."""
    environ = request.environ
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return target if isinstance(target, str) else request.full_path.rstrip("?")


@blueprint.after_app_request
def sign_answer(answer: Response) -> Response:
    """Sign every answer to a request whose signature held, whatever became of it; but for a bundle's stream."""
    caller: Caller | None = g.get("caller")
    if caller is not None and not g.get("unsigned"):
        now_ms = cloud().clock_ms()
        body = answer.get_data()
        answer.headers.add("X-Timestamp", str(now_ms))
        answer.headers.add(
            "X-Signature", sign_reply(caller.key, now_ms, answer.status_code, caller.signed.signature, body)
        )
    return answer


@blueprint.post(INGEST)
def ingest() -> Response:
    """One batch of events."""
    caller: Caller = g.caller
    batch = decode_batch(inflate(caller.signed.body, caller.signed.encoding))
    g.trace_id = batch.trace_id
    services = cloud()
    received_at, request_id = services.clock_ms(), new_id()
    try:
        receipt, more = receive(services.database, caller.signed, batch, received_at, request_id)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    data = receipt._asdict() | {"stream": _dashed(receipt.stream)} | more
    return answer(request_id, received_at, data)


@blueprint.post("/v1/heartbeat")
def heartbeat() -> Response:
    """A station's word of itself."""
    caller: Caller = g.caller
    beat = decode_heartbeat(inflate(caller.signed.body, caller.signed.encoding))
    g.trace_id = beat.trace_id
    received_at = cloud().clock_ms()
    try:
        wanted = heartbeats.keep(cloud().database, caller.signed.station_id, beat, received_at)
        more = announcements(cloud().database, caller.signed.station_id, caller.signed.key_id, received_at)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    if wanted.whole_list:
        more["retained"] = "wanted"
    return answer(new_id(), received_at, more | {"resend_from": wanted.resend_from})


def answer(request_id: str, server_time: int, data: dict[str, Any], *, txn_token: str | None = None) -> Response:
    """An answer's envelope: both ids of the request come back."""
    data["fleet"] = cloud().fleet.at(server_time)
    meta: dict[str, object] = {"trace_id": trace_id(), "server_time": server_time, "request_id": request_id}
    if txn_token is not None:
        meta["txn_token"] = txn_token
    return Response(msgspec.json.encode({"meta": meta, "data": data}), 200, content_type="application/json")


def unavailable(caller: Caller, error: DatabaseError) -> Refusal:
    """Nothing was stored; the sender waits. Stations get different waits, so that they do not return together."""
    log.error("database: %s trace=%s", error, trace_id())
    wait_s = 1 + zlib.crc32(caller.signed.station_id.encode()) % _RETRY_SPREAD_S
    return Refusal("unavailable", "nothing was stored; repeat the request", retry_after_s=wait_s)


def _dashed(stream: str) -> str:
    return f"{stream[:8]}-{stream[8:12]}-{stream[12:16]}-{stream[16:20]}-{stream[20:]}"
