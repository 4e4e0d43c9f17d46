"""Prometheus' text format, held against a parser of its own; windows that keep bounded memory; sync's tally."""

from __future__ import annotations

import math
import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core import outcome as outcomes
from aquasmart_station.core.metrics import WINDOW, Family, Sample, Window, counter, gauge, render, summary
from aquasmart_station.core.outcome import Delivered, Hold, Outcome, Retry, Rewind, Unverified
from aquasmart_station.core.tally import _CLASSES, ERROR_CLASSES, Tally, error_class
from tests.prometheus import parse


def test_a_page_of_metrics_reads_as_it_was_meant() -> None:
    text = render(
        [
            counter("a_total", "How many.", 3),
            gauge("b_bytes", "Free, of 2^60.", {"x": 1.5, 'quo"te\\back\nline': -2}, "disk"),
            gauge("unknown", "Not known now.", None),
            summary("c_seconds", "Time.", {"count": 2, "sum": 0.5, "p50": 0.2, "p99": 0.3}),
        ]
    )
    found = parse(text)
    assert found["a_total"].kind == "counter"
    assert found["a_total"].samples == {("a_total", ()): 3.0}
    assert found["b_bytes"].samples[("b_bytes", (("disk", 'quo"te\\back\nline'),))] == -2
    assert "unknown" not in found
    assert found["c_seconds"].samples == {
        ("c_seconds", (("quantile", "0.5"),)): 0.2,
        ("c_seconds", (("quantile", "0.99"),)): 0.3,
        ("c_seconds_sum", ()): 0.5,
        ("c_seconds_count", ()): 2.0,
    }


def test_a_count_keeps_its_last_digit() -> None:
    assert "n_total 9007199254740993\n" in render([counter("n_total", "Counts.", 2**53 + 1)])


@given(st.text(), st.text())
def test_any_text_survives_in_a_label_and_breaks_no_line_of_help(label: str, text: str) -> None:
    found = parse(render([Family("m", "gauge", text, [Sample(1, {"l": label})])]))
    assert found["m"].samples == {("m", (("l", label),)): 1.0}


def test_a_window_forgets_what_is_old_and_never_grows() -> None:
    window = Window()
    assert window.document() == {"count": 0, "sum": 0.0, "p50": None, "p99": None}
    for value in range(10 * WINDOW):
        window.observe(float(value))
    assert len(window._last) == WINDOW
    assert window.count == 10 * WINDOW
    assert window.total == sum(range(10 * WINDOW))
    assert window.quantile(0) == 9 * WINDOW
    assert window.document()["p50"] == 9 * WINDOW + WINDOW // 2
    assert window.quantile(1000) == 10 * WINDOW - 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(0, 1000))
def test_a_percentile_is_a_value_with_so_many_below_it(values: list[float], per_mille: int) -> None:
    window = Window()
    for value in values:
        window.observe(value)
    found = window.quantile(per_mille)
    assert found in values
    assert sum(value < found for value in values) <= math.ceil(len(values) * per_mille / 1000)
    assert sum(value <= found for value in values) >= len(values) * per_mille // 1000


def test_every_outcome_but_delivery_has_a_class() -> None:
    assert set(_CLASSES) == set(get_args(outcomes.Outcome)) - {Delivered}


@pytest.mark.parametrize(
    ("answered", "outcome", "expected"),
    [
        (True, Delivered({}), None),
        (True, Retry("500"), "transient"),
        (False, Retry("refused"), "no-answer"),
        (False, Retry("late", timed_out=True), "timeout"),
        (True, Rewind(3, 5), "ambiguous"),
        (True, Hold("revoked", ""), "hold"),
        (True, Unverified(200, "portal"), "unverified"),
    ],
)
def test_errors_are_told_apart(answered: bool, outcome: Outcome, expected: str | None) -> None:
    assert error_class(outcome, answered=answered) == expected
    tally = Tally()
    tally.sent("t1")
    tally.settled(outcome, 0.5, answered=answered)
    assert tally.document()["errors"] == {name: int(name == expected) for name in ERROR_CLASSES}
    assert tally.document()["failed"] == int(expected is not None)


def test_attempts_are_those_of_one_batch() -> None:
    tally = Tally()
    for trace, outcome in (
        ("a", Retry("")),
        ("a", Retry("")),
        ("a", Delivered({"duplicates": 0})),
        ("b", Delivered({"duplicates": 7})),
    ):
        tally.sent(trace)
        tally.settled(outcome, 0.1, answered=True)
    document = tally.document()
    assert document["retries"] == 2
    assert document["processed"] == 4
    assert document["succeeded"] == 2
    assert document["attempts"] == {"count": 2, "sum": 4.0, "p50": 3.0, "p99": 3.0}
    assert (document["idempotency_hits"], document["duplicate_events"]) == (1, 7)


def test_waits_are_averaged_and_those_that_were_asked_for_counted() -> None:
    tally = Tally()
    tally.waits(0.5, told=False)
    tally.waits(120.5, told=True)
    document = tally.document()
    assert document["backoff_s"]["sum"] / document["backoff_s"]["count"] == 60.5
    assert document["retry_after"] == 1


def test_a_week_of_failures_takes_no_more_room_than_an_hour() -> None:
    tally, dice = Tally(), random.Random(1)
    sizes = []
    for turn in range(40_000):
        tally.sent(f"{turn // 3:032x}")
        tally.settled(Retry("refused"), dice.random(), answered=False)
        tally.waits(dice.random() * 30, told=False)
        if turn in {10_000, 39_999}:
            sizes.append(len(repr(tally.document())))
            assert max(len(w._last) for w in (tally.process_s, tally.backoff_s)) == WINDOW
    assert sizes[1] - sizes[0] < 20
