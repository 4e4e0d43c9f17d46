"""`aquasmart check` on real files: what is damage and what is not, and what of a damaged log is saved."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from aquasmart_station.adapters.log_file import open_log, open_log_read_only
from aquasmart_station.adapters.log_view import LogView
from aquasmart_station.core.errors import LogDamaged
from aquasmart_station.core.model import Kind
from aquasmart_station.core.sqlite_pages import leaf_cells
from tests.integration.station.some_logs import (
    START,
    checker,
    delivered_counts,
    drain,
    flip,
    merged,
    next_run,
    pages_of,
    rows_of,
    write_log,
)

RUNS, ROWS, ACKNOWLEDGED = 3, 200, 250
END = START + 3 * RUNS * ROWS
NOW = END + 500
"""What the meter shows when the reader starts again."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three runs, closed: 600 rows of a meter, 250 of them acknowledged."""
    folder = tmp_path_factory.mktemp("template")
    write_log(folder / "log.db", runs=RUNS, rows=ROWS, acknowledged=ACKNOWLEDGED)
    return folder


@pytest.fixture
def log(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "state")
    return tmp_path / "state" / "log.db"


def page(number: int) -> int:
    return (number - 1) * 1024


def leaf(log: Path, table: str, which: float) -> int:
    """Offset of one of a table's leaf pages: 0 is the first, 1 the last."""
    pages = pages_of(log, table)
    return page(pages[int(which * (len(pages) - 1))])


def interior(log: Path) -> int:
    return page(pages_of(log, "event", "interior")[0])


def whole(log: Path) -> None:
    """Nothing is damaged."""


def zero_length(log: Path) -> None:
    log.write_bytes(b"")


def garbage(log: Path) -> None:
    log.write_bytes(b"not a database at all, just some text. " * 900)


def truncated(log: Path) -> None:
    data = log.read_bytes()
    log.write_bytes(data[: len(data) * 3 // 4 + 100])


def header_bits(log: Path) -> None:
    flip(log, 3, 17, 20, 40)


def first_page(log: Path) -> None:
    flip(log, *range(1024))


def interior_page(log: Path) -> None:
    flip(log, interior(log))


def middle_leaf(log: Path) -> None:
    flip(log, leaf(log, "event", 0.6))


def leaf_of_acknowledged_rows(log: Path) -> None:
    flip(log, leaf(log, "event", 0.1))


def last_leaf(log: Path) -> None:
    flip(log, leaf(log, "event", 1.0))


def bits_within_rows(log: Path) -> None:
    flip(log, *(leaf(log, "event", 0.7) + offset for offset in (500, 700, 900)))


def marks(log: Path) -> None:
    flip(log, leaf(log, "delivery", 0.0))


DAMAGES = (
    zero_length, garbage, truncated, header_bits, first_page, interior_page, middle_leaf, leaf_of_acknowledged_rows,
    last_leaf, bits_within_rows, marks,
)  # fmt: skip
BY_THE_ROWS = (header_bits, first_page, interior_page, middle_leaf, leaf_of_acknowledged_rows, last_leaf)
RESTORED = (*BY_THE_ROWS, bits_within_rows, marks)
"""Damages after which nothing is missing in the end: the meter and the neighbours know."""


def test_a_sound_log_is_left_alone(log: Path) -> None:
    before = log.read_bytes()
    verdict = checker(log.parent).check()
    assert (verdict.state, verdict.examination.rows, verdict.examination.structure) == ("sound", 603, "sound")
    assert log.read_bytes() == before
    assert not (log.parent / "quarantine").exists()


def test_no_log_yet_is_no_damage(tmp_path: Path) -> None:
    assert checker(tmp_path).check().state == "none"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_damage_is_quarantined_and_a_sound_log_takes_its_place(log: Path, damage: Callable[[Path], None]) -> None:
    before = rows_of(log)
    damage(log)
    damaged = log.read_bytes()
    verdict = checker(log.parent).check()
    assert verdict.state == "salvaged"
    assert verdict.folder is not None
    assert (verdict.folder / "log.db").read_bytes() == damaged  # as it was found, for whoever looks into it
    assert sorted(path.name for path in log.parent.iterdir()) == ["log.db", "log.lock", "quarantine"]
    assert checker(log.parent).check(full=True).state == "sound"
    after = rows_of(log)
    said = [row for row in after.values() if row[5] == Kind.DIAGNOSTIC]
    assert len(said) == 1  # what the operator sees
    assert json.loads(said[0][10])["salvage"]["rows"] == verdict.figures.rows == len(after) - 1
    saved = {position: row for position, row in after.items() if row[5] != Kind.DIAGNOSTIC}
    assert saved.items() <= before.items()  # every saved row is what it was, at its place


@pytest.mark.parametrize("damage", RESTORED, ids=lambda each: each.__name__)
def test_what_the_rows_lost_the_neighbours_and_the_meter_bring_back(log: Path, damage: Callable[[Path], None]) -> None:
    damage(log)
    assert checker(log.parent).check().state == "salvaged"
    next_run(log, NOW)
    assert merged(delivered_counts(log)) == [(START, NOW)]


@pytest.mark.parametrize("damage", BY_THE_ROWS, ids=lambda each: each.__name__)
def test_nothing_is_delivered_twice_where_the_marks_survive(log: Path, damage: Callable[[Path], None]) -> None:
    damage(log)
    assert checker(log.parent).check().state == "salvaged"
    next_run(log, NOW)
    intervals = delivered_counts(log)
    assert sum(high - low for low, high in intervals) == NOW - START


def test_where_no_page_of_rows_is_hit_every_row_is_saved(log: Path) -> None:
    before = rows_of(log)
    first_page(log)
    flip(log, interior(log) if log.read_bytes()[:6] == b"SQLite" else 3 * 1024)
    figures = checker(log.parent).check().figures
    assert figures is not None
    assert (figures.rows, figures.missing_unacknowledged, figures.gap_ul) == (len(before), 0, 0)


def test_lost_rows_are_counted_and_their_volume_is_stated(log: Path) -> None:
    lost = {cell[0] for cell in _rows_on(log, leaf(log, "event", 0.6))}
    middle_leaf(log)
    figures = checker(log.parent).check().figures
    assert figures is not None
    assert figures.missing_unacknowledged == len(lost) > 10
    # Each row is 3 counts; the gap runs to the row after the lost ones.
    assert abs(figures.gap_ul - 3 * (len(lost) + 1) * 20_000 // 9) <= 1


def _rows_on(log: Path, offset: int) -> list[tuple[int]]:
    return [(cell.rowid,) for cell in leaf_cells(log.read_bytes()[offset : offset + 1024])]


def test_a_closed_stream_that_lost_its_tail_ends_at_the_next_ones_opening(log: Path) -> None:
    """Its last rows are gone and no row of it will ever follow: one gap takes their counts, and nothing is pending."""
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        second = connection.execute("SELECT stream FROM stream WHERE meter_id IS NOT NULL ORDER BY stream").fetchall()[
            1
        ]
        connection.execute("UPDATE event SET crc32 = crc32 + 1 WHERE stream = ? AND seq > 180", second)
    figures = checker(log.parent).check().figures
    assert figures is not None
    assert (figures.bad_rows, figures.missing_unacknowledged) == (20, 20)
    batches = [batch for batch in drain(log) if batch.header.meter_id]
    gaps = [(row.seq, row.seqs, row.counts) for batch in batches for row in batch.rows if row.kind == Kind.GAP]
    assert gaps == [(200, 20, START + 3 * 400)]
    next_run(log, NOW)
    with LogView(log) as view:
        assert sum(each.pending for each in view.standings()) == 1  # the new run's catch-up


def test_a_mark_that_contradicts_the_rows_is_dropped_and_the_stream_sent_again(log: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("UPDATE delivery SET acked_seq = acked_seq + 64 WHERE acked_seq = 50")
    header_bits(log)
    figures = checker(log.parent).check().figures
    assert figures is not None
    assert (figures.marks, figures.marks_distrusted) == (1, 1)
    assert merged(delivered_counts(log)) == [(START, END)]


def test_a_deleted_wal_is_no_damage_and_the_next_run_catches_up(log: Path) -> None:
    held = sqlite3.connect(log)  # keeps the -wal from being folded in at the end
    held.execute("SELECT 1 FROM fence").fetchone()
    next_run(log, END + 90)
    wal = log.with_name("log.db-wal")
    assert wal.stat().st_size > 0
    lost = log.parent.parent / "cut"
    lost.mkdir()
    shutil.copyfile(log, lost / "log.db")
    held.close()
    assert checker(lost).check().state == "sound"
    next_run(lost / "log.db", NOW)
    assert merged(delivered_counts(lost / "log.db")) == [(START, NOW)]


def test_rows_in_the_wal_are_saved_and_an_old_wal_never_meets_the_new_file(log: Path) -> None:
    held = sqlite3.connect(log)
    held.execute("SELECT 1 FROM fence").fetchone()
    next_run(log, END + 90)
    cut = log.parent.parent / "cut"
    cut.mkdir()
    for name in ("log.db", "log.db-wal", "log.db-shm"):
        shutil.copyfile(log.parent / name, cut / name)
    held.close()
    flip(cut / "log.db", *range(64))
    verdict = checker(cut).check()
    assert verdict.folder is not None
    assert sorted(path.name for path in verdict.folder.iterdir()) == [
        "log.db", "log.db-shm", "log.db-wal", "moved", "report.json", "report.txt",
    ]  # fmt: skip
    assert not (cut / "log.db-wal").exists()
    assert max(row[9] for row in rows_of(cut / "log.db").values()) == END + 90


def test_a_wal_without_its_log_is_kept(log: Path) -> None:
    held = sqlite3.connect(log)
    held.execute("SELECT 1 FROM fence").fetchone()
    next_run(log, END + 90)
    cut = log.parent.parent / "cut"
    cut.mkdir()
    shutil.copyfile(log.with_name("log.db-wal"), cut / "log.db-wal")
    held.close()
    verdict = checker(cut).check()
    assert (verdict.state, verdict.reason) == ("salvaged", "log.db is missing, but its -wal is there")
    assert (cut / "log.db").exists()


def test_another_database_is_no_log_of_ours(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("CREATE TABLE song (title TEXT)")
        connection.commit()
    verdict = checker(tmp_path).check()
    assert verdict.state == "salvaged"
    assert "no log of ours" in verdict.reason


def test_the_report_says_what_a_technician_needs(log: Path) -> None:
    middle_leaf(log)
    verdict = checker(log.parent).check()
    assert verdict.folder is not None
    text = (verdict.folder / "report.txt").read_text()
    assert f"saved: {verdict.figures.rows} events of 6 streams" in text
    assert "kept exactly as gaps" in text
    assert json.loads((verdict.folder / "report.json").read_text())["salvage"]["rows"] == verdict.figures.rows


def test_positions_and_identities_survive(log: Path) -> None:
    """Nothing that was ever said to the cloud under (stream, seq) may be said again with other words."""
    before = {(row[0], row[3]): row[9] for row in rows_of(log).values()}
    first_page(log)
    checker(log.parent).check()
    after = {(row[0], row[3]): row[9] for row in rows_of(log).values() if row[5] != Kind.DIAGNOSTIC}
    assert after == before
    assert all(UUID(bytes=identity) for identity, _ in after)


def words_of_the_schema(log: Path) -> list[int]:
    """Places in the schema's table: within the names that stand before each statement, and within the statement."""
    content = log.read_bytes()
    begins = [found.start() for found in re.finditer(rb"CREATE (TABLE|INDEX)", content)]
    return [begin + step for begin in begins for step in (-8, -3, 2, 9, 15, 24)]


def test_a_schema_that_is_no_text_any_more_is_damage_like_any_other(template: Path, tmp_path: Path) -> None:
    """SQLite quotes the schema in its fault, and Python makes no fault of what is no UTF-8."""
    places = words_of_the_schema(template / "log.db")
    assert len(places) >= 40
    true = rows_of(template / "log.db").values()
    damaged = 0
    for place in places:
        log = tmp_path / str(place) / "log.db"
        log.parent.mkdir()
        content = bytearray((template / "log.db").read_bytes())
        content[place] ^= 1 << 7
        log.write_bytes(content)
        for opening in (open_log, open_log_read_only):
            try:
                opening(log).close()
            except LogDamaged:
                damaged += 1
        assert checker(log.parent).check(full=True).state == "salvaged", place
        saved = [row for row in rows_of(log).values() if row[5] != Kind.DIAGNOSTIC]
        assert {row[0:1] + row[2:] for row in saved} <= {row[0:1] + row[2:] for row in true}
        assert len(saved) == len(true), place
        next_run(log, NOW)
        assert delivered_counts(log)
    assert damaged, "none of it was what SQLite reads when it opens a log"


def test_a_damaged_index_is_found_whatever_bit_of_it_is_flipped(template: Path, tmp_path: Path) -> None:
    """The rows of `stream` are all there, and can be read; but the next run's stream could not be written."""
    with closing(sqlite3.connect(template / "log.db")) as connection:
        sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_stream_1'"
        root = connection.execute(sql).fetchone()[0]
        streams = connection.execute("SELECT count(*) FROM stream").fetchone()[0]
    content = (template / "log.db").read_bytes()
    begins = page(root) + int.from_bytes(content[page(root) + 5 : page(root) + 7], "big")
    found = 0
    for place in range(begins, page(root + 1), 5):
        log = tmp_path / str(place) / "log.db"
        log.parent.mkdir()
        log.write_bytes(content)
        flip(log, place)
        verdict = checker(log.parent).check()
        found += verdict.state == "salvaged"
        next_run(log, NOW)
        assert delivered_counts(log)
    assert found * 5 >= streams * 16, "each identity, to the letter"


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 7, 1_003, 3 | 1 << 24, 3 - (1 << 31)])
def test_a_schema_number_that_its_tables_do_not_tell_is_damage(log: Path, number: int) -> None:
    """The one figure that says which tables there are has no checksum: a flipped bit made a log nobody would open."""
    before = rows_of(log).values()
    with closing(sqlite3.connect(log)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    verdict = checker(log.parent).check()
    assert verdict.state == "salvaged"
    assert [row for row in rows_of(log).values() if row[5] != Kind.DIAGNOSTIC] == list(before)
    next_run(log, NOW)
    assert delivered_counts(log)


@pytest.mark.parametrize("number", [-5, 0, 1, 2, 1_003])
def test_a_log_whose_schema_number_is_wrong_is_not_opened(log: Path, number: int) -> None:
    with closing(sqlite3.connect(log)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    with pytest.raises(LogDamaged, match=f"schema number {number} does not fit"):
        open_log(log, create=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_what_is_saved_is_true_and_sync_goes_on(
    template: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bits, pages, blocks and ends, anywhere: the check ends, the next run works, nothing false is ever delivered."""
    log = tmp_path_factory.mktemp("fuzz") / "log.db"
    content = bytearray((template / "log.db").read_bytes())
    how = data.draw(st.sampled_from(["bits", "noise", "zeros", "cut"]))
    if how == "bits":
        for offset in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=20)):
            content[offset] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "cut":
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        size = 1024 if how == "noise" else 4096
        place = data.draw(st.integers(0, len(content) // size - 1)) * size
        noise = data.draw(st.binary(min_size=size, max_size=size)) if how == "noise" else bytes(size)
        content[place : place + size] = noise
    log.write_bytes(content)
    verdict = checker(log.parent).check(full=True)
    event(f"{how}: {verdict.state}")
    assert verdict.state in {"sound", "salvaged"}
    true = rows_of(template / "log.db")
    saved = {position: row for position, row in rows_of(log).items() if row[5] != Kind.DIAGNOSTIC}
    # Every saved row says what it said; a position, which no checksum covers, may be another one in the same order.
    assert {row[:1] + row[2:] for row in saved.values()} <= {row[:1] + row[2:] for row in true.values()}
    for stream in {row[0] for row in saved.values()}:
        seqs = [row[3] for _, row in sorted(saved.items()) if row[0] == stream]
        assert seqs == sorted(set(seqs))
    next_run(log, NOW)
    intervals = delivered_counts(log)  # asserts that nothing stays pending
    assert all(START <= low < high <= NOW for low, high in intervals)
