"""The pulse bridge's line, byte by byte: whole, half, joined, stale, noisy."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.crc16 import crc16
from aquasmart_station.core.errors import BadFrame
from aquasmart_station.core.model import Flag, Reading, Scale, Stamp
from aquasmart_station.meters.driver import DriverSettings, make_driver
from aquasmart_station.meters.pulse import LONGEST_LINE, PulseDriver

STAMP = Stamp(mono_ns=5_000_000_000, wall_ns=1_763_676_000_000_000_000, rtt_us=900)
SETTINGS = DriverSettings("tap-1", "pulse", None, Fraction(450), 1_000_000, None, None, 1)


def driver() -> PulseDriver:
    made = PulseDriver(SETTINGS)
    assert made.request() == b"?\n"
    return made


def line(boot: str = "0badcafe", seq: int = 1, pulses: int = 1_000_000, period_us: int = 0, flags: str = "1") -> bytes:
    body = f"F1,{boot},{seq},123456,{pulses},{period_us},{flags}".encode()
    return body + b"*%04X\r\n" % crc16(body)


def test_the_crc_is_modbus_s() -> None:
    assert crc16(b"123456789") == 0x4B37
    assert crc16(b"") == 0xFFFF
    assert crc16(bytes.fromhex("0103000000 0a".replace(" ", ""))) == 0xCDC5


def test_a_line_from_the_page_is_a_reading() -> None:
    made = driver()
    raw = b"F1,0badcafe,7,123456,1000450,16667,1*06F4\r\n"
    assert crc16(raw[:-7]) == int(raw[-6:-2], 16)
    reading = made.feed(raw, STAMP)
    assert reading == Reading(
        mono_ns=STAMP.mono_ns,
        wall_ns=STAMP.wall_ns,
        rtt_us=900,
        meter_id="tap-1",
        boot_id="0badcafe",
        forward_counts=1_000_450,
        flow_ul_s=133_330,
        nonvolatile=True,
        raw=raw[:-1],
    )


@pytest.mark.parametrize(
    ("bits", "flags", "nonvolatile"),
    [
        ("0", Flag.NONE, False),
        ("1", Flag.NONE, True),
        ("2", Flag.SENSOR_STUCK, False),
        ("5", Flag.RAIL_LOW, True),
        ("7", Flag.SENSOR_STUCK | Flag.RAIL_LOW, True),
        ("f8", Flag.NONE, False),
    ],
)
def test_the_bridges_flags(bits: str, flags: Flag, nonvolatile: bool) -> None:
    reading = driver().feed(line(flags=bits), STAMP)
    assert reading is not None
    assert (reading.flags, reading.nonvolatile) == (flags, nonvolatile)


@given(st.lists(st.integers(1, 60), max_size=6))
def test_however_the_bytes_are_cut_the_reading_is_the_same(cuts: list[int]) -> None:
    made, whole = driver(), line(pulses=77)
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(whole[at : at + cut])
        at += cut
    pieces.append(whole[at:])
    readings = [made.feed(piece, STAMP) for piece in pieces]
    found = [reading for reading in readings if reading is not None]
    assert [reading.forward_counts for reading in found] == [77]


def test_byte_by_byte() -> None:
    made, whole = driver(), line()
    assert all(made.feed(whole[at : at + 1], STAMP) is None for at in range(len(whole) - 1))
    assert made.feed(whole[-1:], STAMP) is not None


def test_of_joined_lines_the_newest_counts() -> None:
    reading = driver().feed(line(seq=1, pulses=5) + line(seq=2, pulses=6), STAMP)
    assert reading is not None
    assert reading.forward_counts == 6


def test_the_same_seq_again_is_no_new_reading() -> None:
    made = driver()
    assert made.feed(line(seq=4), STAMP) is not None
    made.request()
    assert made.feed(line(seq=4), STAMP) is None
    assert made.feed(line(seq=5), STAMP) is not None
    made.request()
    assert made.feed(line(boot="0badcaff", seq=5), STAMP) is not None


def test_what_was_left_of_a_former_answer_is_forgotten_with_the_next_request() -> None:
    made = driver()
    assert made.feed(line(seq=1)[:20], STAMP) is None
    made.request()
    assert made.feed(line(seq=2), STAMP) is not None


def test_reset_forgets_half_an_answer() -> None:
    made = driver()
    made.feed(b"F1,0bad", STAMP)
    made.reset()
    assert made.feed(line(), STAMP) is not None
    assert made.follow_up() is None


@pytest.mark.parametrize(
    "bad",
    [
        line().replace(b"1000000", b"1000001"),
        b"\xff\x00" + line(),
        line().replace(b"*", b"*0"),
        line().lower() if line() != line().lower() else b"?\n",
        b"\n",
        b"\r\n",
        b"F1,0badcafe,1,2,3,4,5\r\n",
        line(boot="0badcaf"),
        line(boot="0badcafx"),
        line(pulses=1 << 32),
        line(flags="g"),
        line(flags=""),
        line().replace(b"F1", b"F2"),
    ],
)
def test_anything_but_a_whole_answer_drops_the_poll_and_the_next_one_works(bad: bytes) -> None:
    made = driver()
    with pytest.raises(BadFrame):
        made.feed(bad, STAMP)
    made.request()
    assert made.feed(line(), STAMP) is not None


@pytest.mark.parametrize("body", [b"F2,0badcafe,1,2,3,4,0", b"F1,0badcafe,-1,2,3,4,0", b"F1,0badcafe,1,2,3,4,0,9", b""])
def test_a_good_crc_does_not_make_an_answer(body: bytes) -> None:
    with pytest.raises(BadFrame):
        driver().feed(body + b"*%04X\r\n" % crc16(body), STAMP)


def test_a_bad_line_drops_the_good_one_beside_it() -> None:
    with pytest.raises(BadFrame):
        driver().feed(line() + b"noise\r\n", STAMP)


@given(st.binary(max_size=400))
def test_noise_is_never_a_reading_and_never_fills_memory(noise: bytes) -> None:
    made = driver()
    for at in range(0, len(noise), 7):
        try:
            assert made.feed(noise[at : at + 7], STAMP) is None
        except BadFrame:
            continue
    assert len(made._buffer) <= LONGEST_LINE


def test_babble_without_a_line_end_is_cut_off() -> None:
    made = driver()
    with pytest.raises(BadFrame, match="line end"):
        made.feed(b"x" * 5_000, STAMP)
    with pytest.raises(BadFrame, match="line end"):
        made.feed(b"x" * 5_000 + b"\n", STAMP)
    assert made.feed(line(), STAMP) is not None


def test_the_traits_are_exact() -> None:
    made = PulseDriver(SETTINGS)
    assert made.traits.scale == Scale(20_000, 9)
    assert made.traits.modulus == 1 << 32
    assert not made.traits.nonvolatile
    assert not made.traits.identity_strong
    assert made.line.baud == 115_200
    assert made.answer_deadline_ms == 209
    assert PulseDriver(replace(SETTINGS, baud=9_600)).answer_deadline_ms == 303
    assert PulseDriver(replace(SETTINGS, nonvolatile=True, modulus=65_536)).traits.modulus == 65_536


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"k_factor": None}, "needs k_factor"),
        ({"k_factor": Fraction(0)}, "k_factor must be above 0"),
        ({"k_factor": Fraction("449.1234567")}, "fewer decimals"),
        ({"profile": "tuf2000"}, "profile is for modbus"),
        ({"driver": "telepathy"}, "no driver is called 'telepathy'; there are modbus, pulse"),
        ({"qmax_ul_s": 0, "baud": 0}, "baud must be above 0, not 0; qmax must be above 0"),
        ({"modulus": 1}, "modulus must be 2 or more"),
    ],
)
def test_bad_settings_say_what_is_wrong(change: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text.replace(";", ".")):
        make_driver(replace(SETTINGS, **change))
