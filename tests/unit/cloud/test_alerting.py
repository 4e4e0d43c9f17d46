"""When alerts open, stay and close: on paper, with a clock in the test's hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.alert_kinds import ANOMALY, BOOKS, KINDS, LEAK, METER_FAULT, AlertError, told
from aquasmart_cloud.core.alerting import (
    NOTED_EVERY_MS,
    Decision,
    Finding,
    Key,
    Threshold,
    Track,
    decide,
    read_setting,
    thresholds_of,
)

AFTER_MS, CLEAR_MS = 120_000, 60_000
THRESHOLDS = {kind: Threshold(AFTER_MS, CLEAR_MS) for kind in KINDS} | {ANOMALY: Threshold(0, CLEAR_MS)}
KEY = (METER_FAULT, "tap-1")


def fault(since_ms: int | None = None, **figures: Any) -> Finding:
    return Finding(*KEY, since_ms, figures)


class Story:
    """Looks that follow each other, each with the memory of the one before."""

    def __init__(self, thresholds: dict[str, Threshold] = THRESHOLDS) -> None:
        self.tracks: dict[Key, Track] = {}
        self.thresholds = thresholds
        self.opened = self.closed = 0

    def look(self, now_ms: int, *findings: Finding) -> Decision:
        decision = decide(self.tracks, findings, self.thresholds, now_ms)
        self.tracks = decision.tracks
        self.opened += len(decision.opened)
        self.closed += len(decision.closed)
        return decision


def test_it_opens_when_it_has_lasted_and_closes_when_it_has_been_over_long_enough() -> None:
    story = Story()
    assert story.look(0, fault()).due_ms == AFTER_MS
    assert story.look(AFTER_MS - 1, fault()).opened == []
    opened = story.look(AFTER_MS, fault()).opened
    assert [(key, track.since_ms) for key, track in opened] == [(KEY, 0)]
    assert story.look(AFTER_MS + 1, fault()) == Decision([], [], [], story.tracks, AFTER_MS + 1 + NOTED_EVERY_MS)
    assert story.look(200_000).due_ms == 200_000 + CLEAR_MS
    assert story.look(200_000 + CLEAR_MS - 1).closed == []
    assert story.look(200_000 + CLEAR_MS).closed == [KEY]
    assert story.tracks == {}


def test_what_comes_and_goes_within_the_thresholds_is_told_once_and_never_over() -> None:
    story = Story()
    story.look(0, fault())
    story.look(AFTER_MS, fault())
    for now_ms in range(AFTER_MS, AFTER_MS + 100 * CLEAR_MS, CLEAR_MS // 2):
        story.look(now_ms, *([fault()] if now_ms // (CLEAR_MS // 2) % 2 else []))
    assert (story.opened, story.closed) == (1, 0)


def test_what_never_lasts_is_never_told() -> None:
    story = Story()
    for now_ms in range(0, 100 * AFTER_MS, AFTER_MS // 2):
        story.look(now_ms, *([fault()] if now_ms // (AFTER_MS // 2) % 2 else []))
    assert (story.opened, story.closed) == (0, 0)


def test_what_knows_since_when_it_is_opens_by_that_and_not_by_when_it_was_found() -> None:
    story = Story()
    [(_, track)] = story.look(AFTER_MS + 5, fault(since_ms=5)).opened
    assert track.since_ms == 5
    early = Story().look(10, fault(since_ms=99))
    assert early.tracks[KEY].since_ms == 10, "a time in the future is none"


def test_an_instant_holds_for_the_time_that_it_takes_to_be_over() -> None:
    story = Story()
    one = Finding(ANOMALY, "flow", 0, {"z": 4}, instant=True)
    assert story.look(0, one).due_ms == CLEAR_MS
    story.look(CLEAR_MS // 2, one)
    assert story.look(CLEAR_MS).closed == []
    assert story.look(CLEAR_MS // 2 + CLEAR_MS).closed == [(ANOMALY, "flow")]
    assert (story.opened, story.closed) == (1, 1)


def test_an_instant_below_its_threshold_leaves_nothing_behind() -> None:
    story = Story(THRESHOLDS | {ANOMALY: Threshold(1_000, CLEAR_MS)})
    assert story.look(0, Finding(ANOMALY, "flow", 0, {}, instant=True)) == Decision([], [], [], {}, None)


def test_what_fades_holds_up_an_open_alert_and_opens_none() -> None:
    fading = fault()._replace(fading=True)
    story = Story()
    assert story.look(0, fading) == Decision([], [], [], {}, None)
    story.look(0, fault(what="silent"))
    story.look(AFTER_MS, fault(what="silent"))
    decision = story.look(AFTER_MS + 10 * CLEAR_MS, fading)
    assert decision.closed == []
    assert decision.tracks[KEY].figures == {"what": "silent"}


def test_figures_that_change_and_time_are_noted_without_being_told_again() -> None:
    story = Story()
    story.look(0, fault())
    story.look(AFTER_MS, fault())
    assert [key for key, _ in story.look(AFTER_MS + 1, fault(number=2)).noted] == [KEY]
    assert story.look(AFTER_MS + 2, fault(number=2)).noted == []
    assert [key for key, _ in story.look(AFTER_MS + 1 + NOTED_EVERY_MS, fault(number=2)).noted] == [KEY]
    assert story.opened == 1


def test_a_kind_that_is_switched_off_closes_what_it_has_opened_and_opens_nothing() -> None:
    story = Story()
    story.look(0, fault(since_ms=-AFTER_MS))
    off = THRESHOLDS | {METER_FAULT: Threshold(AFTER_MS, CLEAR_MS, enabled=False)}
    assert decide(story.tracks, [fault()], off, 1).closed == [KEY]
    assert decide({}, [fault(since_ms=-AFTER_MS)], off, 1) == Decision([], [], [], {}, None)


def test_a_kind_that_this_software_no_longer_knows_is_closed() -> None:
    track = Track(0, told=True, gone_ms=None, noted_ms=0, figures={})
    assert decide({("comet", ""): track}, [], THRESHOLDS, 1).closed == [("comet", "")]


@given(st.lists(st.tuples(st.integers(1, 200_000), st.booleans()), max_size=60))
def test_opened_and_closed_take_turns_whatever_happens(steps: list[tuple[int, bool]]) -> None:
    story, now_ms = Story(), 0
    for step_ms, so in steps:
        now_ms += step_ms
        story.look(now_ms, *([fault()] if so else []))
        assert 0 <= story.opened - story.closed <= 1
        is_open = any(track.told for track in story.tracks.values())
        assert is_open == (story.opened > story.closed)


@given(st.lists(st.tuples(st.integers(1, 200_000), st.booleans()), max_size=40))
def test_a_look_when_it_is_due_or_at_any_time_between_ends_the_same(steps: list[tuple[int, bool]]) -> None:
    """Only looks at changes and at due times are needed: others in between change nothing of what is told."""
    seldom, often, now_ms, so = Story(), Story(), 0, False
    for step_ms, becomes in steps:
        end_ms = now_ms + step_ms
        for story, every in ((seldom, None), (often, 7_919)):
            at_ms = now_ms
            while True:
                due_ms = story.look(at_ms, *([fault()] if so else [])).due_ms
                following = at_ms + every if every else due_ms
                if following is None or min(following, due_ms or following) >= end_ms:
                    break
                at_ms = min(following, due_ms or following)
        now_ms, so = end_ms, becomes
        assert (seldom.opened, seldom.closed) == (often.opened, often.closed)


def test_settings_of_fleet_group_and_station_each_win_over_the_one_before() -> None:
    layers = [{"leak.after_s": 1, "leak.clear_s": 9}, {"leak.after_s": 2}, {"leak.enabled": 0}]
    found = thresholds_of(layers)
    assert found[LEAK] == Threshold(2_000, 9_000, enabled=False)
    assert found[BOOKS] == Threshold(KINDS[BOOKS].after_s * 1_000, KINDS[BOOKS].clear_s * 1_000)


@pytest.mark.parametrize("text", ["offline.after_s", "offline.after_s=", "offline.after_s=-1", "offline.after_s=1.5"])
def test_a_setting_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(AlertError, match="whole number"):
        read_setting(text)


@pytest.mark.parametrize("text", ["comet.after_s=1", "offline.loud=1", "offline=1", "leak.enabled=2"])
def test_a_setting_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(AlertError):
        read_setting(text)


def test_a_setting_is_read() -> None:
    assert read_setting(" offline.after_s = 1800 ") == ("offline.after_s", 1_800)


def test_words_say_what_it_is_how_much_and_what_to_do() -> None:
    said = told(BOOKS, "hole", {"number": 2, "volume_ul": 1_234_000_001})
    assert said.title == "Books do not balance"
    assert said.text == "counts that no event covers: 2 of them, 1,234.000001 L"
    assert "drain the station's former card" in said.advice
    assert told(METER_FAULT, "tap-1", {"what": "silent"}).text == "tap-1: the meter does not answer"
    assert told(METER_FAULT, "tap-1:no-flow", {"what": "no-flow"}).text == "tap-1: not a count for long"
    assert told("failed-events", "", {"number": 1_000, "more": True}).text.endswith("1,000 or more of them")
    assert told("job-failed", "retention", {"reason": "disk full"}).text.endswith("disk full")
    assert told(BOOKS, "comet", {"volume_ul": -1}).text.endswith("-0.000001 L")
    assert told("comet", "x", {}).title == "comet"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_has_its_words(kind: Any) -> None:
    assert kind.title
    assert kind.meaning.endswith(".")
    assert kind.advice.endswith(".")
    assert told(kind.name, "", {}).text == kind.meaning
