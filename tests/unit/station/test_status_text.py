"""The line of `systemctl status aquasmart-sync`: everything a technician asks, in every state."""

from __future__ import annotations

import pytest

from aquasmart_station.services.sync_display import Figures, status_text

NOW_MS = 1_700_000_000_000


def figures(**what: object) -> Figures:
    return Figures(since_ms=NOW_MS - 90_000, **what)


def test_online_with_everything_delivered() -> None:
    text = status_text(figures(state="online", acknowledged_at_ms=NOW_MS - 3_000), NOW_MS, 0.0)
    assert text == "online for 90 s · everything delivered · last acknowledgement 3 s ago"


def test_offline_says_why_and_when_it_tries_again() -> None:
    shown = figures(
        state="online", pending=12_345, oldest_at_ms=NOW_MS - 7_200_000, acknowledged_at_ms=NOW_MS - 7_300_000
    )
    shown.failed("offline", "no answer within 30 s", NOW_MS - 60_000, 12.0)
    assert status_text(shown, NOW_MS, 11.6) == (
        "offline for 60 s · no answer within 30 s · next attempt in 11 s · 12345 events waiting, the oldest for 2 h"
        " · last acknowledgement 2 h ago"
    )


def test_the_next_attempt_counts_down_and_is_never_a_wait_of_nothing() -> None:
    shown = figures(state="offline", text="refused")
    assert "next attempt in 1 s" in status_text(shown, NOW_MS, 1.0)
    assert "trying now" in status_text(shown, NOW_MS, 0.9)


@pytest.mark.parametrize("state", ["offline", "unverified", "hold", "log-fault"])
def test_every_state_that_waits_says_for_how_long(state: str) -> None:
    assert "next attempt in 15 min" in status_text(figures(state=state, text="why"), NOW_MS, 900.0)


def test_an_error_that_is_over_is_still_told() -> None:
    shown = figures(state="online", acknowledged_at_ms=NOW_MS)
    shown.failed("offline", "503 from the cloud", NOW_MS - 180_000, 1.0)
    assert "last error" not in status_text(shown, NOW_MS, 1.0), "it stands there as the reason already"
    shown.say("online", "", NOW_MS - 1_000)
    assert status_text(shown, NOW_MS, 0.0).endswith(" · last error 3 min ago: 503 from the cloud")


def test_what_needs_a_person_stands_at_the_end() -> None:
    shown = figures(state="online", pending=1, oldest_at_ms=None, dead_letters=2, difference="the cloud has 3 more")
    text = status_text(shown, NOW_MS, 0.0)
    assert "1 event waiting · no acknowledgement since start" in text
    assert text.endswith("2 refused for good: aquasmart dead-letters list · BOOKS DIFFER: the cloud has 3 more")
