"""The random-fault run itself: its plans are replayable and leave nothing out, its verdict can fail, and a few run."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from pathlib import Path

import pytest

from tests.soak.__main__ import soak
from tests.soak.kinds import STRIKES
from tests.soak.plan import ENOUGH, KINDS, STATES, plan
from tests.soak.report import LEAST_FAULTS, Run


def result(index: int, seed: int = 5, *, failure: str = "") -> dict[str, object]:
    """As a worker tells of a sequence in which everything planned has struck."""
    fired = Counter((card.kind, card.state) for card in plan(seed, index).cards)
    figures = {
        "index": index,
        "seconds": 2.0,
        "events": 10,
        "volume_ul": 20,
        "streams": 2,
        "operations": 3,
        "failure": failure,
    }
    return figures | {"fired": [[*cell, times] for cell, times in fired.items()]}


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
    run = Run(5, ENOUGH, [result(index) for index in range(ENOUGH)])
    assert run.faults() == []
    assert f"{ENOUGH} of {ENOUGH} sequences" in run.markdown()


def test_a_failure_is_named_with_its_replay() -> None:
    run = Run(5, 2, [result(0), result(1, failure="AssertionError: 1 is not 2\nmore")])
    assert run.faults() == ["sequence 1 failed: AssertionError: 1 is not 2; python -m tests.soak --seed 5 --only 1"]


def test_a_kind_that_never_struck_in_a_state_fails_the_run() -> None:
    results = [result(index) for index in range(ENOUGH)]
    for each in results:
        each["fired"] = [cell for cell in each["fired"] if cell[:2] != ["portal", "hold"]]  # type: ignore[attr-defined]
    assert "portal never struck hold" in Run(5, ENOUGH, results).faults()


def test_a_worker_that_died_fails_the_run() -> None:
    assert Run(5, 3, [result(0), result(1)]).faults() == ["only 2 of 3 sequences came to their end"]


def test_a_sequence_with_too_few_faults_fails_the_run() -> None:
    short = result(0) | {"fired": [["portal", "hold", LEAST_FAULTS - 1]]}
    assert Run(5, 1, [short]).faults() == [f"sequence 0 had only {LEAST_FAULTS - 1} faults"]


@pytest.mark.e2e
@pytest.mark.needs("faketime")
@pytest.mark.timeout(240)
def test_a_few_sequences_end_with_meter_log_and_cloud_alike(tmp_path: Path) -> None:
    told = StringIO()
    run = soak(20_261_121, 4, jobs=4, folder=tmp_path, told=told)
    assert run.faults() == [], told.getvalue()
