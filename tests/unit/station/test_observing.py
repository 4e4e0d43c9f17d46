"""One meter's readings through the observer: which rows stand in the log, in which stream, in which order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.anomaly import Sensitivity
from aquasmart_station.core.encoding import Batch, encode_batch
from aquasmart_station.core.model import Draft, Flag, Kind, MeterTraits, Row
from aquasmart_station.core.observing import MeterObserver
from aquasmart_station.core.watching import WatchSettings
from tests.unit.station.meter_world import Meter, World, audit, booked, traits
from tests.unit.station.test_accounting_notes import in_order

QUICK = WatchSettings(leak_after_ms=60_000, slow_leak_after_ms=120_000)


@dataclass
class Seen(World):
    """A world whose readings pass an observer. Water runs in whole polls of 100 ms."""

    settings: WatchSettings = QUICK
    period_ms: int = 100
    figures: dict[str, Any] = field(default_factory=dict)
    """What the meter says beside its count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._observe()

    def _observe(self) -> None:
        self.observer = MeterObserver(
            self.account, self.traits, settings=self.settings, sensitivity=Sensitivity(), period_ms=self.period_ms
        )

    def crash(self, kept: int = 0) -> None:
        super().crash(kept)
        self._observe()

    def poll(self) -> list[Draft]:
        reading = replace(self.meter.read(self.mono_ms, self.now_ms), **self.figures)
        drafts = self.observer.take(reading)
        self.ring += drafts
        return drafts

    def run(self, seconds: float, counts_a_poll: int = 0) -> list[Draft]:
        rows: list[Draft] = []
        for _ in range(round(seconds * 10)):
            self.wait(100)
            self.meter.flow(counts_a_poll)
            rows += self.poll()
        return rows

    def stop(self) -> list[Draft]:
        drafts = self.observer.close()
        self.ring += drafts
        self.commit()
        return drafts


def seen(of: MeterTraits | None = None, **more: Any) -> Seen:
    of = of or traits()
    made = Seen(Meter(of, 1_000_000, identity="A" if of.identity_strong else None), of, **more)
    made.poll()
    made.run(3)
    return made


def of_kind(rows: list[Draft], *kinds: Kind) -> list[Draft]:
    return [row for row in rows if row.kind in kinds]


def test_a_pour_gives_one_row_with_its_figures_committed_at_once() -> None:
    here = seen()
    rows = here.run(10, 6) + here.run(5)
    (pour,) = of_kind(rows, Kind.POUR)
    assert pour.urgent
    assert pour.counts == 1_000_600
    assert pour.data == {
        "from_counts": 1_000_000,
        "to_counts": 1_000_600,
        "volume_ul": 1_333_333,
        "duration_ms": 10_000,
        "peak_ul_s": 133_334,
        "mean_ul_s": 133_333,
    }
    assert rows[-1] is pour, "two seconds after the last count"
    assert len(of_kind(rows, Kind.VOLUME)) == 100
    here.commit()
    assert booked(here.log) == 600


def test_a_catch_up_is_no_pour_and_a_pour_goes_on_after_it() -> None:
    here = seen()
    here.run(5, 6)
    here.commit()
    here.meter.flow(500)
    here.wait(2_000)
    here.crash()
    rows = here.run(5, 6) + here.run(3)
    assert rows[0].kind is Kind.CATCH_UP
    (pour,) = of_kind(rows, Kind.POUR)
    assert pour.data is not None
    assert pour.data["from_counts"] == rows[0].counts


def test_a_reset_closes_the_pour_in_the_stream_it_flowed_in() -> None:
    of = traits(nonvolatile=False)
    here = Seen(Meter(of, 1_000), of)
    here.poll()
    here.run(5, 6)
    here.meter.power_cycle()
    rows = here.run(1, 6) + here.run(3)
    assert [row.kind for row in rows[:2]] == [Kind.POUR, Kind.RESET]
    first, reset = rows[:2]
    assert first.stream is not reset.stream
    assert first.data is not None
    assert (first.data["from_counts"], first.data["to_counts"]) == (1_000, 1_300)
    assert len(of_kind(rows, Kind.POUR)) == 2
    here.stop()
    in_order(here.log)
    audit(here.log)


def test_a_swap_closes_the_pour_before_the_port_freezes_and_nothing_follows_the_newcomer() -> None:
    of = traits(strong=True)
    here = seen(of)
    here.run(5, 6)
    here.meter = Meter(of, 40, identity="B")
    rows = here.run(30, 6)
    assert [(row.kind, row.counts) for row in rows] == [(Kind.POUR, 1_000_300), (Kind.ANOMALY, 1_000_300)]
    assert rows[1].data is not None
    assert rows[1].data["metric"] == "identity"
    assert here.stop() == []
    here.account.acknowledge_swap()
    rows = here.run(2, 6) + here.run(3)
    assert [row.kind for row in of_kind(rows, Kind.METER_CHANGE, Kind.POUR)] == [Kind.METER_CHANGE, Kind.POUR]
    here.commit()
    in_order(here.log)


def test_a_nonvolatile_meter_that_restarts_in_a_pour_gives_two_in_their_own_streams() -> None:
    here = seen()
    here.run(5, 6)
    here.meter.power_cycle()
    rows = here.run(5, 6) + here.run(3)
    pours = of_kind(rows, Kind.POUR)
    assert len(pours) == 2
    assert pours[0].stream is not pours[1].stream
    assert sum(row.data["volume_ul"] for row in pours if row.data) == here.traits.scale.volume_ul(1_000_000, 1_000_600)
    assert rows[0] is pours[0]


def test_a_jump_closes_the_pour_before_it_although_it_is_believed_later() -> None:
    here = seen()
    here.run(5, 6)
    here.meter.flow(100_000)
    rows = here.run(1)
    assert [row.kind for row in rows] == [Kind.POUR, Kind.DISPUTED]
    assert rows[0].counts == 1_000_300
    here.commit()
    in_order(here.log)


def test_a_stop_closes_the_pour_also_in_doubt() -> None:
    here = seen()
    here.run(5, 6)
    (pour,) = here.stop()
    assert (pour.kind, pour.counts) == (Kind.POUR, 1_000_300)
    assert here.stop() == []
    doubtful = seen()
    doubtful.run(5, 6)
    doubtful.meter.flow(100_000)
    doubtful.run(0.1)
    (pour,) = doubtful.stop()
    assert (pour.kind, pour.counts) == (Kind.POUR, 1_000_300)


def test_a_line_that_goes_down_in_a_pour_ends_it_after_ten_seconds() -> None:
    here = seen()
    here.run(5, 6)
    here.wait(9_000)
    assert here.observer.idle(here.mono_ms) == []
    here.wait(2_000)
    (pour,) = here.observer.idle(here.mono_ms)
    assert (pour.kind, pour.counts) == (Kind.POUR, 1_000_300)
    assert here.observer.idle(here.mono_ms) == []
    here.ring.append(pour)
    here.meter.power_cycle()
    here.meter.zero = here.meter.net
    rows = here.run(1)
    assert of_kind(rows, Kind.POUR) == [], "told once"


def test_a_long_leak_is_an_anomaly_and_its_counts_are_leak() -> None:
    here = seen()
    rows = here.run(120, 6) + here.run(70)
    (alarm,) = of_kind(rows, Kind.ANOMALY)
    assert alarm.data is not None
    assert (alarm.data["metric"], alarm.data["pattern"]) == ("leak", "long")
    at = rows.index(alarm)
    assert {row.kind for row in rows[:at]} == {Kind.VOLUME}
    assert {row.kind for row in rows[at + 1 :]} == {Kind.LEAK}
    assert all(Flag.SUSPECT in row.flags for row in rows[at + 1 :])
    assert here.observer.conditions == frozenset()
    later = here.run(5, 6) + here.run(3)
    assert {row.kind for row in later} == {Kind.VOLUME, Kind.POUR}
    assert not any(row.flags for row in later)
    here.stop()
    assert booked(here.log) == 125 * 60
    in_order(here.log)


def test_a_slow_leak_leaves_pours_what_they_are_and_gives_none_of_its_own() -> None:
    here = seen()
    rows: list[Draft] = []
    for _ in range(60):
        rows += here.run(4.9) + here.run(0.1, 1)
    assert here.observer.conditions == {"leak"}
    drips = len(of_kind(rows, Kind.POUR))
    here.run(3)
    rows = here.run(10, 6) + here.run(3)
    (pour,) = of_kind(rows, Kind.POUR)
    assert pour.data is not None
    assert pour.data["to_counts"] - pour.data["from_counts"] == 600
    assert sum(row.kind is Kind.VOLUME for row in rows) > 90
    quiet = [row for _ in range(8) for row in here.run(4.9) + here.run(0.1, 1)]
    assert of_kind(quiet, Kind.POUR) == []
    assert drips > 0, "before the leak was known each drip passed for a pour"
    here.stop()
    assert booked(here.log) == here.meter.net - 1_000_000
    in_order(here.log)


def test_a_stuck_sensor_is_one_row_and_a_flag_until_it_counts_again() -> None:
    here = seen()
    here.figures = {"flow_ul_s": 133_333}
    rows = here.run(60)
    (alarm,) = rows
    assert (alarm.kind, alarm.data and alarm.data["metric"], alarm.counts) == (Kind.ANOMALY, "stuck", 1_000_000)
    assert here.observer.conditions == {"stuck"}
    here.figures = {}
    first, second = here.run(0.2, 1)
    assert Flag.SENSOR_STUCK in first.flags
    assert Flag.SENSOR_STUCK not in second.flags


def test_a_meter_that_is_read_twice_a_minute_has_pours_and_faults_too() -> None:
    here = Seen(Meter(traits(), 1_000_000), traits(), period_ms=30_000, settings=WatchSettings(stuck_after_ms=100_000))
    rows = here.poll()
    for counts, flow_ul_s in ((0, 0), (450, 15_000), (450, 15_000), (0, 0), *[(0, 15_000)] * 4):
        here.wait(30_000)
        here.meter.flow(counts)
        here.figures = {"flow_ul_s": flow_ul_s}
        rows += here.poll()
    pour, stuck = of_kind(rows, Kind.POUR, Kind.ANOMALY)
    assert pour.data is not None
    assert stuck.data is not None
    assert (pour.data["volume_ul"], pour.data["duration_ms"]) == (2_000_000, 60_000)
    assert (stuck.data["metric"], stuck.data["expected_ul"]) == ("stuck", 1_800_000)


def test_the_boards_flags_are_on_every_row() -> None:
    here = seen()
    here.observer.board_flags = Flag.RAIL_LOW
    (row,) = here.run(0.1, 1)
    assert row.flags == Flag.RAIL_LOW


def test_a_slow_round_trip_is_told_with_its_figures_where_the_meter_stands() -> None:
    here = seen()
    here.figures = {"rtt_us": 3_000}
    assert here.run(45 * 60) == []
    here.figures = {"rtt_us": 60_000}
    (row,) = here.run(150)
    assert row.data is not None
    assert (row.kind, row.data["metric"], row.data["value"]) == (Kind.ANOMALY, "rtt_us", 60_000)
    assert row.counts == 1_000_000
    assert row.urgent


def test_lost_polls_and_a_warming_pipe_are_told() -> None:
    here = seen()
    here.figures = {"temperature_mc": 18_000}
    here.run(60 * 60)
    rows = []
    for minute in range(12):
        here.figures = {"temperature_mc": 18_000 + 500 * minute}
        rows += here.run(60)
    (row,) = rows
    assert row.data is not None
    assert row.data["metric"] == "temperature_change_mc"
    for _ in range(60 * 40):
        here.wait(100)
        rows += here.run(0.1)
    names = [row.data["metric"] for row in rows if row.data]
    assert names == ["temperature_change_mc", "interval_ms"]


def test_what_is_noticed_is_sent_as_the_protocol_has_it() -> None:
    here = seen()
    here.run(120, 6)
    here.run(70)
    here.run(5, 6)
    here.run(3)
    here.stop()
    (header,) = {row.stream.id: row.stream for row in here.log}.values()
    rows = [
        Row(number, number, 1, int(row.kind), int(row.flags), row.at_ms, row.mono_ms, row.counts,
            None if row.data is None else json.dumps(row.data))
        for number, row in enumerate(here.log, 1)
    ]  # fmt: skip
    batch = Batch(1, header, header.opening_counts, rows)
    document = json.loads(encode_batch(batch, trace_id="0" * 32, whole_header=True))
    assert min(document["dt"]) >= 0
    assert min(document["counts"]) >= 0
    assert {"baseline", "anomaly", "leak", "pour"} == {entry["kind"] for entry in document["rows"]}
    zero = {"anomaly", "pour"}
    assert all(document["counts"][entry["row"]] == 0 for entry in document["rows"] if entry["kind"] in zero)


happening = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.1, 0.5, 3, 11]), st.sampled_from([0, 0, 1, 6])),
    st.just(("crash",)),
    st.just(("commit",)),
    st.just(("stop",)),
    st.just(("restart",)),
    st.just(("silence",)),
    st.just(("jump",)),
)


@pytest.mark.parametrize("nonvolatile", [True, False])
@given(script=st.lists(happening, max_size=25))
def test_whatever_happens_rows_tile_and_pours_repeat_what_is_booked(script: list[Any], nonvolatile: bool) -> None:
    of = traits(nonvolatile=nonvolatile)
    settings = WatchSettings(leak_after_ms=5_000, slow_leak_after_ms=12_000, stuck_after_ms=1_000)
    here = Seen(Meter(of, 1_000_000), of, settings=settings)
    here.poll()
    for name, *arguments in script:
        if name == "restart":
            here.meter.power_cycle()
        elif name == "jump":
            here.meter.flow(5_000)
        elif name == "silence":
            here.wait(15_000)
            here.ring += here.observer.idle(here.mono_ms)
        else:
            getattr(here, name)(*arguments)
    here.run(4)
    here.stop()
    audit(here.log)
    in_order(here.log)
    reach: dict[Any, int] = {}
    for row in here.log:
        if row.kind is Kind.POUR:
            assert row.data is not None
            assert row.stream.opening_counts <= row.data["from_counts"] < row.data["to_counts"]
            assert row.data["to_counts"] <= max(row.counts, here.meter.register)
            assert row.data["from_counts"] >= reach.get(row.stream.id, 0), "pours do not overlap"
            reach[row.stream.id] = row.data["to_counts"]
