"""gunicorn's threaded worker, for senders that go on sending: the thread that answered awaits their next request.

gunicorn gives a connection back to its main thread after each request, and gets it from there for the next: two
wake-ups, a registration and a hand-over, a third of all the time in which the interpreter was busy (measured with
four senders). A station that drains sends its next batch within milliseconds, so the thread waits that long itself.
Nothing of HTTP or of the application is here, and what a request is answered does not depend on it.
"""

from __future__ import annotations

import gc
import select
from typing import Any

from gunicorn.glogging import Logger

from .patience import PatientWorker

WAIT_SLICE_MS = 1
WAIT_SLICES = 8
"""A thread that waits looks this often whether somebody else needs it, and gives up after the last slice."""
YOUNG_OBJECTS = 50_000
"""A request makes some hundred objects, and none in a circle; at the usual 700 a tenth of its time went to looking."""


class AttentiveWorker(PatientWorker):
    """`worker_class` of deploy/gunicorn.conf.py."""

    def init_process(self) -> None:
        """What was loaded before the first request stays for good: no collection needs to look at it again."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        super().init_process()

    def serve(self, conn: Any) -> Any:
        """Requests of one connection as long as they follow each other at once; True: it stays open."""
        result = super().serve(conn)
        while result is True and self._next_comes(conn):
            result = super().serve(conn)
        return result

    def _next_comes(self, conn: Any) -> bool:
        """Whether the next request begins before this thread is needed elsewhere, or should stop."""
        if conn.is_http2 or conn.parser.unreader.buf.getvalue():
            return False  # gunicorn's own business
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        for _ in range(WAIT_SLICES):
            if not self.alive or self.in_demand:
                return False
            if poll.poll(WAIT_SLICE_MS):
                return True
        return False


class ProblemsOnly(Logger):  # type: ignore[misc]
    """`logger_class`: the application logs every problem itself, and no request is formatted for a log nobody keeps."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing."""
