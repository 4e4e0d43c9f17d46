"""When jobs and retries are due, what a request tells of its changes, what systemd hears."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.changes import Change, Logged, changes, logged, minutes_text
from aquasmart_cloud.core.retrying import MOST_ATTEMPTS, retry_after_ms
from aquasmart_cloud.core.scheduling import LONGEST_RETRY_S, delay_s, wait_s
from aquasmart_cloud.services.notifying import Notifier


def test_a_job_that_fails_waits_ever_longer_up_to_a_quarter_of_an_hour() -> None:
    assert [delay_s(5, failures) for failures in range(9)] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert delay_s(60, 1) == 60
    assert delay_s(86_400, 0) == 86_400
    assert delay_s(86_400, 1) == LONGEST_RETRY_S


@given(every=st.integers(0, 10**6), failures=st.integers(0, 10**6), since=st.none() | st.integers(0, 10**9))
def test_a_job_is_due_within_one_round(every: int, failures: int, since: int | None) -> None:
    wait = wait_s(every, failures, since)
    assert 0 <= wait <= delay_s(every, failures) <= max(every, LONGEST_RETRY_S)
    assert since is None or wait == 0 or wait + since == delay_s(every, failures)


def test_an_event_is_tried_ten_times_in_seventeen_hours() -> None:
    waits = [retry_after_ms(attempts) for attempts in range(MOST_ATTEMPTS)]
    assert waits[:3] == [60_000, 120_000, 240_000]
    assert 17 < sum(wait or 0 for wait in waits) / 3_600_000 < 17.1
    assert retry_after_ms(MOST_ATTEMPTS) is None


_figures = st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12), st.integers(0, 10**5))


@given(st.dictionaries(st.integers(-(10**6), 3 * 10**7).map(lambda minute: minute * 60_000), _figures))
def test_what_a_request_tells_of_its_changes_is_read_back(minutes: dict[int, tuple[int, int, int]]) -> None:
    said = logged(f'{{"stream":"s","through":9,"inserted":3,"minutes":{minutes_text(minutes)}}}')
    assert said.told
    assert changes(said) == [Change(at, *minutes[at]) for at in sorted(minutes)]


def test_idle_minutes_take_few_bytes_and_older_rows_tell_nothing() -> None:
    idle = {(29_000_000 + 5 * number) * 60_000: (0, 0, 1) for number in range(100)}
    assert len(minutes_text(idle)) < 100 * 7
    assert not Logged("s", 5).told
    assert Logged("s", 0).told
    assert changes(Logged("s", 5)) == []


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_one_message_at_a_time(tmp_path: Path, abstract: bool) -> None:
    address = f"@aquasmart-test-{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if abstract else address)
        notifier = Notifier.of_environment({"NOTIFY_SOCKET": address})
        for tell in (notifier.ready, notifier.life, lambda: notifier.status("two\nlines"), notifier.stopping):
            tell()
        assert [listening.recv(100) for _ in range(4)] == [
            b"READY=1",
            b"WATCHDOG=1",
            b"STATUS=two lines",
            b"STOPPING=1",
        ]
    notifier.life()  # nobody listens any more
    Notifier.of_environment({}).ready()
