"""Vectors for the cloud's verdict on what a rightly signed request carries (docs/protocol.md §1 and §4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.contract import reference as ref
from tests.contract.messages import batch, header, meterless_header, packed, request, without

Case = dict[str, Any]
Make = Callable[..., Case]

MIB = 1 << 20
GOOD = batch()
TEXT = ref.canonical(GOOD)


def bodies(accepted: Make, refused: Make) -> list[Case]:
    """Every case, made with the verdict constructors of verdict_cases."""
    return _taken(accepted) + _frames(refused) + _sizes(accepted, refused) + _shapes(refused)


def _taken(accepted: Make) -> list[Case]:
    cumulative = ref.volume_ul(1_000_000, 1_000_003, 20_000, 9)
    said = {"inserted": 3, "duplicates": 0, "acked_through": 3, "counts_through": 1_000_003}
    boot = [{"row": 0, "kind": "boot"}]
    meterless = batch([0], stream=meterless_header(), counts_before=0, rows=boot)
    merged = batch([50, 1], rows=[{"row": 0, "kind": "merged", "seqs": 9}])
    future = batch(
        rows=[{"row": 1, "kind": "telepathy", "data": {"x": [1, 2.5, None, True]}}],
        later=[1],
        flags=[[0, 1 << 40]],
    )
    steps = batch(wall_steps=[[1, -86_400_000], [2, 86_400_000]], flags=[[0, 2], [2, 0]])
    last = (ref.PRICE_LIMIT - 1) // 20_000
    edge = batch([1], stream=header(opening_counts=last - 1, epoch_from=last - 1), counts_before=last - 1)
    deep = batch(rows=[{"row": 0, "kind": "diagnostic", "data": _nested(13)}])
    unicode = batch(rows=[{"row": 0, "kind": "diagnostic", "data": {"水": "Straße \u0000 \U0001f6b0"}}])
    return [
        accepted("three rows", request(GOOD), cumulative_ul=cumulative, stream=GOOD["stream"]["id"], **said),
        accepted("gzipped", request(packed(GOOD), encoding="gzip"), cumulative_ul=cumulative, **said),
        accepted("a query string, signed", request(GOOD, target="/v1/ingest?trial=1"), inserted=3),
        accepted("pretty-printed and signed so", request(TEXT.replace(",", ",\n ")), inserted=3),
        accepted("the meterless stream", request(meterless), inserted=1, cumulative_ul=0, counts_through=0),
        accepted("a merged row of nine", request(merged), inserted=10, counts_through=1_000_051),
        accepted("an unknown kind, key and flag", request(future), **said),
        accepted("wall steps and flags", request(steps), **said),
        accepted("the last position that can be carried", request(edge), inserted=1, counts_through=last),
        accepted("16 levels deep", request(deep), **said),
        accepted("text beyond ASCII", request(unicode), **said),
    ]


def _nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


def _frames(refused: Make) -> list[Case]:
    whole = ref.body_of(packed(GOOD))
    bad_crc = whole[:-8] + bytes(4) + whole[-4:]
    malformed = {
        "an empty body": "",
        "half a document": TEXT[: len(TEXT) // 2],
        "two documents": TEXT + TEXT,
        "no JSON": "hello",
        "NaN": TEXT.replace('"at_mono":', '"x":NaN,"at_mono":'),
        "Infinity": TEXT.replace('"at_mono":', '"x":-Infinity,"at_mono":'),
        "a trailing comma": TEXT.replace("[]}", "[],}"),
        "single quotes": TEXT.replace('"', "'"),
        "a number with a leading zero": TEXT.replace('"first_seq":1', '"first_seq":01'),
        "a byte-order mark": "\ufeff" + TEXT,
        "invalid UTF-8": [TEXT[:10], {"hex": "ff"}, TEXT[11:]],
        "gzip that does not say so": packed(GOOD),
    }
    cases = [refused(what, request(body), 400, "malformed") for what, body in malformed.items()]
    packed_badly = {
        "no gzip marked gzip": TEXT,
        "an empty body marked gzip": "",
        "half a gzip": {"hex": whole[: len(whole) // 2].hex()},
        "a gzip with a wrong CRC": {"hex": bad_crc.hex()},
        "bytes after the gzip": [packed(GOOD), "more"],
        "zlib marked gzip": {"hex": "789c030000000001"},
    }
    for what, body in packed_badly.items():
        cases.append(refused(what, request(body, encoding="gzip"), 400, "malformed"))
    for encoding in ("br", "deflate", "gzip, gzip", "identity"):
        made = request(packed(GOOD), encoding=encoding)
        cases.append(refused(f"encoding {encoding}", made, 415, "unsupported-encoding"))
    return cases


def _sizes(accepted: Make, refused: Make) -> list[Case]:
    most = packed(batch([1] * 10_000))
    too_many = packed(batch([1] * 10_001))
    padded = [TEXT, {"repeat": [" ", 8 * MIB - len(TEXT)]}]
    over = [TEXT, {"repeat": [" ", 8 * MIB - len(TEXT) + 1]}]
    big_data = batch(rows=[{"row": 0, "kind": "diagnostic", "data": {"text": ["x" * 200] * 100}}])
    long_text = batch(rows=[{"row": 0, "kind": "diagnostic", "data": {"text": "x" * 201}}])
    deep = [TEXT[:-1], ',"x":', {"repeat": ["[", 100_000]}, {"repeat": ["]", 100_000]}, "}"]
    too_deep = batch(rows=[{"row": 0, "kind": "diagnostic", "data": _nested(14)}])
    bomb = request({"gzip_zeros": 64 * MIB}, encoding="gzip")
    return [
        accepted("10,000 rows", request(most, encoding="gzip"), inserted=10_000),
        refused("10,001 rows", request(too_many, encoding="gzip"), 413, "too-large"),
        accepted("8 MiB", request(padded), inserted=3),
        refused("8 MiB and a byte", request(over), 413, "too-large", signed=False),
        refused("a bomb: 64 MiB of zeros", bomb, 413, "too-large"),
        refused("data above 16 KiB", request(big_data), 422, "invalid"),
        refused("a string of 201 characters", request(long_text), 422, "invalid"),
        refused("a name of 201 characters", request(batch(stream=header(meter_id="m" * 201))), 422, "invalid"),
        refused("17 levels deep", request(too_deep), 422, "invalid"),
        refused("100,000 levels deep", request(deep), 422, "invalid"),
    ]


def _shapes(refused: Make) -> list[Case]:
    documents: dict[str, Any] = {f"no {name}": without(GOOD, name) for name in GOOD}
    documents |= {
        f"a header without {name}": batch(stream=without(header(), name)) for name in ("epoch", "scale", "clock")
    }
    documents |= {"a list": [GOOD], "null": None, "a number": 1, "a string": "batch"}
    documents |= _wrong_columns() | _wrong_headers() | _wrong_entries()
    cases = []
    for what, document in documents.items():
        cases.append(refused(what, request(ref.canonical(document)), 422, "invalid"))
    return cases


def _wrong_columns() -> dict[str, Any]:
    ints = {
        "a string": "1",
        "a fraction": 1.0,
        "true": True,
        "null": None,
        "2^63": 1 << 63,
        "2^70": 1 << 70,
        "below zero": -1,
    }
    documents: dict[str, Any] = {}
    for name in ("first_seq", "at", "at_mono", "counts_before"):
        documents |= {f"{name}: {what}": batch(**{name: value}) for what, value in ints.items()}
    for name in ("counts", "dt"):
        documents |= {f"{name}: {what}": batch(**{name: [0, value, 1]}) for what, value in ints.items()}
        documents[f"{name}: one too few"] = GOOD | {name: [0, 1]}
        documents[f"{name}: no list"] = batch(**{name: {"0": 1}})
    trace = {
        "upper case": "4BF92F3577B34DA6A3CE929D0E0E4736",
        "31 digits": "4" * 31,
        "a UUID": GOOD["stream"]["id"],
    }
    documents |= {f"a trace id: {what}": batch(meta={"trace_id": text}) for what, text in trace.items()}
    return documents | {
        "meta without a trace id": batch(meta={}),
        "no rows": batch([], dt=[]),
        "first_seq 0": batch(first_seq=0),
        "counts whose sum leaves the range": batch([1 << 62, 1 << 62, 1]),
        "a position that cannot be priced": batch([1 << 50, 0, 0]),
        "seqs that leave the range": batch(first_seq=(1 << 63) - 2),
        "counts_before that cannot be priced": batch(counts_before=1 << 62),
        "wall_steps: not increasing": batch(wall_steps=[[1, 300], [1, 300]]),
        "wall_steps: out of range": batch(wall_steps=[[3, 300]]),
        "wall_steps: row below zero": batch(wall_steps=[[-1, 300]]),
        "wall_steps: one number": batch(wall_steps=[[1]]),
        "wall_steps: a fraction": batch(wall_steps=[[1, 300.5]]),
        "flags: not increasing": batch(flags=[[0, 1], [2, 0], [1, 1]]),
        "flags: out of range": batch(flags=[[0, 0], [3, 1]]),
        "flags: below zero": batch(flags=[[0, -1]]),
        "flags: three numbers": batch(flags=[[0, 0, 0]]),
        "flags: a number": batch(flags=0),
    }


def _wrong_headers() -> dict[str, Any]:
    scales = {
        "ul_num 0": (0, 9),
        "den 0": (20_000, 0),
        "ul_num below zero": (-1, 9),
        "ul_num 2^63": (1 << 63, 9),
    }
    headers: dict[str, Any] = {
        f"scale: {what}": {"scale": {"ul_num": ul_num, "den": den}} for what, (ul_num, den) in scales.items()
    }
    headers |= {
        "scale: a K-factor": {"scale": 450},
        "id: no UUID": {"id": "stream-1"},
        "id: a number": {"id": 1},
        "epoch: no UUID": {"epoch": "today"},
        "identity: another kind": {"identity": {"kind": "certain", "value": None}},
        "identity: a string": {"identity": "SN 4711"},
        "clock: another word": {"clock": "sundial"},
        "modulus 0": {"modulus": 0},
        "opening_counts before the epoch": {"opening_counts": 999_999},
        "opening_counts: a fraction": {"opening_counts": 1_000_000.5},
        "meter_id: null": {"meter_id": None},
        "meter_id: empty": {"meter_id": ""},
        "opened_at: a date": {"opened_at": "2025-11-20"},
    }
    documents = {f"header: {what}": batch(stream=header(**change)) for what, change in headers.items()}
    meterless = meterless_header()
    return documents | {
        "stream: only another name": batch(stream={"name": "x"}),
        "stream: text": batch(stream=GOOD["stream"]["id"]),
        "meterless with counts": batch([1], stream=meterless, counts_before=0),
        "meterless with counts_before": batch([0], stream=meterless, counts_before=5),
    }


def _wrong_entries() -> dict[str, Any]:
    entries: dict[str, list[Any]] = {
        "out of range": [{"row": 3, "kind": "pour"}],
        "below zero": [{"row": -1, "kind": "pour"}],
        "twice": [{"row": 1, "kind": "pour"}, {"row": 1, "kind": "anomaly"}],
        "not increasing": [{"row": 2, "kind": "pour"}, {"row": 1, "kind": "pour"}],
        "without kind": [{"row": 1}],
        "without row": [{"kind": "pour"}],
        "kind: a number": [{"row": 1, "kind": 11}],
        "data: a list": [{"row": 1, "kind": "pour", "data": [1]}],
        "data: text": [{"row": 1, "kind": "pour", "data": "x"}],
        "seqs 0": [{"row": 1, "kind": "merged", "seqs": 0}],
        "seqs below zero": [{"row": 1, "kind": "gap", "seqs": -1}],
        "seqs on a plain row": [{"row": 1, "kind": "volume", "seqs": 2}],
        "seqs: 2^63": [{"row": 1, "kind": "gap", "seqs": 1 << 63}],
        "a number": [1],
    }
    return {f"rows: {what}": batch(rows=value) for what, value in entries.items()}
