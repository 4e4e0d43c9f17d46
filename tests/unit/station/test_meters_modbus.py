"""Modbus RTU and the tuf2000 profile: frames byte by byte, registers to exact counts, and who the meter is."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.errors import BadFrame
from aquasmart_station.core.model import Scale, Stamp
from aquasmart_station.meters.driver import DriverSettings, make_driver
from aquasmart_station.meters.modbus import Refused, modbus_driver, parse_answer, read_request, with_crc
from aquasmart_station.meters.registers import HIGH_FIRST, LOW_FIRST, Block, bcd, parse_profile, real4_floor, u32

STAMP = Stamp(mono_ns=5_000_000_000, wall_ns=1_763_676_000_000_000_000, rtt_us=900)
SETTINGS = DriverSettings("tap-1", "modbus", None, None, 1_000_000, None, "tuf2000", 1)


def single(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


def answer(words: list[int], slave: int = 1) -> bytes:
    return with_crc(bytes((slave, 3, 2 * len(words))) + b"".join(word.to_bytes(2, "big") for word in words))


def pair(value: int) -> list[int]:
    return [value & 0xFFFF, value >> 16]


def totals(cubic_metres: int = 1, fraction: float = 0.5) -> list[int]:
    return pair(cubic_metres) + pair(single(fraction))


def whole(cubic_metres: int = 1, fraction: float = 0.5, flow: float = 0.0) -> list[int]:
    return pair(single(flow)) + [0] * 6 + totals(cubic_metres, fraction)


IDENTITY = answer([0x1234, 0x5678])


def known_driver() -> object:
    """A driver whose meter has said who it is, and which waits for the answer to a whole poll."""
    made = modbus_driver(SETTINGS)
    made.request()
    assert made.feed(IDENTITY, STAMP) is None
    assert (
        made.follow_up()
        == bytes.fromhex("01030000000cc5cd".replace("c5cd", "")) + with_crc(bytes.fromhex("01030000000c"))[-2:]
    )
    return made


# frames


def test_a_request_is_the_manuals_example() -> None:
    assert read_request(1, 3, Block(0, 10)) == bytes.fromhex("01030000000ac5cd")


def test_an_answer_needs_every_byte() -> None:
    frame = answer([1, 2, 3, 4])
    for length in range(len(frame)):
        assert parse_answer(frame[:length], 1, 3, 4) is None
    assert parse_answer(frame, 1, 3, 4) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (answer([1, 2, 3, 4], slave=2), "another slave"),
        (answer([1, 2]), "another slave, function or length"),
        (answer([1, 2, 3, 4]) + b"\0", "beyond"),
        (answer([1, 2, 3, 4])[:-1] + b"\0", "CRC"),
        (b"\x01\x04\x08", "function"),
        (b"\x00", "slave"),
        (with_crc(b"\x02\x83\x02"), "exception of another slave"),
        (with_crc(b"\x01\x83\x02") + b"\0", "beyond"),
        (b"\x01\x83\x02\0\0", "CRC"),
    ],
)
def test_a_frame_that_cannot_become_the_answer_is_dropped(frame: bytes, text: str) -> None:
    with pytest.raises(BadFrame, match=text):
        parse_answer(frame, 1, 3, 4)


def test_an_exception_is_named() -> None:
    with pytest.raises(Refused, match="exception 2"):
        parse_answer(with_crc(b"\x01\x83\x02"), 1, 3, 4)


@given(st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4), st.integers(0, 103))
def test_no_single_flipped_bit_passes(words: list[int], bit: int) -> None:
    frame = bytearray(answer(words))
    frame[bit // 8] ^= 1 << bit % 8
    try:
        assert parse_answer(bytes(frame), 1, 3, 4) is None
    except BadFrame:
        return


@given(st.binary(max_size=40))
def test_noise_is_never_an_answer(noise: bytes) -> None:
    made = known_driver()
    for at in range(0, len(noise), 5):
        try:
            assert made.feed(noise[at : at + 5], STAMP) is None
        except BadFrame:
            continue
    assert len(made._buffer) <= 29


# registers


def test_word_order() -> None:
    assert u32((0x5678, 0x1234), LOW_FIRST) == 0x12345678
    assert u32((0x1234, 0x5678), HIGH_FIRST) == 0x12345678


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_single_is_taken_apart_exactly(value: float, num: int, den: int) -> None:
    assert real4_floor(single(value), num, den) == floor(Fraction(value) * num / den)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_refused(value: float) -> None:
    with pytest.raises(BadFrame):
        real4_floor(single(value), 1, 1)


@given(st.integers(0, (1 << 31) - 1), st.floats(0, 1, exclude_max=True, width=32))
def test_a_count_is_cubic_metres_and_the_fractions_floor(cubic_metres: int, fraction: float) -> None:
    made = modbus_driver(SETTINGS)
    profile = made._profile
    words = totals(cubic_metres, fraction)
    assert profile.counts(profile.brief, words) == cubic_metres * 10**6 + floor(Fraction(fraction) * 10**6)
    assert profile.counts(profile.whole, [0] * 8 + words) == profile.counts(profile.brief, words)


@pytest.mark.parametrize(
    "words",
    [
        totals((1 << 32) - 1),
        totals(1, -0.001),
        totals(1, 1.0),
        totals(1, float("nan")),
        totals(1, float("inf")),
        totals(1, -1e-45),
    ],
)
def test_impossible_accumulators_are_refused(words: list[int]) -> None:
    profile = modbus_driver(SETTINGS)._profile
    with pytest.raises(BadFrame):
        profile.counts(profile.brief, words)


def test_minus_zero_is_zero() -> None:
    profile = modbus_driver(SETTINGS)._profile
    assert profile.counts(profile.brief, totals(3, -0.0)) == 3_000_000


def test_decimal_digits() -> None:
    assert bcd((0x1234, 0x5678)) == "12345678"
    assert bcd((0, 0)) is None
    assert bcd((0x12AB, 0)) is None


# the driver


def test_a_poll_reads_flow_and_totals_and_the_next_one_totals_only() -> None:
    made = known_driver()
    reading = made.feed(answer(whole(12, 0.25, flow=3.6)), STAMP)
    assert reading is not None
    assert (reading.forward_counts, reading.flow_ul_s, reading.identity) == (12_250_000, 999_999, "12345678")
    assert reading.boot_id is None
    assert made.request() == read_request(1, 3, Block(8, 4))
    late = answer(whole(11, 0.0))
    with pytest.raises(BadFrame, match="length"):
        made.feed(late, STAMP)
    made.reset()
    made.request()
    made.feed(IDENTITY, STAMP)
    assert made.follow_up() == read_request(1, 3, Block(0, 12))


def test_a_brief_poll_repeats_the_flow() -> None:
    made = known_driver()
    made.feed(answer(whole(1, 0.0, flow=-3.6)), STAMP)
    made.request()
    reading = made.feed(answer(totals(1, 0.0)), STAMP)
    assert reading is not None
    assert reading.flow_ul_s == -1_000_000


def test_a_flow_that_is_no_number_is_unknown_while_totals_stand() -> None:
    reading = known_driver().feed(answer(whole(1, 0.0, flow=float("nan"))), STAMP)
    assert reading is not None
    assert (reading.forward_counts, reading.flow_ul_s) == (1_000_000, None)


def test_byte_by_byte() -> None:
    made = known_driver()
    frame = answer(whole())
    assert [made.feed(frame[at : at + 1], STAMP) is None for at in range(len(frame))] == [True] * (len(frame) - 1) + [
        False
    ]


def test_a_refusal_of_the_totals_is_a_lost_poll() -> None:
    made = known_driver()
    with pytest.raises(Refused):
        made.feed(with_crc(b"\x01\x83\x04"), STAMP)


@pytest.mark.parametrize("said", [with_crc(b"\x01\x83\x02"), answer([0xABCD, 0]), answer([0, 0])])
def test_a_meter_without_a_decimal_serial_number_has_none(said: bytes) -> None:
    made = modbus_driver(SETTINGS)
    assert made.request() == read_request(1, 3, Block(1528, 2))
    assert made.feed(said, STAMP) is None
    assert made.follow_up() is not None
    reading = made.feed(answer(whole()), STAMP)
    assert reading is not None
    assert reading.identity is None


def test_after_a_silence_the_meter_is_asked_again_who_it_is() -> None:
    made = known_driver()
    made.reset()
    assert made.request() == read_request(1, 3, Block(1528, 2))
    made.feed(answer([0x8765, 0x4321]), STAMP)
    made.follow_up()
    reading = made.feed(answer(totals()), STAMP)
    assert reading is not None
    assert reading.identity == "87654321"


def test_a_meter_that_never_says_who_it_is_is_read_after_being_asked_twice() -> None:
    made = modbus_driver(SETTINGS)
    for attempt in range(2):
        assert made.request() == read_request(1, 3, Block(1528, 2))
        made.reset()  # silence
        frame = answer(whole()) if made.request() == read_request(1, 3, Block(0, 12)) else answer(totals())
        if attempt == 0:
            with pytest.raises(BadFrame, match="who it is"):
                made.feed(frame, STAMP)
            made.reset()
    reading = made.feed(frame, STAMP)
    assert reading is not None
    assert reading.identity is None
    made.request()
    made.reset()  # the line is lost: another meter may come back
    assert made.request() == read_request(1, 3, Block(1528, 2))


def test_while_the_line_is_dead_identity_and_totals_are_asked_in_turn() -> None:
    made = modbus_driver(SETTINGS)
    asked = []
    for _ in range(4):
        asked.append(made.request()[3])
        made.reset()
    assert asked == [1528 & 0xFF, 0, 1528 & 0xFF, 8]


def test_a_reset_between_polls_keeps_what_is_known() -> None:
    made = known_driver()
    made.feed(answer(whole()), STAMP)
    made.reset()
    made.request()
    assert made._identity == "12345678"


def test_the_traits_are_the_profiles() -> None:
    made = modbus_driver(SETTINGS)
    assert made.traits.scale == Scale(1000, 1)
    assert made.traits.modulus == (1 << 31) * 10**6
    assert made.traits.nonvolatile
    assert made.traits.identity_strong
    assert (made.line.baud, made.line.parity, made.line.stopbits) == (9_600, "N", 1)
    assert made.answer_deadline_ms == 200 + 2 * 39
    assert not modbus_driver(replace(SETTINGS, nonvolatile=False)).traits.nonvolatile


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"profile": None}, "one of the profiles tuf2000, not None"),
        ({"profile": "../x"}, "one of the profiles"),
        ({"k_factor": Fraction(450)}, "brings its own scale"),
        ({"modulus": 1 << 16}, "brings its own range"),
        ({"slave": 0}, "1 to 247"),
        ({"slave": 248}, "1 to 247"),
    ],
)
def test_bad_settings_say_what_is_wrong(change: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make_driver(replace(SETTINGS, **change))


PROFILE = """
function = 3
word_order = "high-first"
nonvolatile = false
[line]
baud = 19200
parity = "E"
[scale]
ul_num = 1000
den = 1
[whole]
address = 0
words = 12
[brief]
address = 8
words = 4
[total]
integer_at = 8
fraction_at = 10
fraction_counts = 1000
modulus = 4294967296
[flow]
at = 0
ul_s_num = 1
ul_s_den = 1
"""


def test_a_profile_without_identity() -> None:
    profile = parse_profile(PROFILE, "mine")
    assert profile.identity is None
    assert profile.line.transfer_ms(2) == 2  # 11 bits a byte
    from aquasmart_station.meters.modbus import ModbusDriver

    made = ModbusDriver(SETTINGS, profile)
    assert not made.traits.identity_strong
    made.request()
    reading = made.feed(answer([0] * 8 + [0, 7] + list(reversed(pair(single(0.5))))), STAMP)
    assert reading is not None
    assert (reading.forward_counts, reading.identity) == (7_500, None)
    made.request()
    made.reset()
    assert made.request() == read_request(1, 3, Block(0, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROFILE.replace("high-first", "sideways"), "word_order"),
        (PROFILE.replace("[flow]", "[flou]"), "flow"),
        (PROFILE.replace("baud", "bode"), "bode"),
        ("function = ", "profile mine"),
    ],
)
def test_a_profile_that_is_wrong_says_where(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_profile(text, "mine")
