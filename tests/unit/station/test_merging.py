"""Merging neighbours: fewer rows, the same counts, and never across an hour, a pour, another kind or another stream."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.encoding import with_gaps
from aquasmart_station.core.merging import STEPS_MS, Found, ThinningPass, clipped, merged_drafts
from aquasmart_station.core.model import Draft, Flag, Kind, Row, Scale, StreamHeader

HOUR_MS = 3_600_000
AT_MS = 1_763_676_000_000
"""A full UTC hour."""
SCALE = Scale(20_000, 9)


def header(number: int, opening: int = 1_000_000) -> StreamHeader:
    return StreamHeader(
        UUID(int=number), f"tap-{number}", None, False, UUID(int=99), 0, None, opening, SCALE, 0,
        "b", None, "h", "s", "ntp",
    )  # fmt: skip


ONE, TWO = header(1), header(2)


def volume(counts: int, after_ms: int, *, of: StreamHeader = ONE, flags: Flag = Flag.NONE, **more: object) -> Draft:
    return Draft(of, Kind.VOLUME, AT_MS + after_ms, after_ms, counts, flags, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("step_ms", "rows"), [(1_000, 61), (10_000, 7), (60_000, 2), (HOUR_MS, 1)])
def test_each_resolution_keeps_one_row_a_slot(step_ms: int, rows: int) -> None:
    minute = [volume(1_000_000 + n, 100 * n) for n in range(601)]
    merged = merged_drafts(minute, step_ms)
    assert len(merged) == rows
    assert sum(draft.seqs for draft in merged) == 601
    assert merged[-1].counts == minute[-1].counts
    assert all(draft.kind is (Kind.MERGED if draft.seqs > 1 else Kind.VOLUME) for draft in merged)


def test_a_merged_draft_has_the_time_and_counts_of_the_last_and_the_flags_of_all() -> None:
    pair = [
        volume(5, 100, flags=Flag.DEGRADED, urgent=True),
        volume(9, 200, flags=Flag.RAIL_LOW),
    ]
    [merged] = merged_drafts(pair, 1_000)
    assert (merged.counts, merged.at_ms, merged.mono_ms) == (9, AT_MS + 200, 200)
    assert merged.flags == Flag.DEGRADED | Flag.RAIL_LOW
    assert (merged.kind, merged.seqs, merged.urgent, merged.data) == (Kind.MERGED, 2, True, None)


@pytest.mark.parametrize(
    "between",
    [
        Draft(ONE, Kind.POUR, AT_MS + 150, 150, 5, data={"volume_ul": 1}),
        Draft(ONE, Kind.HEARTBEAT, AT_MS + 150, 150, 5),
        Draft(ONE, Kind.CATCH_UP, AT_MS + 150, 150, 6),
        Draft(ONE, Kind.DISPUTED, AT_MS + 150, 150, 6),
        Draft(ONE, Kind.VOLUME, AT_MS + 150, 150, 6, data={"why": "it has data"}),
    ],
    ids=lambda draft: draft.kind.wire,
)
def test_a_row_of_another_kind_ends_a_run(between: Draft) -> None:
    drafts = [volume(5, 100), between, volume(7, 200)]
    assert merged_drafts(drafts, HOUR_MS) == drafts


def test_an_hour_is_never_crossed() -> None:
    drafts = [volume(5, HOUR_MS - 100), volume(6, HOUR_MS)]
    assert merged_drafts(drafts, HOUR_MS) == drafts


def test_streams_do_not_mix_though_their_rows_interleave() -> None:
    drafts = [volume(5, 0), volume(50, 10, of=TWO), volume(6, 100), volume(60, 110, of=TWO)]
    merged = merged_drafts(drafts, 1_000)
    assert [(d.stream.id, d.counts, d.seqs) for d in merged] == [(ONE.id, 6, 2), (TWO.id, 60, 2)]


KINDS = st.sampled_from([Kind.VOLUME] * 8 + [Kind.POUR, Kind.HEARTBEAT, Kind.DISPUTED])


@st.composite
def some_drafts(draw: st.DrawFn) -> list[Draft]:
    counts = {ONE.id: 1_000_000, TWO.id: 1_000_000}
    at_ms, drafts = AT_MS + draw(st.integers(0, HOUR_MS)), []
    for _ in range(draw(st.integers(0, 60))):
        of, kind = draw(st.sampled_from([ONE, TWO])), draw(KINDS)
        # Now and then the wall clock is set back or forward.
        at_ms += draw(st.sampled_from([100, 100, 100, 900, 30_000, HOUR_MS, -5_000]))
        counts[of.id] += 0 if kind in (Kind.POUR, Kind.HEARTBEAT) else draw(st.integers(1, 9))
        flags = Flag(draw(st.sampled_from([0, 0, 1, 4])))
        drafts.append(Draft(of, kind, at_ms, len(drafts), counts[of.id], flags))
    return drafts


def price(counts: int) -> int:
    return floor(Fraction(SCALE.ul_num, SCALE.den) * counts)


def volume_by_kind(rows: Sequence[Draft | Row], opening: int) -> dict[str, int]:
    """Priced by fractions, plain and merged together: merging may not move a microlitre between kinds."""
    totals: dict[str, int] = {}
    before = opening
    for row in rows:
        name = "plain" if row.kind in (Kind.VOLUME, Kind.MERGED) else Kind(row.kind).wire
        totals[name] = totals.get(name, 0) + price(row.counts) - price(before)
        before = row.counts
    return totals


@given(some_drafts(), st.lists(st.sampled_from(STEPS_MS), min_size=1, max_size=4))
def test_whatever_is_merged_counts_kinds_seqs_and_price_stay(drafts: list[Draft], steps_ms: list[int]) -> None:
    merged = drafts
    for step_ms in steps_ms:
        merged = merged_drafts(merged, step_ms)
    for of in (ONE, TWO):
        before = [draft for draft in drafts if draft.stream is of]
        after = [draft for draft in merged if draft.stream is of]
        assert sum(draft.seqs for draft in after) == len(before)
        assert volume_by_kind(after, 1_000_000) == volume_by_kind(before, 1_000_000)
        at = 0
        for draft in after:
            covered = before[at : at + draft.seqs]
            at += draft.seqs
            assert (draft.counts, draft.at_ms, draft.mono_ms) == (
                covered[-1].counts,
                covered[-1].at_ms,
                covered[-1].mono_ms,
            )
            assert draft.flags == _or(covered)
            if draft.seqs > 1:
                assert {each.kind for each in covered} == {Kind.VOLUME}
                assert len({each.at_ms // HOUR_MS for each in covered}) == 1
                assert len({each.at_ms // max(steps_ms) for each in covered}) == 1
    assert merged_drafts(merged, max(steps_ms)) == merged_drafts(merged_drafts(merged, max(steps_ms)), max(steps_ms))


def _or(drafts: Sequence[Draft]) -> Flag:
    flags = Flag.NONE
    for draft in drafts:
        flags |= draft.flags
    return flags


# Rows of the log


def row(seq: int, *, counts: int | None = None, kind: Kind = Kind.VOLUME, at_ms: int | None = None) -> Row:
    at_ms = AT_MS + 100 * seq if at_ms is None else at_ms
    return Row(seq * 2, seq, 1, kind.value, 0, at_ms, 100 * seq, 1_000_000 + seq if counts is None else counts, None)


def thin(found: Sequence[Found], step_ms: int, piece: int = 500) -> list[tuple[int, Row]]:
    """A whole pass in pieces, applied to the rows as the keeper applies it to the file."""
    rows = {each.row.position: (each.stream_no, each.row) for each in found}
    thinning = ThinningPass(step_ms)
    for start in range(0, len(found), piece):
        changes, streams = thinning.plan(found[start : start + piece])
        for position in changes.removed:
            del rows[position]
        rows.update(changes.written)
        thinning.adopt(streams)
    return [rows[position] for position in sorted(rows)]


def sound(*rows: Row) -> list[Found]:
    return [Found(1, each, True, False) for each in rows]


def test_rows_of_the_log_merge_in_place_of_the_last() -> None:
    [(_, merged)] = thin(sound(*(row(seq) for seq in range(1, 10))), 1_000)
    assert merged == row(9)._replace(seqs=9, kind=Kind.MERGED.value)


def test_a_run_goes_on_across_pieces() -> None:
    found = sound(*(row(seq) for seq in range(1, 10)))
    assert thin(found, 1_000, piece=2) == thin(found, 1_000)


def test_what_may_not_be_touched_is_not() -> None:
    found = [
        Found(1, row(1), True, True),
        Found(1, row(2), True, False),
        Found(1, row(3), True, False),
        Found(1, row(4), True, True),
    ]
    assert [(r.seq, r.seqs) for _, r in thin(found, HOUR_MS)] == [(1, 1), (3, 2), (4, 1)]


def test_the_row_after_a_missing_or_damaged_one_stays_so_that_a_gap_is_the_same_on_every_retry() -> None:
    missing = sound(row(5), row(6), row(7), row(8))
    damaged = [*sound(row(1)), Found(1, row(2), False, False), *sound(row(3), row(4), row(5))]
    assert [(r.seq, r.seqs) for _, r in thin(missing, HOUR_MS)] == [(5, 1), (8, 3)]
    assert [(r.seq, r.seqs) for _, r in thin(damaged, HOUR_MS)] == [(1, 1), (2, 1), (3, 1), (5, 2)]
    gaps = [with_gaps([r for r in rows if r.seq != 2], 0) for rows in ([row(1), row(3), row(4), row(5)],)]
    merged = with_gaps([r for _, r in thin(damaged, HOUR_MS) if r.seq != 2], 0)
    assert gaps[0][1] == merged[1]


def test_what_was_pruned_during_a_pass_breaks_the_run() -> None:
    thinning = ThinningPass(HOUR_MS)
    _, streams = thinning.plan(sound(row(1), row(2)))
    thinning.adopt(streams)
    thinning.forget([row(2).position])
    changes, _ = thinning.plan(sound(row(3), row(4)))
    assert (changes.removed, changes.written) == ([], {})


@pytest.mark.parametrize(("after_seq", "seqs", "kind"), [(3, 6, Kind.MERGED), (8, 1, Kind.VOLUME)])
def test_a_row_that_straddles_the_mark_is_clipped(after_seq: int, seqs: int, kind: Kind) -> None:
    merged = row(9)._replace(seqs=9, kind=Kind.MERGED.value)
    assert clipped(merged, after_seq) == merged._replace(seqs=seqs, kind=kind.value)


@st.composite
def a_log(draw: st.DrawFn) -> list[Found]:
    """Rows of two streams as a log holds them: some missing, some damaged, some not to be touched."""
    found: list[Found] = []
    seqs, counts, at_ms = {1: 0, 2: 0}, {1: 1_000_000, 2: 1_000_000}, AT_MS + draw(st.integers(0, HOUR_MS))
    for position in range(1, draw(st.integers(0, 60)) + 1):
        stream, kind = draw(st.sampled_from([1, 2])), draw(KINDS)
        at_ms += draw(st.sampled_from([100, 100, 900, 30_000, -5_000]))
        seqs[stream] += draw(st.sampled_from([1, 1, 1, 1, 3]))
        counts[stream] += 0 if kind in (Kind.POUR, Kind.HEARTBEAT) else draw(st.integers(0, 9))
        made = Row(position, seqs[stream], 1, kind.value, 0, at_ms, position, counts[stream], None)
        found.append(Found(stream, made, draw(st.integers(0, 9)) > 0, draw(st.integers(0, 9)) == 0))
    return found


@given(a_log(), st.sampled_from(STEPS_MS), st.integers(1, 20))
def test_a_thinned_log_says_the_same(found: list[Found], step_ms: int, piece: int) -> None:
    after = thin(found, step_ms, piece)
    for number in (1, 2):
        ours = [each for each in found if each.stream_no == number]
        rows = [r for stream, r in after if stream == number]
        by_seq = {each.row.seq: each for each in ours}
        kept = {r.seq for r in rows}
        assert kept <= set(by_seq)
        assert {e.row.seq for e in ours if e.fixed or not e.sound or e.row.kind != Kind.VOLUME} <= kept
        for r in rows:
            was = by_seq[r.seq].row
            assert (r.position, r.counts, r.at_ms, r.mono_ms) == (was.position, was.counts, was.at_ms, was.mono_ms)
            covered = [by_seq.get(seq) for seq in range(r.seq - r.seqs + 1, r.seq + 1)]
            if r.seqs > 1:
                assert all(each is not None and each.sound and not each.fixed for each in covered)
                assert len({each.row.at_ms // step_ms for each in covered if each is not None}) == 1
        intact = [e.row for e in ours if e.sound]
        still = [r for r in rows if by_seq[r.seq].sound]
        # Encoded, gaps and all, nothing differs but the cut: the positions at the seqs that are left are the same.
        before_gaps, after_gaps = with_gaps(intact, 0), with_gaps(still, 0)
        assert sum(r.seqs for r in before_gaps) == sum(r.seqs for r in after_gaps)
        at_seq = {r.seq: r.counts for r in before_gaps}
        assert all(at_seq[r.seq] == r.counts for r in after_gaps)
