"""Vectors for a batch's exact JSON bytes and what they mean (docs/protocol.md §4)."""

from __future__ import annotations

from typing import Any

from tests.contract import reference as ref
from tests.contract.messages import AT, MONO, TRACE, header, meterless_header

Case = dict[str, Any]
Row = dict[str, Any]

KINDS = (
    *("volume", "catch_up", "gap", "merged", "disputed", "leak", "baseline", "reset", "meter_change", "rollover"),
    *("reverse", "pour", "anomaly", "diagnostic", "config_applied", "boot", "shutdown", "heartbeat", "degraded"),
)


def _row(seq: int, counts: int, **changes: Any) -> Row:
    """A plain row, 100 ms after the one before."""
    row: Row = {
        "seq": seq,
        "seqs": 1,
        "kind": "volume",
        "flags": 0,
        "at_ms": AT + 100 * seq,
        "mono_ms": MONO + 100 * seq,
        "counts": counts,
        "data": None,
    }
    return row | changes


def _case(
    name: str,
    rows: list[Row],
    *,
    before: int = 1_000_000,
    stream: dict[str, Any] | None = None,
    whole: bool = True,
    shift_ms: int = 0,
    flags: tuple[str, ...] = (),
) -> Case:
    stream = header() if stream is None else stream
    sent = stream if whole else {"id": stream["id"]}
    text = ref.canonical(ref.batch_document(TRACE, sent, before, rows, shift_ms))
    given = {
        "trace_id": TRACE,
        "header": stream,
        "whole_header": whole,
        "counts_before": before,
        "wall_shift_ms": shift_ms,
        "rows": rows,
    }
    return {"name": name, "flags": ["valid", *flags], "input": given, "expected": {"json": text}}


def _streams() -> list[Case]:
    rows = [_row(1, 1_000_000, kind="baseline", data={"raw": 1_000_000}), _row(2, 1_000_001)]
    strong = header(identity={"kind": "strong", "value": "SN 4711"}, change_token="9f1c", modulus=None)
    shutdown = _row(3, 0, kind="shutdown")
    return [
        _case("a stream's first batch", rows),
        _case("later only the id", [_row(3, 1_000_004)], before=1_000_001, whole=False),
        _case("a strongly identified meter without modulus", rows, stream=strong),
        _case("no meter boot id", rows, stream=header(meter_boot_id=None)),
        _case("a meter register of millilitres", rows, stream=header(scale={"ul_num": 1_000, "den": 1})),
        _case(
            "the meterless stream",
            [_row(1, 0, kind="boot"), shutdown | {"seq": 2}],
            before=0,
            stream=meterless_header(),
        ),
    ]


def _columns() -> list[Case]:
    plain = [_row(seq, 1_000_000 + 6 * seq) for seq in range(1, 6)]
    flagged = [row | {"flags": flag} for row, flag in zip(plain, (0, 2, 2, 18, 0), strict=True)]
    first_flagged = [row | {"flags": 4} for row in plain]
    jump = [row | {"at_ms": row["at_ms"] + (3_600_000 if row["seq"] >= 3 else 0)} for row in plain]
    slew = [row | {"at_ms": row["at_ms"] + drift} for row, drift in zip(plain, (0, 90, 180, 249, 250), strict=True)]
    back = [row | {"at_ms": row["at_ms"] - (86_400_000 if row["seq"] >= 4 else 0)} for row in plain]
    idle = [row | {"kind": "heartbeat", "counts": 1_000_000, "mono_ms": MONO + 300_000 * row["seq"]} for row in plain]
    idle = [row | {"at_ms": AT + 300_000 * row["seq"]} for row in idle]
    return [
        _case("steady flow", plain),
        _case("flags by runs", flagged),
        _case("flags from the first row on", first_flagged),
        _case("the wall clock jumps an hour ahead", jump, flags=("wall-step",)),
        _case("the wall clock slews: a step at 250 ms, none before", slew, flags=("wall-step",)),
        _case("the wall clock jumps a day back", back, flags=("wall-step",)),
        _case("a boot's offset known later", plain, shift_ms=1_700_000_000_000),
        _case("idle heartbeats", idle),
        _case("a clock at 1970", [row | {"at_ms": 100 * row["seq"]} for row in plain]),
        _case(
            "two rows in one millisecond",
            [plain[0], plain[1] | {"mono_ms": plain[0]["mono_ms"], "at_ms": plain[0]["at_ms"]}],
        ),
        _case("the largest position", [_row(1, (ref.PRICE_LIMIT - 1) // 20_000)]),
    ]


def _kinds() -> list[Case]:
    text = {"note": 'Straße – 水, "quoted" \\ and\na line', "nested": {"list": [1, True, None, "x"]}}
    pour = {"volume_ul": 1_000_000, "duration_ms": 7_500}
    return [
        _case("a merged row", [_row(10, 1_000_050, seqs=10, kind="merged"), _row(11, 1_000_051)]),
        _case(
            "a gap in the middle",
            [_row(1, 1_000_001), _row(4, 1_000_009, seqs=3, kind="gap"), _row(5, 1_000_009)],
        ),
        _case("a gap of one", [_row(1, 1_000_001), _row(2, 1_000_003, kind="gap"), _row(3, 1_000_003)]),
        _case("a catch-up opens", [_row(1, 1_004_500, kind="catch_up"), _row(2, 1_004_501)]),
        _case(
            "data keeps its order and its text",
            [_row(1, 1_000_001), _row(2, 1_000_001, kind="diagnostic", data=text)],
        ),
        _case("a pour covers no counts", [_row(1, 1_000_450), _row(2, 1_000_450, kind="pour", data=pour)]),
        _case("empty data is sent", [_row(1, 1_000_000, kind="anomaly", data={})]),
        _case("every kind", [_row(seq, 1_000_000 + seq, kind=kind) for seq, kind in enumerate(KINDS, 1)]),
    ]


def vectors() -> dict[str, Any]:
    return {
        "description": "Rows of the log to the exact JSON text of a request, docs/protocol.md §4",
        "cases": _streams() + _columns() + _kinds(),
    }
