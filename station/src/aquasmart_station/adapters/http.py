"""HTTP to the cloud through urllib3: one daemon thread, one keep-alive connection, deadlines on everything.

The thread exists so that the sync loop never blocks: name look-up cannot be interrupted, and a server that drips one
byte a minute never trips a read timeout. The loop waits as long as it likes and abandons what it no longer wants;
nothing that arrives here changes any state until the loop has taken it and checked its signature.
No redirects, no proxies or credentials from the environment.
"""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import urllib3

from ..core.outcome import Answer, NoAnswer

SLOWEST_LINK_BYTES_S = 1_000
"""A link below 8 kbit/s is no link: a request is given up after its time-outs and what its body takes at this rate."""

ANSWER_LIMIT_BYTES = 1 << 20
"""No answer of the cloud comes near this; a portal's page may."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    base_url: str
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    ca_file: Path | None = None
    """A private CA to trust, and no other."""
    tls_1_2: bool = False
    """TLS 1.2 is accepted too, for networks whose middle boxes break 1.3."""


class _Pending:
    """One request's place for its answer, which is given up at a deadline however lively the server drips."""

    def __init__(self, deadline_s: float, give_up: Callable[[], None]) -> None:
        self._answered = threading.Event()
        self._answer: Answer | NoAnswer | None = None
        self._deadline_s, self._give_up = deadline_s, give_up

    def put(self, answer: Answer | NoAnswer) -> None:
        self._answer = answer
        self._answered.set()

    def wait(self, timeout_s: float) -> Answer | NoAnswer | None:
        self._answered.wait(timeout_s)
        if self._answer is None and time.monotonic() > self._deadline_s:
            self._give_up()
            return NoAnswer("the answer did not end in time", timed_out=True)
        return self._answer


@dataclass(frozen=True, slots=True)
class _Job:
    target: str
    headers: dict[str, str]
    body: bytes
    pending: _Pending
    method: str = "POST"


class HttpCourier:
    """Posts to the cloud, one request at a time, from a thread of its own."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._jobs: queue.SimpleQueue[_Job] | None = None

    def get(self, target: str, headers: dict[str, str]) -> _Pending:
        """Start a request without a body."""
        return self._start("GET", target, headers, b"")

    def post(self, target: str, headers: dict[str, str], body: bytes) -> _Pending:
        """Start a request; `target` is path and query exactly as signed."""
        return self._start("POST", target, headers, body)

    def _start(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Pending:
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            threading.Thread(target=_deliver, args=(self._jobs, self._settings), daemon=True, name="http").start()
        settings = self._settings
        patience_s = settings.connect_timeout_s + settings.read_timeout_s + len(body) / SLOWEST_LINK_BYTES_S
        pending = _Pending(time.monotonic() + patience_s, self.abandon)
        self._jobs.put(_Job(target, headers, body, pending, method))
        return pending

    def abandon(self) -> None:
        """Leave the present thread to its fate; the next request gets a thread and a connection of its own."""
        self._jobs = None


def _deliver(jobs: queue.SimpleQueue[_Job], settings: HttpSettings) -> None:
    pool = _pool(settings)
    while True:
        job = jobs.get()
        job.pending.put(_exchange(pool, job))


def _pool(settings: HttpSettings) -> urllib3.HTTPConnectionPool:
    """One keep-alive connection. urllib3 takes neither proxies nor credentials from the environment."""
    timeout = urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s)
    if settings.base_url.startswith("http://"):
        return urllib3.connection_from_url(settings.base_url, maxsize=1, timeout=timeout, retries=False)
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if settings.tls_1_2 else ssl.TLSVersion.TLSv1_3
    return urllib3.connection_from_url(
        settings.base_url, maxsize=1, timeout=timeout, retries=False, ssl_context=context
    )


def _exchange(pool: urllib3.HTTPConnectionPool, job: _Job) -> Answer | NoAnswer:
    headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", **job.headers}
    try:
        response = pool.urlopen(
            job.method,
            job.target,
            job.body or None,
            headers,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        body = _read(response)
    except urllib3.exceptions.NewConnectionError as fault:
        return NoAnswer(_plain(fault))  # a kind of time-out to urllib3, though nobody was reached at all
    except urllib3.exceptions.TimeoutError:
        return NoAnswer("no answer in time", timed_out=True)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
        return NoAnswer(_plain(fault))
    if body is None:
        return NoAnswer("the answer is longer than any of the cloud's")
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)


def _read(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """The whole body; the connection is kept only if it was read to its end."""
    body = bytearray()
    for chunk in response.stream(65_536):
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            response.close()
            return None
    response.release_conn()
    return bytes(body)


def _plain(fault: BaseException) -> str:
    """The innermost reason, in words: urllib3 wraps 'Connection refused' in two of its own."""
    text = str(fault)
    for sign, words in (
        ("Name or service not known", "the cloud's name cannot be looked up (DNS)"),
        ("Temporary failure in name resolution", "the cloud's name cannot be looked up (DNS)"),
        ("Failed to resolve", "the cloud's name cannot be looked up (DNS)"),
        ("Connection refused", "connection refused"),
        ("Connection reset", "connection reset"),
        ("RemoteDisconnected", "the cloud closed the connection without an answer"),
        ("CERTIFICATE_VERIFY_FAILED", "the cloud's TLS certificate does not verify"),
        ("Network is unreachable", "network unreachable"),
        ("No route to host", "no route to the cloud"),
        ("IncompleteRead", "the answer broke off"),
    ):
        if sign in text:
            return words
    return f"{type(fault).__name__}: {text[:200]}"
