"""Figures for people: exact litres, honest ages, one bar a minute."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.web import figures


@given(st.integers(-(2**70), 2**70))
def test_litres_lose_nothing(volume_ul: int) -> None:
    shown = figures.plain_litres(volume_ul).removesuffix(" L").replace(",", "").replace("−", "-")
    whole, _, fraction = shown.partition(".")
    assert int(whole + fraction) == volume_ul
    assert len(fraction) == 6


def test_litres_copy_from_the_page_as_one_plain_number() -> None:
    markup = figures.litres(1_234_567_890_123)
    assert re.sub(r"<[^>]*>", "", markup) == "1,234,567.890123 L"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 days")],
)
def test_durations_are_rounded_down_in_their_largest_sensible_unit(seconds: int, words: str) -> None:
    assert figures.duration(seconds) == words


def test_ages() -> None:
    assert figures.ago(None, 1_000_000) == "never"
    assert figures.ago(999_000, 1_000_000) == "just now"
    assert figures.ago(940_000, 1_000_000) == "60 s ago"
    assert figures.ago(1_000_900, 1_000_000) == "just now", "a clock ahead of ours is not the future"


def test_a_backlog_that_was_never_told_is_not_called_none() -> None:
    assert figures.backlog(None, None) == "not known"
    assert figures.backlog(0, 0) == "none"
    assert figures.backlog(1, 5) == "1 event", "it waits for a few more, to be sent with them"
    assert figures.backlog(12_345, 180) == "12,345 events, oldest 3 min"


def test_a_sparkline_has_one_bar_for_each_minute_with_flow_and_ends_now() -> None:
    now_ms = 1_000_000 * figures.MINUTE_MS
    minutes = [[now_ms - 60 * figures.MINUTE_MS, 5], [now_ms - figures.MINUTE_MS, 10], [now_ms, 2**60]]
    path = figures.spark_path(minutes, now_ms + 30_000)
    assert re.findall(r"M(\d+) ", path) == ["116", "118"], "the minute an hour ago has left"
    assert "v-23" in path
    assert "v-2h" in path, "a little water beside much still shows"


def test_minutes_of_stations_add_up() -> None:
    stations = [{"minutes": [[60_000, 1], [120_000, 2]]}, {"minutes": [[60_000, 2**60]]}]
    assert figures.sum_minutes(stations) == [[60_000, 2**60 + 1], [120_000, 2]]


def test_what_a_station_says_is_escaped() -> None:
    assert str(figures.shape("<b>", "text", 0, {})) == "&lt;b&gt;"
