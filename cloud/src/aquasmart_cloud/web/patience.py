"""How long one sender may take: gunicorn's threaded worker, with an end to every read and write.

gunicorn reads heads and bodies on a blocking socket in a thread of the pool, so whoever sends a byte now and then
holds that thread for as long as they like, and eight of them everything. Here a connection that has said nothing
holds no thread at all; a request must arrive within a time that shrinks while others wait for a thread; and an answer
that nobody reads is given up. What a request means is not this module's affair.

A request that is cut off was not answered: its sender repeats it, and nothing of it was stored, since the application
stores only bodies that have arrived whole.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from functools import partial
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import TConn, ThreadWorker

HEAD_S = 10.0
"""For request line and headers, from their first byte; and for a new connection to say anything."""
WHOLE_S = 60.0
"""For a request with its body. 2,000 rows, 2 kB packed, then need 300 bit/s."""
HURRIED_S = 3.0
"""For either, while other requests wait for a thread."""
SEND_S = 60.0
"""For one piece of an answer to be taken."""
_LOOK_EVERY_S = 0.5


class TooSlow(NoMoreData, TimeoutError):  # type: ignore[misc]
    """The rest did not come in time. Within a head gunicorn closes the connection; a body's reader says 408."""


class PatientSocket(socket.socket):
    """A connection's socket whose reads end with its request's time; `worker` says whether others wait."""

    worker: PatientWorker
    _began_s: float = 0.0
    _limit_s: float = HEAD_S
    _hurries = True

    @classmethod
    def of(cls, accepted: socket.socket, worker: PatientWorker) -> PatientSocket:
        """Takes over the file descriptor of `accepted`."""
        made = cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        made.worker = worker
        return made

    def begin_request(self) -> None:
        """Its first bytes are there."""
        self._began_s, self._limit_s, self._hurries = time.monotonic(), HEAD_S, True

    def begin_body(self) -> None:
        """Its head has been read."""
        self._limit_s = WHOLE_S

    def allow(self, limit_s: float) -> None:
        """The rest of this request may take so long, whoever waits: for somebody whom the application knows."""
        self._began_s, self._limit_s, self._hurries = time.monotonic(), limit_s, False

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As any socket's, within the request's time. Errors: TooSlow; TimeoutError within a shorter own timeout."""
        former = self.gettimeout()
        ends_s = None if former is None else time.monotonic() + former
        try:
            while True:
                now_s = time.monotonic()
                hurried = self._hurries and self.worker.in_demand
                if now_s - self._began_s >= (min(HURRIED_S, self._limit_s) if hurried else self._limit_s):
                    raise TooSlow(b"")
                wait_s = _LOOK_EVERY_S if ends_s is None else min(_LOOK_EVERY_S, ends_s - now_s)
                if wait_s <= 0:
                    raise TimeoutError
                self.settimeout(wait_s)
                try:
                    return super().recv(bufsize, flags)
                except TimeoutError:
                    continue
        finally:
            self.settimeout(former)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Errors: TimeoutError where it is not taken in SEND_S."""
        former = self.gettimeout()
        self.settimeout(SEND_S)
        try:
            super().sendall(data, flags)
        finally:
            self.settimeout(former)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Errors: TimeoutError where the other side takes nothing for SEND_S."""
        former = self.gettimeout()
        self.settimeout(SEND_S)
        try:
            return super().sendfile(file, offset, count)
        finally:
            self.settimeout(former)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's gthread worker on such sockets."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def in_demand(self) -> bool:
        """Whether a request waits for a thread."""
        return self._waiting > 0

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection a thread, once there is something to read. Runs on the main thread."""
        if not (conn.initialized or isinstance(conn.sock, PatientSocket)):
            conn.sock = PatientSocket.of(conn.sock, self)
        if conn.initialized or conn.data_ready:
            with self._lock:
                self._waiting += 1
            super().enqueue_req(conn)
            return
        # The poller waits, not a thread; what says nothing in time is closed.
        conn.sock.settimeout(0)
        conn.timeout = time.monotonic() + HEAD_S
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn) -> Any:
        """A connection's turn. Runs on a thread of the pool."""
        with self._lock:
            self._waiting -= 1
        keep = self.serve(conn)
        if not keep:
            # Here, since closing lingers for the other side, and the main thread would let everybody wait for that.
            conn.close(graceful=True)
        return keep

    def serve(self, conn: TConn) -> Any:
        """One request; True: the connection stays open for others."""
        if isinstance(conn.sock, PatientSocket):
            conn.sock.begin_request()
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Its head has been read: answer it."""
        if isinstance(conn.sock, PatientSocket):
            conn.sock.begin_body()
        return super().handle_request(req, conn)
