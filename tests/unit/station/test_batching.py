"""The number of rows per request follows what the link manages."""

from __future__ import annotations

from aquasmart_station.core.batching import QUICK_S, BatchSize


def test_doubles_up_to_the_limit_while_answers_are_quick() -> None:
    size = BatchSize(most=2_000)
    seen = []
    for _ in range(8):
        seen.append(size.rows)
        size.delivered(0.1, size.rows)
    assert seen == [50, 100, 200, 400, 800, 1600, 2000, 2000]


def test_a_batch_that_was_not_full_proves_nothing() -> None:
    size = BatchSize()
    size.delivered(0.1, 49)
    assert size.rows == 50


def test_a_slow_answer_does_not_grow_it() -> None:
    size = BatchSize()
    size.delivered(QUICK_S + 0.1, 50)
    assert size.rows == 50


def test_halves_what_was_sent_down_to_one() -> None:
    size = BatchSize(rows=2_000)
    size.too_much(300)
    assert size.rows == 150
    for _ in range(12):
        size.too_much(size.rows)
    assert size.rows == 1
