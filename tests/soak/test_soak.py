"""The random-fault run itself: its plans are replayable and leave nothing out, its verdict can fail, and a few run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.world import eventually
from tests.soak.__main__ import Soak
from tests.soak.journal import Journal, read
from tests.soak.kinds import STRIKES
from tests.soak.plan import ENOUGH, KINDS, STATES, plan
from tests.soak.report import LEAST_FAULTS, Report, replay
from tests.soak.worker import BROKEN


def result(index: int, seed: int = 5, *, failure: str = "", commit: str = "c0ffee") -> dict[str, Any]:
    """As a worker tells of a sequence in which everything planned has struck."""
    fired = Counter((card.kind, card.state) for card in plan(seed, index).cards)
    figures = {"seconds": 2.0, "events": 10, "volume_ul": 20, "streams": 2, "operations": 3}
    about = {"seed": seed, "commit": commit, "index": index, "failure": failure}
    return about | figures | {"fired": [[*cell, times] for cell, times in fired.items()]}


def a_run(sequences: int, *results: dict[str, Any]) -> Report:
    return Report({5: set(range(sequences))}, list(results))


def test_the_same_seed_gives_the_same_plan_and_draws() -> None:
    assert plan(7, 3) == plan(7, 3)
    assert plan(7, 3).dice().random() == plan(7, 3).dice().random()
    assert plan(7, 3).cards != plan(8, 3).cards
    assert plan(7, 3).cards != plan(7, 4).cards


@pytest.mark.parametrize("seed", [0, 1, 4_000_000_000])
def test_every_kind_is_planned_for_every_state(seed: int) -> None:
    cards = [plan(seed, index).cards for index in range(ENOUGH)]
    assert {(card.kind, card.state) for each in cards for card in each} == {(k, s) for k in KINDS for s in STATES}
    assert all(len(each) >= LEAST_FAULTS for each in cards)
    assert all(sum(card.kind == "rollover" for card in each) == 1 for each in cards)


def test_every_kind_can_strike() -> None:
    assert set(STRIKES) == set(KINDS)


def test_a_whole_run_passes() -> None:
    run = a_run(ENOUGH, *map(result, range(ENOUGH)))
    assert run.faults() == []
    assert f"{ENOUGH} of {ENOUGH} sequences" in run.markdown()


def test_a_failure_is_named_with_its_replay() -> None:
    run = a_run(2, result(0), result(1, failure="AssertionError: 1 is not 2\nmore"))
    assert run.faults() == ["sequence 1 failed: AssertionError: 1 is not 2; python -m tests.soak --seed 5 --only 1"]


def test_a_kind_that_never_struck_in_a_state_fails_the_run() -> None:
    results = list(map(result, range(ENOUGH)))
    for each in results:
        each["fired"] = [cell for cell in each["fired"] if cell[:2] != ["portal", "hold"]]
    assert "portal never struck hold" in a_run(ENOUGH, *results).faults()


def test_a_sequence_without_an_end_fails_the_run() -> None:
    assert a_run(6, result(0), result(3)).faults() == ["seed 5: 4 of 6 sequences have no end: 1–2, 4–5"]


def test_a_sequence_with_too_few_faults_fails_the_run() -> None:
    short = result(0) | {"fired": [["portal", "hold", LEAST_FAULTS - 1]]}
    assert a_run(1, short).faults() == [f"sequence 0 had only {LEAST_FAULTS - 1} faults; {replay(short)}"]


def journal_of(path: Path, seed: int, first: int, count: int, *results: dict[str, Any]) -> Path:
    journal = Journal(path)
    journal.ask(seed, range(first, first + count), "c0ffee")
    for each in results:
        journal.add(each)
    return path


def test_parts_of_several_days_are_one_report(tmp_path: Path) -> None:
    half = ENOUGH // 2
    monday = journal_of(tmp_path / "1", 5, 0, half, *map(result, range(half)))
    later = (result(index, commit="beef") for index in range(half, ENOUGH))
    tuesday = journal_of(tmp_path / "2", 5, half, ENOUGH - half, *later)
    report = read([monday, tuesday])
    assert report.faults() == []
    assert f"- {ENOUGH} of {ENOUGH} sequences" in report.markdown()
    assert f"| 5 | `c0ffee` | 0–{half - 1} | {half} |" in report.markdown()
    assert f"| 5 | `beef` | {half}–{ENOUGH - 1} | {ENOUGH - half} |" in report.markdown()


def test_a_sequence_in_two_parts_counts_once_and_a_failure_is_not_made_good_by_running_it_again(tmp_path: Path) -> None:
    monday = journal_of(tmp_path / "1", 5, 0, 2, result(0), result(1, failure="AssertionError: no"))
    tuesday = journal_of(tmp_path / "2", 5, 0, 2, result(0), result(1))
    report = read([monday, tuesday])
    assert "- 1 of 2 sequences ended" in report.markdown()
    assert [fault.partition(":")[0] for fault in report.faults()] == ["sequence 1 failed"]


def test_what_was_asked_for_and_has_no_line_is_missed(tmp_path: Path) -> None:
    part = journal_of(tmp_path / "1", 5, 10, 3, result(10), result(12))
    assert read([part]).faults() == ["seed 5: 1 of 3 sequences have no end: 11"]


def test_a_line_that_was_cut_off_is_an_error_with_its_place(tmp_path: Path) -> None:
    part = journal_of(tmp_path / "1", 5, 0, 1, result(0))
    part.write_text(part.read_text()[:-9])
    with pytest.raises(ValueError, match="1, line 2: not a result"):
        read([part])


def test_what_a_file_of_results_has_is_not_run_again(tmp_path: Path) -> None:
    """Two of three are known, one of them as failed: the rest alone has to be done. Another seed's are not ours."""
    failed = result(1, failure="AssertionError: no")
    journal = Journal(journal_of(tmp_path / "1", 5, 0, 3, result(0), failed, result(2, seed=6)))
    soak = Soak(5, range(3), folder=tmp_path, journal=journal, told=StringIO())
    assert soak.left() == [2]
    assert [fault.partition(":")[0] for fault in soak.report.faults()] == ["sequence 1 failed", "seed 5"]


@pytest.mark.e2e
@pytest.mark.needs("faketime")
@pytest.mark.timeout(240)
def test_a_few_sequences_end_with_meter_log_and_cloud_alike_and_their_file_says_so(tmp_path: Path) -> None:
    told, journal = StringIO(), Journal(tmp_path / "results.jsonl")
    soak = Soak(20_261_121, range(4), folder=tmp_path / "run", journal=journal, told=told)
    assert soak.run(4).faults() == [], told.getvalue()
    again = Soak(20_261_121, range(4), folder=tmp_path / "again", journal=journal, told=told)
    assert again.left() == []
    assert again.run(4).faults() == []
    assert read([tmp_path / "results.jsonl"]).markdown() == soak.report.markdown()


def running_in(folder: Path) -> list[Path]:
    """Processes with a file open in this folder, or its name among their words or settings."""
    mine = Path(f"/proc/{os.getpid()}")
    return [process for process in Path("/proc").glob("[0-9]*") if process != mine and _in(process, folder)]


def _in(process: Path, folder: Path) -> bool:
    try:
        said = b"".join((process / name).read_bytes() for name in ("cmdline", "environ"))
        opened = [file.readlink() for file in (process / "fd").iterdir()]
    except OSError:  # it has just ended
        return False
    return os.fsencode(folder) in said or any(path.is_relative_to(folder) for path in opened)


@pytest.mark.e2e
def test_a_worker_that_dies_has_failed_its_sequence(tmp_path: Path) -> None:
    """Killed in the middle of one, as the kernel does where memory runs out: it is a failure with a number, on file."""
    told, path = StringIO(), tmp_path / "results.jsonl"
    soak = Soak(5, range(1), folder=tmp_path / "run", journal=Journal(path), told=told)
    runner = Thread(target=soak.run, args=(1,))
    runner.start()
    station = tmp_path / "run" / "worker-0" / "sequence-0" / "station"
    eventually(station.exists, "the worker in its sequence")
    soak.workers[0].kill()
    runner.join(30)
    eventually(lambda: not running_in(tmp_path), "everything ended that it had started", timeout_s=10)
    assert [fault.partition(";")[0] for fault in read([path]).faults()][:1] == [
        "sequence 0 failed: the worker died with status -9"
    ]


def test_a_worker_that_cannot_make_its_house_ends_instead_of_waiting(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.soak.worker", "5", "1", str(tmp_path / "run"), str(tmp_path / "no-template")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.wait(60) == BROKEN
        assert worker.stderr is not None
        assert "no-template" in worker.stderr.read()


@pytest.mark.e2e
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_process(tmp_path: Path) -> None:
    words = ["--seed", "5", "--sequences", "2", "--jobs", "1", "--results", str(tmp_path / "results.jsonl")]
    line = [sys.executable, "-m", "tests.soak", *words, "--keep", str(tmp_path / "run")]
    for number in (1, 2):
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as run:
            begun = partial(_begun, tmp_path / "run", number)
            eventually(begun, f"the worker of run {number} in its sequence")
            run.send_signal(signal.SIGTERM)
            assert run.stdout is not None
            said = run.stdout.read()
        assert run.returncode == 130
        assert f"interrupted after 0 of 2 sequences; the same command goes on from {words[-1]}" in said
    eventually(lambda: not running_in(tmp_path), "everything ended that it had started", timeout_s=10)


def _begun(folder: Path, runs: int) -> bool:
    return len(list(folder.glob("*/worker-0/sequence-0/station"))) == runs
