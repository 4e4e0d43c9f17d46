"""Vectors for the price of positions (docs/protocol.md §3)."""

from __future__ import annotations

from typing import Any

from tests.contract import reference as ref

Case = dict[str, Any]


def _volume(name: str, ul_num: int, den: int, from_counts: int, to_counts: int) -> Case:
    given = {"ul_num": ul_num, "den": den, "from_counts": from_counts, "to_counts": to_counts}
    try:
        expected: dict[str, Any] = {"volume_ul": ref.volume_ul(from_counts, to_counts, ul_num, den)}
    except ValueError:
        expected = {"error": "out-of-range"}
    return {
        "name": name,
        "flags": ["valid" if "volume_ul" in expected else "refused"],
        "input": given,
        "expected": expected,
    }


def vectors() -> dict[str, Any]:
    """Refused ones included: both sides must refuse, not round, wrap or turn to floats."""
    last = (ref.PRICE_LIMIT - 1) // 20_000
    cases = [
        _volume("the example: 450 pulses after 1,000,000", 20_000, 9, 1_000_000, 1_000_450),
        _volume("one pulse of K = 450 at 1,000,000", 20_000, 9, 1_000_000, 1_000_001),
        _volume("the next pulse is cheaper by the remainder", 20_000, 9, 1_000_001, 1_000_002),
        _volume("nothing", 20_000, 9, 1_000_000, 1_000_000),
        _volume("a millilitre register", 1_000, 1, 5_000, 5_003),
        _volume("a fraction of a microlitre per count", 1, 3, 0, 2),
        _volume("a third count makes it whole", 1, 3, 2, 3),
        _volume("beyond 2^53", 1, 1, (1 << 53) - 1, (1 << 53) + 1),
        _volume("the last position that can be carried", 20_000, 9, last - 1, last),
        _volume("one position further", 20_000, 9, last, last + 1),
        _volume("2^63 counts", 1, 1, 0, 1 << 63),
        _volume("2^70 counts", 1, 1, 0, 1 << 70),
        _volume("from below zero", 20_000, 9, -1, 5),
        _volume("to below zero", 20_000, 9, 0, -5),
        _volume("ul_num 0", 0, 9, 0, 5),
        _volume("den 0", 20_000, 0, 0, 5),
        _volume("ul_num below zero", -1, 9, 0, 5),
        _volume("den below zero", 20_000, -9, 0, 5),
    ]
    return {"description": "Volumes from positions, docs/protocol.md §3", "cases": cases}
