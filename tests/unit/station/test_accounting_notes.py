"""Rows that cover nothing, and counts that a leak holds back: the intervals tile all the same, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.model import Draft, Flag, Kind
from tests.unit.station.meter_world import Meter, World, audit, booked, traits
from tests.unit.station.test_accounting_properties import (
    RELIABLE,
    Madhouse,
    Story,
    chaos,
    longest_gap_ms,
    meters,
    steps,
    thorough,
)


class Noting:
    """Steps of a story that leak, note and settle at any moment."""

    def leak(self: Any, leaking: bool) -> None:
        self.account.book_as(Kind.LEAK if leaking else Kind.VOLUME, Flag.SUSPECT if leaking else Flag.NONE)

    def note(self: Any) -> None:
        draft = self.account.note(Kind.POUR, {"volume_ul": 1})
        self.ring += [draft] if draft else []

    def settle_leak(self: Any) -> None:
        self.ring += self.account.settle()


@dataclass
class NotedStory(Noting, Story):
    def finish(self) -> None:
        super().finish()
        self.settle_leak()
        self.commit()


@dataclass
class NotedMadhouse(Noting, Madhouse):
    pass


noting = st.one_of(st.tuples(st.just("leak"), st.booleans()), st.just(("note",)), st.just(("settle_leak",)))


@st.composite
def noted_stories(draw: st.DrawFn, *, nonvolatile: bool) -> tuple[NotedStory, list[Any]]:
    of, start = draw(meters(nonvolatile=nonvolatile))
    longest = longest_gap_ms(of)
    story = NotedStory(Meter(of, start), of, longest_gap_ms=longest)
    script = draw(steps(longest, RELIABLE, backflow=nonvolatile))
    for extra in draw(st.lists(noting, min_size=5, max_size=30)):
        script.insert(draw(st.integers(0, len(script))), extra)
    return story, script


def in_order(log: list[Draft]) -> None:
    """Time never runs backwards within a stream: the wire has no negative step."""
    latest: dict[Any, int] = {}
    for row in log:
        assert row.mono_ms >= latest.get(row.stream.id, row.mono_ms)
        latest[row.stream.id] = row.mono_ms


@thorough
@given(noted_stories(nonvolatile=True))
def test_a_leaking_meter_is_booked_to_the_last_count(case: tuple[NotedStory, list[Any]]) -> None:
    story, script = case
    story.poll()
    story.play(script)
    story.finish()
    truth = max(story.highest, story.meter.net) - story.origin
    assert booked(story.log) == truth
    in_order(story.log)


@thorough
@given(noted_stories(nonvolatile=False))
def test_a_volatile_meters_leak_is_never_held_back(case: tuple[NotedStory, list[Any]]) -> None:
    story, script = case
    story.poll()
    story.play(script)
    assert story.account.settle() == []
    story.finish()
    epochs = audit(story.log)
    named = [row.data["unmeasured_bound_ul"] for row in story.log if row.kind is Kind.RESET and row.data]
    assert len(epochs) == 1 + len(named)
    in_order(story.log)


@thorough
@given(chaos(), st.data())
def test_notes_and_leaks_in_a_madhouse_tile(case: tuple[Any, list[Any]], data: st.DataObject) -> None:
    of, script = case
    for extra in data.draw(st.lists(noting, min_size=3, max_size=20)):
        script.insert(data.draw(st.integers(0, len(script))), extra)
    story = NotedMadhouse(Meter(of, 12_345, identity="A", boot=7), of)
    for name, *arguments in script:
        getattr(story, name)(*arguments)
        audit(story.log)
    story.leak(False)
    story.settle()
    if story.account.view.state == "frozen":
        story.account.acknowledge_swap()
        story.settle()
    assert story.account.view.state == "ok"
    audit(story.log)
    in_order(story.log)


def leaking() -> World:
    here = World(Meter(traits(), 1_000_000), traits())
    here.poll()
    here.commit()
    here.account.book_as(Kind.LEAK, Flag.SUSPECT)
    return here


def run(here: World, polls: int, counts: int = 1) -> list[Draft]:
    rows: list[Draft] = []
    for _ in range(polls):
        here.wait(100)
        here.meter.flow(counts)
        rows += here.poll()
    return rows


def test_a_leak_is_booked_every_ten_seconds_as_leak() -> None:
    here = leaking()
    rows = run(here, 300)
    assert [(row.kind, row.counts, row.flags, row.urgent) for row in rows] == [
        (Kind.LEAK, 1_000_000 + counts, Flag.SUSPECT, False) for counts in (100, 200, 300)
    ]
    run(here, 5)
    assert here.account.view.counts == 1_000_300
    assert here.account.position == 1_000_305


def test_what_a_leak_holds_back_is_settled_before_anything_else() -> None:
    here = leaking()
    assert run(here, 5) == []
    here.account.book_as(Kind.VOLUME, Flag.NONE)
    assert [(row.kind, row.counts) for row in run(here, 1)] == [(Kind.LEAK, 1_000_005), (Kind.VOLUME, 1_000_006)]
    here.account.book_as(Kind.LEAK, Flag.NONE)
    run(here, 5)
    assert [(row.kind, row.counts) for row in here.account.settle()] == [(Kind.LEAK, 1_000_011)]
    assert here.account.settle() == []
    run(here, 5)
    here.meter.flow(-3)
    here.wait(100)
    assert [(row.kind, row.counts) for row in here.poll()] == [(Kind.LEAK, 1_000_016), (Kind.REVERSE, 1_000_016)]


def test_a_crash_finds_what_a_leak_held_back_on_the_meter() -> None:
    here = leaking()
    run(here, 50)
    here.crash()
    assert [(row.kind, row.counts) for row in here.poll()] == [(Kind.CATCH_UP, 1_000_050)]


def test_leaking_through_a_rollover_is_a_rollover() -> None:
    of = traits(modulus=1 << 16)
    here = World(Meter(of, (1 << 16) - 3), of)
    here.poll()
    here.account.book_as(Kind.LEAK, Flag.NONE)
    rows = run(here, 3)
    assert [(row.kind, row.counts) for row in rows] == [(Kind.LEAK, (1 << 16) - 1), (Kind.ROLLOVER, 1 << 16)]


def test_a_note_stands_where_and_when_the_meter_was_last_confirmed() -> None:
    here = World(Meter(traits(), 1_000_000), traits())
    assert here.account.note(Kind.POUR, {}) is None, "before the first reading there is nowhere to stand"
    here.poll()
    here.meter.flow(7)
    here.wait(100)
    here.poll()
    confirmed_ms = here.mono_ms
    here.wait(3_000)
    note = here.account.note(Kind.POUR, {"volume_ul": 5}, urgent=True)
    assert note is not None
    assert (note.kind, note.counts, note.mono_ms, note.urgent) == (Kind.POUR, 1_000_007, confirmed_ms, True)
    assert note.data == {"volume_ul": 5}


def test_nothing_is_noted_on_a_frozen_port_or_at_a_doubtful_count() -> None:
    of = traits(strong=True)
    here = World(Meter(of, 5_000, identity="A"), of)
    here.poll()
    here.meter = Meter(of, 40, identity="B")
    here.wait(100)
    assert [row.kind for row in here.poll()] == [Kind.ANOMALY]
    assert here.account.note(Kind.POUR, {}) is None
    assert here.account.position is None
    doubtful = World(Meter(traits(), 1_000_000), traits())
    doubtful.poll()
    doubtful.meter.flow(100_000)
    doubtful.wait(100)
    assert doubtful.poll() == []
    assert doubtful.account.note(Kind.POUR, {}) is None
