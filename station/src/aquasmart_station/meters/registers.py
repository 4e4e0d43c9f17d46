"""Register words to exact integers, and a profile's map of where a Modbus meter keeps them.

Words and TOML text in, integers out; no frames, no line. Floats of the meter (REAL4, IEEE 754 single) are taken
apart as bits: no float of ours ever touches a count.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aquasmart_station.core.errors import BadFrame
from aquasmart_station.core.model import Scale

from ..core.phrases import Phrase
from .driver import LineSettings

LOW_FIRST, HIGH_FIRST = "low-first", "high-first"


def u32(words: Sequence[int], order: str) -> int:
    """Two 16-bit words as one unsigned number; `order` says which comes first."""
    low, high = words if order == LOW_FIRST else reversed(words)
    return high << 16 | low


def real4_floor(bits: int, num: int, den: int) -> int:
    """⌊value · num / den⌋ of the IEEE 754 single with these `bits`, exactly. Raises BadFrame on NaN and infinity."""
    exponent, mantissa = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if exponent == 0xFF:
        raise BadFrame(Phrase("a REAL4 register holds no number"))
    if exponent:
        mantissa |= 0x800000
    power = max(exponent, 1) - 150
    signed = -mantissa if bits >> 31 else mantissa
    if power >= 0:
        return (signed << power) * num // den
    return signed * num // (den << -power)


def bcd(words: Sequence[int]) -> str | None:
    """Binary-coded decimal digits of `words`, high word first; None where it is no number or all zero."""
    digits = "".join(f"{word:04x}" for word in words)
    return digits if digits.isdecimal() and digits.strip("0") else None


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of the register map: wire address (from 0) of its first register, and how many."""

    address: int
    words: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of Modbus meter: where its registers are and what a count is worth."""

    name: str
    line: LineSettings
    function: int
    word_order: str
    scale: Scale
    modulus: int
    nonvolatile: bool
    whole: Block
    """Everything a poll wants, flow included."""
    brief: Block
    """The totaliser only: every other poll, so that a late answer has the wrong length."""
    integer_at: int
    fraction_at: int
    fraction_counts: int
    """Counts in one unit of the integer register."""
    flow_at: int
    flow_ul_s: tuple[int, int]
    """Numerator and denominator: µl/s in one unit of the flow register."""
    identity: Block | None

    def counts(self, block: Block, words: Sequence[int]) -> int:
        """The exact count in an answer to `block`: the integer register's units plus the fraction's floor.

        Raises BadFrame on a negative accumulator and on a fraction outside [0, 1): never a guess.
        """
        integer = self._pair(block, words, self.integer_at)
        if integer >> 31:
            raise BadFrame(Phrase("the accumulator is negative: {integer}", integer=integer - (1 << 32)))
        bits = self._pair(block, words, self.fraction_at)
        if (bits >> 31 and bits != 1 << 31) or real4_floor(bits, 1, 1) >= 1:
            raise BadFrame(Phrase("the accumulator's fraction is outside 0 to 1"))
        return integer * self.fraction_counts + real4_floor(bits, self.fraction_counts, 1)

    def flow(self, words: Sequence[int]) -> int | None:
        """Flow in µl/s from an answer to `whole`, negative backwards; None where the meter gives no number."""
        try:
            return real4_floor(self._pair(self.whole, words, self.flow_at), *self.flow_ul_s)
        except BadFrame:
            return None  # a meter without signal says NaN for the flow while its totaliser stands

    def _pair(self, block: Block, words: Sequence[int], address: int) -> int:
        at = address - block.address
        return u32(words[at : at + 2], self.word_order)


def parse_profile(text: str, name: str) -> Profile:
    """A profile from its TOML `text`. Raises ValueError where it is incomplete or wrong."""
    try:
        return _profile(tomllib.loads(text), name)
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(Phrase("profile {name}: {error}", name=name, error=repr(error))) from error


def _profile(table: Mapping[str, Any], name: str) -> Profile:
    total, flow, scale = table["total"], table["flow"], table["scale"]
    if table["word_order"] not in (LOW_FIRST, HIGH_FIRST):
        raise ValueError(
            Phrase(
                "profile {name}: word_order must be {low_first} or {high_first}",
                name=name,
                low_first=LOW_FIRST,
                high_first=HIGH_FIRST,
            )
        )
    return Profile(
        name=name,
        line=LineSettings(**table["line"]),
        function=table["function"],
        word_order=table["word_order"],
        scale=Scale(scale["ul_num"], scale["den"]),
        modulus=total["modulus"],
        nonvolatile=table["nonvolatile"],
        whole=Block(**table["whole"]),
        brief=Block(**table["brief"]),
        integer_at=total["integer_at"],
        fraction_at=total["fraction_at"],
        fraction_counts=total["fraction_counts"],
        flow_at=flow["at"],
        flow_ul_s=(flow["ul_s_num"], flow["ul_s_den"]),
        identity=Block(**table["identity"]) if "identity" in table else None,
    )
