"""The query's parameters, read and judged: every fault is a 422 that names the parameter. No view lives here."""

from __future__ import annotations

from flask import request

from aquasmart_cloud.core.normalising.instants import InstantError, read_instant
from aquasmart_cloud.core.problems import Fault, Refusal
from aquasmart_cloud.store.foreign_queries import SENDER_ID, Wanted

MOST_ROWS = 1_000
ROWS = 100
LONGEST = 300


def wrong(name: str, what: str) -> Refusal:
    """The refusal of one parameter."""
    return Refusal("invalid", f"{name}: {what}", faults=[Fault(name, what)])


def text(name: str) -> str | None:
    """A parameter's text; None where it was not given."""
    values = request.args.getlist(name)
    if not values:
        return None
    if len(values) > 1:
        raise wrong(name, "is given twice")
    if not values[0] or len(values[0]) > LONGEST or "\0" in values[0]:
        raise wrong(name, f"must be a text of 1 to {LONGEST} characters")
    return values[0]


def one_of(name: str, choices: tuple[str, ...], default: str) -> str:
    """A parameter that is one of several words."""
    value = text(name)
    if value is None:
        return default
    if value not in choices:
        raise wrong(name, f"must be one of {', '.join(choices)}")
    return value


def whole(name: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`."""
    value = text(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 19 and 1 <= int(value) <= most):
        raise wrong(name, f"must be a whole number from 1 to {most}")
    return int(value)


def limit() -> int:
    """How many rows a page has."""
    return whole("limit", ROWS, MOST_ROWS)


def status() -> str:
    """Processed events, or failed ones."""
    return one_of("status", ("processed", "failed"), "processed")


def of_stations() -> bool:
    """Whether the stations' own events are asked for, not those of other systems."""
    return one_of("of", ("events", "stations"), "events") == "stations"


def instant_ms(name: str, default: int) -> int:
    """A time in any form that events may have, in Unix milliseconds."""
    value = text(name)
    if value is None:
        return default
    try:
        # In a query a plus sign is a blank: 10:00:00+01:00 arrives as "10:00:00 01:00".
        return read_instant(value).at_ns // 1_000_000
    except InstantError as error:
        raise wrong(name, f"{error}") from error


def wanted(own: str | None) -> Wanted:
    """Which events: the filters, within what this caller may see. `own` is a client's id, None for people."""
    client_id = text("client")
    if client_id is not None and not SENDER_ID.fullmatch(client_id):
        raise wrong("client", "is no client's or station's id")
    if own is not None:
        if client_id not in (None, own):
            raise Refusal("forbidden", "a client sees its own events only")
        client_id = own
    everything = Wanted()
    from_ms, to_ms = instant_ms("from", everything.from_ms), instant_ms("to", everything.to_ms)
    return Wanted(client_id, text("metric"), text("station"), from_ms, to_ms)
