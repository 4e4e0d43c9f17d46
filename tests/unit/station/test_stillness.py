"""Whether a station may be disturbed: its meters are read, and no water has run for a while."""

from __future__ import annotations

from typing import Any

from aquasmart_station.core.showing import MeterState
from aquasmart_station.core.stillness import Stillness


def shown(counts: int = 5, state: str = "ok", flow: int | None = 0, name: str = "tap-1") -> dict[str, MeterState]:
    return {name: MeterState(name, state, "e", counts, counts, flow, 1, "", {})}


def look(still: Stillness, at_ms: int, meters: dict[str, MeterState] | None = None, *, runs: bool = True) -> str:
    still.see(at_ms, reader_runs=runs, shown=shown() if meters is None else meters)
    return still.unfit


def test_it_is_still_only_after_it_was_seen_still_for_long_enough() -> None:
    still = Stillness(["tap-1"], 10_000)
    assert still.unfit
    assert [bool(look(still, at)) for at in (0, 5_000, 9_999, 10_000, 60_000)] == [True, True, True, False, False]


def test_water_is_seen_by_its_flow_and_by_its_counts() -> None:
    still = Stillness(["tap-1"], 10_000)
    look(still, 0)
    assert look(still, 10_000) == ""
    assert look(still, 11_000, shown(flow=900)) == "water runs at tap-1"
    assert look(still, 12_000) == "water ran a moment ago"
    assert look(still, 21_000) == ""
    # A thin stream of which every look misses the flow: the counts tell.
    assert look(still, 22_000, shown(counts=6)) == "water runs at tap-1"
    assert look(still, 31_999, shown(counts=6)) != ""
    assert look(still, 32_000, shown(counts=6)) == ""


def test_a_meter_that_is_not_read_is_not_still() -> None:
    for meters in (shown(state="silent"), shown(state="suspect"), shown(name="other"), {}):
        still = Stillness(["tap-1"], 1_000)
        look(still, 0)
        assert look(still, 1_000) == ""
        assert "meter tap-1 is not read now" in look(still, 2_000, meters)
        assert look(still, 3_000) == "water ran a moment ago"  # nobody saw what ran meanwhile
        assert look(still, 4_000) == ""


def test_without_its_reader_it_is_not_still_whatever_was_shown_last() -> None:
    still = Stillness(["tap-1"], 1_000)
    look(still, 0)
    assert look(still, 1_000) == ""
    assert "reader is not running" in look(still, 2_000, runs=False)


def test_every_meter_counts() -> None:
    still, both = Stillness(["tap-1", "tap-2"], 1_000), shown() | shown(name="tap-2")
    look(still, 0, both)
    assert look(still, 1_000, both) == ""
    assert look(still, 2_000, both | shown(counts=9, name="tap-2")) == "water runs at tap-2"
    assert "tap-2" in look(still, 3_000)


def test_flow_that_is_not_measured_is_no_flow() -> None:
    still = Stillness(["tap-1"], 1_000)
    unknown: dict[str, Any] = shown(flow=None)
    look(still, 0, unknown)
    assert look(still, 1_000, unknown) == ""
