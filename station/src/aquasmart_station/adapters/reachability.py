"""The way to the cloud, one step at a time: name, connection, TLS. For the doctor, who says which step fails.

Speaks to the configured address and to nobody else; every step has a deadline.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from ..core.phrases import Phrase
from .tls import TlsSettings, UnusableFile, context_for, tls_words


class Unreachable(Exception):
    """A step that failed, in words."""


@dataclass(frozen=True, slots=True)
class Handshake:
    version: str
    not_after: datetime
    """Of the certificate that the cloud showed."""


def look_up(host: str, port: int, within_s: float) -> list[str]:
    """The host's addresses. Raises Unreachable. The look-up itself cannot be interrupted, so it has its own thread."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except OSError as fault:
            answers.put(fault)

    threading.Thread(target=ask, daemon=True, name="look-up").start()
    try:
        answer = answers.get(timeout=within_s)
    except queue.Empty:
        raise Unreachable(Phrase("no answer from any name server")) from None
    if isinstance(answer, OSError):
        raise Unreachable(answer.strerror or str(answer))
    return answer


def connect(host: str, port: int, within_s: float) -> str:
    """The address that took a connection. Raises Unreachable."""
    try:
        with socket.create_connection((host, port), timeout=within_s) as connection:
            return str(connection.getpeername()[0])
    except OSError as fault:
        raise Unreachable(fault.strerror or str(fault)) from fault


def handshake(host: str, port: int, tls: TlsSettings, within_s: float) -> Handshake:
    """What TLS agrees on. Raises Unreachable in the words of adapters/tls.py."""
    try:
        context = context_for(tls)
        with (
            socket.create_connection((host, port), timeout=within_s) as connection,
            context.wrap_socket(connection, server_hostname=host) as wrapped,
        ):
            # With TLS 1.3 a refused client certificate shows with the first read only; none within a moment is well.
            wrapped.settimeout(min(within_s, 0.3))
            with contextlib.suppress(TimeoutError):
                wrapped.recv(1)
            shown = wrapped.getpeercert() or {}
            not_after = ssl.cert_time_to_seconds(str(shown["notAfter"]))
            return Handshake(wrapped.version() or "TLS", datetime.fromtimestamp(not_after, UTC))
    except UnusableFile as fault:
        raise Unreachable(str(fault)) from fault
    except OSError as fault:
        raise Unreachable(tls_words(fault) or fault.strerror or str(fault)) from fault
