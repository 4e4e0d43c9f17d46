"""Rules 2 to 6, at their edges: which one fits, and what it books."""

from __future__ import annotations

from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

import pytest

from aquasmart_station.core.model import Flag, Kind, Scale
from tests.unit.station.meter_world import Meter, World, audit, booked, kinds, traits, world

BOUND_1S = 563
"""Counts that 1 l/s · 1 s · 1.25 can hold at 450 a litre (562.5), with the one that may be due at any instant."""


# 2. no state


def test_the_first_reading_ever_is_a_baseline_that_books_nothing() -> None:
    here = World(Meter(traits(), 1_000_000), traits())
    assert here.account.view.state == "waiting"
    assert here.account.view.run_volume_ul is None
    (row,) = here.poll()
    assert (row.kind, row.counts, row.urgent) == (Kind.BASELINE, 1_000_000, True)
    assert (row.stream.epoch_from, row.stream.opening_counts) == (1_000_000, 1_000_000)
    assert here.account.view.state == "ok"
    assert here.account.view.run_volume_ul == 0


def test_the_protocols_example_of_450_pulses_is_one_litre() -> None:
    here = world()
    here.meter.flow(450)
    here.wait(1_000)
    (row,) = here.poll()
    assert kinds([row]) == [(Kind.VOLUME, 1_000_450)]
    assert row.stream.volume_ul(row.counts) == 1_000_000
    assert here.account.view.run_volume_ul == 1_000_000


# 3. normal


def test_nothing_is_written_while_nothing_flows() -> None:
    here = world()
    here.wait(100)
    assert here.poll() == []


def test_the_first_counts_of_a_run_are_a_catch_up_the_others_volume() -> None:
    here = world()
    here.meter.flow(100)
    here.wait(60_000)
    here.crash()
    assert kinds(here.poll()) == [(Kind.CATCH_UP, 1_000_100)]
    here.meter.flow(5)
    here.wait(100)
    (row,) = here.poll()
    assert row.kind is Kind.VOLUME
    assert not row.urgent
    assert row.stream is here.ring[0].stream


def test_a_run_that_found_nothing_to_catch_up_books_volume() -> None:
    here = world()
    here.crash()
    assert here.poll() == []
    here.meter.flow(5)
    here.wait(100)
    assert kinds(here.poll()) == [(Kind.VOLUME, 1_000_005)]


@pytest.mark.parametrize(("counts", "expected"), [(BOUND_1S, [Kind.VOLUME]), (BOUND_1S + 1, [])])
def test_the_bound_is_qmax_times_time_times_five_quarters(counts: int, expected: list[Kind]) -> None:
    here = world()
    here.meter.flow(counts)
    here.wait(1_000)
    assert [draft.kind for draft in here.poll()] == expected


def test_an_interval_below_a_second_is_judged_as_a_second() -> None:
    here = world()
    here.meter.flow(BOUND_1S)
    here.wait(1)
    assert here.poll()


def test_one_count_of_a_coarse_meter_is_always_possible() -> None:
    here = world(scale=Scale(10_000_000, 1), qmax_ul_s=1_000)
    here.meter.flow(1)
    here.wait(100)
    assert kinds(here.poll()) == [(Kind.VOLUME, 1_000_001)]


def test_a_nonvolatile_meter_may_restart_as_it_likes() -> None:
    here = world()
    here.meter.power_cycle()
    here.meter.flow(10)
    here.wait(1_000)
    (row,) = here.poll()
    assert kinds([row]) == [(Kind.VOLUME, 1_000_010)]
    assert row.stream.meter_boot_id == "00000002", "the header holds the boot that a crash is judged by"
    assert row.stream.epoch == here.log[0].stream.epoch


@pytest.mark.parametrize(
    ("former", "later", "counts", "expected"),
    [
        ("ntp", "ntp", 200_000, Kind.CATCH_UP),  # ten minutes hold 337,500
        ("ntp", "rtc", 400_000, None),
        ("ntp", "unset", 400_000, Kind.CATCH_UP),
        ("restored", "ntp", 400_000, Kind.CATCH_UP),  # a restored clock stood still while the board was off
        ("ntp", "unset", (1 << 31) + 1, None),
    ],
)
def test_over_a_power_cut_time_is_known_only_by_two_reliable_clocks(
    former: str, later: str, counts: int, expected: Kind | None
) -> None:
    here = World(Meter(traits(), 1_000_000), traits(), clock=former)
    here.poll()
    here.commit()
    here.meter.flow(counts)
    here.wait(600_000)
    here.power_cut(clock=later)
    assert [draft.kind for draft in here.poll()] == ([expected] if expected else [])


def test_a_clock_that_went_backwards_says_nothing_about_the_gap() -> None:
    here = world()
    here.now_ms -= 86_400_000
    here.meter.flow(400_000)
    here.power_cut()
    assert kinds(here.poll()) == [(Kind.CATCH_UP, 1_400_000)]


def test_a_new_scale_goes_on_in_the_same_epoch_at_the_exact_count() -> None:
    here = world()
    here.meter.flow(450)
    here.wait(1_000)
    here.poll()
    here.commit()
    here.traits = traits(Scale(2_500, 1))
    here.crash()
    here.meter.flow(4)
    here.wait(1_000)
    (row,) = here.poll()
    assert row.stream.opening_counts == 1_000_450
    assert row.stream.volume_ul(row.counts) == 10_000
    here.commit()
    (epoch,) = audit(here.log).values()
    assert epoch.volume_ul == 1_010_000


# 4. rollover


@pytest.mark.parametrize("modulus", [1 << 32, 10**8, 10**9])
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_register_that_wraps_is_unwrapped(modulus: int, rebooted: bool) -> None:
    here = world(net=modulus - 3, modulus=modulus)
    here.meter.flow(10)
    here.wait(1_000)
    if rebooted:
        here.meter.power_cycle()
    (row,) = here.poll()
    assert kinds([row]) == [(Kind.ROLLOVER, modulus + 7)]
    assert row.urgent
    here.commit()
    assert booked(here.log) == 10


def test_a_wrap_is_believed_after_a_gap_of_unknown_length() -> None:
    here = world(net=(1 << 32) - 3)
    here.meter.flow(1_000)
    here.power_cut(clock="unset")
    assert kinds(here.poll()) == [(Kind.ROLLOVER, (1 << 32) + 997)]


def test_with_a_restart_in_a_gap_of_unknown_length_a_wrap_must_be_near() -> None:
    here = world(net=(1 << 32) - (1 << 30))
    here.meter.net = 1 << 32
    here.meter.zero = here.meter.net
    here.meter.power_cycle()
    here.meter.flow(5)
    here.power_cut(clock="unset")
    assert kinds(here.poll()) == [(Kind.RESET, 5)]


def test_a_gap_in_which_half_a_turn_may_hide_is_no_rollover() -> None:
    here = world(net=65_000, modulus=1 << 16)
    here.meter.flow(1_000)
    here.wait(3_600_000)
    assert here.poll() == []
    assert here.account.view.state == "suspect"


# 5. reverse


def test_backflow_is_a_debt_that_forward_flow_repays_first() -> None:
    here = world()
    here.meter.flow(-3)
    here.wait(100)
    (row,) = here.poll()
    assert (row.kind, row.counts, row.data, row.urgent) == (Kind.REVERSE, 1_000_000, {"debt_counts": 3}, True)
    assert here.account.view.reverse_debt_counts == 3
    here.meter.flow(2)
    here.wait(100)
    assert here.poll() == []
    assert here.account.view.reverse_debt_counts == 1
    here.meter.flow(5)
    here.wait(100)
    assert kinds(here.poll()) == [(Kind.VOLUME, 1_000_004)]
    assert here.account.view.reverse_debt_counts == 0


def test_a_debt_is_reported_again_only_as_it_doubles() -> None:
    here = world()
    reported = []
    for _ in range(100):
        here.meter.flow(-1)
        here.wait(100)
        reported += [draft.data["debt_counts"] for draft in here.poll()]
    assert reported == [1, 2, 4, 8, 16, 32, 64]


def test_a_debt_survives_a_crash() -> None:
    here = world()
    here.meter.flow(-3)
    here.wait(100)
    here.poll()
    here.commit()
    here.crash()
    here.meter.flow(4)
    here.wait(100)
    assert kinds(here.poll()) == [(Kind.CATCH_UP, 1_000_001)]


@pytest.mark.parametrize("start", [0, 2, 1 << 32])
def test_backflow_through_zero(start: int) -> None:
    here = world(net=start)
    here.meter.flow(-3)
    here.wait(100)
    assert [draft.kind for draft in here.poll()] == [Kind.REVERSE]
    here.meter.flow(10)
    here.wait(100)
    (row,) = here.poll()
    assert row.counts - here.log[0].counts == 7


def test_backflow_of_a_register_without_end() -> None:
    here = world(modulus=None)
    here.meter.flow(-3)
    here.wait(100)
    assert [draft.kind for draft in here.poll()] == [Kind.REVERSE]


def test_a_reverse_register_is_taken_off_the_forward_one() -> None:
    here = world()
    reading = here.meter.read(here.mono_ms + 100, here.now_ms + 100)
    (row,) = here.account.take(replace(reading, reverse_counts=4))
    assert (row.kind, row.data) == (Kind.REVERSE, {"debt_counts": 4})


@pytest.mark.parametrize(("counts", "state"), [(450, "ok"), (451, "suspect")])
def test_more_than_a_litre_backwards_is_no_backflow(counts: int, state: str) -> None:
    here = world()
    here.meter.flow(-counts)
    here.wait(100)
    here.poll()
    assert here.account.view.state == state


# 6. reset


def test_a_volatile_meter_restarts_at_zero_and_the_unmeasured_time_has_its_bound() -> None:
    here = world(nonvolatile=False, net=5_000)
    here.meter.power_cycle()
    here.meter.flow(90)
    here.wait(10_000)
    (row,) = here.poll()
    assert (row.kind, row.counts, row.urgent) == (Kind.RESET, 90, True)
    assert (row.stream.epoch_from, row.stream.opening_counts) == (0, 0)
    assert row.data == {"unmeasured_ms": 10_000, "unmeasured_bound_ul": 12_500_000 - 200_000, "before": 5_000}
    station = uuid5(NAMESPACE_URL, "urn:aquasmart:station:station-1")
    assert row.stream.epoch == uuid5(station, "tap-1:00000002")


def test_a_reset_in_a_gap_of_unknown_length_states_no_bound() -> None:
    here = world(nonvolatile=False, net=5_000)
    here.meter.power_cycle()
    here.power_cut(clock="unset")
    (row,) = here.poll()
    assert row.data == {"unmeasured_ms": None, "unmeasured_bound_ul": None, "before": 5_000}


def test_the_flag_of_an_unset_clock_follows_the_rows_own_time_not_what_was_told_before() -> None:
    here = world()
    noon_ms = here.now_ms
    flagged = []
    for told, at_ms in (
        ("rtc", noon_ms),
        ("rtc", 7_200_000),
        ("unset", 7_300_000),
        ("unset", noon_ms),
        ("rtc", noon_ms),
    ):
        here.account.tell_clock(told)
        here.meter.flow(5)
        here.mono_ms += 1_000
        here.now_ms = at_ms
        (row,) = here.poll()
        flagged.append(Flag.CLOCK_UNSET in row.flags)
    assert flagged == [False, True, True, False, False]


def test_a_nonvolatile_meter_that_lost_its_memory_is_a_reset_too() -> None:
    here = world()
    here.meter.zero = here.meter.net
    here.meter.power_cycle()
    here.meter.flow(7)
    here.wait(1_000)
    (row,) = here.poll()
    assert (row.kind, row.counts) == (Kind.RESET, 7)


def test_every_count_of_a_volatile_meter_is_committed_at_once() -> None:
    here = world(nonvolatile=False)
    here.meter.flow(1)
    here.wait(100)
    (row,) = here.poll()
    assert row.urgent


def test_what_the_meter_says_of_its_memory_counts_more_than_the_configuration() -> None:
    here = world(nonvolatile=False)
    reading = replace(here.meter.read(here.mono_ms, here.now_ms), boot_id="ffffffff", nonvolatile=True)
    here.account.take(replace(reading, forward_counts=1_000_001))
    assert here.account.view.counts == 1_000_001
