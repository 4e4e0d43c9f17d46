"""How often each sender may ask: counted in this process's memory, or in a Redis that all processes share.

Both count by the same rule, `core.policy.next_allowed`. A Redis that is gone, slow or wrong refuses nobody and loses
nothing: each process then counts for itself, asks Redis again every few seconds, and says so (`state`). No request
waits longer for Redis than WAIT_S, and then none does for RETRY_S.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from aquasmart_cloud.core.policy import Rate, next_allowed

log = logging.getLogger("aquasmart.cloud")

MOST_KEYS = 200_000
"""Who was counted longest ago is forgotten first, and so forgiven: memory is bounded whoever asks."""
WAIT_S = 0.25
RETRY_S = 5.0
PREFIX = "aquasmart:rate:"

# `next_allowed`, atomically and by the clock of Redis, which all processes share whatever their own clocks say.
_SCRIPT = """
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local period_us, every_us = tonumber(ARGV[1]), tonumber(ARGV[2])
local due_us = tonumber(redis.call('GET', KEYS[1]) or '0')
if due_us > now_us + period_us then due_us = now_us end
local later_us = math.max(due_us, now_us) + every_us
local wait_us = later_us - now_us - period_us
if wait_us > 0 then return wait_us end
if ARGV[3] == '1' then
  redis.call('SET', KEYS[1], string.format('%.0f', later_us), 'PX', math.ceil((later_us - now_us) / 1000))
end
return 0
"""


class Counter(Protocol):
    """Counts requests by key."""

    def wait_us(self, key: str, rate: Rate, now_us: int, *, count: bool = True) -> int:
        """0 where one more is allowed now, which `count` then counts; else the µs until one is. Never fails."""
        ...

    def state(self) -> str:
        """`own`: this process counts for itself. `shared`: all count together. `lost`: they should, and cannot."""
        ...


class OwnCounter:
    """In this process's memory: a restart forgives, and several processes each give the whole rate."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due_us: OrderedDict[str, int] = OrderedDict()

    def wait_us(self, key: str, rate: Rate, now_us: int, *, count: bool = True) -> int:
        """See `Counter`."""
        with self._lock:
            due_us, wait_us = next_allowed(rate, self._due_us.get(key, 0), now_us)
            if count and not wait_us:
                self._due_us[key] = due_us
                self._due_us.move_to_end(key)
                if len(self._due_us) > MOST_KEYS:
                    self._due_us.popitem(last=False)
        return wait_us

    def state(self) -> str:
        """See `Counter`."""
        return "own"


class SharedCounter:
    """In Redis or Valkey, with the memory of this process behind it. The constructor connects to nothing."""

    def __init__(self, url: str, password: str = "", clock_s: Callable[[], float] = time.monotonic) -> None:
        self._client = _client(url, password)
        self._script = self._client.register_script(_SCRIPT)
        self._own = OwnCounter()
        self._clock_s = clock_s
        self._again_at_s: float | None = None

    def wait_us(self, key: str, rate: Rate, now_us: int, *, count: bool = True) -> int:
        """See `Counter`; `now_us` is for this process's own counts only."""
        from redis.exceptions import RedisError

        again_at_s = self._again_at_s
        if again_at_s is None or self._clock_s() >= again_at_s:
            if again_at_s is not None:
                # One request finds out; those beside it do not wait for a server that may hang.
                self._again_at_s = self._clock_s() + RETRY_S
            period_us = rate.period_ms * 1_000
            try:
                wait_us = int(self._script([PREFIX + key], [period_us, period_us // rate.requests, int(count)]))
            except (RedisError, OSError, ValueError) as fault:
                self._lost(fault)
            else:
                if again_at_s is not None:
                    self._again_at_s = None
                    log.warning("rate limits: Redis answers again; all processes count together")
                return wait_us
        return self._own.wait_us(key, rate, now_us, count=count)

    def state(self) -> str:
        """See `Counter`."""
        return "shared" if self._again_at_s is None else "lost"

    def fault(self) -> str | None:
        """Why Redis does not answer now; None where it does."""
        from redis.exceptions import RedisError

        try:
            self._client.ping()
        except (RedisError, OSError) as fault:
            return type(fault).__name__
        return None

    def _lost(self, fault: Exception) -> None:
        if self._again_at_s is None:
            log.error("rate limits: Redis does not answer (%s); each process counts for itself", type(fault).__name__)
        self._again_at_s = self._clock_s() + RETRY_S


def counter_at(storage: str, password: str = "") -> Counter:
    """The counter that the setting names: `memory`, or the URL of a Redis."""
    return OwnCounter() if storage == "memory" else SharedCounter(storage, password)


def _client(url: str, password: str) -> Any:
    """A client that connects at its first command, after gunicorn has forked."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # One more try at once: a connection that Redis closed meanwhile (its restart) is no fault.
    return Redis.from_url(
        url,
        password=password or None,
        socket_timeout=WAIT_S,
        socket_connect_timeout=WAIT_S,
        retry=Retry(NoBackoff(), 1),
        client_name="aquasmart-cloud",
    )
