"""Who asks at the public interface: a client with its token, a station that signs, or a person.

Identification only. What each may do is decided by the views; what a person is, by `web.auth`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flask import g, request

from aquasmart_cloud.core.decoding import inflate
from aquasmart_cloud.core.errors import ClientError
from aquasmart_cloud.core.model import MAX_BODY_BYTES
from aquasmart_cloud.core.normalising.reading import MAX_EVENTS
from aquasmart_cloud.core.normalising.rules import Rules
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.clients import PREFIX, Client, Clients, signed_rules
from aquasmart_cloud.store.intake_log import Occasion

from .answers import new_id, trace_id
from .auth import require_person
from .bodies import read_body
from .services import cloud
from .station_api import identify

PERSON = "admin"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends events, by which rules they are read, and what they sent (unpacked)."""

    client_id: str
    rules: Rules
    most_events: int
    body: bytes
    by: str


def sender() -> Sender:
    """Who sends this request's events. Errors: Refusal unauthorised, revoked, too-large and those of signatures."""
    if "X-Signature" in request.headers:
        signed = identify().signed
        body = inflate(signed.body, signed.encoding)
        return Sender(signed.station_id, signed_rules(signed.station_id), MAX_EVENTS, body, signed.station_id)
    found = _client()
    if found is None:
        person()
        return _of(_named_client(), PERSON)
    cloud().turnstile.let_client(found.client_id, found.rate, cloud().clock_ms())
    return _of(found, found.client_id)


def reader() -> str | None:
    """Whose events this caller may see: None for a person, who sees all; a client sees its own."""
    found = _client()
    if found is not None:
        return found.client_id
    require_person()
    return None


def person() -> str:
    """The person who asks; for what changes something, only as JSON.

    A page of another site can make a browser send a form with its cookies, but not this content type.
    """
    require_person()
    if request.method != "GET" and request.mimetype != "application/json":
        raise Refusal("http", "send it with Content-Type: application/json", status=415)
    return PERSON


def occasion(by: str) -> Occasion:
    """This request, for the audit trail."""
    return Occasion(cloud().clock_ms(), new_id(), trace_id(), by)


def clients() -> Clients:
    """The clients of the application that is answering."""
    return Clients(cloud().database)


def _client() -> Client | None:
    """The client whose token this is; None where no client's token was sent."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token.startswith(PREFIX):
        return None
    found: Client | None = g.get("client") or _verified(token)
    if found is None:
        raise Refusal("unauthorised", "this is no client's token; 'aquasmart-cloud client add' makes one")
    if found.state != "active":
        raise Refusal("revoked", f"client {found.client_id} has been revoked")
    g.client = found
    return found


def _verified(token: str) -> Client | None:
    """Whose token this is. Errors: Refusal `rate-limited` for a flood of wrong ones."""
    doorstep, address, now_ms = cloud().doorstep, request.remote_addr or "", cloud().clock_ms()
    # By its digest: no token is kept in memory.
    credential = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    doorstep.refuse_flood(address, credential, now_ms)
    found = clients().find_by_token(token)
    if found is None:
        doorstep.was_wrong(address, credential, now_ms)
    else:
        doorstep.was_right(credential)
    return found


def _named_client() -> Client:
    """The client for whom a person sends: the query's `client`."""
    client_id = request.args.get("client", "")
    if not client_id:
        raise Refusal("forbidden", "send events with a client's token, or as a person with ?client=ID")
    try:
        return clients().show(client_id)
    except ClientError as error:
        raise Refusal("not-found", str(error)) from error


def _of(client: Client, by: str) -> Sender:
    # The limit is on what is sent and on what it unpacks to: nobody needs more than their share of either.
    limit = min(client.most_bytes, MAX_BODY_BYTES)
    body = inflate(read_body(limit), request.headers.get("Content-Encoding"))
    if len(body) > limit:
        raise Refusal("too-large", f"the events are above {limit} bytes")
    return Sender(client.client_id, client.rules, client.most_events, body, by)
