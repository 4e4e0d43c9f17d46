"""Signatures and waits of deliveries."""

from __future__ import annotations

import hashlib
import hmac
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.delivering import BASE_MS, CAP_MS, LONGEST_WAIT_MS, retry_after_ms, signature, wait_ms

NOW_MS = 1_800_000_000_000


def test_the_signature_is_what_the_page_says() -> None:
    body = b'{"event":"test"}'
    expected = hmac.new(b"k" * 32, b"v1:17:d-1:" + body, hashlib.sha256).hexdigest()
    assert signature(b"k" * 32, 17, "d-1", body) == f"v1={expected}"


@given(st.integers(1, 10_000), st.integers(0, 1_000))
def test_waits_double_with_jitter_and_stay_below_the_cap(attempts: int, draw: int) -> None:
    wait = wait_ms(attempts, draw)
    assert BASE_MS // 2 <= wait <= CAP_MS
    if BASE_MS << min(attempts - 1, 40) >= CAP_MS:
        assert wait >= CAP_MS // 2


def test_the_first_waits() -> None:
    assert [wait_ms(attempts, 500) for attempts in (1, 2, 3)] == [5_000, 10_000, 20_000]
    assert (wait_ms(1, 0), wait_ms(1, 1_000)) == (2_500, 7_500)
    assert wait_ms(99, 1_000) == CAP_MS


def test_what_the_receiver_asks_for_is_the_least_up_to_a_limit() -> None:
    assert wait_ms(1, 0, 120_000) == 120_000
    assert wait_ms(9, 1_000, 1) > 1
    assert wait_ms(1, 0, 10 * LONGEST_WAIT_MS) == LONGEST_WAIT_MS


@pytest.mark.parametrize(("attempts", "draw"), [(0, 0), (-1, 0), (1, 1_001), (1, -1)])
def test_impossible_arguments_are_errors(attempts: int, draw: int) -> None:
    with pytest.raises(ValueError, match="attempts"):
        wait_ms(attempts, draw)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("7", 7_000),
        (" 7 ", 7_000),
        ("99999999999999999999", LONGEST_WAIT_MS),
        (formatdate(NOW_MS / 1000 + 30, usegmt=True), 30_000),
        (formatdate(NOW_MS / 1000 - 30, usegmt=True), 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str | None, expected: int | None) -> None:
    assert retry_after_ms(value, NOW_MS) == expected
