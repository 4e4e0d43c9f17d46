"""Whether a bundle may be installed, and when an image has proved itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.errors import UpdateError
from aquasmart_station.core.updating import (
    BundleInfo,
    Evidence,
    ImageInfo,
    MeterNow,
    Proof,
    StationNow,
    image_of,
    lacking,
    number_of,
    reasons_against,
)

IMAGE = ImageInfo("1.4.0", 12, "aquasmart-raspberrypi4-64")
NEWER = BundleInfo("1.5.0", 13, IMAGE.compatible)
COUNTING = StationNow(12, on_trial=False, meters=(MeterNow("tap-1", read=True, flowing=False),))
SEEN = Evidence(frozenset({"tap-1"}), committed=True, sync_alive=True, processes=(7, 8))
ONE = frozenset({"tap-1"})
BOTH = frozenset({"tap-1", "tap-2"})


def codes(image: ImageInfo = IMAGE, bundle: BundleInfo = NEWER, now: StationNow = COUNTING, **words: bool) -> set[str]:
    return {reason.code for reason in reasons_against(image, bundle, now, **words)}


def test_a_newer_bundle_for_this_board_on_a_station_that_counts() -> None:
    assert codes() == set()


def test_another_boards_bundle_is_refused_for_good() -> None:
    (reason,) = reasons_against(IMAGE, replace(NEWER, compatible="aquasmart-beaglebone-yocto"), COUNTING)
    assert (reason.code, reason.final) == ("compatible", True)
    assert "aquasmart-beaglebone-yocto" in reason.text


def test_no_way_back_by_number() -> None:
    assert codes(bundle=replace(NEWER, number=11)) == {"older"}
    assert codes(bundle=replace(NEWER, number=13), now=replace(COUNTING, highest_good=14)) == {"older"}
    # A data partition that was put back to an earlier day: the image itself is the floor.
    assert codes(bundle=replace(NEWER, number=11), now=replace(COUNTING, highest_good=0)) == {"older"}
    assert codes(bundle=replace(NEWER, number=11), again=True, despite_meters=True) == {"older"}


def test_the_number_that_runs_only_where_it_is_wanted_again() -> None:
    assert codes(bundle=replace(NEWER, number=12)) == {"same"}
    assert codes(bundle=replace(NEWER, number=12), again=True) == set()


def test_never_while_no_meter_is_read_unless_a_technician_says_so() -> None:
    silent = replace(COUNTING, meters=(MeterNow("tap-1", read=False, flowing=False),))
    (reason,) = reasons_against(IMAGE, NEWER, silent)
    assert (reason.code, reason.final) == ("meter", False)
    assert codes(now=replace(COUNTING, meters=())) == {"meter"}
    assert codes(now=silent, despite_meters=True) == set()


def test_one_of_several_meters_is_enough() -> None:
    meters = (MeterNow("tap-1", read=False, flowing=False), MeterNow("tap-2", read=True, flowing=False))
    assert codes(now=replace(COUNTING, meters=meters)) == set()


def test_not_during_a_pour_a_trial_or_while_the_log_is_not_written() -> None:
    pouring = replace(COUNTING, meters=(MeterNow("tap-1", read=True, flowing=True),))
    assert codes(now=pouring) == {"pour"}
    assert codes(now=pouring, despite_meters=True) == {"pour"}
    assert codes(now=replace(COUNTING, on_trial=True)) == {"trial"}
    assert codes(now=replace(COUNTING, log_fault="the disk is full")) == {"log"}


def test_everything_is_said_at_once() -> None:
    now = StationNow(20, on_trial=True, meters=(), log_fault="x")
    assert codes(bundle=BundleInfo("1", 5, "another"), now=now) == {"compatible", "older", "trial", "meter", "log"}


@given(st.integers(1, 999_999_999), st.integers(0, 999_999_999), st.integers(1, 999_999_999))
def test_whatever_is_accepted_is_newer_than_everything_that_ran(image: int, highest: int, bundle: int) -> None:
    accepted = not codes(
        replace(IMAGE, number=image), replace(NEWER, number=bundle), replace(COUNTING, highest_good=highest)
    )
    assert accepted == (bundle > image and bundle > highest)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "12a", "1234567890", "１２", "+3", "0x10", None])
def test_what_is_no_bundle_number(text: object) -> None:
    with pytest.raises(UpdateError, match="no bundle number"):
        number_of(text)


def test_bundle_numbers() -> None:
    assert (number_of(" 12\n"), number_of(7), number_of("007")) == (12, 7, 7)


def test_an_images_own_description() -> None:
    document = {"version": "1.4.0", "number": 12, "compatible": IMAGE.compatible}
    assert image_of(document) == IMAGE
    for name in document:
        with pytest.raises(UpdateError, match=name):
            image_of({key: value for key, value in document.items() if key != name})


def test_what_a_trial_must_show() -> None:
    assert lacking(SEEN, ONE, ONE) == []
    assert lacking(replace(SEEN, read=frozenset()), ONE, ONE) == ["tap-1 read"]
    assert lacking(replace(SEEN, committed=False, sync_alive=False), ONE, ONE) == [
        "an event of this boot committed",
        "sync alive",
    ]


def test_every_meter_that_the_former_image_read_is_asked_for() -> None:
    assert lacking(SEEN, BOTH, BOTH) == ["tap-2 read"]
    # One that was dead before the update, or is configured no longer, does not send the update back.
    assert lacking(SEEN, ONE, BOTH) == []
    assert lacking(SEEN, BOTH, ONE) == []


def test_where_nothing_was_noted_one_meter_is_enough() -> None:
    assert lacking(SEEN, frozenset(), BOTH) == []
    assert lacking(replace(SEEN, read=frozenset()), frozenset(), BOTH) == ["any of tap-1, tap-2 read"]
    assert lacking(replace(SEEN, read=frozenset()), frozenset({"gone"}), ONE) == ["tap-1 read"]


def proof(within_ms: int | None = 600_000) -> Proof:
    return Proof(expected=ONE, configured=ONE, hold_ms=30_000, within_ms=within_ms)


def test_it_must_hold_for_half_a_minute() -> None:
    trial = proof()
    assert trial.step(SEEN, 1_000) is None
    assert trial.step(SEEN, 30_999) is None
    assert trial.step(SEEN, 31_000) is True


def test_what_flickers_begins_anew() -> None:
    trial = proof()
    trial.step(SEEN, 0)
    assert trial.step(replace(SEEN, read=frozenset()), 20_000) is None
    assert trial.lacking == ["tap-1 read"]
    assert trial.step(SEEN, 21_000) is None
    assert trial.step(SEEN, 50_000) is None
    assert trial.step(SEEN, 51_000) is True


def test_a_process_that_was_started_again_begins_anew() -> None:
    trial = proof()
    trial.step(SEEN, 0)
    assert trial.step(replace(SEEN, processes=(9, 8)), 30_000) is None
    assert trial.step(replace(SEEN, processes=(9, 8)), 60_000) is True


def test_the_time_is_over() -> None:
    trial = proof()
    blind = replace(SEEN, read=frozenset())
    assert trial.step(blind, 5_000) is None
    assert trial.step(blind, 604_999) is None
    assert trial.step(blind, 605_000) is False
    # Proved in the last moment is proved.
    late = proof()
    late.step(blind, 0)
    late.step(SEEN, 570_000)
    assert late.step(SEEN, 600_000) is True


def test_where_there_is_nothing_to_go_back_to_there_is_time() -> None:
    patient = proof(within_ms=None)
    assert patient.step(replace(SEEN, sync_alive=False), 0) is None
    assert patient.step(replace(SEEN, sync_alive=False), 10**12) is None
    patient.step(SEEN, 10**12 + 1)
    assert patient.step(SEEN, 10**12 + 30_001) is True
