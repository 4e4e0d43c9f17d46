"""What the LED says: every state has a pattern of its own, none of which could be a dead board's."""

from __future__ import annotations

import pytest

from aquasmart_station.cli.led import card_lines
from aquasmart_station.core.led import PATIENCE_S, PATTERNS, Health, Pattern, health


def test_every_state_has_a_pattern_of_its_own_that_never_stands_still() -> None:
    assert set(PATTERNS) == set(Health)
    assert len({pattern.steps_ms for pattern in PATTERNS.values()}) == len(Health)
    for pattern in PATTERNS.values():
        assert len(pattern.steps_ms) % 2 == 0
        assert max(pattern.steps_ms) <= 2_000


def test_a_pattern_is_lit_and_dark_by_its_steps_and_begins_anew() -> None:
    pattern = Pattern((100, 50, 200, 650))
    seen = [pattern.lit_at(at) for at in (0, 99, 100, 149, 150, 349, 350, 999, 1_000)]
    assert seen == [True, True, False, False, True, True, False, False, True]
    at, changes = 0, []
    for _ in range(5):
        at += pattern.next_change_ms(at)
        changes.append(at)
    assert changes == [100, 150, 350, 1_000, 1_100]


@pytest.mark.parametrize(
    ("reader", "sync", "meters", "oldest_s", "expected"),
    [
        ("running", "online", ["ok"], 0, Health.HEALTHY),
        ("running", "online", ["ok", "waiting"], PATIENCE_S, Health.HEALTHY),
        ("running", "online", ["ok"], PATIENCE_S + 1, Health.BACKLOG),
        ("running", "offline", ["ok"], 0, Health.BACKLOG),
        ("running", "starting", ["ok"], 0, Health.BACKLOG),
        ("running", "hold", ["ok"], 0, Health.HOLD),
        ("running", "unverified", ["ok"], 9_999, Health.HOLD),
        ("running", "hold", ["ok", "link-down"], 0, Health.METER),
        ("running", "online", ["frozen"], 0, Health.METER),
        ("running", "online", ["silent"], 0, Health.METER),
        ("log-fault", "online", ["silent"], 0, Health.DEAD),
        ("not-running", "online", ["ok"], 0, Health.DEAD),
        ("running", "stopped", ["ok"], 0, Health.DEAD),
    ],
)
def test_the_worst_that_is_true_is_shown(
    reader: str, sync: str, meters: list[str], oldest_s: int, expected: Health
) -> None:
    assert health(reader, sync, meters, oldest_s) is expected


def test_the_card_has_a_line_for_every_state() -> None:
    lines = card_lines()
    assert len(lines) == len(Health)
    assert all(any(each.word in line and each.remedy in line for line in lines) for each in Health)
