"""The simulated meter: its water, its register, and that the real drivers read exactly what it counts."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.model import Flag, Scale, Stamp
from aquasmart_station.meters.driver import DriverSettings, make_driver
from aquasmart_station.meters.hydraulics import Chance, Hydraulics, Segment, backflow, idle, pours, steady
from aquasmart_station.meters.modbus import read_request, with_crc
from aquasmart_station.meters.registers import Block
from aquasmart_station.meters.simulated import Counter, PulseBridge, Totals, TufSlave

STAMP = Stamp(0, 0, 0)
K450 = Scale(20_000, 9)
LITRE = Scale(1000, 1)
PULSE = DriverSettings("tap-1", "pulse", None, Fraction(450), 1_000_000, None, None, 1)
TUF = DriverSettings("tap-1", "modbus", None, None, 1_000_000, None, "tuf2000", 1)


def counter(counts: int = 0, scale: Scale = K450, modulus: int = 1 << 32, flow: int = 0) -> Counter:
    return Counter(Totals(counts, counts, 1), scale, modulus, Hydraulics(steady(flow)))


# water


def test_steady_flow_is_flow_times_time() -> None:
    water = Hydraulics(steady(133_333))
    assert water.advance_ms(1_000) + water.advance_ms(1) == 133_333 * 1_001
    assert water.flow_ul_s == 133_333
    assert Hydraulics(idle()).advance_ms(10**9) == 0


@given(st.lists(st.integers(0, 5_000), max_size=30), st.integers(0, 1 << 70))
def test_however_time_is_cut_as_much_water_flows(steps: list[int], seed: int) -> None:
    pieces, one = Hydraulics(pours(133_333, seed)), Hydraulics(pours(133_333, seed))
    assert sum(pieces.advance_ms(step) for step in steps) == one.advance_ms(sum(steps))


def test_after_the_last_segment_nothing_flows() -> None:
    water = Hydraulics([Segment(100, 10), Segment(0, 99)])
    assert water.advance_ms(1_000) == 1_000
    assert water.flow_ul_s == 0


def test_a_day_of_pours_is_plausible_and_the_same_for_the_same_seed() -> None:
    day = list(islice(pours(133_333, 7), 400))
    assert day == list(islice(pours(133_333, 7), 400))
    assert day != list(islice(pours(133_333, 8), 400))
    assert day[0] == Segment(1_000, 0)
    assert max(segment.flow_ul_s for segment in day) <= 133_333 * 115 // 100
    assert {segment.flow_ul_s == 0 for segment in day[::4]} == {True}
    noon, night = (sum(s.duration_ms for s in islice(pours(133_333, 7, hour * 3_600), 400)) for hour in (8, 3))
    assert noon < night


def test_no_flow_at_all_is_survived() -> None:
    assert Hydraulics(pours(0, 1)).advance_ms(100_000) == 0


def test_chance_is_the_published_generator() -> None:
    assert Chance(0).below(1 << 64) == 0xE220A8397B1DCDAF
    assert {Chance(seed).between(3, 5) for seed in range(50)} == {3, 4, 5}


@given(st.integers(1, 1_000_000), st.lists(st.integers(0, 5_000), max_size=20))
def test_a_closing_valve_pushes_back_what_it_says_however_time_is_cut(flow: int, steps: list[int]) -> None:
    pieces, one = Hydraulics(backflow(flow)), Hydraulics(backflow(flow))
    assert sum(pieces.advance_ms(step) for step in steps) == one.advance_ms(sum(steps))
    cycle = Hydraulics(backflow(flow))
    assert (cycle.advance_ms(2_300), cycle.advance_ms(100), cycle.advance_ms(1_500)) == (flow * 2_000, -6_667_000, 0)


# register


@given(
    st.integers(0, 1 << 32), st.integers(1, 10**6), st.integers(1, 100), st.lists(st.integers(0, 3_000), max_size=20)
)
def test_every_count_is_in_the_lifetime_and_the_register_wraps(
    start: int, num: int, den: int, steps: list[int]
) -> None:
    meter = Counter(Totals(start % 1000, start, 1), Scale(num, den), 1000, Hydraulics(steady(400_000)))
    for step in steps:
        meter.advance_ms(step)
    flowed = 400_000 * sum(steps) * den // (num * 1000)
    assert meter.totals.lifetime - start == flowed
    assert meter.totals.counts == (start % 1000 + flowed) % 1000
    assert meter.uptime_ms == sum(steps)


def test_a_register_runs_backwards_and_a_stuck_one_does_not_run() -> None:
    meter = Counter(Totals(1, 1_001, 1), K450, 1000, Hydraulics([Segment(100, -66_670), Segment(100, 66_670)]))
    meter.advance_ms(100)
    assert meter.totals == Totals(997, 997, 1), "three whole counts and the beginning of a fourth"
    assert meter.period_us > 0
    meter.advance_ms(100)
    assert meter.totals == Totals(1, 1_001, 1)
    stuck = Counter(Totals(5, 5, 1), K450, 1000, Hydraulics(steady(133_333)), stuck=True)
    stuck.advance_ms(60_000)
    assert stuck.totals == Totals(5, 5, 1)
    assert stuck.flow_ul_s == 133_333


def test_the_count_file_s_line_has_a_fixed_width() -> None:
    line = Totals(1_000_450, 1_000_450, 3).line()
    assert line == "00000000000001000450 00000000000001000450 0000000003\n"
    assert Totals.parse(line) == Totals(1_000_450, 1_000_450, 3)
    with pytest.raises(ValueError, match="invalid literal"):
        Totals.parse("a b c")


# pulse bridge


def test_the_pulse_driver_reads_what_the_bridge_counts() -> None:
    meter = counter(1_000_000, flow=133_333)
    bridge, driver = PulseBridge(meter, "0badcafe", nonvolatile=True), make_driver(PULSE)
    for _ in range(5):
        meter.advance_ms(1_000)
        (said,) = bridge.feed(driver.request())
        reading = driver.feed(said, STAMP)
        assert reading is not None
        assert reading.forward_counts == meter.totals.counts
        assert (reading.boot_id, reading.nonvolatile, reading.flags) == ("0badcafe", True, Flag.NONE)
        assert reading.flow_ul_s is not None
        assert abs(reading.flow_ul_s - 133_333) < 20
    assert meter.totals.counts == 1_000_299


def test_a_bridge_answers_whole_requests_only_and_each_with_its_own_line() -> None:
    bridge = PulseBridge(counter(5), "0badcafe", nonvolatile=False)
    assert bridge.feed(b"?") == []
    first, second = bridge.feed(b"\n?\r\n")
    assert first != second
    assert bridge.feed(b"hello\n" + b"x" * 10_000) == []
    assert len(bridge._buffer) <= 256
    assert bridge.feed(b"\n") == []
    assert len(bridge.feed(b"?\n")) == 1


# TUF-2000


@given(st.integers(0, (1 << 31) * 10**6 - 1))
def test_the_modbus_driver_reads_what_the_meter_counts(counts: int) -> None:
    meter = counter(counts, LITRE, (1 << 31) * 10**6)
    slave, driver = TufSlave(meter, identity="4711"), make_driver(TUF)
    (said,) = slave.feed(driver.request())
    assert driver.feed(said, STAMP) is None
    follow_up = driver.follow_up()
    assert follow_up is not None
    for request in (follow_up, None):
        (said,) = slave.feed(request or driver.request())
        reading = driver.feed(said, STAMP)
        assert reading is not None
        assert (reading.forward_counts, reading.identity) == (counts, "00004711")


@given(st.integers(0, 999_999))
def test_every_millilitre_of_a_cubic_metre_survives_the_single(millilitres: int) -> None:
    from aquasmart_station.meters.registers import real4_floor
    from aquasmart_station.meters.simulated import _fraction

    assert real4_floor(_fraction(millilitres), 10**6, 1) == millilitres


def test_the_flow_register_is_in_cubic_metres_an_hour() -> None:
    meter = counter(0, LITRE, 1 << 40, flow=1_000_000)
    meter.advance_ms(100)
    slave, driver = TufSlave(meter), make_driver(TUF)
    (refused,) = slave.feed(driver.request())
    assert driver.feed(refused, STAMP) is None
    request = driver.follow_up()
    assert request is not None
    (said,) = slave.feed(request)
    reading = driver.feed(said, STAMP)
    assert reading is not None
    assert reading.flow_ul_s in (999_999, 1_000_000)
    assert reading.identity is None


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (read_request(1, 3, Block(100, 1)), with_crc(b"\x01\x83\x02")),
        (read_request(1, 3, Block(0, 0)), with_crc(b"\x01\x83\x03")),
        (read_request(1, 3, Block(0, 126)), with_crc(b"\x01\x83\x03")),
        (read_request(1, 6, Block(8, 0)), with_crc(b"\x01\x86\x01")),
        (read_request(1, 3, Block(15, 1)), with_crc(b"\x01\x03\x02\x00\x00")),
    ],
)
def test_what_a_slave_refuses(request_: bytes, answer: bytes) -> None:
    assert TufSlave(counter(0, LITRE)).feed(request_) == [answer]


def test_a_slave_finds_a_request_in_noise_and_ignores_those_of_others() -> None:
    slave = TufSlave(counter(0, LITRE))
    request = read_request(1, 3, Block(8, 4))
    assert len(slave.feed(b"\x01\x03\xff" + request)) == 1
    assert slave.feed(read_request(2, 3, Block(8, 4))) == []
    assert slave.feed(request[:5]) == []
    assert len(slave.feed(request[5:] + request)) == 2
    slave.feed(b"\xaa" * 5_000)
    assert len(slave._buffer) <= 256


@pytest.mark.parametrize("identity", ["", "0", "123456789", "abc", "-1"])
def test_a_serial_number_is_decimal(identity: str) -> None:
    with pytest.raises(ValueError, match="decimal digits"):
        TufSlave(counter(), identity=identity)
