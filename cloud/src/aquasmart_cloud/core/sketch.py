"""Percentiles of any number of amounts in a few hundred bytes, mergeable: counts by bucket of about 0.8 % width.

Pure and by integers alone, so that the same amounts give the same answer on every machine and in every order
(docs/decisions/0034-percentiles.md). A bucket is a power of two cut into 128 equal parts; a percentile is the middle
of the bucket that holds it, at most 0.4 % from the true value, and never outside the smallest and largest amount.
"""

from __future__ import annotations

from collections.abc import Iterable

_PARTS_BITS = 7
_PARTS = 1 << _PARTS_BITS


class Sketch:
    """How many values fell into each bucket. Values are whole numbers above zero (billionths of a unit)."""

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: dict[int, int] = counts or {}

    def add(self, value: int) -> None:
        """Count one value. Errors: ValueError below 1."""
        bucket = bucket_of(value)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Count everything that `other` has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def quantile(self, percent: int, least: int, most: int) -> int:
        """The value that `percent` of all are at or below (nearest rank), within 0.4 % and [least, most].

        Errors: ValueError where nothing was counted.
        """
        total = sum(self.counts.values())
        if not total:
            raise ValueError("nothing was counted")
        rank = max(1, -(-total * percent // 100))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return min(max(_middle(bucket), least), most)
        raise AssertionError("the ranks end with the total")

    def text(self) -> str:
        """As stored: `bucket:count` in order, the bucket as the distance from the one before."""
        parts, before = [], 0
        for bucket in sorted(self.counts):
            parts.append(f"{bucket - before}:{self.counts[bucket]}")
            before = bucket
        return " ".join(parts)

    @classmethod
    def of_text(cls, text: str) -> Sketch:
        """Read what `text` wrote."""
        counts, bucket = {}, 0
        for part in text.split():
            step, _, count = part.partition(":")
            bucket += int(step)
            counts[bucket] = int(count)
        return cls(counts)

    @classmethod
    def of(cls, values: Iterable[int]) -> Sketch:
        """A sketch of these values."""
        made = cls()
        for value in values:
            made.add(value)
        return made


def bucket_of(value: int) -> int:
    """The bucket of a value: below 128 the value itself, above it the power of two and the next seven bits."""
    if value < 1:
        raise ValueError("only values above zero are counted")
    shift = value.bit_length() - 1 - _PARTS_BITS
    return value if shift <= 0 else (shift << _PARTS_BITS) + (value >> shift)


def _middle(bucket: int) -> int:
    """The middle of a bucket, rounded down."""
    if bucket < 2 * _PARTS:
        return bucket
    shift = (bucket >> _PARTS_BITS) - 1
    low = (bucket - (shift << _PARTS_BITS)) << shift
    return low + (1 << shift >> 1)
