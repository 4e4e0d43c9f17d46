"""Rates in a real Redis: one rule with those in memory, exact among processes, and never in the way of an intake."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aquasmart_cloud.config import Config
from aquasmart_cloud.core.errors import ConfigError
from aquasmart_cloud.core.policy import Rate
from aquasmart_cloud.store import policy
from aquasmart_cloud.store.rates import RETRY_S, SharedCounter
from aquasmart_cloud.web.app import create_app
from tests.fakes.redis import RedisServer
from tests.integration.cloud.foreign.gunicorn import Served, event
from tests.integration.cloud.senders import CloudUnderTest, Run

pytestmark = pytest.mark.needs("redis")
MINUTE = Rate(5, 60_000)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as running:
        yield running


def test_the_rule_is_that_of_the_memory(redis: RedisServer) -> None:
    counter = SharedCounter(redis.url)
    assert [counter.wait_us("a", MINUTE, 0, count=False) for _ in range(9)] == [0] * 9
    assert [counter.wait_us("a", MINUTE, 0) for _ in range(5)] == [0] * 5
    # By the clock of Redis: one fifth of a minute, less what passed meanwhile.
    assert 0 < counter.wait_us("a", MINUTE, 0) <= 12_000_000
    assert counter.wait_us("b", MINUTE, 0) == 0
    fast = Rate(20, 1_000)
    for _ in range(20):
        assert counter.wait_us("c", fast, 0) == 0
    wait_us = counter.wait_us("c", fast, 0)
    time.sleep(wait_us / 1e6 + 0.002)
    assert counter.wait_us("c", fast, 0) == 0
    assert counter.state() == "shared"


COUNT = """
import sys
from aquasmart_cloud.core.policy import Rate
from aquasmart_cloud.store import policy
from aquasmart_cloud.store.rates import SharedCounter
counter = SharedCounter(sys.argv[1])
print(sum(counter.wait_us("a", Rate(100, 3_600_000), 0) == 0 for _ in range(80)))
"""


def test_processes_that_ask_at_once_share_one_rate_exactly(redis: RedisServer) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT, redis.url], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert sum(int(each.communicate(timeout=120)[0]) for each in processes) == 100


def test_a_redis_that_dies_leaves_each_process_to_count_and_is_found_again(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [1_000.0]
    counter = SharedCounter(redis.url, clock_s=lambda: now_s[0])
    assert [counter.wait_us("a", MINUTE, 0) for _ in range(6)].count(0) == 5
    redis.kill()
    with caplog.at_level(logging.WARNING):
        assert [counter.wait_us("a", MINUTE, 0) for _ in range(6)].count(0) == 5  # in memory, from the beginning
    assert counter.state() == "lost"
    assert len(caplog.records) == 1, "said once, not with every request"
    redis.start()
    assert counter.wait_us("a", MINUTE, 0) > 0
    now_s[0] += RETRY_S
    with caplog.at_level(logging.WARNING):
        assert counter.wait_us("a", MINUTE, 0) == 0
    assert counter.state() == "shared"
    assert "answers again" in caplog.text


def test_a_restarted_redis_costs_no_request_its_shared_count(redis: RedisServer) -> None:
    counter = SharedCounter(redis.url)
    counter.wait_us("a", MINUTE, 0)
    redis.kill()
    redis.start()
    assert counter.wait_us("a", MINUTE, 0) == 0
    assert counter.state() == "shared"


def test_a_redis_that_hangs_is_waited_for_once(redis: RedisServer) -> None:
    now_s = [1_000.0]
    counter = SharedCounter(redis.url, clock_s=lambda: now_s[0])
    counter.wait_us("a", MINUTE, 0)
    redis.hang()
    try:
        assert counter.wait_us("a", MINUTE, 0) == 0
        began = time.monotonic()
        for _ in range(1_000):
            counter.wait_us("b", Rate(1_000_000, 1_000), 0)
        assert counter.state() == "lost"
        assert time.monotonic() - began < 5, "no further request waited"
    finally:
        redis.go_on()
    now_s[0] += RETRY_S
    counter.wait_us("a", MINUTE, 0)
    assert counter.state() == "shared"


def test_two_gunicorn_workers_give_a_client_its_rate_once_and_take_everything_when_redis_is_gone(
    redis: RedisServer, tmp_path: Path
) -> None:
    settings = {"AQUASMART_WORKERS": "2", "AQUASMART_RATE_LIMIT_STORAGE": redis.url}
    with Served(tmp_path / "cloud", **settings) as cloud:
        limited, free = cloud.client("limited", rate_limit="6/hour"), cloud.client("free")
        answers = [limited.send(event(id=str(number))) for number in range(30)]
        assert [each.status for each in answers].count(201) == 6
        refused = answers[-1]
        assert (refused.status, refused.json["code"]) == (429, "rate-limited")
        assert 0 < int(refused.headers["retry-after"]) <= 600
        assert cloud.rows()["foreign_event"] == 6
        wrong = [cloud.ask("GET", "/api/fleet", None, {"Authorization": f"Bearer {n}"}).status for n in range(16)]
        assert wrong.count(401) == 10, "both workers together"
        redis.kill()
        assert [free.send(event(id=str(number))).status for number in range(20)] == [201] * 20
        assert limited.send(event(id="new")).status == 201, "counted in memory now, from the beginning"


def test_a_station_s_429_is_signed_with_redis_too(redis: RedisServer, tmp_path: Path) -> None:
    cloud = CloudUnderTest(tmp_path)
    config = replace(cloud.config, rate_limit_storage=redis.url)
    cloud.app = create_app(config, clock_ms=lambda: cloud.now_ms)
    cloud.client = cloud.app.test_client()
    policy.limit_rate(cloud.database, "2/minute", cloud.now_ms)
    sender, run = cloud.station(), Run(1_000_000)
    assert [sender.send(run.batch([1])).status_code for _ in range(3)] == [200, 200, 429]
    limited = sender.send(run.batch([1]))  # its signature was checked by `send`
    assert "X-Signature" in limited.headers
    assert 25 <= int(limited.headers["Retry-After"]) <= 35
    cloud.close()


def storage_of(tmp_path: Path, **settings: str) -> Config:
    return Config.from_environment(Served(tmp_path / "cloud", **settings).environment())


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("memcached://localhost", "redis://HOST:PORT/0"),
        ("redis://", "redis://HOST:PORT/0"),
        ("redis://localhost:99999999", "redis://HOST:PORT/0"),
        ("redis://:secret@localhost/0", "AQUASMART_RATE_LIMIT_PASSWORD_FILE"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, said: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        storage_of(tmp_path, AQUASMART_RATE_LIMIT_STORAGE=said)
    assert "secret" not in str(error.value)


def test_a_password_comes_from_a_file_and_is_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "redis.password"
    file.touch(mode=0o600)
    file.write_text("hunter-2222\n")
    config = storage_of(
        tmp_path,
        AQUASMART_RATE_LIMIT_STORAGE="rediss://redis.example:6379/1",
        AQUASMART_RATE_LIMIT_PASSWORD_FILE=str(file),
    )
    assert config.rate_limit_password == "hunter-2222"
    assert "hunter" not in repr(config)
    assert storage_of(tmp_path, AQUASMART_RATE_LIMIT_STORAGE="unix:///run/redis.sock").rate_limit_password == ""
