"""What is news about links, and what the heartbeat says of the log."""

from __future__ import annotations

import pytest

from aquasmart_station.core.link import Links, came_up, is_up
from aquasmart_station.core.retained import Holding, read_resend_from, retained_digest


def links(*up: str, routes: tuple[str, ...] = ()) -> Links:
    return Links(frozenset(up), frozenset(routes))


@pytest.mark.parametrize(
    ("operstate", "carrier", "expected"),
    [("up", "1", True), ("down", "0", False), ("unknown", "1", True), ("unknown", "", False), ("dormant", "1", False)],
)
def test_an_interface_is_up_where_it_says_so_or_has_a_carrier(operstate: str, carrier: str, expected: bool) -> None:
    assert is_up(operstate, carrier) is expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (links(), links("wlan0"), True),
        (links("wlan0"), links("wlan0"), False),
        (links("wlan0"), links(), False),
        (links("wlan0"), links("eth0"), True),
        (links("eth0"), links("eth0", routes=("eth0 0101A8C0",)), True),
        (links("eth0", routes=("eth0 0101A8C0",)), links("eth0"), False),
        (links("eth0", routes=("eth0 0101A8C0",)), links("eth0", routes=("eth0 0201A8C0",)), True),
    ],
)
def test_only_what_was_not_there_is_news(before: Links, now: Links, expected: bool) -> None:
    assert came_up(before, now) is expected


def holding(stream: str, *, first: int = 1, through: int = 5, closed: bool = True) -> Holding:
    return Holding(stream, first, through, 100, closed)


def test_the_digest_covers_closed_streams_and_not_where_they_begin() -> None:
    known = retained_digest([holding("a"), holding("b")])
    assert retained_digest([holding("b"), holding("a")]) == known
    assert retained_digest([holding("a", first=4), holding("b")]) == known
    assert retained_digest([holding("a"), holding("b"), holding("c", closed=False)]) == known
    assert retained_digest([holding("a"), holding("b", through=6)]) != known
    assert retained_digest([holding("a")]) != known
    # docs/protocol.md §7: SHA-256 of `a:5:100\n`.
    assert retained_digest([holding("a")]) == "3d0b97f81bd7de5e33f12c51b8d7fe0bd825f5c16273ca38d533621b251ef2e3"


def test_what_is_wanted_again_is_read_where_it_has_sense() -> None:
    good = {"stream": "a", "expected_seq": 4, "counts_through": 0}
    wrong = [{**good, "expected_seq": 0}, {**good, "counts_through": -1}, {**good, "stream": 5}, "x", {"stream": "b"}]
    assert read_resend_from({"resend_from": [good, *wrong]}) == [("a", 4, 0)]
    assert read_resend_from({"resend_from": "all"}) == read_resend_from({}) == []
