"""When an event that our own normaliser could not read is tried again. Pure."""

from __future__ import annotations

FIRST_RETRY_MS = 60_000
MOST_ATTEMPTS = 10


def retry_after_ms(attempts: int) -> int | None:
    """How long to wait after so many attempts: 1 min, then twice as long each time; None after ten, 17 hours in all.

    By then it is no passing fault: the event rests until a newer normaliser, or until somebody says so.
    """
    return None if attempts >= MOST_ATTEMPTS else FIRST_RETRY_MS << attempts
