"""The accounting against an auditor with exact fractions, over anything that can happen in any order.

The world (`meter_world.py`) knows the truth by other means; the auditor sees only the rows that survived.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from aquasmart_station.core.model import Draft, Flag, Kind, MeterTraits, Reading, Scale
from tests.unit.station.meter_world import Meter, World, audit, booked, traits

DAY_MS = 86_400_000
RELIABLE = ("ntp", "rtc")
UNRELIABLE = ("restored", "unset")

thorough = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Story(World):
    """A world in which water obeys qmax and no gap between rows is so long that a wrap could hide in it."""

    longest_gap_ms: int = 10 * DAY_MS
    highest: int = field(init=False)
    origin: int = field(init=False)
    """True position when the baseline that survived was read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.highest = self.origin = self.meter.net

    def poll(self) -> list[Draft]:
        if not self.log and not self.ring:
            self.origin = self.meter.net
        drafts = super().poll()
        self.highest = max(self.highest, self.meter.net)
        return drafts

    def most_counts(self, duration_ms: int) -> int:
        of = self.traits
        return of.qmax_ul_s * duration_ms * of.scale.den // (1000 * of.scale.ul_num)

    def flow(self, duration_ms: int, percent: int) -> None:
        """Time passes, water flows at a part of qmax. Where the log has been silent too long it is told first."""
        duration_ms = min(duration_ms, self.longest_gap_ms)
        certain = (self.log[-1:] or self.ring[:1]) and (self.log[-1:] or self.ring[:1])[0].at_ms
        if certain and self.now_ms - certain + duration_ms > self.longest_gap_ms:
            self.poll()
            self.heartbeat()
            self.commit()
        self.wait(duration_ms)
        self.meter.flow(self.most_counts(duration_ms) * percent // 100)

    def backflow(self, percent: int) -> None:
        of = self.traits
        room = 1_000_000 * of.scale.den // of.scale.ul_num
        room = min(room, of.modulus // 8) if of.modulus else room
        room -= self.highest - self.meter.net
        self.meter.flow(-min(max(room, 0) * percent // 100, self.meter.net))

    def meter_restart(self) -> None:
        self.meter.power_cycle()

    def finish(self) -> None:
        """Forward flow until every debt is repaid, and a last reading."""
        self.poll()
        self.commit()
        goal = self.highest
        while self.meter.net <= goal and self.most_counts(self.longest_gap_ms // 2):
            self.flow(self.longest_gap_ms // 2, 100)
            self.poll()
            self.commit()
        self.poll()
        self.commit()

    def play(self, steps: list[tuple[Any, ...]]) -> None:
        for name, *arguments in steps:
            getattr(self, name)(*arguments)


@st.composite
def meters(draw: st.DrawFn, *, nonvolatile: bool = True, strong: bool = False) -> tuple[MeterTraits, int]:
    """Any scale, any register, a qmax that turns it slowly enough to be followed at all; and where it stands."""
    modulus = draw(st.sampled_from([1 << 16, 10**5, 10**6, 10**8, 1 << 32, (1 << 31) * 10**6, None]))
    width = modulus or 1 << 40
    scale = Scale(draw(st.integers(1, min((1 << 62) // width - 1, 10**7))), draw(st.integers(1, 10**5)))
    turn_ul = Fraction(width * scale.ul_num, scale.den)
    assume(turn_ul > 1_000)
    # In a second's bound there must be less than an eighth of a turn, or no poll could tell forwards from backwards.
    qmax = draw(st.integers(1, max(1, min(5_000_000, int(turn_ul) // 10))))
    start = draw(st.one_of(st.integers(0, width - 1), st.integers(max(0, width - 2_000), width - 1)))
    return traits(scale, modulus, qmax, nonvolatile=nonvolatile, strong=strong), start


def longest_gap_ms(of: MeterTraits) -> int:
    """Half a turn at qmax, short of it by a count: the gap after which rule 4 no longer trusts a wrap."""
    if of.modulus is None:
        return 10 * DAY_MS
    half = Fraction(of.modulus * of.scale.ul_num * 1000, of.scale.den * 2 * of.qmax_ul_s)
    return max(1, min(10 * DAY_MS, int(half) - 1))


def steps(longest_ms: int, clocks: tuple[str, ...], *, backflow: bool = True) -> st.SearchStrategy[Any]:
    gap = st.one_of(st.integers(1, min(2_000, longest_ms)), st.integers(1, longest_ms))
    kept = st.integers(0, 3)
    some = [
        st.just(("poll",)),
        st.tuples(st.just("flow"), gap, st.sampled_from([0, 1, 30, 100])),
        st.just(("commit",)),
        st.just(("heartbeat",)),
        st.tuples(st.just("crash"), kept),
        st.tuples(st.just("power_cut"), kept, st.sampled_from(clocks)),
        st.just(("meter_restart",)),
    ]
    some += [st.tuples(st.just("backflow"), st.integers(1, 100))] if backflow else []
    return st.lists(st.one_of(some), min_size=10, max_size=60)


@st.composite
def nonvolatile_stories(draw: st.DrawFn) -> tuple[Story, list[Any]]:
    of, start = draw(meters())
    longest = longest_gap_ms(of)
    # A board that lost the time, before a meter that restarted, believes in a wrap that a day can explain: no more.
    dark = longest > DAY_MS and draw(st.booleans())
    longest = DAY_MS if dark else longest
    meter = Meter(of, start, has_boot_id=draw(st.booleans()))
    story = Story(meter, of, longest_gap_ms=longest)
    return story, draw(steps(longest, RELIABLE + UNRELIABLE if dark else RELIABLE))


@thorough
@given(nonvolatile_stories())
def test_a_nonvolatile_meter_is_booked_to_the_last_count(case: tuple[Story, list[Any]]) -> None:
    story, script = case
    story.poll()
    story.play(script)
    story.finish()
    epochs = audit(story.log)
    truth = max(story.highest, story.meter.net) - story.origin
    assert sum(epoch.counts for epoch in epochs.values()) == truth
    assert story.account.view.state == "ok"
    assert {row.kind for row in story.log} <= {
        Kind.BASELINE, Kind.VOLUME, Kind.CATCH_UP, Kind.ROLLOVER, Kind.REVERSE, Kind.HEARTBEAT,
    }  # fmt: skip
    reasons = {row.data["reason"] for row in story.log if row.kind is Kind.BASELINE and row.data}
    assert reasons <= {"position-limit"}, "nothing but the wire's limit ends the epoch of a meter that forgets nothing"
    event(f"rollovers: {sum(row.kind is Kind.ROLLOVER for row in story.log)}")
    event(f"debts: {sum(row.kind is Kind.REVERSE for row in story.log) > 0}")


@st.composite
def volatile_stories(draw: st.DrawFn) -> tuple[Story, list[Any]]:
    of, start = draw(meters(nonvolatile=False))
    longest = longest_gap_ms(of)
    return Story(Meter(of, start), of, longest_gap_ms=longest), draw(steps(longest, RELIABLE, backflow=False))


@thorough
@given(volatile_stories())
def test_what_a_volatile_meter_forgets_is_named_with_a_bound_that_holds(case: tuple[Story, list[Any]]) -> None:
    story, script = case
    story.poll()
    story.play(script)
    story.finish()
    epochs = audit(story.log)
    missing = story.meter.net - story.origin - sum(epoch.counts for epoch in epochs.values())
    assert missing >= 0, "nothing is guessed in"
    named = [row.data for row in story.log if row.kind is Kind.RESET]
    assert len(epochs) == 1 + len(named)
    bound_ul = sum(data["unmeasured_bound_ul"] for data in named if data)
    price = Fraction(story.traits.scale.ul_num, story.traits.scale.den)
    assert missing * price <= bound_ul + len(named) * (price + 1)
    assert story.account.view.state == "ok"
    event(f"resets: {min(len(named), 4)}")


@st.composite
def swaps(draw: st.DrawFn) -> tuple[Story, list[Any], Meter, list[Any]]:
    of, start = draw(meters(strong=True))
    longest = longest_gap_ms(of)
    first = Meter(of, start, identity="A")
    second = Meter(of, draw(st.integers(0, (of.modulus or 1 << 40) - 1)), identity="B", boot=900)
    story = Story(first, of, longest_gap_ms=longest)
    while_frozen = st.lists(
        st.one_of(
            st.just(("poll",)),
            st.just(("commit",)),
            st.just(("heartbeat",)),
            st.tuples(st.just("crash"), st.integers(0, 3)),
        ),
        max_size=8,
    )
    return story, draw(steps(longest, RELIABLE)), second, draw(while_frozen)


@thorough
@given(swaps(), st.integers(1, 20_000), st.integers(1, 100))
def test_a_swapped_meter_is_booked_from_the_count_first_seen(
    case: tuple[Story, list[Any], Meter, list[Any]], frozen_ms: int, percent: int
) -> None:
    story, script, second, while_frozen = case
    story.poll()
    story.play(script)
    story.finish()
    former = booked(story.log)
    story.meter = second
    seen = second.net
    story.poll()
    story.commit()
    story.play(while_frozen)
    assert booked(story.log) == former
    story.flow(min(frozen_ms, story.longest_gap_ms), percent)
    story.account.acknowledge_swap()
    story.highest = second.net
    story.poll()
    story.finish()
    assert booked(story.log) - former == story.meter.net - seen
    assert story.log[-1].stream.identity == "B"


@st.composite
def chaos(draw: st.DrawFn) -> tuple[MeterTraits, list[Any]]:
    of, _ = draw(meters(nonvolatile=draw(st.booleans()), strong=True))
    width = of.modulus or 1 << 40
    reading = st.tuples(
        st.just("read"),
        st.one_of(st.integers(0, 2 * width), st.integers(0, 5_000), st.integers(width - 5_000, width + 5_000)),
        st.sampled_from(["none", "same", "same", "next"]),
        st.sampled_from([None, None, "A", "B"]),
        st.sampled_from([None, True, False]),
        st.one_of(st.integers(0, 2_000), st.integers(0, 30 * DAY_MS)),
        st.sampled_from([None, None, 0, 3, 10_000]),
    )
    other = st.one_of(
        st.just(("commit",)),
        st.just(("heartbeat",)),
        st.just(("swap",)),
        st.tuples(st.just("crash"), st.integers(0, 3)),
        st.tuples(st.just("power_cut"), st.integers(0, 3), st.sampled_from(RELIABLE + UNRELIABLE)),
        st.tuples(st.just("clock_jump"), st.integers(-2 * DAY_MS, 2 * DAY_MS)),
    )
    return of, draw(st.lists(st.one_of(reading, reading, other), min_size=1, max_size=40))


@dataclass
class Madhouse(World):
    """A world where the meter says anything; only a boot id, once gone, never comes again."""

    boots: int = 100

    def read(
        self,
        raw: int,
        boot: str,
        identity: str | None,
        nonvolatile: bool | None,
        gap_ms: int,
        reverse: int | None,
    ) -> None:
        self.wait(gap_ms)
        self.boots += boot == "next"
        reading = Reading(
            mono_ns=self.mono_ms * 1_000_000,
            wall_ns=self.now_ms * 1_000_000,
            rtt_us=0,
            meter_id="tap-1",
            boot_id=None if boot == "none" else f"{self.boots:08x}",
            forward_counts=raw,
            reverse_counts=reverse,
            identity=identity,
            nonvolatile=nonvolatile,
            flags=Flag.NONE,
        )
        self.ring += self.account.take(reading)

    def swap(self) -> None:
        self.account.acknowledge_swap()

    def clock_jump(self, step_ms: int) -> None:
        self.now_ms += step_ms


@thorough
@given(chaos())
def test_whatever_a_meter_says_rows_tile_and_nobody_is_locked_out(case: tuple[MeterTraits, list[Any]]) -> None:
    of, script = case
    story = Madhouse(Meter(of, 12_345, identity="A", boot=7), of)
    for name, *arguments in script:
        getattr(story, name)(*arguments)
        audit(story.log)
    story.settle()
    if story.account.view.state == "frozen":
        story.account.acknowledge_swap()
        story.settle()
    assert story.account.view.state == "ok"
    audit(story.log)
    before = booked(story.log)
    debt = story.account.view.reverse_debt_counts
    story.meter.flow(debt + 1)
    for _ in range(3):
        story.wait(1_000)
        story.poll()
    story.commit()
    assert booked(story.log) - before == 1


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_however_counts_are_cut_their_price_is_that_of_the_whole(num: int, den: int, cuts: list[int]) -> None:
    of = traits(Scale(num, den), None)
    world = World(Meter(of, 0), of)
    world.poll()
    for counts in cuts:
        world.meter.flow(counts)
        world.wait(1_000)
        world.poll()
        world.poll()
        world.poll()
    world.commit()
    assert world.account.view.run_volume_ul == sum(cuts) * num // den
    (epoch,) = audit(world.log).values()
    assert epoch.volume_ul == sum(cuts) * num // den


def test_the_auditor_is_not_blind() -> None:
    of = traits()
    world = World(Meter(of, 100), of)
    world.poll()
    world.meter.flow(5)
    world.wait(1_000)
    world.poll()
    world.commit()
    doctored = [world.log[0], replace(world.log[1], counts=99)]
    try:
        audit(doctored)
    except AssertionError:
        return
    raise RuntimeError("a row that takes counts back passed the audit")
