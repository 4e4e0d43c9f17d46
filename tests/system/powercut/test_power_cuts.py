"""Power cuts in CI: twenty that lose nothing, and the control that must lose something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.site import REPOSITORY
from tests.system import report as system_report
from tests.system.powercut.__main__ import power_cuts
from tests.system.powercut.report import ENOUGH, Run
from tests.system.powercut.rig import LEAST_COMMITS, Cycle, Row, missing

STREAM = "0" * 32


def row(seq: int, counts: int, *, seqs: int = 1) -> Row:
    return Row(seq, STREAM, seq, seqs, counts)


def test_a_row_is_missing_unless_it_is_there_merged_or_at_the_cloud() -> None:
    told = [row(seq, 10 * seq) for seq in range(1, 8)]
    found = [row(4, 40), row(6, 60, seqs=2)]
    assert missing(told, found, {STREAM: 3}) == [row(7, 70)]
    assert missing(told, [row(4, 41), row(7, 70, seqs=3)], {STREAM: 3}) == [row(4, 40)]
    assert missing(told, [], {}) == told


def good_run() -> Run:
    aims = ("commit", "prune", "checkpoint", "migration")
    cycles = [Cycle(n, "any", commits=LEAST_COMMITS, rows=9, under_way=aims[n % 4]) for n in range(ENOUGH)]
    return Run(1, ENOUGH, cycles)


def test_a_run_fails_by_loss_by_early_cuts_and_by_cuts_that_miss() -> None:
    assert good_run().faults() == []
    lossy = good_run()
    lossy.cycles[3].failures.append("1 rows told as committed are gone")
    assert "gone" in lossy.faults()[0]
    early = good_run()
    early.cycles[5].commits = LEAST_COMMITS - 1
    assert "was cut after 49 commits" in early.faults()[0]
    narrow = good_run()
    for cycle in narrow.cycles:
        cycle.under_way = cycle.under_way.replace("prune", "")
    assert narrow.faults() == ["no cut fell into a prune"]
    short = good_run()
    short.cycles.pop()
    assert "only 19 of 20" in short.faults()[0]


@pytest.mark.e2e
@pytest.mark.needs("qemu")
@pytest.mark.timeout(1_500)
def test_nothing_that_was_committed_is_lost(tmp_path: Path, record_property: object) -> None:
    lanes = max(1, os.cpu_count() or 1)
    run = power_cuts(20_261_128, ENOUGH, lanes=lanes, folder=tmp_path)
    report = REPOSITORY / "build" / "power-cuts.md"
    report.parent.mkdir(exist_ok=True)
    report.write_text(run.markdown())
    assert run.faults() == []
    assert run.lost == 0
    rows = sum(cycle.rows for cycle in run.cycles)
    under_way = ", ".join(f"{name} {count}" for name, count in run.histogram.most_common())
    system_report.note(
        record_property, "power cut while counting, the drive's cache lost as well", cycles=len(run.cycles),
        lost=f"0 of {rows:,} rows", measured=f"under way: {under_way}",
    )  # fmt: skip


@pytest.mark.e2e
@pytest.mark.needs("qemu")
@pytest.mark.timeout(900)
def test_the_control_whose_commits_do_not_wait_loses_rows(tmp_path: Path) -> None:
    """With `synchronous=OFF` the same cuts must be found out: else the twenty above prove nothing."""
    run = power_cuts(7, 3, lanes=1, folder=tmp_path, words=("synchronous=OFF",), plan=("any",))
    assert run.lost > 0 or any("after the cut" in fault for fault in run.faults()), run.markdown()
