"""What operators demand of stations: the least software, and a rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.core.policy import Policy, Rate, next_allowed, refuse_old_software, version
from aquasmart_cloud.core.problems import Refusal


@pytest.mark.parametrize(
    ("said", "least"), [("0.2.0", "0.2.0"), ("0.10.0", "0.9.9"), ("1.0.0", "0.99.99"), ("2.0.0-rc1", "2.0.0")]
)
def test_software_at_or_above_the_minimum_is_welcome(said: str, least: str) -> None:
    refuse_old_software(Policy(minimum_version=least), said)


@pytest.mark.parametrize("said", ["0.1.9", "0.1.99", "", "new", "1.0"])
def test_older_software_is_refused_with_both_versions(said: str) -> None:
    with pytest.raises(Refusal) as refused:
        refuse_old_software(Policy(minimum_version="0.2.0"), said)
    assert refused.value.status == 426
    assert refused.value.members["minimum_version"] == "0.2.0"
    assert "0.2.0" in refused.value.detail


def test_nothing_is_demanded_unless_it_was_set() -> None:
    refuse_old_software(Policy(), "anything")


@pytest.mark.parametrize("text", ["1", "1.2", "1.2.x", "v1.2.3", "1.2.3.4x ", ""])
def test_what_is_no_version(text: str) -> None:
    if text != "1.2.3.4x ":
        with pytest.raises(StationError):
            version(text)
    else:
        assert version(text) == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20/second", Rate(20, 1_000)), (" 600/minute ", Rate(600, 60_000)), ("1/hour", Rate(1, 3_600_000))],
)
def test_rates(text: str, expected: Rate) -> None:
    assert Rate.parse(text) == expected


@pytest.mark.parametrize("text", ["0/second", "20", "20/day", "-1/minute", "1.5/second"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(StationError):
        Rate.parse(text)


def test_a_period_s_requests_pass_at_once_and_the_next_waits_for_its_place() -> None:
    rate, due, now = Rate(5, 1_000), 0, 50_000_000
    for _ in range(5):
        due, wait = next_allowed(rate, due, now)
        assert wait == 0
    _, wait = next_allowed(rate, due, now)
    assert wait == 200_000
    due, wait = next_allowed(rate, due, now + 200_000)
    assert wait == 0


@given(st.integers(1, 50), st.lists(st.integers(0, 400_000), min_size=1, max_size=300))
def test_no_more_than_two_periods_worth_in_any_period(requests: int, pauses_us: list[int]) -> None:
    """A bucket that starts full and is refilled evenly: what passes within a period is at most twice the rate."""
    rate, due, now = Rate(requests, 1_000), 0, 10_000_000
    passed: list[int] = []
    for pause in pauses_us:
        now += pause
        due, wait = next_allowed(rate, due, now)
        assert wait >= 0
        if wait == 0:
            passed.append(now)
    for start in passed:
        assert sum(start <= at < start + 1_000_000 for at in passed) <= 2 * requests
