"""The bounded ring, and figures for people."""

from __future__ import annotations

from uuid import UUID

import pytest

from aquasmart_station.core.errors import BadConfig
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader
from aquasmart_station.core.ring import Ring
from aquasmart_station.core.showing import ago, litres

HEADER = StreamHeader(
    UUID(int=1), "tap-1", None, False, UUID(int=2), 0, None, 0, Scale(1, 1), 0, "b", None, "h", "s", "ntp"
)


def draft(counts: int, *, urgent: bool = False) -> Draft:
    """Each an hour after the one before: nothing that could be merged."""
    return Draft(HEADER, Kind.VOLUME, counts * 3_600_000, 0, counts, urgent=urgent)


def test_the_ring_says_when_it_is_full_and_keeps_order_through_a_failed_commit() -> None:
    ring = Ring(3)
    ring.put([draft(1), draft(2)])
    assert ring.room
    taken = ring.take()
    assert len(ring) == 0
    ring.put([draft(3)])
    ring.give_back(taken)
    assert not ring.room
    assert [d.counts for d in ring.take()] == [1, 2, 3]


def test_an_urgent_draft_makes_the_ring_urgent_until_it_is_taken() -> None:
    ring = Ring(10)
    ring.put([draft(1)])
    assert not ring.urgent
    ring.put([draft(2, urgent=True)])
    assert ring.urgent
    ring.take()
    assert not ring.urgent


def test_a_ring_that_is_half_full_says_so() -> None:
    ring = Ring(10)
    ring.put([draft(each) for each in range(1, 5)])
    assert not ring.half
    ring.put([draft(5)])
    assert ring.half
    ring.take()
    assert not ring.half


@pytest.mark.parametrize(
    ("volume_ul", "places", "text"),
    [(1_000_000, 3, "1.000"), (999_999, 3, "0.999"), (1, 6, "0.000001"), (-1_500_000, 1, "-1.5"), (0, 3, "0.000")],
)
def test_litres_are_cut_never_rounded_up(volume_ul: int, places: int, text: str) -> None:
    assert litres(volume_ul, places) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-3, "0 s"), (119, "119 s"), (121, "2 min"), (7_300, "2 h"), (200_000, "2 days")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_a_bad_configuration_names_every_fault() -> None:
    text = str(BadConfig("station.toml", ["a: is missing", "b: is no number"]))
    assert "2 faults" in text
    assert "a: is missing" in text
    assert "b: is no number" in text
