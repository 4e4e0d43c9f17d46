"""Where no rule explains the count: jumps, falls, another meter in the same place; and what holds for all rules."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import pytest

from aquasmart_station.core.accounting import Account
from aquasmart_station.core.model import Board, Flag, Kind, Resume, Scale, StreamHeader
from tests.unit.station.meter_world import K450, NOON_MS, Meter, World, audit, booked, ids, kinds, traits, world

# 7. anything else


def test_a_jump_is_disputed_in_the_same_epoch_after_three_polls_agree() -> None:
    here = world()
    here.meter.flow(1_000_000)
    for _ in range(2):
        here.wait(100)
        assert here.poll() == []
        assert here.account.view.state == "suspect"
        assert here.account.view.unbooked_counts == 1_000_000
    here.meter.flow(1)
    here.wait(100)
    (row,) = here.poll()
    assert (row.kind, row.counts, row.urgent) == (Kind.DISPUTED, 2_000_001, True)
    assert row.data == {"reason": "jump", "elapsed_ms": 300}
    assert row.stream.epoch == here.log[0].stream.epoch
    assert here.account.view.state == "ok"
    assert here.account.view.unbooked_counts == 0


def test_one_wild_poll_is_forgotten() -> None:
    here = world()
    for wild in (5_000_000, -900_000, 5_000_000):
        here.meter.flow(wild)
        here.wait(100)
        assert here.poll() == []
        here.meter.flow(-wild)
        here.wait(100)
        assert here.poll() == []
        assert here.account.view.state == "ok"


def test_polls_that_contradict_each_other_do_not_agree() -> None:
    here = world()
    for wild in (5_000_000, 3_000_000, 9_000_000, 2_000_000, 8_000_000):
        here.meter.net = wild
        here.wait(100)
        assert here.poll() == []


def test_a_decrease_begins_a_new_epoch_at_the_count_first_seen() -> None:
    here = world()
    here.meter.net = 5_000
    here.wait(100)
    here.poll()
    for _ in range(2):
        here.meter.flow(3)
        here.wait(100)
        rows = here.poll()
    assert kinds(rows) == [(Kind.BASELINE, 5_000), (Kind.VOLUME, 5_006)]
    assert rows[0].data == {"reason": "decrease", "before": 1_000_000}
    assert rows[0].stream.epoch != here.log[0].stream.epoch
    here.commit()
    assert booked(here.log) == 6


def test_a_decrease_of_a_register_without_end() -> None:
    here = world(modulus=None)
    here.meter.net = 5_000
    here.settle()
    assert [epoch.start for epoch in audit(here.log).values()] == [1_000_000, 5_000]


def test_polls_of_a_register_without_end_that_keeps_falling_do_not_agree() -> None:
    here = world(modulus=None)
    for _ in range(5):
        here.meter.flow(-10_000)
        here.wait(100)
        assert here.poll() == []


def test_a_volatile_meter_that_fell_without_restarting_does_not_reuse_its_epochs_id() -> None:
    here = World(Meter(traits(nonvolatile=False), 1_000_000), traits(nonvolatile=False))
    here.settle()
    here.meter.net = 1_000
    here.settle()
    here.meter.net = 100_000
    here.settle()
    here.meter.net = 2_000
    here.settle()
    assert len(audit(here.log)) == 3


def test_a_volatile_meter_that_shows_too_much_after_a_restart_is_disputed() -> None:
    here = world(nonvolatile=False)
    here.meter.boot += 1  # it kept its count although it is not supposed to
    here.meter.flow(10)
    here.settle()
    assert [row.kind for row in here.log] == [Kind.BASELINE, Kind.DISPUTED]
    assert booked(here.log) == 10
    assert here.log[-1].stream.meter_boot_id == "00000002"


# 1. replaced


def swapped() -> World:
    here = World(Meter(traits(strong=True), 1_000_000, identity="A"), traits(strong=True))
    here.settle()
    here.meter = Meter(here.traits, 500, identity="B", boot=77)
    here.wait(60_000)
    here.poll()
    return here


def test_another_serial_number_freezes_the_port() -> None:
    here = swapped()
    view = here.account.view
    assert view.state == "frozen"
    assert "B answers where A was" in view.reason
    (row,) = here.ring
    assert (row.kind, row.counts, row.stream.identity) == (Kind.ANOMALY, 1_000_000, "A")
    here.meter.flow(100)
    here.wait(1_000)
    assert here.poll() == []
    assert here.heartbeat() is None


@pytest.mark.parametrize("crash", [False, True])
def test_the_new_epoch_opens_at_the_count_first_seen(crash: bool) -> None:
    here = swapped()
    here.commit()
    here.meter.flow(300)
    here.wait(5_000)
    if crash:
        here.crash()
        here.poll()
    here.account.acknowledge_swap(change_token="visit-7")
    here.meter.flow(30)
    here.wait(1_000)
    rows = here.poll()
    assert kinds(rows) == [(Kind.METER_CHANGE, 500), (Kind.VOLUME, 830)]
    assert rows[0].stream.identity == "B"
    assert rows[0].stream.identity_strong
    assert rows[0].stream.change_token == "visit-7"
    assert rows[0].data == {"before": 1_000_000, "former_identity": "A", "identity": "B"}
    here.commit()
    assert booked(here.log) == 330


def test_the_old_meter_back_in_its_place_goes_on() -> None:
    here = swapped()
    here.account.acknowledge_swap()
    here.meter = Meter(here.traits, 1_000_020, identity="A")
    here.wait(1_000)
    assert kinds(here.poll()) == [(Kind.VOLUME, 1_000_020)]
    assert here.account.view.state == "ok"


def test_a_third_meter_is_seen_for_itself() -> None:
    here = swapped()
    here.meter = Meter(here.traits, 9_000, identity="C")
    here.wait(1_000)
    here.poll()
    here.account.acknowledge_swap()
    here.wait(1_000)
    assert kinds(here.poll()) == [(Kind.METER_CHANGE, 9_000)]


def test_a_swap_acknowledged_as_the_next_meter_appears_opens_at_its_count() -> None:
    here = swapped()
    here.account.acknowledge_swap()
    here.meter = Meter(here.traits, 9_000, identity="C")
    here.wait(1_000)
    assert kinds(here.poll()) == [(Kind.METER_CHANGE, 9_000)]


def test_a_meter_without_a_serial_number_changes_at_the_next_reading() -> None:
    here = world()
    here.meter = Meter(here.traits, 40)
    here.account.acknowledge_swap()
    here.wait(1_000)
    (row,) = here.poll()
    assert (row.kind, row.counts, row.stream.identity_strong) == (Kind.METER_CHANGE, 40, False)


def test_a_swap_before_anything_was_read_is_a_baseline() -> None:
    here = World(Meter(traits(), 40), traits())
    here.account.acknowledge_swap()
    assert kinds(here.poll()) == [(Kind.BASELINE, 40)]


# positions, heartbeats, state


def test_a_position_that_the_wire_cannot_carry_begins_an_epoch_at_the_same_water() -> None:
    of = traits(Scale((1 << 30) - 1, 1 << 19))
    here = World(Meter(of, 1_000_000), of)
    for _ in range(300):
        here.poll()
        here.meter.flow(40_000_000)
        here.wait(86_400_000)
    here.poll()
    here.commit()
    assert here.meter.net > 2 << 32
    assert booked(here.log) == 300 * 40_000_000
    assert len(audit(here.log)) > 1
    assert any(row.data and row.data.get("reason") == "position-limit" for row in here.log)


def test_a_count_that_cannot_be_priced_at_all_is_suspect_until_it_is_gone() -> None:
    here = world(modulus=None)
    here.meter.flow(1 << 60)
    here.settle()
    assert here.account.view.state == "suspect"
    assert "beyond" in here.account.view.reason
    here.meter.flow(-(1 << 60))
    here.settle()
    assert here.account.view.state == "ok"
    here.meter.flow(1 << 60)
    fresh = World(here.meter, here.traits)
    assert fresh.poll() == []


def test_a_heartbeat_repeats_only_a_position_that_was_confirmed_lately() -> None:
    here = World(Meter(traits(), 7), traits())
    assert here.heartbeat() is None
    here.poll()
    read_at_ms = here.now_ms
    here.wait(1_000)
    row = here.heartbeat()
    assert row is not None
    assert (row.kind, row.counts, row.at_ms, row.urgent) == (Kind.HEARTBEAT, 7, read_at_ms, False)
    here.wait(60_000)
    assert here.heartbeat() is None


def test_a_suspect_meter_has_no_heartbeat() -> None:
    here = world()
    here.meter.net = 4
    here.wait(100)
    here.poll()
    assert here.heartbeat() is None


def test_the_view_names_the_epoch_and_the_stream() -> None:
    here = world()
    view = here.account.view
    assert (view.epoch, view.epoch_from, view.counts, view.raw_counts) == (
        here.log[0].stream.epoch,
        1_000_000,
        1_000_000,
        1_000_000,
    )
    assert view.header is here.log[0].stream


def test_flags_of_the_reading_are_the_rows() -> None:
    here = world()
    here.meter.flow(1)
    reading = replace(here.meter.read(here.mono_ms + 100, here.now_ms + 100), flags=Flag.SENSOR_STUCK)
    (row,) = here.account.take(reading)
    assert row.flags == Flag.SENSOR_STUCK


def test_a_meterless_stream_is_no_state_of_a_meter() -> None:
    header = StreamHeader(UUID(int=1), None, None, False, None, 0, None, 0, None, NOON_MS, "b", None, "h", "0", "ntp")
    with pytest.raises(ValueError, match="meterless"):
        Account(
            board=Board("s", "b", "h", "0"),
            meter_id="tap-1",
            traits=traits(K450),
            resume=Resume(header, 0, 0, 0),
            new_id=ids(),
            clock="ntp",
        )


def test_data_of_other_rows_is_no_newcomer() -> None:
    here = world()
    here.meter.flow(-3)
    here.wait(100)
    here.poll()
    here.commit()
    assert json.loads(json.dumps(here.log[-1].data)) == {"debt_counts": 3}
    here.crash()
    here.poll()
    assert here.account.view.state == "ok"


def test_an_identity_that_a_reading_leaves_out_is_remembered() -> None:
    of = traits(strong=True, nonvolatile=False)
    here = World(Meter(of, 1_000, identity="A"), of)
    here.poll()
    here.meter.identity = None
    here.meter.flow(5)
    here.wait(100)
    (row,) = here.poll()
    assert row.stream.identity == "A"
    here.meter.power_cycle()
    here.wait(100)
    (row,) = here.poll()
    assert (row.kind, row.stream.identity) == (Kind.RESET, "A")
    here.meter.identity = "B"
    here.wait(100)
    here.poll()
    assert here.account.view.state == "frozen"


@pytest.mark.parametrize(("counts", "expected"), [(1 << 31, Kind.CATCH_UP), ((1 << 31) + 1, None)])
def test_after_an_unknown_gap_half_the_register_is_the_bound(counts: int, expected: Kind | None) -> None:
    here = world(net=1_000)
    here.meter.flow(counts)
    here.power_cut(clock="unset")
    assert [draft.kind for draft in here.poll()] == ([expected] if expected else [])


@pytest.mark.parametrize(("counts", "expected"), [(1 << 31, Kind.ROLLOVER), ((1 << 31) + 1, None)])
def test_after_an_unknown_gap_half_the_register_bounds_a_wrap_too(counts: int, expected: Kind | None) -> None:
    here = world(net=(1 << 32) - 1_000)
    here.meter.flow(counts)
    here.power_cut(clock="unset")
    assert [draft.kind for draft in here.poll()] == ([expected] if expected else [])


def test_the_bound_itself_is_within_it() -> None:
    here = world(scale=Scale(1_250_000, 1))
    here.meter.flow(2)
    here.wait(1_000)
    assert kinds(here.poll()) == [(Kind.VOLUME, 1_000_002)]


@pytest.mark.parametrize(("age_ms", "given"), [(0, True), (5_000, True), (5_001, False)])
def test_a_heartbeat_stands_on_a_reading_of_the_last_five_seconds(age_ms: int, given: bool) -> None:
    here = World(Meter(traits(), 7), traits())
    here.poll()
    here.wait(age_ms)
    assert (here.heartbeat() is not None) is given
