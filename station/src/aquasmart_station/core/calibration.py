"""Calibration by known pours: from counts and volumes to a K-factor, its error and its class, exactly.

Pure fractions. A pour says: so many counts were so much water. What the meter's scale would have made of it, less what
it was, by what it was, is the error; the scale that makes it zero is volume over counts, and nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .model import Scale
from .phrases import Phrase

CLASSES = ("0.5", "1", "1.5", "2", "3", "5")
"""Accuracy classes: the largest error in per cent."""
SUSPICIOUS = Fraction(20)
"""Per cent: so far off is a mistake with the vessel or the tap more often than a meter."""
COARSE = Fraction(1, 200)
"""A count worth more of the pour than this decides about half a per cent by itself."""


@dataclass(frozen=True, slots=True)
class Pour:
    """`counts` the meter gave for `volume_ul` of water."""

    counts: int
    volume_ul: int

    def error_percent(self, scale: Scale) -> Fraction:
        """What `scale` makes of the counts, beyond the true volume, in per cent of it."""
        beyond = self.counts * scale.ul_num - self.volume_ul * scale.den
        return Fraction(100 * beyond, scale.den * self.volume_ul)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What pours say of a meter."""

    scale: Scale
    """The new one: all water over all counts."""
    before_percent: Fraction
    """Error of the scale in force, over all pours."""
    spread_percent: Fraction
    """How far the pours disagree among themselves: largest less smallest error."""
    coarse: bool
    """Whether the smallest pour is too small for its counts to tell half a per cent."""

    @property
    def k_factor(self) -> Fraction:
        """Pulses per litre."""
        return Fraction(1_000_000 * self.scale.den, self.scale.ul_num)

    @property
    def suspicious(self) -> bool:
        return abs(self.before_percent) > SUSPICIOUS


def calibrate(pours: Sequence[Pour], present: Scale) -> Calibration:
    """What follows from the pours. Raises ValueError where one of them has no counts or no water."""
    if not pours or any(pour.counts <= 0 or pour.volume_ul <= 0 for pour in pours):
        raise ValueError("a pour needs water, and a meter that has counted it")
    total = Pour(sum(pour.counts for pour in pours), sum(pour.volume_ul for pour in pours))
    exact = Fraction(total.volume_ul, total.counts)
    errors = [pour.error_percent(present) for pour in pours]
    return Calibration(
        scale=Scale(exact.numerator, exact.denominator),
        before_percent=total.error_percent(present),
        spread_percent=max(errors) - min(errors),
        coarse=min(pour.counts for pour in pours) * COARSE < 1,
    )


def class_of(error_percent: Fraction) -> str:
    """The accuracy class that an error just fits."""
    fitting = next((name for name in CLASSES if abs(error_percent) <= Fraction(name)), None)
    return Phrase("worse than {limit} %", limit=CLASSES[-1]) if fitting is None else f"{fitting} %"


def decimals(value: Fraction, places: int) -> str:
    """A fraction as a decimal, rounded half up at the last place, without passing through a float."""
    scaled = abs(value) * 10**places
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    text = f"{whole // 10**places}.{whole % 10**places:0{places}}" if places else str(whole)
    return f"-{text}" if value < 0 and whole else text
