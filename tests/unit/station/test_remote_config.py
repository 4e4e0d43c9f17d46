"""Remote settings: every fault at once, exact bounds, layers, and which side wins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.remote_config import (
    EMPTY_SHA256,
    SCALE_LIMIT,
    SETTINGS,
    canonical,
    faults_of,
    flatten,
    layered,
    nested,
    on_trial,
    setting_faults,
    sha256_of,
    wins,
)

METERS = {"tap-1": 1 << 32, "a.b": 1 << 40}
GOOD = {
    "reader": {"commit_interval_s": 2, "poll_hz": 0.5},
    "sync": {"batch_rows_max": 10},
    "meters": {"a.b": {"scale": {"ul_num": 20000, "den": 9}}},
}


def test_nothing_has_the_hash_of_nothing() -> None:
    assert sha256_of({}) == EMPTY_SHA256


def test_the_hash_does_not_depend_on_the_order_but_on_every_value() -> None:
    assert sha256_of({"a": {"x": 1}, "b": {}}) == sha256_of({"b": {}, "a": {"x": 1}})
    assert sha256_of({"a": {"x": 1}}) != sha256_of({"a": {"x": 2}})
    assert canonical({"b": "ü", "a": 1}) == '{"a":1,"b":"ü"}'
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})


def test_a_good_document_has_no_faults() -> None:
    assert faults_of(GOOD, METERS) == []
    assert faults_of({}, METERS) == []


def test_every_fault_is_named_at_once() -> None:
    document: dict[str, Any] = {
        "reader": {"poll_hz": "fast", "commit_interval_s": 61, "ring_rows": 5},
        "sync": {"batch_rows_max": 2.5, "heartbeat_s": True},
        "cloud": 7,
        "meters": {"tap-9": {}, "tap-1": {"scale": {"ul_num": 0, "den": 9}, "port": "x"}, "a.b": 3},
    }
    assert faults_of(document, METERS) == [
        "cloud: must be a table of settings",
        "meters.a.b: must be a table of settings",
        "meters.tap-1.port: is not a setting that can be changed from afar",
        f"meters.tap-1.scale: must be ul_num and den, whole numbers from 1 to {SCALE_LIMIT - 1}",
        "meters.tap-9: this station has no such meter",
        "reader.commit_interval_s: must be from 0.05 to 60, not 61",
        "reader.poll_hz: must be a number, not 'fast'",
        "reader.ring_rows: is not a setting that can be changed from afar",
        "sync.batch_rows_max: must be a whole number, not 2.5",
        "sync.heartbeat_s: must be a number, not True",
    ]
    for strange in ([], None, 7, "x"):
        assert faults_of(strange, METERS) == ["the document must be an object"]


@pytest.mark.parametrize("path", sorted(SETTINGS))
def test_bounds_hold_exactly_at_both_ends(path: tuple[str, ...]) -> None:
    bounds = SETTINGS[path]
    step = 1000 if bounds.whole else 1
    for milli, fits in (
        (bounds.least_milli, True),
        (bounds.most_milli, True),
        (bounds.least_milli - step, False),
        (bounds.most_milli + step, False),
    ):
        value = milli // 1000 if milli % 1000 == 0 else milli / 1000
        assert (setting_faults(path, value, METERS) == []) is fits, value
    for strange in (float("nan"), float("inf"), None, [], "1"):
        assert setting_faults(path, strange, METERS)


def test_a_scale_must_price_the_meters_last_count() -> None:
    fits = {"ul_num": (1 << 31) - 1, "den": 1}
    assert setting_faults(("meters", "tap-1", "scale"), fits, METERS) == []
    beyond = {"ul_num": 1 << 31, "den": 1}
    assert "could not be priced" in setting_faults(("meters", "tap-1", "scale"), beyond, METERS)[0]
    for strange in (None, {"ul_num": 1}, {"ul_num": 1.0, "den": 1}, {"ul_num": True, "den": 1}):
        assert setting_faults(("meters", "tap-1", "scale"), strange, METERS)


names = st.sampled_from(["reader", "sync", "detect"])
overlays = st.dictionaries(
    st.one_of(
        st.tuples(names, st.sampled_from(["a", "b"])),
        st.tuples(st.just("meters"), st.sampled_from(["tap-1", "a.b"]), st.just("scale")),
    ),
    st.integers(),
)


@given(overlays)
def test_flat_and_nested_say_the_same(settings: dict[tuple[str, ...], int]) -> None:
    assert flatten(nested(settings)) == settings


@given(overlays, overlays, overlays)
def test_the_last_layer_that_speaks_of_a_setting_wins(
    fleet: dict[tuple[str, ...], int], group: dict[tuple[str, ...], int], station: dict[tuple[str, ...], int]
) -> None:
    layers = (fleet, group, station)
    found = layered(layers)
    for path, value in found.items():
        assert value == next(each[path] for each in reversed(layers) if path in each)
    assert set(found) == set().union(*layers)


def test_only_what_could_end_polling_or_the_link_is_on_trial() -> None:
    former = {("reader", "poll_hz"): 10, ("detect", "threshold"): 3}
    assert on_trial(former, {**former, ("detect", "threshold"): 4}) == []
    assert on_trial(former, {**former, ("reader", "poll_hz"): 5}) == [("reader", "poll_hz")]
    assert on_trial(former, {}) == [("reader", "poll_hz")]
    assert on_trial({}, {("cloud", "read_timeout_s"): 1}) == [("cloud", "read_timeout_s")]


def test_the_cloud_wins_only_where_it_moved_the_same_setting() -> None:
    path = ("meters", "tap-1", "scale")
    assert not wins({}, {("sync", "linger_s"): 1}, path)
    assert not wins({path: 1}, {path: 1}, path)
    assert wins({path: 1}, {path: 2}, path)
    assert wins({}, {path: 2}, path)
    assert wins({path: 1}, {}, path)
