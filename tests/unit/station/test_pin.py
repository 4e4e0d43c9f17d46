"""The PIN: kept as a hash, compared whole, and slow to guess."""

from __future__ import annotations

import pytest

from aquasmart_station.core.pin import FREE_TRIES, LONGEST_WAIT_S, Tries, keep, matches

SALT = bytes(range(16))


def test_only_the_right_pin_matches_what_is_kept() -> None:
    kept = keep("246810", SALT)
    assert "246810" not in kept
    assert matches("246810", kept)
    assert matches("246810", kept + "\n")
    assert not matches("246811", kept)
    assert not matches("2468100", kept)
    assert keep("246810", bytes(16)) != kept


@pytest.mark.parametrize("pin", ["", "12345", "1234567890123", "12345a", "12345٣", " 123456", "123456\n"])
def test_what_is_no_pin_is_neither_kept_nor_compared(pin: str) -> None:
    with pytest.raises(ValueError, match="6 to 12 digits"):
        keep(pin, SALT)
    assert not matches(pin, keep("123456", SALT))


@pytest.mark.parametrize("kept", ["", "scrypt", "scrypt$", "scrypt$zz$00", "plain$00$00", "scrypt$00"])
def test_a_damaged_file_lets_nobody_in(kept: str) -> None:
    assert not matches("123456", kept)


def test_guessing_a_whole_day_is_a_few_tries() -> None:
    tries, now_s, made = Tries(), 0, 0
    while now_s < 86_400:
        wait_s = tries.wait_s(now_s)
        if wait_s:
            now_s += wait_s
            continue
        tries, made = tries.one_more(now_s), made + 1
    assert made < 40


def test_three_are_free_then_each_waits_longer_up_to_an_hour() -> None:
    tries, waits = Tries(), []
    for _ in range(14):
        waits.append(tries.wait_s(tries.last_s))
        tries = tries.one_more(tries.last_s)
    assert waits[:FREE_TRIES] == [0] * FREE_TRIES
    assert waits[FREE_TRIES:6] == [10, 20, 40]
    assert waits[-1] == LONGEST_WAIT_S


def test_a_clock_that_began_anew_makes_the_wait_whole_not_endless() -> None:
    tries = Tries(wrong=4, last_s=50_000)
    assert tries.wait_s(5) == 20
    assert tries.wait_s(50_020) == 0
