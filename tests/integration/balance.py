"""Whether the books balance: the meter's own count file against log, acknowledgements and cloud, in exact numbers.

The volume is computed here with fractions, not with the product's prices, from a file that the product never reads.
"""

from __future__ import annotations

from fractions import Fraction

from tests.integration.world import World

START = 1_000_000
UL_PER_COUNT = Fraction(1_000_000, 450)


def volume_ul(lifetime: int) -> int:
    """What a meter that began at 1,000,000 counts has passed, from its own count file's figure."""
    return int(lifetime * UL_PER_COUNT) - int(START * UL_PER_COUNT)


def assert_books_balance(world: World, *, pruned: bool = False) -> None:
    """Meter = log = acknowledged = cloud, to the microlitre. The reader has been stopped, everything delivered.

    `pruned`: a short disk may have cost the log some of what the cloud has.
    """
    meter_ul = volume_ul(world.site.meter_counts().lifetime)
    status, totals = world.site.status(), world.site.totals()
    assert meter_ul > 0
    assert (status["meter_ul"], status["log_ul"], status["acked_ul"]) == (meter_ul, meter_ul, meter_ul)
    assert totals["volume_ul"] == totals["stations"][0]["volume_ul"] == meter_ul
    events = world.log.events()
    assert totals["stations"][0]["events"] >= events if pruned else totals["stations"][0]["events"] == events
    marks, last_seqs = world.cloud.marks(), world.log.last_seqs()
    assert marks == world.log.acknowledged()
    assert last_seqs.items() <= marks.items() if pruned else last_seqs == marks
    assert status["pending"] == 0
    assert world.cloud.differences() == {}
