"""A figure whose name ends in its unit, as a person writes it: `peak_ul_s` 122222 is `peak 7.33 L/min`.

Names in events, differences and the audit trail carry their units (docs/protocol.md). Volumes keep every microlitre;
the rest is rounded to what a person reads. Pure, by decimals: no binary fractions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from . import figures

_A_MOMENT_MS = 10**12
"""Milliseconds since 1970 from here on (2001): no duration is thirty years."""
_LONG_S = 120
_MOST = 10**14
"""A figure beyond it is nobody's measurement, and is shown as it came."""


class _Unit(NamedTuple):
    """`factor` of the stored figure are one of `word`, which is shown with so many `places`, or fewer."""

    word: str
    factor: int | Decimal
    places: int


_UNITS = {
    "_ul_s": _Unit("L/min", Decimal(1_000_000) / 60, 2),
    "_mv": _Unit("V", 1_000, 3),
    "_mc": _Unit("°C", 1_000, 1),
    "_us": _Unit("ms", 1_000, 3),
    "_bytes": _Unit("MiB", 1 << 20, 1),
}


def quantity(name: str, value: object, unit_of: str = "") -> tuple[str, str]:
    """The name without its unit, and the figure with it; both as they are where no unit is known.

    `unit_of`: a name whose unit this figure has, as `value` has its metric's.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return name, str(value)
    carrier = unit_of or name
    number = Decimal(str(value))
    if not (number.is_finite() and -_MOST < number < _MOST):
        return name, str(value)
    for suffix in ("_ul_s", "_ul", "_counts", "_ms", "_mv", "_mc", "_us", "_bytes", "_s"):
        if carrier.endswith(suffix):
            stays = unit_of or suffix == "_counts"
            return name if stays else name.removesuffix(suffix), _shown(number, suffix)
    return name, str(value)


def _shown(number: Decimal, suffix: str) -> str:
    if suffix == "_ul":
        return figures.plain_litres(int(number))
    if suffix == "_counts":
        return f"{number:,}"
    if suffix == "_ms" and number >= _A_MOMENT_MS:
        return f"{datetime.fromtimestamp(int(number) // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if suffix in ("_ms", "_s"):
        seconds = number / 1000 if suffix == "_ms" else number
        return figures.duration(int(seconds)) if seconds >= _LONG_S else f"{_short(seconds, 3)} s"
    unit = _UNITS[suffix]
    return f"{_short(number / unit.factor, unit.places)} {unit.word}"


def _short(number: Decimal, places: int) -> str:
    """Rounded, without noughts at the end that say nothing."""
    text = f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
