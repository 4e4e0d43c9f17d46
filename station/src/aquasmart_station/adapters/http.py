"""HTTP to the cloud through urllib3: one daemon thread and one keep-alive connection per courier, limits on everything.

The thread exists so that the sync loop never blocks: name look-up cannot be interrupted, and a server that drips one
byte a minute never trips a read timeout. The loop waits as long as it likes; at the end of the request's own time the
line is cut under the thread, so that neither thread nor socket outlives it. Nothing that arrives here changes any
state until the loop has taken it and checked its signature.
No redirects; no proxies, credentials or key logs from the environment: a proxy is one only where the settings say so.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..core.outcome import Answer, NoAnswer
from ..core.phrases import Phrase
from .tls import Stamp, TlsSettings, UnusableFile, context_for, stamp_of, tls_words

SLOWEST_LINK_BYTES_S = 1_000
"""A link below 8 kbit/s is no link: a request is given up after its time-outs and what its body takes at this rate."""

ANSWER_LIMIT_BYTES = 1 << 20
"""No answer of the cloud comes near this; a portal's page may."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    base_url: str
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    tls: TlsSettings = field(default_factory=TlsSettings)
    proxy_url: str | None = None
    """Tunnels to an https cloud (CONNECT): what is said stays between station and cloud, certificates included."""
    proxy_credentials: str | None = field(default=None, repr=False)
    """user:password."""


class LinkUse:
    """What all couriers together did to the link: requests, bytes of bodies, and seconds in which one was under way.

    Those seconds are what a radio is awake for: two requests at once count once. Any thread may tell or ask.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._lock = now_s, threading.Lock()
        self._under_way, self._since_s = 0, 0.0
        self._busy_s = 0.0
        self._requests: dict[str, int] = {}
        self._sent_bytes = self._received_bytes = 0

    def began(self, lane: str, sent_bytes: int) -> None:
        with self._lock:
            if not self._under_way:
                self._since_s = self._now_s()
            self._under_way += 1
            self._requests[lane] = self._requests.get(lane, 0) + 1
            self._sent_bytes += sent_bytes

    def ended(self, received_bytes: int) -> None:
        with self._lock:
            self._under_way -= 1
            self._received_bytes += received_bytes
            if not self._under_way:
                self._busy_s += self._now_s() - self._since_s

    def document(self) -> dict[str, object]:
        with self._lock:
            busy_s = self._busy_s + (self._now_s() - self._since_s if self._under_way else 0.0)
            return {
                "requests": dict(self._requests),
                "sent_bytes": self._sent_bytes,
                "received_bytes": self._received_bytes,
                "radio_s": round(busy_s, 3),
            }


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
        self._answered.wait(min(timeout_s, max(0.0, self._deadline_s - time.monotonic())))
        if self._answer is None and time.monotonic() >= self._deadline_s:
            self._give_up()
            return NoAnswer(Phrase("the answer did not end in time"), timed_out=True)
        return self._answer


@dataclass(frozen=True, slots=True)
class _Job:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    pending: _Pending


class HttpCourier:
    """Carries requests to the cloud, one at a time, from a thread of its own.

    `lane` names it in the figures; `spent` is told of each body's bytes, in the caller's thread.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        lane: str = "telemetry",
        use: LinkUse | None = None,
        spent: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings, self._lane, self._use, self._spent = settings, lane, use or LinkUse(), spent
        self._line: _Line | None = None

    def post(self, target: str, headers: dict[str, str], body: bytes) -> _Pending:
        """Start a request; `target` is path and query exactly as signed."""
        return self._send("POST", target, headers, body)

    def get(self, target: str, headers: dict[str, str]) -> _Pending:
        """As `post`, without a body."""
        return self._send("GET", target, headers, b"")

    def __del__(self) -> None:
        # A courier that was replaced by one with other settings: its thread ends behind the request it may still have.
        if self._line is not None:
            self._line.jobs.put(None)

    def abandon(self) -> None:
        """Cut the line under the present request; the next one gets a thread and a connection of its own."""
        line, self._line = self._line, None
        if line is not None:
            line.cut()

    def _send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Pending:
        if self._line is None:
            self._line = _Line(self._settings, self._lane, self._use)
        settings, line = self._settings, self._line
        patience_s = settings.connect_timeout_s + settings.read_timeout_s + len(body) / SLOWEST_LINK_BYTES_S
        pending = _Pending(time.monotonic() + patience_s, lambda: self._give_up(line))
        self._spent(len(body))
        line.jobs.put(_Job(method, target, headers, body, pending))
        return pending

    def _give_up(self, line: _Line) -> None:
        """Cut the line whose request is out of time: never a later one, which has done nothing wrong."""
        line.cut()
        if self._line is line:
            self._line = None


class _Line:
    """A thread and its connection, until cut. What is cut ends by itself: its socket is shut under it."""

    def __init__(self, settings: HttpSettings, lane: str, use: LinkUse) -> None:
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._settings, self._lane, self._use = settings, lane, use
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._is_cut = False
        threading.Thread(target=self._deliver, daemon=True, name=f"http-{lane}").start()

    def cut(self) -> None:
        """From any thread: whatever the line's thread waits for on the network ends now."""
        with self._lock:
            self._is_cut = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)
        self.jobs.put(None)

    def opened(self, connection: socket.socket) -> None:
        """A second handle on a fresh connection: wrapping in TLS takes the first away, a cut must reach it still."""
        with self._lock:
            self._let_go()
            if self._is_cut:
                connection.close()
                raise OSError("the request was given up")
            self._handle = connection.dup()

    def closed(self) -> None:
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _deliver(self) -> None:
        pool: urllib3.HTTPConnectionPool | None = None
        stamp: Stamp | None = None
        while (job := self.jobs.get()) is not None:
            self._use.began(self._lane, len(job.body))
            # A renewed certificate or CA is taken up with the next request, without a restart.
            present = stamp_of(self._settings.tls)
            if pool is not None and present != stamp:
                pool.close()
                pool = None
            answer: Answer | NoAnswer
            try:
                pool, stamp = pool or _pool(self._settings, self), present
            except UnusableFile as fault:
                answer = NoAnswer(fault.args[0])
            else:
                answer = _exchange(pool, job)
            self._use.ended(len(answer.body) if isinstance(answer, Answer) else 0)
            job.pending.put(answer)
            del job  # it knows its courier, which must be free to go while this thread waits
        if pool is not None:
            pool.close()


def _pool(settings: HttpSettings, line: _Line) -> urllib3.HTTPConnectionPool:
    """One keep-alive connection. urllib3 takes neither proxies nor credentials from the environment.

    Raises UnusableFile where a CA or certificate file cannot be used.
    """
    timeout = urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s)
    if settings.base_url.startswith("http://"):
        pool = urllib3.connection_from_url(settings.base_url, maxsize=1, timeout=timeout, retries=False)
        pool.ConnectionCls = _told(HTTPConnection, line)
    else:
        pool = _secure_pool(settings, timeout)
        pool.ConnectionCls = _told(HTTPSConnection, line)
    return pool


def _secure_pool(settings: HttpSettings, timeout: urllib3.Timeout) -> urllib3.HTTPConnectionPool:
    context = context_for(settings.tls)
    if settings.proxy_url is None:
        return urllib3.connection_from_url(
            settings.base_url, maxsize=1, timeout=timeout, retries=False, ssl_context=context
        )
    headers = urllib3.make_headers(proxy_basic_auth=settings.proxy_credentials) if settings.proxy_credentials else None
    manager = urllib3.ProxyManager(
        settings.proxy_url, proxy_headers=headers, maxsize=1, timeout=timeout, retries=False, ssl_context=context
    )
    return manager.connection_from_url(settings.base_url)


def _told(kind: type[HTTPConnection], line: _Line) -> type[HTTPConnection]:
    """A kind of connection that tells `line` of its socket before anything, TLS included, is said on it."""

    class Told(kind):  # type: ignore[valid-type,misc]
        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            line.opened(made)
            return made

        def close(self) -> None:
            line.closed()
            super().close()

    return Told


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
        return NoAnswer(Phrase("no answer in time"), timed_out=True)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
        # A connection that stood and was lost: RemoteDisconnected, a reset, an answer that broke off.
        lost = isinstance(fault, urllib3.exceptions.ProtocolError)
        return NoAnswer(tls_words(fault) or _plain(fault), broke_off=lost)
    if body is None:
        return NoAnswer(Phrase("the answer is longer than any of the cloud's"))
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
        ("Name or service not known", Phrase("the cloud's name cannot be looked up (DNS)")),
        ("Temporary failure in name resolution", Phrase("the cloud's name cannot be looked up (DNS)")),
        ("Failed to resolve", Phrase("the cloud's name cannot be looked up (DNS)")),
        ("407 ", Phrase("the proxy wants a user and password, or others")),
        ("Tunnel connection failed", Phrase("the proxy does not let the station through to the cloud")),
        ("Connection refused", Phrase("connection refused")),
        ("Connection reset", Phrase("connection reset")),
        ("RemoteDisconnected", Phrase("the cloud closed the connection without an answer")),
        ("Network is unreachable", Phrase("network unreachable")),
        ("No route to host", Phrase("no route to the cloud")),
        ("IncompleteRead", Phrase("the answer broke off")),
    ):
        if sign in text:
            return words
    return f"{type(fault).__name__}: {text[:200]}"
