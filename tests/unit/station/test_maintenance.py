"""When it is the time for what of an update: every row of the decision, and what may never be decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core import maintenance as m
from aquasmart_station.core.maintenance import Facts, Image, Offer, Progress, Window

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_763_596_800_000  # 2025-11-20T00:00Z
SHA256 = "ab" * 32
OLD = Image("1.4.0", 12, "aquasmart-x")
NEW = Image("1.5.0", 13, "aquasmart-x")
OFFER = Offer(3, False, Window(120, 300), SHA256, 1_000, NEW)
BEGUN = Progress.of(OFFER)
FACTS = Facts(
    at_ms=MIDNIGHT_MS + 4 * HOUR_MS,
    place=0,
    unfit="",
    image=OLD,
    highest_good=12,
    boot_id="boot-1",
    have_bytes=0,
    checked=False,
    short_bytes=0,
    answer_age_s=1.0,
)
WHOLE = replace(FACTS, have_bytes=1_000, checked=True)
INSTALLED = BEGUN.moved(m.INSTALLED, boot_id="boot-1")
REBOOTED = replace(FACTS, boot_id="boot-2", image=NEW)


def why(action: m.Action) -> str:
    assert isinstance(action, m.Rest), action
    return action.why


@pytest.mark.parametrize(
    ("since", "until", "hour", "open_for_h"),
    [
        (120, 300, 1.99, None),
        (120, 300, 2, 0),
        (120, 300, 4.5, 2.5),
        (120, 300, 5, None),
        (1380, 60, 23, 0),
        (1380, 60, 0.5, 1.5),
        (1380, 60, 1, None),
        (1380, 60, 22.9, None),
        (600, 600, 9, 23),
        (600, 600, 10, 0),
        (0, 0, 0, 0),
    ],
)
def test_a_window_is_open_from_its_first_minute_to_before_its_last_across_midnight_too(
    since: int, until: int, hour: float, open_for_h: float | None
) -> None:
    found = Window(since, until).open_for_ms(MIDNIGHT_MS + int(hour * HOUR_MS))
    assert found == (None if open_for_h is None else open_for_h * HOUR_MS)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1 << 45))
def test_a_window_is_open_for_its_length_of_each_day_and_no_longer(since: int, until: int, at_ms: int) -> None:
    window = Window(since, until)
    found = window.open_for_ms(at_ms)
    begin_ms = at_ms - (at_ms - since * m.MINUTE_MS) % (24 * HOUR_MS)
    assert found == (at_ms - begin_ms if at_ms - begin_ms < window.length_min * m.MINUTE_MS else None)


def test_what_is_offered_is_begun_once_and_for_another_anew() -> None:
    assert m.next_action(None, None, FACTS) == m.Rest("nothing is offered")
    assert m.next_action(None, OFFER, FACTS) == m.Begin(OFFER)
    assert m.next_action(replace(BEGUN, rollout_id=2), OFFER, FACTS) == m.Begin(OFFER)
    assert m.next_action(BEGUN, OFFER, FACTS) == m.Fetch(0)
    assert m.next_action(None, replace(OFFER, stopped=True), FACTS) == m.Rest("the roll-out is stopped")


def test_it_goes_from_the_first_byte_to_the_installation() -> None:
    downloading = BEGUN.moved(m.DOWNLOADING)
    assert m.next_action(downloading, OFFER, replace(FACTS, have_bytes=600)) == m.Fetch(600)
    assert m.next_action(downloading, OFFER, replace(WHOLE, checked=False)) == m.Check()
    assert m.next_action(downloading.moved(m.DOWNLOADED), OFFER, WHOLE) == m.Install()
    assert m.next_action(downloading.moved(m.INSTALLING, installs=2), OFFER, WHOLE) == m.Install()
    given_up = m.next_action(downloading.moved(m.INSTALLING, installs=3), OFFER, WHOLE)
    assert isinstance(given_up, m.Conclude)
    assert given_up.state == m.FAILED


def test_what_is_taken_back_is_dropped_and_what_is_stopped_rests() -> None:
    for state in (m.OFFERED, m.DOWNLOADING, m.DOWNLOADED, m.WAITING, m.INSTALLING):
        assert m.next_action(BEGUN.moved(state), None, WHOLE) == m.Drop()
        assert "stopped" in why(m.next_action(BEGUN.moved(state), replace(OFFER, stopped=True), WHOLE))
    for state in m.ENDED:
        assert isinstance(m.next_action(BEGUN.moved(state), None, WHOLE), m.Rest)
        assert isinstance(m.next_action(BEGUN.moved(state), OFFER, WHOLE), m.Rest)


@pytest.mark.parametrize(
    ("image", "highest", "state", "says"),
    [
        (None, 0, m.REFUSED, "not made from an image"),
        (replace(OLD, compatible="aquasmart-y"), 12, m.REFUSED, "this station is aquasmart-y"),
        (OLD, 13, m.REFUSED, "not above 13"),
        (NEW, 13, m.GOOD, "runs already"),
    ],
)
def test_what_needs_no_download_to_be_known(image: Image | None, highest: int, state: str, says: str) -> None:
    found = m.next_action(BEGUN, OFFER, replace(FACTS, image=image, highest_good=highest, at_ms=None))
    assert isinstance(found, m.Conclude)
    assert (found.state, says in found.detail) == (state, True)


def test_the_time_must_be_known_and_the_window_open() -> None:
    assert "time is not known" in why(m.next_action(BEGUN, OFFER, replace(FACTS, at_ms=None)))
    night = replace(WHOLE, at_ms=MIDNIGHT_MS + 12 * HOUR_MS)
    rest = m.next_action(BEGUN.moved(m.DOWNLOADED), OFFER, night)
    assert rest == m.Rest("waits for its window, 02:00 to 05:00 UTC", waits=True)
    unchecked = m.next_action(BEGUN.moved(m.DOWNLOADED), OFFER, replace(night, checked=False))
    assert isinstance(unchecked, m.Rest)
    assert not unchecked.waits


def test_a_fleet_does_not_fetch_in_the_same_minute_and_none_later_than_half_of_the_window() -> None:
    at_two = replace(FACTS, at_ms=MIDNIGHT_MS + 2 * HOUR_MS, place=m.PLACES // 2)
    assert "turn to download comes in 46 min" in why(m.next_action(BEGUN, OFFER, at_two))
    assert m.next_action(BEGUN, OFFER, replace(at_two, at_ms=MIDNIGHT_MS + 2 * HOUR_MS + 2_700_000)) == m.Fetch(0)
    assert m.next_action(BEGUN, OFFER, replace(at_two, have_bytes=5)) == m.Fetch(5)
    places = [m.place_in_window(f"station-{number}", 3) for number in range(1_000)]
    assert all(0 <= each < m.PLACES for each in places)
    tenths = [sum(each * 10 // m.PLACES == tenth for each in places) for tenth in range(10)]
    assert min(tenths) > 60
    assert places == [m.place_in_window(f"station-{number}", 3) for number in range(1_000)]
    assert places[0] != m.place_in_window("station-0", 4)


def test_nothing_is_installed_upon_an_old_answer() -> None:
    found = m.next_action(BEGUN.moved(m.DOWNLOADED), OFFER, replace(WHOLE, answer_age_s=m.FRESH_ANSWER_S + 1))
    assert isinstance(found, m.Rest)
    assert found.stale


def test_room_is_asked_for_before_the_first_byte_and_before_each_piece() -> None:
    for have in (0, 600):
        assert "no room" in why(m.next_action(BEGUN, OFFER, replace(FACTS, have_bytes=have, short_bytes=7)))


def test_what_came_spoilt_too_often_is_refused() -> None:
    for spoilt in range(m.MOST_SPOILT):
        assert m.next_action(replace(BEGUN, spoilt=spoilt), OFFER, FACTS) == m.Fetch(0)
    found = m.next_action(replace(BEGUN, spoilt=m.MOST_SPOILT), OFFER, FACTS)
    assert isinstance(found, m.Conclude)
    assert found.state == m.REFUSED


def test_what_was_installed_is_booted_in_the_window_and_while_it_is_offered() -> None:
    assert m.next_action(INSTALLED, OFFER, FACTS) == m.Reboot()
    for offer in (None, replace(OFFER, stopped=True), replace(OFFER, rollout_id=9)):
        assert "restarts only while" in why(m.next_action(INSTALLED, offer, FACTS))
    assert "water" in why(m.next_action(INSTALLED, OFFER, replace(FACTS, unfit="water runs at tap-1")))
    assert "window" in why(m.next_action(INSTALLED, OFFER, replace(FACTS, at_ms=MIDNIGHT_MS)))


def test_after_a_boot_the_image_that_runs_and_its_mark_say_how_it_ended() -> None:
    assert "on trial" in why(m.next_action(INSTALLED, None, REBOOTED))
    good = m.next_action(INSTALLED, None, replace(REBOOTED, highest_good=13))
    assert isinstance(good, m.Conclude)
    assert good.state == m.GOOD
    for image in (OLD, None):
        fell = m.next_action(INSTALLED, OFFER, replace(REBOOTED, image=image))
        assert isinstance(fell, m.Conclude)
        assert fell.state == m.FELL_BACK


offers = st.sampled_from([None, OFFER, replace(OFFER, stopped=True), replace(OFFER, rollout_id=4)])
progresses = st.one_of(
    st.none(),
    st.builds(
        Progress,
        rollout_id=st.sampled_from([3, 4]),
        sha256=st.just(SHA256),
        size_bytes=st.just(1_000),
        version=st.just("1.5.0"),
        number=st.just(13),
        state=st.sampled_from(["", m.DOWNLOADING, m.DOWNLOADED, m.WAITING, m.INSTALLING, m.INSTALLED, *m.ENDED]),
        spoilt=st.integers(0, 4),
        installs=st.integers(0, 4),
        boot_id=st.sampled_from(["boot-1", "boot-2", ""]),
    ),
)
facts = st.builds(
    Facts,
    at_ms=st.one_of(st.none(), st.integers(MIDNIGHT_MS, MIDNIGHT_MS + 24 * HOUR_MS)),
    place=st.integers(0, m.PLACES - 1),
    unfit=st.sampled_from(["", "water runs"]),
    image=st.sampled_from([None, OLD, NEW, replace(NEW, compatible="other")]),
    highest_good=st.integers(0, 14),
    boot_id=st.sampled_from(["boot-1", "boot-2"]),
    have_bytes=st.integers(0, 1_000),
    checked=st.booleans(),
    short_bytes=st.sampled_from([0, 5]),
    answer_age_s=st.sampled_from([1.0, 1e6, float("inf")]),
)


@given(progresses, offers, facts)
def test_nothing_disturbs_a_station_but_in_its_window_at_a_known_time_and_in_stillness(
    progress: Progress | None, offer: Offer | None, fact: Facts
) -> None:
    found = m.next_action(progress, offer, fact)
    if isinstance(found, m.Fetch | m.Check | m.Install | m.Reboot):
        assert offer is not None
        assert not offer.stopped
        assert fact.at_ms is not None
        assert offer.window.open_for_ms(fact.at_ms) is not None
        assert fact.unfit == ""
    if isinstance(found, m.Install):
        assert fact.checked
        assert fact.have_bytes == 1_000
        assert fact.image is not None
        assert fact.image.compatible == NEW.compatible
        assert fact.highest_good < NEW.number
        assert fact.answer_age_s <= m.FRESH_ANSWER_S
    if isinstance(found, m.Fetch):
        assert fact.short_bytes == 0


def test_the_clouds_time_counts_before_any_clock_of_the_board() -> None:
    assert m.believed_ms(5, 9, "ntp") == 5
    assert [m.believed_ms(None, 9, quality) for quality in ("ntp", "rtc", "restored", "unset")] == [9, 9, None, None]


def wire(**changes: Any) -> dict[str, Any]:
    bundle = {"sha256": SHA256, "size_bytes": 1_000, "version": "1.5.0", "number": 13, "compatible": "aquasmart-x"}
    return {
        "rollout_id": 3,
        "stopped": False,
        "window": {"from": "02:00", "to": "05:00"},
        "bundle": bundle | changes.pop("bundle", {}),
    } | changes


def test_an_offer_is_read_as_the_contract_has_it() -> None:
    assert m.read_offer(None) is None
    assert m.read_offer(wire()) == OFFER
    assert m.read_offer(wire(more="members")) == OFFER


@pytest.mark.parametrize(
    "said",
    [
        [],
        "update",
        wire(rollout_id=0),
        wire(rollout_id=True),
        wire(stopped="no"),
        wire(window=None),
        wire(window={"from": "2:00", "to": "05:00"}),
        wire(window={"from": "24:00", "to": "05:00"}),
        wire(bundle={"sha256": "AB" * 32}),
        wire(bundle={"sha256": "../" * 21 + "a"}),
        wire(bundle={"size_bytes": -1}),
        wire(bundle={"size_bytes": 1 << 60}),
        wire(bundle={"number": "13"}),
        wire(bundle={"version": ""}),
        wire(bundle={"compatible": "x" * 201}),
    ],
)
def test_an_offer_that_is_none_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        m.read_offer(said)


def test_progress_is_read_as_it_was_kept_and_nothing_else_is() -> None:
    kept = BEGUN.moved(m.DOWNLOADING, "x" * 1_000, spoilt=1)
    assert len(kept.detail) == 400
    document = kept.document()
    assert m.read_progress(document) == kept
    for wrong in (None, [], {}, document | {"state": 5}, document | {"more": 1}, document | {"installs": True}):
        assert m.read_progress(wrong) is None
