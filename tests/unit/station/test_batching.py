"""The number of rows per request follows what the link manages."""

from __future__ import annotations

from aquasmart_station.core.batching import PATIENCE, QUICK_S, BatchSize, too_long


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


def test_nothing_in_time_halves_it_but_not_below_the_start() -> None:
    size = BatchSize(rows=800)
    for _ in range(10):
        size.too_slow(size.rows)
    assert size.rows == 50
    small = BatchSize(rows=6)
    small.too_slow(6)
    assert small.rows == 6


def test_connections_lost_again_and_again_halve_it_and_one_does_not() -> None:
    size = BatchSize(rows=800)
    assert not size.broke_off(800)
    assert size.rows == 800
    assert size.broke_off(800)
    assert size.rows == 400
    assert not size.broke_off(400)
    size.delivered(0.1, 10)
    assert not size.broke_off(400)
    assert size.rows == 400


def test_a_body_may_be_a_megabyte_long_and_seven_unpacked() -> None:
    assert not too_long(7 << 20, 1 << 20)
    assert too_long(1, (1 << 20) + 1)
    assert too_long((7 << 20) + 1, 1)


def test_after_a_413_a_larger_batch_is_not_tried_at_once() -> None:
    size = BatchSize(rows=800)
    size.too_much(800)
    for _ in range(PATIENCE):
        size.delivered(0.1, 400)
        assert size.rows == 400
    size.delivered(0.1, 400)
    assert size.rows == 800


def test_another_limit_holds_at_once() -> None:
    size = BatchSize(rows=800)
    size.limit(100)
    assert size.rows == 100
    for _ in range(5):
        size.delivered(0.1, size.rows)
    assert size.rows == 100
