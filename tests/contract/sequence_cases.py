"""Vectors of several requests to one cloud: marks, clipping, claims and the ledger (docs/protocol.md §4–5)."""

from __future__ import annotations

from typing import Any

from tests.contract.books import Books
from tests.contract.messages import batch, header, meterless_header, request

Case = dict[str, Any]
Batch = dict[str, Any]

SECOND = "0b9c2f4e-8d43-4a55-9d1e-6f1f4f6f2a20"
THIRD = "0b9c2f4e-8d43-4a55-9d1e-6f1f4f6f2a30"
ONLY_ID = {"id": header()["id"]}
BASE = 1_000_000


def _case(name: str, *documents: Batch, flags: tuple[str, ...] = ("valid",)) -> Case:
    books = Books()
    answers = [books.take(document) for document in documents]
    return {
        "name": name,
        "flags": list(flags),
        "input": {"requests": [request(document) for document in documents]},
        "expected": {"answers": answers} | books.state(),
    }


def _next(counts: list[int], first_seq: int, before: int, **changes: Any) -> Batch:
    """A later batch of the first stream, which names it by its id only."""
    return batch(counts, first_seq=first_seq, counts_before=BASE + before, **({"stream": ONLY_ID} | changes))


def _other(stream_id: str, counts: list[int], opening: int, *, first_kind: str = "volume", **changes: Any) -> Batch:
    """The first batch of another stream of the same epoch, opened at BASE + `opening`."""
    opened = header(id=stream_id, opening_counts=BASE + opening, **changes)
    rows = [] if first_kind == "volume" else [{"row": 0, "kind": first_kind}]
    return batch(counts, stream=opened, counts_before=BASE + opening, rows=rows)


def _marks() -> list[Case]:
    first = batch()
    merged = [{"row": 0, "kind": "merged", "seqs": 4}]
    gap = [{"row": 0, "kind": "gap", "seqs": 3}]
    return [
        _case("the same batch again", first, first),
        _case("the same batch three times, then the next", first, first, first, _next([5], 4, 3)),
        _case("an older batch after a newer one", first, _next([2, 2], 4, 3), first),
        _case("a batch that straddles the mark", first, _next([1, 1, 4, 5], 2, 1)),
        _case("a merged row that straddles the mark", first, _next([9], 2, 1, rows=merged)),
        _case("a gap, then rows", first, _next([7, 0, 1], 4, 3, rows=gap)),
        _case("a known stream's whole header again", first, _next([1], 4, 3, stream=header())),
        _case("the rest of a batch that was cut", batch([1, 1, 1, 1, 1]), _next([1, 1, 1], 4, 3)),
    ]


def _refusals() -> list[Case]:
    first = batch()
    flags = ("refused",)
    return [
        _case("a hole in the numbers", first, _next([1], 5, 4), _next([1, 1], 4, 3), flags=flags),
        _case("a new stream that begins at seq 2", batch(first_seq=2), batch(), flags=flags),
        _case("an unknown stream by its id only", _next([1], 1, 0), batch(), flags=flags),
        _case("a number far ahead", first, _next([1], 1 << 40, 3), flags=flags),
        _case("refused, then the same data as they should be", _next([5], 4, 3), first, _next([5], 4, 3), flags=flags),
        _case(
            "one stream refused, another taken",
            _next([1], 3, 2),
            _other(SECOND, [4], 0),
            _next([1], 3, 2),
            flags=flags,
        ),
    ]


def _claims() -> list[Case]:
    first = batch()
    flags = ("difference",)
    return [
        _case("a higher claim leaves a hole", first, _next([1], 4, 13), flags=flags),
        _case("a lower claim overlaps", first, _next([5], 4, 1), flags=flags),
        _case("a straddling batch with a higher claim", first, _next([1, 1, 2], 2, 21), flags=flags),
        _case("a repeated row with other counts", first, batch([2, 0, 1]), flags=flags),
        _case("a repeated row of another kind", first, batch(rows=[{"row": 1, "kind": "leak"}]), flags=flags),
        _case(
            "a repeated row with other data",
            batch(rows=[{"row": 1, "kind": "diagnostic", "data": {"x": 1}}]),
            batch(rows=[{"row": 1, "kind": "diagnostic", "data": {"x": 2}}]),
            flags=flags,
        ),
        _case("a repeated row at another time is the same row", first, batch(at=first["at"] + 86_400_000)),
        _case("a hole that a later claim fills", first, _next([1], 4, 13), _other(SECOND, [10], 3), flags=flags),
    ]


def _ledger() -> list[Case]:
    first = batch([5, 5])
    flags = ("difference",)
    recalibrated = {"scale": {"ul_num": 2_500, "den": 1}}
    other_epoch = {"epoch": "6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c002", "epoch_from": 0, "opening_counts": 0}
    second_tap = {"meter_id": "tap-2", "epoch": "6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c003"}
    reset = batch([4], stream=header(id=SECOND, **other_epoch), counts_before=0, rows=[{"row": 0, "kind": "reset"}])
    boot = batch([0], stream=meterless_header(), counts_before=0, rows=[{"row": 0, "kind": "boot"}])
    catch_up = _other(SECOND, [30, 1], 10, first_kind="catch_up")
    return [
        _case("the next run goes on where the last ended", first, _other(SECOND, [3, 3], 10)),
        _case("the next run catches up", first, catch_up),
        _case("two streams of one epoch overlap: counted once", first, _other(SECOND, [5, 7], 3), flags=flags),
        _case("one stream within the other", batch([20]), _other(SECOND, [5], 5), flags=flags),
        _case("the wider stream second", _other(SECOND, [5], 5), batch([20]), flags=flags),
        _case("three streams over the same counts", first, _other(SECOND, [9], 2), _other(THIRD, [9], 4), flags=flags),
        _case(
            "a catch-up over delivered counts", batch([8]), _other(SECOND, [10], 4, first_kind="catch_up"), flags=flags
        ),
        _case("live rows take over a catch-up", _other(SECOND, [10], 0, first_kind="catch_up"), batch([4, 4])),
        _case("streams in the wrong order", _other(SECOND, [6], 10), batch([10])),
        _case("a hole between two runs", first, _other(SECOND, [6], 14), flags=flags),
        _case("a hole before the first row", _other(SECOND, [6], 9), flags=flags),
        _case("a hole in part filled", first, _other(SECOND, [6], 20), _other(THIRD, [4], 12), flags=flags),
        _case(
            "recalibrated: each position at the scale that booked it", first, _other(SECOND, [9], 10, **recalibrated)
        ),
        _case("a reset opens another epoch", first, reset),
        _case("two taps", first, _other(SECOND, [5], 0, **second_tap)),
        _case("the stream without a meter counts nothing", boot, first, boot),
        _case("disputed counts are counted", batch([5, 900, 5], rows=[{"row": 1, "kind": "disputed"}])),
    ]


def vectors() -> dict[str, Any]:
    return {
        "description": "Several requests to one cloud, then its books; docs/protocol.md §4 and §5",
        "cases": _marks() + _refusals() + _claims() + _ledger(),
    }
