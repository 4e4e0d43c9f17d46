"""When a job of the worker is due again. Pure: durations in, durations out."""

from __future__ import annotations

FIRST_RETRY_S = 10
LONGEST_RETRY_S = 900


def delay_s(every_s: int, failures: int) -> int:
    """Seconds from the end of a job's run until its next, after so many failures in a row.

    One that fails is tried again after 10 s, then twice as long each time, a quarter of an hour at most: soon enough
    for a fault that passes, seldom enough for one that does not. A failing job never runs more often than a sound one.
    """
    if failures == 0:
        return every_s
    retry_s: int = FIRST_RETRY_S * 2 ** min(failures - 1, 16)
    return max(min(retry_s, LONGEST_RETRY_S), min(every_s, LONGEST_RETRY_S))


def wait_s(every_s: int, failures: int, since_s: int | None) -> int:
    """Seconds until a job is due that last ended `since_s` ago, None: never. A clock that was set back waits no longer
    than once round."""
    if since_s is None:
        return 0
    delay = delay_s(every_s, failures)
    return min(max(delay - since_s, 0), delay)
