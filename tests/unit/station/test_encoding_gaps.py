"""Seqs that cannot be sent become gaps whose counts come from the neighbours; headers survive the log."""

from __future__ import annotations

import gzip
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.encoding import (
    Batch,
    compress,
    encode_batch,
    header_document,
    header_from_document,
    with_gaps,
)
from aquasmart_station.core.model import Kind, Row, Scale, StreamHeader, event_id

HEADER = StreamHeader(
    UUID(int=1), "tap-1", "SN 7", True, UUID(int=2), 10, None, 10, Scale(1000, 1), 5, "boot", "A1", "hw", "0.1.0", "ntp"
)


def row(seq: int, counts: int, kind: Kind = Kind.VOLUME, seqs: int = 1) -> Row:
    return Row(seq * 3, seq, seqs, kind, 0, 1_000 + seq, seq, counts, None)


def test_a_missing_row_becomes_a_gap_with_the_counts_of_the_row_after_it() -> None:
    complete = with_gaps([row(1, 11), row(3, 15)], 0)
    assert [(r.seq, r.seqs, r.kind, r.counts) for r in complete] == [
        (1, 1, Kind.VOLUME, 11),
        (2, 1, Kind.GAP, 15),
        (3, 1, Kind.VOLUME, 15),
    ]


def test_several_missing_rows_are_one_gap_also_at_the_head() -> None:
    complete = with_gaps([row(6, 20)], 2)
    assert [(r.seq, r.seqs, r.kind, r.counts) for r in complete] == [(5, 3, Kind.GAP, 20), (6, 1, Kind.VOLUME, 20)]


def test_a_merged_row_stands_for_its_seqs() -> None:
    assert with_gaps([row(9, 20, Kind.MERGED, seqs=9)], 0) == [row(9, 20, Kind.MERGED, seqs=9)]


@given(st.sets(st.integers(1, 60), min_size=1), st.lists(st.integers(0, 9), min_size=60, max_size=60))
def test_whatever_is_missing_the_batch_is_contiguous_and_its_counts_are_the_streams(
    kept: set[int], steps: list[int]
) -> None:
    positions = [10 + sum(steps[:seq]) for seq in range(1, 61)]
    rows = [row(seq, positions[seq - 1]) for seq in sorted(kept)]
    batch = Batch(1, HEADER, 10, with_gaps(rows, 0))
    document = json.loads(encode_batch(batch, trace_id="0" * 32, whole_header=True))
    seqs = {entry["row"]: entry.get("seqs", 1) for entry in document["rows"]}
    assert document["first_seq"] == 1
    assert sum(seqs.get(index, 1) for index in range(len(document["counts"]))) == max(kept)
    assert 10 + sum(document["counts"]) == positions[max(kept) - 1]
    assert min(document["counts"]) >= 0


def test_a_header_survives_the_log() -> None:
    assert header_from_document(json.loads(json.dumps(header_document(HEADER)))) == HEADER


def test_compression_is_repeatable() -> None:
    assert compress(b"water" * 100) == compress(b"water" * 100)
    assert gzip.decompress(compress(b"water")) == b"water"


def test_event_ids_follow_from_stream_and_seq() -> None:
    assert event_id(UUID(int=1), 7) == event_id(UUID(int=1), 7)
    assert len({event_id(UUID(int=1), seq) for seq in range(1, 100)}) == 99


@pytest.mark.parametrize(("ul_num", "den"), [(0, 1), (1, 0), (-1, 1)])
def test_a_scale_is_a_positive_fraction(ul_num: int, den: int) -> None:
    with pytest.raises(ValueError, match="a scale needs"):
        Scale(ul_num, den)
