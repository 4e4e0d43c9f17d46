"""Amounts as clients write them, read as exact decimals: `1,200`, `1200.0`, `$1200` and 1200 are one number.

Pure, and without floats: a number that JSON carries comes as int or Decimal. What could be read in two ways is
refused with the setting that would decide it.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Any

from .rules import DecimalMark

MAX_WHOLE_DIGITS = 15
MAX_DECIMALS = 9
NANO = 10**MAX_DECIMALS
"""Amounts are kept to the billionth, so sums of them are sums of integers."""

_GROUPING = ",.' _\u00a0\u2009\u202f\u2019"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?P<whole>[0-9](?:[0-9{re.escape(_GROUPING)}]*[0-9])?)?(?P<rest>[.,][0-9]*)?"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_GROUPED = re.compile(rf"[1-9][0-9]{{0,2}}(?P<mark>[{re.escape(_GROUPING)}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*")


class AmountError(ValueError):
    """The value is no amount; the text says why, to whoever sent it."""


def read_amount(value: Any, decimal_mark: DecimalMark = ".") -> Decimal:
    """The amount, positive and exact, without trailing zeros. Errors: AmountError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise AmountError("is not a number")
    number = _from_text(value, decimal_mark) if isinstance(value, str) else Decimal(value)
    return _judged(number)


def amount_text(amount: Decimal) -> str:
    """An amount as its one text: no exponent, no trailing zeros, no sign."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_nano(amount: Decimal) -> int:
    """An amount in billionths, exactly. Errors: AmountError where it has finer digits."""
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or exponent < -MAX_DECIMALS:
        raise AmountError(f"has more than {MAX_DECIMALS} decimals")
    nano: int = int("".join(map(str, digits)) or "0") * 10 ** (exponent + MAX_DECIMALS)
    return -nano if sign else nano


def from_nano(nano: int) -> str:
    """Billionths as a text without trailing zeros."""
    sign, rest = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(rest, NANO)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".")


def _judged(number: Decimal) -> Decimal:
    """The number in its one form. Digits are judged before any arithmetic: 1e999999 would cost memory."""
    if not number.is_finite():
        raise AmountError("is not a number")
    if number <= 0:
        raise AmountError("must be above zero")
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise AmountError("is not a number")
    kept = "".join(map(str, digits)).lstrip("0").rstrip("0")
    exponent += len(digits) - len("".join(map(str, digits)).rstrip("0"))
    if len(kept) + exponent > MAX_WHOLE_DIGITS:
        raise AmountError(f"is too large: at most {MAX_WHOLE_DIGITS} digits before the decimal mark")
    if exponent < -MAX_DECIMALS:
        raise AmountError(f"has more than {MAX_DECIMALS} decimals")
    return Decimal(f"{kept}E{exponent}")


def _from_text(text: str, decimal_mark: DecimalMark) -> Decimal:
    """A text to a number: surroundings and currency signs off, groups of thousands joined."""
    bare = _without_currency(text.strip())
    match = _NUMBER.fullmatch(bare)
    if match is None or len(bare) > 100 or not (match["whole"] or match["rest"]):
        raise AmountError(f"{_short(text)} is not a number")
    whole, _, fraction = ((match["whole"] or "") + (match["rest"] or "")).partition(decimal_mark)
    if fraction and not fraction.isdigit():
        raise AmountError(f"{_short(text)} cannot be read with {decimal_mark!r} as the decimal mark")
    whole = _joined(whole, decimal_mark, text)
    return Decimal(f"{match['sign']}{whole or '0'}.{fraction or '0'}E{match['exponent'] or '0'}")


def _joined(whole: str, decimal_mark: DecimalMark, text: str) -> str:
    """Digits without their separators, which must stand at every third place and be the same."""
    if not whole or whole.isdigit():
        return whole
    grouped = _GROUPED.fullmatch(whole)
    if grouped is None or grouped["mark"] == decimal_mark:
        raise AmountError(
            f"{_short(text)} is grouped in no known way; a client with decimal commas has the decimal mark ',' set"
        )
    return whole.replace(grouped["mark"], "")


def _without_currency(text: str) -> str:
    """The text without one currency sign before or after the number, and without a sign's blank."""
    sign = ""
    if text[:1] in {"+", "-"}:
        sign, text = text[0], text[1:].lstrip()
    if text and unicodedata.category(text[0]) == "Sc":
        text = text[1:].lstrip()
    elif text and unicodedata.category(text[-1]) == "Sc":
        text = text[:-1].rstrip()
    return sign + text


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
