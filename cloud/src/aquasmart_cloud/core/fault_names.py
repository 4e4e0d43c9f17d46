"""The faults that demonstrations and tests may ask for, by name. Names only; acting on them is web.faults."""

from __future__ import annotations

from typing import NamedTuple

DB_BEFORE, DB_WITHIN, DB_AFTER = "db-before", "db-within", "db-after"
DROP_ACK, DISCONNECT, ERROR_500, DELAY = "drop-ack", "disconnect", "error-500", "delay"
BY_HEADER = "header"
"""The setting that injects nothing by itself, but what a request's header asks for."""
LONGEST_DELAY_MS = 60_000

FAULTS = {
    DB_BEFORE: "the database fails before the transaction",
    DB_WITHIN: "the database fails within the transaction, after its last statement",
    DB_AFTER: "the database fails after the commit",
    DROP_ACK: "the connection is cut after everything was done, before the answer",
    DISCONNECT: "the connection is cut before anything is done",
    ERROR_500: "an answer 500, before anything is done",
    DELAY: "the answer waits, delay:1500 for 1.5 s",
}


class Injected(NamedTuple):
    """A fault, and for a delay how long."""

    name: str
    delay_ms: int = 0


def parse_fault(text: str) -> Injected | None:
    """The fault that a text names; None where it names none."""
    name, colon, delay = text.strip().partition(":")
    if name == DELAY:
        fit = delay.isascii() and delay.isdigit() and len(delay) < 9 and int(delay) <= LONGEST_DELAY_MS
        return Injected(DELAY, int(delay)) if fit else None
    return Injected(name) if name in FAULTS and not colon else None
