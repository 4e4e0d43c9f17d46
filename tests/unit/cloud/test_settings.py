"""Documents of settings in the cloud: merged, named, and what an operator's policy refuses."""

from __future__ import annotations

from typing import Any

import pytest

from aquasmart_cloud.core.settings import (
    EMPTY_SHA256,
    MAX_DOCUMENT_BYTES,
    as_scale,
    change_faults,
    merged,
    path_of,
    policy_faults,
    sha256_of,
    shape_faults,
)

SCALE = ("meters", "tap-1", "scale")
K_450, K_440 = {"ul_num": 20000, "den": 9}, {"ul_num": 25000, "den": 11}


def test_both_sides_give_a_document_the_same_name() -> None:
    from aquasmart_station.core import remote_config

    for document in ({}, {"a": {"b": 0.1, "ü": [1, None]}}, {"meters": {"x.y": {"scale": K_450}}}):
        assert sha256_of(document) == remote_config.sha256_of(document)
    assert sha256_of({}) == EMPTY_SHA256


def test_later_documents_win_setting_by_setting() -> None:
    fleet = {"reader": {"a": 1, "b": 1}, "meters": {"tap-1": {"scale": K_450}}}
    assert merged([fleet, {"reader": {"b": 2}}, {"meters": {"tap-2": {"scale": K_440}}}]) == {
        "reader": {"a": 1, "b": 2},
        "meters": {"tap-1": {"scale": K_450}, "tap-2": {"scale": K_440}},
    }
    assert merged([]) == {}


def test_the_shape_is_all_that_is_judged_here() -> None:
    assert shape_faults({"reader": {"poll_hz": "nonsense"}}) == []
    assert shape_faults([]) == ["the document must be an object of tables"]
    assert shape_faults({"reader": 1, "meters": {"tap-1": 2}}) == [
        "reader: must be a table",
        "meters.tap-1: must be a table",
    ]
    assert "above" in shape_faults({"a": {"b": "x" * MAX_DOCUMENT_BYTES}})[0]


@pytest.mark.parametrize("text", ["reader", "", ".", "reader.", "meters.tap-1", "meters..scale", ".x"])
def test_what_is_no_setting_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no setting"):
        path_of(text)


def test_a_meters_id_may_hold_dots() -> None:
    assert path_of("meters.tap.1.scale") == ("meters", "tap.1", "scale")
    assert path_of("reader.poll_hz") == ("reader", "poll_hz")


@pytest.mark.parametrize(("limit", "refused"), [(None, 0), (22_728, 0), (22_727, 1), (0, 1)])
def test_a_calibration_may_move_the_price_so_far_and_no_farther(limit: int | None, refused: int) -> None:
    policy: dict[str, Any] = {} if limit is None else {"scale_change_ppm_max": limit}
    assert len(change_faults(policy, SCALE, K_440, K_450)) == refused


def test_settings_an_operator_keeps_are_refused_by_name_and_by_table() -> None:
    policy = {"refuse": ["reader", "sync.linger_s"]}
    assert change_faults(policy, ("reader", "poll_hz"), 5, None)
    assert change_faults(policy, ("sync", "linger_s"), 5, None)
    assert not change_faults(policy, ("sync", "linger_s_other"), 5, None)
    assert not change_faults(policy, ("detect", "threshold"), 5, None)


def test_what_is_no_scale_is_refused_under_any_policy() -> None:
    for strange in (None, 5, {"ul_num": 0, "den": 1}, {"ul_num": 1.5, "den": 1}, {"ul_num": 1 << 41, "den": 1}):
        assert as_scale(strange) is None
        assert change_faults({}, SCALE, strange, K_450)


def test_a_policy_of_the_wrong_form_is_told() -> None:
    assert policy_faults({"refuse": ["reader"], "scale_change_ppm_max": 1}) == []
    assert len(policy_faults({"refuse": "reader", "scale_change_ppm_max": -1, "other": 1})) == 3
    assert policy_faults([]) == ["a policy must be an object"]
