"""Faults on request: what a bad network, a dying server or a failing database would do to whoever sends events.

Installed only where the setting AQUASMART_FAULTS allows it, which production refuses. A fault concerns requests that
bring something (POST to the intake and to `/v1/`), named by their header X-Fault or by the setting for all of them.
"""

from __future__ import annotations

import contextlib
import socket
import time

from flask import Flask, Response, g, request

from aquasmart_cloud.core.fault_names import (
    BY_HEADER,
    DELAY,
    DISCONNECT,
    DROP_ACK,
    ERROR_500,
    FAULTS,
    Injected,
    parse_fault,
)
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.faulty import FaultyDatabase

from .answers import log

HEADER = "X-Fault"


def install(app: Flask, database: FaultyDatabase, setting: str) -> None:
    """Let `app` fail as `setting` says: by header, or one fault for everything. Before any blueprint."""
    for_all = None if setting == BY_HEADER else parse_fault(setting)

    def begin() -> Response | None:
        database.arm(None)
        fault = _asked(for_all)
        g.fault = fault
        if fault is None:
            return None
        log.warning("fault on request: %s for %s", fault.name, request.path)
        if fault.name == DELAY:
            time.sleep(fault.delay_ms / 1000)
        elif fault.name == DISCONNECT:
            _cut()
            return Response(status=500)
        elif fault.name == ERROR_500:
            raise Refusal("internal", "a fault was asked for: error-500")
        else:
            database.arm(fault.name)
        return None

    def end(answer: Response) -> Response:
        fault: Injected | None = g.get("fault")
        if fault is not None and fault.name == DROP_ACK:
            _cut()
        return answer

    app.before_request(begin)
    app.after_request(end)


def _asked(for_all: Injected | None) -> Injected | None:
    """The fault for this request. Errors: Refusal for a header that names none."""
    if request.method != "POST" or not request.path.startswith(("/v1/", "/api/events")):
        return None
    wanted = request.headers.get(HEADER)
    if wanted is None:
        return for_all
    fault = parse_fault(wanted)
    if fault is None:
        raise Refusal("invalid", f"{HEADER}: there is no fault {wanted[:50]!r}; there are {', '.join(FAULTS)}")
    return fault


def _cut() -> None:
    """End the connection under the server's feet; whatever it writes then goes nowhere."""
    under = request.environ.get("gunicorn.socket")
    if isinstance(under, socket.socket):
        with contextlib.suppress(OSError):
            under.shutdown(socket.SHUT_RDWR)
