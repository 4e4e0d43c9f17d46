"""The doctor's way to the cloud: name, connection, TLS, and a signed question, each with what to do where it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..adapters.http import HttpCourier, HttpSettings
from ..adapters.reachability import Unreachable, connect, handshake, look_up
from ..core.conversation import Identity, answered_at_ms, is_signed, signed_request
from ..core.outcome import Answer, NoAnswer
from ..core.phrases import Phrase
from .doctor import Finding, expiry, ok

QUESTION = "/v1/notices?after=0"
"""Changes nothing; a cloud that does not know it says so, signed, which is all that is asked."""
SKEW_MS = 300_000


def reach(settings: HttpSettings, identity: Identity) -> Iterator[Finding]:
    """Each step needs the one before; the first that fails ends it."""
    # Behind a proxy it is the proxy that this station's network must reach; the question goes through its tunnel.
    secure = settings.base_url.startswith("https://") and settings.proxy_url is None
    host, port = _host_and_port(settings.proxy_url or settings.base_url)
    step, again = (
        Phrase("DNS"),
        Phrase("Is the network up (`ip address`)? Does another name resolve? Is cloud.url spelt rightly?"),
    )
    try:
        yield ok(
            step,
            Phrase(
                "{host} is {addresses}",
                host=host,
                addresses=", ".join(look_up(host, port, 2 * settings.connect_timeout_s)),
            ),
        )
        step, again = (
            Phrase("connection"),
            Phrase("Is the network up (`ip route`)? Is a firewall or a portal in the way? The port?"),
        )
        yield ok(
            step,
            Phrase("{address} port {port} answers", address=connect(host, port, settings.connect_timeout_s), port=port),
        )
        step, again = (
            Phrase("TLS"),
            Phrase("A portal's sign-in, the clock, or a certificate: the text says which. Tell the operator."),
        )
        if secure:
            agreed = handshake(host, port, settings.tls, settings.connect_timeout_s)
            yield ok(step, agreed.version)
            yield expiry(Phrase("cloud's certificate"), agreed.not_after)
    except Unreachable as fault:
        yield Finding(step, "fault", fault.args[0], again)
        return
    yield from _ask(settings, identity)


def _ask(settings: HttpSettings, identity: Identity) -> Iterator[Finding]:
    now_ms = time.time_ns() // 1_000_000
    request = signed_request(identity, QUESTION, b"", now_ms, method="GET")
    courier = HttpCourier(settings, lane="doctor")
    answer = None
    flying = courier.get(QUESTION, request.headers)
    while answer is None:
        answer = flying.wait(1.0)
    courier.abandon()
    if isinstance(answer, NoAnswer):
        yield Finding(Phrase("cloud"), "fault", answer.reason, Phrase("Try again; if it stays, tell the operator."))
        return
    if not is_signed(identity, request, answer):
        yield _unsigned(answer, identity)
        return
    yield _signed(answer, identity)
    ahead_ms = now_ms - answered_at_ms(answer)
    if abs(ahead_ms) > SKEW_MS:
        seconds = abs(ahead_ms) // 1000
        text = Phrase("this station's clock is {n} s behind the cloud's", n=seconds)
        if ahead_ms > 0:
            text = Phrase("this station's clock is {n} s ahead of the cloud's", n=seconds)
        yield Finding(
            Phrase("cloud's clock"),
            "warning",
            text,
            Phrase("Nothing is lost by it: sync corrects itself. Set the clock."),
        )


def _signed(answer: Answer, identity: Identity) -> Finding:
    """The cloud itself has answered: it knows the key."""
    if answer.status in {403, 410}:
        text = Phrase(
            "the cloud knows key {key}, and refuses it (revoked, or the station is retired)", key=identity.key_id
        )
        return Finding(
            Phrase("cloud"), "fault", text, Phrase("Ask the operator for a new key. Everything counted is kept.")
        )
    if answer.status == 426:
        return Finding(
            Phrase("cloud"), "fault", Phrase("the cloud wants newer software"), Phrase("Update this station.")
        )
    if answer.status >= 500 or answer.status == 429:
        return Finding(
            Phrase("cloud"),
            "warning",
            Phrase("the cloud answers {status}", status=answer.status),
            Phrase("Usually nothing: sync tries again."),
        )
    return ok(
        Phrase("cloud"),
        Phrase(
            "answers, and knows station {station_id} by key {key_id}",
            station_id=identity.station_id,
            key_id=identity.key_id,
        ),
    )


def _unsigned(answer: Answer, identity: Identity) -> Finding:
    if answer.status == 401:
        names = {"station": identity.station_id, "key": identity.key_id}
        text = Phrase("does not accept station {station} with key {key} (401)", **names)
        step = Phrase("Compare station_id, cloud.key_id and the key file with what the operator gave you.")
        return Finding(Phrase("cloud"), "fault", text, step)
    text = Phrase("somebody answers {status}, but not the cloud: the answer is not signed", status=answer.status)
    return Finding(Phrase("cloud"), "fault", text, Phrase("Is a portal's sign-in in the way? Is cloud.url right?"))


def _host_and_port(url: str) -> tuple[str, int]:
    """`url` is as config.py takes it: scheme, host, perhaps a port."""
    scheme, _, rest = url.partition("://")
    name, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        name, port = rest, "443" if scheme == "https" else "80"
    return name.strip("[]"), int(port)
