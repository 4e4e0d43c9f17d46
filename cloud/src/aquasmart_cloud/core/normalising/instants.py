"""Times as clients write them, read as exact instants in nanoseconds since 1970 (UTC).

Pure: there is no clock here, so a missing time can never become "now" (a retry would then count twice). Forms:
ISO 8601 with or without a zone (UTC where there is none), `YYYY/MM/DD`, `DD/MM/YYYY` or `MM/DD/YYYY` by the
client's date order, each with or without a time of day, and seconds or milliseconds since 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from .rules import DateOrder

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
EARLIEST_S = 946_684_800
"""2000-01-01. With LATEST_S it makes seconds and milliseconds since 1970 distinct without a guess."""
LATEST_S = 4_102_444_800
"""2100-01-01."""

_TIME = (
    r"(?:[Tt ]+(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_YEAR_FIRST = re.compile(r"(?P<year>[0-9]{4})(?P<mark>[-/])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})" + _TIME)
_YEAR_LAST = re.compile(r"(?P<one>[0-9]{1,2})(?P<mark>[-/.])(?P<two>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4})" + _TIME)
_BASIC = re.compile(
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})[Tt](?P<hour>[0-9]{2})(?P<minute>[0-9]{2})"
    r"(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_EPOCH = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")
_ORDERS = {"dmy": "day first", "mdy": "month first"}


class InstantError(ValueError):
    """The value is no time; the text says why, to whoever sent it."""


class Instant(NamedTuple):
    """An instant, and what was assumed to read it ('' for nothing)."""

    at_ns: int
    assumed: str = ""


def read_instant(value: Any, date_order: DateOrder = "dmy") -> Instant:
    """The instant that `value` names. Errors: InstantError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise InstantError("is not a time")
    if not isinstance(value, str):
        return Instant(_epoch(Decimal(value)))
    text = value.strip()
    if len(text) > 64:
        raise InstantError("is not a time: too long")
    if _EPOCH.fullmatch(text):
        return Instant(_epoch(Decimal(text)))
    if match := _YEAR_FIRST.fullmatch(text) or _BASIC.fullmatch(text):
        return Instant(_at_ns(match, int(match["month"]), int(match["day"])))
    if match := _YEAR_LAST.fullmatch(text):
        return _year_last(match, date_order)
    raise InstantError(f"{text!r} is in none of the known forms; ISO 8601 is, as 2024-03-01T10:15:00Z")


def iso(at_ns: int) -> str:
    """An instant as ISO 8601 in UTC, with as many decimals as it has: equal instants give equal texts."""
    seconds, nanos = divmod(at_ns, SECOND_NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}".rstrip("0").rstrip(".") + "Z"


def _epoch(number: Decimal) -> int:
    """Seconds or milliseconds since 1970: between 2000 and 2100 only one of the two is possible."""
    for unit_ns in (SECOND_NS, MS_NS):
        low, high = EARLIEST_S * SECOND_NS // unit_ns, LATEST_S * SECOND_NS // unit_ns
        if number.is_finite() and low <= number < high:
            at = _nano_digits(number, unit_ns)
            if at is None:
                raise InstantError("is finer than a nanosecond")
            return at
    raise InstantError("is neither seconds nor milliseconds since 1970 of a time between 2000 and 2100")


def _nano_digits(number: Decimal, unit_ns: int) -> int | None:
    """number × unit_ns by integers, or None where a digit would be lost. `number` is within the range of times."""
    _, digits, exponent = number.as_tuple()
    product = int("".join(map(str, digits))) * unit_ns
    if not isinstance(exponent, int) or exponent < -40:
        return None
    if exponent >= 0:
        return product * int(10**exponent)
    whole, rest = divmod(product, int(10**-exponent))
    return None if rest else whole


def _year_last(match: re.Match[str], date_order: DateOrder) -> Instant:
    one, two = int(match["one"]), int(match["two"])
    day, month = (one, two) if date_order == "dmy" else (two, one)
    if month > 12 >= day:
        raise InstantError(f"has month {month} read {_ORDERS[date_order]}; set this client's date order")
    ambiguous = one <= 12 and two <= 12 and one != two
    assumed = f"could be day first or month first; read {_ORDERS[date_order]}" if ambiguous else ""
    return Instant(_at_ns(match, month, day), assumed)


def _at_ns(match: re.Match[str], month: int, day: int) -> int:
    """The instant of a match whose month and day are decided."""
    parts = match.groupdict()
    fraction = parts.get("fraction") or ""
    if len(fraction.rstrip("0")) > 9:
        raise InstantError("is finer than a nanosecond")
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    try:
        at = datetime(int(match["year"]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise InstantError(f"is no time that exists: {error}") from error
    seconds = (at.toordinal() - 719_163) * 86_400 + hour * 3600 + minute * 60 + second - _offset_s(parts["zone"])
    if not EARLIEST_S <= seconds < LATEST_S:
        raise InstantError("is not between 2000 and 2100")
    return seconds * SECOND_NS + int(fraction[:9].ljust(9, "0"))


def _offset_s(zone: str | None) -> int:
    """Seconds east of UTC. No zone is UTC."""
    if zone is None or zone.upper() in {"Z", "UTC", "GMT"}:
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    if hours > 14 or minutes > 59:
        raise InstantError(f"has no such zone: {zone}")
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)
