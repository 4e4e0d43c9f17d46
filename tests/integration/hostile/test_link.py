"""The link itself: silent, refused, unknown by name, flapping, dripping, torn at random, or limited for many at once.

Each test is a row of the matrix (N1 to N6, S5), at the level of processes; the books balance after each.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from aquasmart_cloud.store.policy import limit_rate
from demo.faults import Exchange
from tests.fakes.tcp_proxy import HONEST, DeafHost, TcpProxy, Trouble
from tests.integration.backlog import write_backlog
from tests.integration.outpost import House, Outpost
from tests.integration.test_kill_loop import dice_of_this_run
from tests.integration.wire import Message
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e
MakeOutpost = Callable[..., Outpost]
IMPATIENT = {"cloud": {"connect_timeout_s": 0.5, "read_timeout_s": 0.5}}
INGEST = b"POST /v1/ingest"


def delivering(outpost: Outpost) -> Outpost:
    outpost.take_baseline()
    outpost.start("sync")
    eventually(lambda: outpost.books.events() >= 10, "ten events at the cloud")
    return outpost


def through(proxy: TcpProxy, outpost: Outpost) -> None:
    """Put the proxy between the station and its relay."""
    proxy.upstream_port = outpost.relay.port
    outpost.url = f"http://127.0.0.1:{proxy.port}"
    outpost.configure()


def test_n1_silence_after_the_request_ends_in_time_and_costs_nothing(make_outpost: MakeOutpost) -> None:
    outpost = delivering(make_outpost(overrides=IMPATIENT))
    outpost.relay.set_state("black-hole")
    eventually(lambda: outpost.state() == "offline", "sync to notice the silence")
    marks = outpost.log.acknowledged()
    outpost.await_flow(20)
    assert outpost.log.acknowledged() == marks
    assert outpost.dead_letters() == 0
    outpost.settle()


def test_n1_a_host_that_never_takes_the_call(make_outpost: MakeOutpost) -> None:
    outpost = make_outpost(overrides=IMPATIENT)
    right = outpost.url
    outpost.take_baseline()
    with DeafHost() as deaf:
        outpost.url = f"http://127.0.0.1:{deaf.port}"
        outpost.configure()
        outpost.start("sync")
        eventually(lambda: outpost.said().get("failures", 0) >= 2, "two calls that nobody took")
        assert outpost.state() == "offline"
        assert outpost.log.acknowledged() == {}
    outpost.url = right
    outpost.configure()
    outpost.stop("sync")
    outpost.settle()


def test_n1_an_answer_that_stops_in_the_middle(make_outpost: MakeOutpost) -> None:
    outpost = make_outpost(overrides=IMPATIENT)
    with TcpProxy(0, wanted=INGEST) as proxy:
        through(proxy, outpost)
        proxy.script(*(Trouble(f"silent after {n}", answer_bytes=n, then_silence=True) for n in (0, 20, 200, 400)))
        outpost.take_baseline()
        outpost.start("sync")
        eventually(lambda: len(proxy.met) == 4, "four answers that stopped")
        outpost.settle()
        # The cloud had it each time: what came again was known.
        assert outpost.ingests()[3].status == 200


def test_n2_nobody_listens_and_then_somebody_does(make_outpost: MakeOutpost) -> None:
    outpost = delivering(make_outpost())
    outpost.relay.set_state("cut")
    eventually(lambda: "refused" in outpost.said()["text"], "sync to say that the connection is refused")
    assert outpost.state() == "offline"
    outpost.await_flow(20)
    outpost.relay.set_state("pass")
    # The same process goes on by itself.
    eventually(lambda: outpost.state() == "online", "sync to be online")
    outpost.settle()


def test_n3_a_name_that_cannot_be_looked_up_is_named(make_outpost: MakeOutpost) -> None:
    outpost = make_outpost()
    right, outpost.url = outpost.url, "http://no-such-cloud.invalid:8000"
    outpost.configure()
    outpost.take_baseline()
    outpost.start("sync")
    eventually(lambda: "looked up" in outpost.said().get("text", ""), "sync to say that the name is unknown")
    assert outpost.state() == "offline"
    outpost.url = right
    outpost.configure()
    outpost.stop("sync")
    outpost.settle()


def test_n5_a_flapping_link_delivers_everything_once(make_outpost: MakeOutpost) -> None:
    dice = dice_of_this_run()
    outpost = delivering(make_outpost(overrides=IMPATIENT))
    asked, changes = len(outpost.relay.exchanges), 30
    for _ in range(changes):
        outpost.relay.set_state(dice.choice(["cut", "black-hole"]))
        time.sleep(dice.uniform(0.02, 0.2))
        outpost.relay.set_state("pass")
        time.sleep(dice.uniform(0.02, 0.2))
    # Each flap may cost an attempt or two of either lane; a link that flaps is not hammered.
    assert len(outpost.relay.exchanges) - asked <= changes * 6
    outpost.settle()


def test_n5_torn_at_random_bytes_in_both_directions(make_outpost: MakeOutpost) -> None:
    dice = dice_of_this_run()
    outpost = make_outpost()
    with TcpProxy(0) as proxy:
        through(proxy, outpost)
        proxy.plan = lambda: _torn(dice)
        outpost.take_baseline()
        outpost.start("sync")
        eventually(lambda: sum(name != HONEST.name for name in proxy.met) >= 15, "15 torn connections", 100)
        proxy.plan = lambda: None
        outpost.settle()


def _torn(dice: random.Random) -> Trouble:
    """Every third connection is honest: a backoff ends with a success, so that there are many torn ones in a minute."""
    where = dice.randrange(1, 900)
    return dice.choice(
        [
            HONEST,
            Trouble("request torn", request_bytes=where),
            Trouble("answer torn", answer_bytes=where, idle_close_s=0.05),
        ]
    )


def test_n6_an_answer_that_drips_is_waited_for_or_given_up(make_outpost: MakeOutpost) -> None:
    outpost = make_outpost(overrides=IMPATIENT)
    with TcpProxy(0, wanted=INGEST) as proxy:
        through(proxy, outpost)
        # A byte each 50 ms never trips a read's time-out and takes half a minute; a byte a millisecond is soon there.
        proxy.script(
            Trouble("slow-loris", drip_s=0.05), Trouble("slow-loris", drip_s=0.05), then=Trouble("slow", drip_s=0.001)
        )
        outpost.take_baseline()
        outpost.start("sync")
        eventually(lambda: len(proxy.met) >= 3, "two dripping answers given up")
        assert outpost.log.acknowledged() == {}
        eventually(outpost.log.acknowledged, "a slow answer waited for")
        proxy.plan = lambda: None
        outpost.settle()


def test_portals_on_the_way_whatever_they_say(make_outpost: MakeOutpost) -> None:
    pages = {
        "login page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin",
        "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n<html>until the end</html>",
        "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        "502 page": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad",
        "no HTTP": b"SSH-2.0-dropbear\r\n",
        "nothing": b"",
    }
    outpost = make_outpost()
    with TcpProxy(0) as proxy:
        through(proxy, outpost)
        proxy.script(*(trouble for name, page in pages.items() for trouble in (Trouble(name, canned=page), HONEST)))
        outpost.take_baseline()
        outpost.start("sync")
        eventually(lambda: set(proxy.met) >= pages.keys(), "every page met")
        assert outpost.state() != "hold"
        outpost.settle()


def test_s5_five_limited_stations_spread_out(own_house: House, make_outpost: MakeOutpost) -> None:
    stations = [make_outpost(at=own_house, overrides={"sync": {"batch_rows_max": 10}}) for _ in range(5)]
    for station in stations:
        write_backlog(station, events=120, streams=1)
    limit_rate(own_house.stations._database, "4/second", 1)
    for station in stations:
        station.start("sync")
    for station in stations:
        eventually(lambda station=station: _waits_ms(station), "a limited station to ask again")
    waits_ms = [_waits_ms(station)[0] for station in stations]
    # By the timestamps they sign with, which follow the cloud's clock anew at each answer: a slow one moves them.
    assert all(waited >= told * 1000 - 250 for waited, told in waits_ms), waits_ms
    # 0 to 5 s of their own on top of what the cloud said: five that were told at once do not return at once.
    returns = [waited for waited, _ in waits_ms]
    assert max(returns) - min(returns) > 200, waits_ms
    limit_rate(own_house.stations._database, None, 1)
    for station in stations:
        station.await_delivered()
        assert station.books.marks() == station.log.last_seqs()
        assert station.books.events() == station.log.events()


def _waits_ms(station: Outpost) -> list[tuple[int, int]]:
    """After each 429 to an ingest: how long the station waited by its own timestamps, and how long it was told to."""
    found = []
    for refused, following in pairwise(station.ingests()):
        if refused.status == 429:
            told = _header(refused, "retry-after")
            found.append((_signed_at(following) - _signed_at(refused), int(told)))
    return found


def _signed_at(exchange: Exchange) -> int:
    return int(Message.parse(exchange.request).header("X-Timestamp"))


def _header(exchange: Exchange, name: str) -> str:
    return Message.parse(exchange.answer).header(name)
