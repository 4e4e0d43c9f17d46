"""Rates counted in memory, and strangers at the door: who waits, who does not, and that memory is bounded."""

from __future__ import annotations

import pytest

from aquasmart_cloud.core.policy import Rate
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import rates
from aquasmart_cloud.store.rates import OwnCounter
from aquasmart_cloud.web import doorstep
from aquasmart_cloud.web.doorstep import GUESSES, STRANGERS, Doorstep, network_of
from aquasmart_cloud.web.turnstile import SPREAD_S, Turnstile

SECOND_US = 1_000_000
NOW_MS = 1_763_676_000_000


def test_asking_without_counting_changes_nothing() -> None:
    counter, rate = OwnCounter(), Rate(2, 60_000)
    for _ in range(5):
        assert counter.wait_us("a", rate, 0, count=False) == 0
    assert [counter.wait_us("a", rate, 0) for _ in range(3)] == [0, 0, 30 * SECOND_US]
    assert counter.wait_us("a", rate, 0, count=False) == 30 * SECOND_US
    assert counter.wait_us("b", rate, 0) == 0


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    counter, rate, hour_us = OwnCounter(), Rate(1, 60_000), 3_600 * SECOND_US
    assert counter.wait_us("a", rate, 5 * hour_us) == 0
    assert counter.wait_us("a", rate, 4 * hour_us) == 0
    assert counter.wait_us("a", rate, 4 * hour_us) == 60 * SECOND_US


def test_memory_is_bounded_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_KEYS", 10)
    counter = OwnCounter()
    for number in range(50):
        counter.wait_us(str(number), Rate(1, 60_000), 0)
    assert list(counter._due_us) == [str(number) for number in range(40, 50)]


def test_stations_and_clients_of_one_name_do_not_meet_and_are_told_how_long() -> None:
    turnstile, rate = Turnstile(OwnCounter()), Rate(1, 60_000)
    turnstile.enter("a", rate, NOW_MS)
    turnstile.let_client("a", rate, NOW_MS)
    turnstile.let_client("a", None, NOW_MS)
    with pytest.raises(Refusal) as station:
        turnstile.enter("a", rate, NOW_MS)
    with pytest.raises(Refusal) as client:
        turnstile.let_client("a", rate, NOW_MS)
    assert (station.value.status, client.value.status) == (429, 429)
    assert 60 <= (station.value.retry_after_s or 0) < 60 + SPREAD_S
    assert client.value.retry_after_s == 60


def flood(door: Doorstep, address: str, many: int) -> None:
    for number in range(many):
        door.refuse_flood(address, f"stranger {number}", NOW_MS)
        door.was_wrong(address, f"stranger {number}", NOW_MS)


def test_a_flood_of_strangers_waits_and_their_neighbours_do_not() -> None:
    door = Doorstep(OwnCounter())
    door.was_right("station-1 k1")
    flood(door, "192.0.2.1", STRANGERS.requests)
    with pytest.raises(Refusal) as refused:
        door.refuse_flood("192.0.2.1", "stranger", NOW_MS)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
    door.refuse_flood("192.0.2.1", "station-1 k1", NOW_MS)  # behind the same NAT, and right lately
    door.refuse_flood("192.0.2.2", "stranger", NOW_MS)
    door.refuse_flood("192.0.2.1", "stranger", NOW_MS + 1_000)


def test_who_claims_to_be_a_known_station_does_not_make_its_neighbours_wait() -> None:
    door = Doorstep(OwnCounter())
    door.was_right("station-1 k1")
    for _ in range(2 * STRANGERS.requests):
        door.refuse_flood("192.0.2.1", "station-1 k1", NOW_MS)
        door.was_wrong("192.0.2.1", "station-1 k1", NOW_MS)
    door.refuse_flood("192.0.2.1", "a new station", NOW_MS)


def test_the_known_are_bounded_and_the_latest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorstep, "MOST_KNOWN", 3)
    door = Doorstep(OwnCounter())
    for credential in ("a", "b", "a", "c", "d"):
        door.was_right(credential)
    assert list(door._known) == ["a", "c", "d"]


def test_ten_guesses_a_minute_and_the_whole_address_waits() -> None:
    door = Doorstep(OwnCounter())
    for _ in range(GUESSES.requests):
        assert door.guess_wait_s("192.0.2.1", NOW_MS) == 0
        door.guessed_wrong("192.0.2.1", NOW_MS)
    assert door.guess_wait_s("192.0.2.1", NOW_MS) == 6
    assert door.guess_wait_s("192.0.2.2", NOW_MS) == 0
    assert door.guess_wait_s("192.0.2.1", NOW_MS + 6_000) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:0db8:0000:0000::/64"),
        ("2001:db8::ffff:1", "2001:0db8:0000:0000::/64"),
        ("2001:db8:0:1::1", "2001:0db8:0000:0001::/64"),
        ("fe80::1%eth0", "fe80:0000:0000:0000::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_an_address_of_ipv6_is_its_whole_network(address: str, network: str) -> None:
    assert network_of(address) == network
