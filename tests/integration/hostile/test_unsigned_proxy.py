"""What a real nginx says on the cloud's behalf without knowing the key makes sync slower or smaller, and nothing else.

docs/protocol.md §2: no mark, no hold, no dead letter, no clock offset; each refusal that the problem table has, as a
proxy, a firewall or a captive portal gives it in the field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from demo.faults import Exchange, Fault
from tests.fakes.nginx import WAYS, Nginx
from tests.integration.backlog import write_backlog
from tests.integration.outpost import House, Outpost
from tests.integration.wire import Message, send
from tests.integration.world import eventually

from .conftest import OUTPOSTS

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nginx")]
MakeOutpost = Callable[..., Outpost]
UNVERIFIED = ("portal 200", "JSON 200", "301", "302", "307", "401", "403", "404", "410", "426")
"""What a technician is told; the others are a link that does not carry: offline."""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, house: House) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), house.port) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def flowing(tmp_path_factory: pytest.TempPathFactory, house: House) -> Iterator[Outpost]:
    """A station that counts and delivers all the while; one for all ways, so that each begins where another ended.

    After all of it the books balance.
    """
    outpost = house.station(tmp_path_factory.mktemp("flowing") / "station")
    outpost.take_baseline()
    outpost.start("sync")
    outpost.await_flow(10)
    yield outpost
    try:
        outpost.relay.lead_to(house.port)
        outpost.settle()
    finally:
        outpost.close()


def assert_nothing_moved(outpost: Outpost, marks: dict[str, int]) -> None:
    assert outpost.log.acknowledged() == marks
    assert outpost.dead_letters() == 0
    assert outpost.state() not in {"hold", ""}
    last = outpost.ingests()[-1]
    signed_at = int(Message.parse(last.request).header("X-Timestamp"))
    assert abs(signed_at - time.time() * 1000) < 60_000, "an unsigned answer moved the clock's offset"


@pytest.mark.parametrize("way", [way for way in WAYS if way != "honest"])
def test_an_unsigned_refusal_only_slows_it(
    flowing: Outpost, nginx: Nginx, way: str, request: pytest.FixtureRequest
) -> None:
    outpost = flowing
    request.node.stash[OUTPOSTS] = [outpost]
    if way in {"429", "503"}:
        _exhaust(nginx.ports[way])
    known = len(outpost.ingests())
    outpost.relay.lead_to(nginx.ports[way])
    eventually(lambda: len(_refused(outpost, known)) >= 1, f"a first {way}")
    marks = outpost.log.acknowledged()
    eventually(lambda: len(_refused(outpost, known)) >= 2, f"a second {way}")
    assert_nothing_moved(outpost, marks)
    expected = "unverified" if way in UNVERIFIED else "offline"
    eventually(lambda: outpost.state() == expected, f"sync to show {expected} for {way}")
    outpost.relay.lead_to(outpost.house.port)
    eventually(lambda: outpost.log.acknowledged() != marks, f"a mark moved after {way} was over")


def _refused(outpost: Outpost, known: int) -> list[Exchange]:
    """The ingest requests since the first `known` that somebody without the key has answered."""
    answered = [exchange for exchange in outpost.ingests()[known:] if exchange.answer]
    return [exchange for exchange in answered if b"x-signature" not in exchange.answer.lower()]


def _exhaust(port: int) -> None:
    """Use up what the proxy's rate limit allows: one request a minute."""
    message = Message("POST /v1/ingest HTTP/1.1", (("Host", "cloud"),), b"x")
    assert send(port, message).status in {401, 429, 503}
    assert send(port, message).status in {429, 503}


def test_an_honest_proxy_changes_nothing(make_outpost: MakeOutpost, nginx: Nginx) -> None:
    outpost = make_outpost()
    outpost.relay.lead_to(nginx.ports["honest"])
    outpost.take_baseline()
    outpost.start("sync")
    outpost.await_flow(20)
    outpost.settle()
    assert {exchange.status for exchange in outpost.relay.exchanges} == {200}


def test_a_proxys_413_shrinks_batches_until_they_fit(make_outpost: MakeOutpost, house: House, tmp_path: Path) -> None:
    outpost = make_outpost()
    # Rows that do not compress to nothing: a batch of them is longer than one row by more than chance makes it. Many of
    # them: where a slow machine's timeout has made batches small before the proxy could, they grow again until it must.
    write_backlog(outpost, events=1_200, streams=1, dice=Random(413))
    outpost.relay.inject(Fault("captured", forward=False, reset=True))
    outpost.start("sync")
    eventually(lambda: outpost.relay.pending_faults() == 0, "a first batch")
    outpost.kill("sync")
    limit = len(outpost.ingests()[0].body) - 15
    with Nginx(tmp_path / "nginx", house.port, body_bytes=limit) as nginx:
        outpost.relay.lead_to(nginx.ports["413"])
        outpost.start("sync")
        outpost.await_delivered()
        assert any(exchange.status == 413 for exchange in outpost.ingests())
        assert all(len(exchange.body) <= limit for exchange in outpost.ingests() if exchange.status == 200)
    assert outpost.books.marks() == outpost.log.last_seqs()
    assert outpost.books.events() == outpost.log.events()
