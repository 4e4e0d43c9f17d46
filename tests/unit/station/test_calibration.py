"""Calibration by known pours, against plain fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.calibration import Pour, calibrate, class_of, decimals
from aquasmart_station.core.model import Scale

K_450 = Scale(20_000, 9)
POURS = st.lists(st.builds(Pour, st.integers(1, 10**6), st.integers(1, 10**9)), min_size=1, max_size=5)


def test_five_litres_that_gave_2_200_pulses() -> None:
    found = calibrate([Pour(2_200, 5_000_000)], K_450)
    assert found.k_factor == 440
    assert (found.scale.ul_num, found.scale.den) == (25_000, 11)
    assert found.before_percent == Fraction(-20, 9)
    assert (class_of(found.before_percent), decimals(found.before_percent, 2)) == ("3 %", "-2.22")
    assert not found.suspicious
    assert not found.coarse


@given(POURS)
def test_the_new_scale_prices_all_pours_together_exactly(pours: list[Pour]) -> None:
    scale = calibrate(pours, K_450).scale
    counts, volume_ul = sum(pour.counts for pour in pours), sum(pour.volume_ul for pour in pours)
    assert Fraction(scale.ul_num, scale.den) * counts == volume_ul
    assert scale.price_ul(counts) == volume_ul
    assert Pour(counts, volume_ul).error_percent(scale) == 0


@given(POURS, st.fractions(Fraction(1, 10), 10))
def test_spread_is_what_the_pours_disagree_by(pours: list[Pour], factor: Fraction) -> None:
    scale = Scale(K_450.ul_num * factor.numerator, K_450.den * factor.denominator)
    found = calibrate(pours, scale)
    price = Fraction(scale.ul_num, scale.den)
    errors = [(pour.counts * price / pour.volume_ul - 1) * 100 for pour in pours]
    assert found.spread_percent == max(errors) - min(errors)
    assert min(errors) <= found.before_percent <= max(errors)


@pytest.mark.parametrize("pours", [[], [Pour(0, 1)], [Pour(1, 0)], [Pour(5, 5), Pour(-1, 5)]])
def test_no_water_or_no_counts_is_no_calibration(pours: list[Pour]) -> None:
    with pytest.raises(ValueError, match="a pour needs water"):
        calibrate(pours, K_450)


def test_what_is_odd_is_said() -> None:
    assert calibrate([Pour(1_000, 5_000_000)], K_450).suspicious
    assert calibrate([Pour(199, 450_000)], K_450).coarse
    assert not calibrate([Pour(200, 450_000)], K_450).coarse


@pytest.mark.parametrize(
    ("percent", "name"),
    [("0", "0.5 %"), ("-0.5", "0.5 %"), ("0.501", "1 %"), ("-5", "5 %"), ("5.0001", "worse than 5 %")],
)
def test_classes(percent: str, name: str) -> None:
    assert class_of(Fraction(percent)) == name


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [("1/3", 4, "0.3333"), ("-2/3", 2, "-0.67"), ("-1/1000", 2, "0.00"), ("5/2", 0, "3"), ("450", 2, "450.00")],
)
def test_decimals_round_half_up_and_have_no_negative_zero(value: str, places: int, text: str) -> None:
    assert decimals(Fraction(value), places) == text
