"""When a configuration on trial has passed, and when it must go."""

from __future__ import annotations

from aquasmart_station.core.probation import LEAST_POLLS, TRIAL_MS, Polls, Trial, verdict

WELL = Polls(5_900, 100)
AS_WELL = Polls(900, 10)


def judge(before: Polls = WELL, *, judged_ms: int, polls: Polls = AS_WELL, silent_ms: int = 0) -> str | None:
    return verdict(before, Trial(judged_ms, polls, silent_ms))


def test_it_passes_after_ten_minutes_with_the_link_up_and_not_before() -> None:
    assert judge(judged_ms=TRIAL_MS - 1) is None
    assert judge(judged_ms=TRIAL_MS) == ""


def test_silence_while_the_former_settings_get_through_ends_it() -> None:
    assert judge(judged_ms=TRIAL_MS // 5, silent_ms=TRIAL_MS // 5 - 1) is None
    assert "is reached" in (judge(judged_ms=TRIAL_MS // 5, silent_ms=TRIAL_MS // 5) or "")


def test_an_outage_is_no_time_and_ends_nothing() -> None:
    assert judge(judged_ms=0, polls=Polls(), silent_ms=0) is None


def test_polls_that_are_lost_end_it_once_enough_was_seen() -> None:
    lost = Polls(100, 900)
    assert judge(judged_ms=TRIAL_MS // 5 - 1, polls=lost) is None
    assert "100 of 1000 polls" in (judge(judged_ms=TRIAL_MS // 5, polls=lost) or "")
    assert judge(judged_ms=TRIAL_MS // 5, polls=Polls()) not in (None, "")


def test_fewer_polls_are_no_fault_worse_ones_are() -> None:
    assert judge(judged_ms=TRIAL_MS, polls=Polls(6, 0)) == ""
    assert judge(Polls(60, 40), judged_ms=TRIAL_MS, polls=Polls(30, 70)) == ""
    assert judge(Polls(60, 40), judged_ms=TRIAL_MS, polls=Polls(29, 71)) not in (None, "")


def test_what_was_bad_before_or_unknown_judges_nothing() -> None:
    assert judge(Polls(1, 99), judged_ms=TRIAL_MS, polls=Polls(0, 100)) == ""
    assert judge(Polls(LEAST_POLLS - 1, 0), judged_ms=TRIAL_MS, polls=Polls(0, 100)) == ""
    assert judge(Polls(LEAST_POLLS, 0), judged_ms=TRIAL_MS, polls=Polls(0, 100)) not in (None, "")


def test_a_counter_that_fell_began_anew() -> None:
    assert Polls(5, 0).since(Polls(900, 3)) == Polls(5, 0)
    assert Polls(905, 4).since(Polls(900, 3)) == Polls(5, 1)
    assert Polls(1, 2).plus(Polls(3, 4)) == Polls(4, 6)


def test_figures_survive_being_kept() -> None:
    assert Polls.read(WELL.document()) == WELL
    assert Polls.read(None) == Polls.read({"good": "x"}) == Polls()
