"""One signed POST to a webhook: to a judged address, within a time, no redirect followed, no proxy, no body believed.

What becomes of the outcome is services.delivering; when it is tried again, core.delivering.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from aquasmart_cloud.core.delivering import Attempt, retry_after_ms, signature

from .addresses import Forbidden, Network, resolve

TIMEOUT_S = 10.0
"""For all of it: a receiver that sends a byte now and then is cut off as well."""


@dataclass(frozen=True, slots=True)
class Posting:
    """How webhooks are called. `allowed` are networks that are not public and may be called all the same."""

    allowed: Sequence[Network] = ()
    timeout_s: float = TIMEOUT_S

    def post(self, url: str, secret: bytes, delivery_id: str, body: bytes, now_ms: int) -> Attempt:
        """One attempt. Never raises for what the receiver, the network or the address does."""
        try:
            status, reason, retry_after = self._exchange(url, secret, delivery_id, body, now_ms)
        except Forbidden as fault:
            return Attempt(delivered=False, status=None, said=str(fault))
        except (OSError, HTTPException, ValueError) as fault:
            return Attempt(delivered=False, status=None, said=_words(fault))
        if 200 <= status < 300:
            return Attempt(delivered=True, status=status, said=reason)
        said = f"{status} {reason}" + (" (redirects are not followed)" if 300 <= status < 400 else "")
        return Attempt(delivered=False, status=status, said=said, wait_ms=retry_after_ms(retry_after, now_ms))

    def _exchange(
        self, url: str, secret: bytes, delivery_id: str, body: bytes, now_ms: int
    ) -> tuple[int, str, str | None]:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        address, by_operator = resolve(host, port, self.allowed)
        if not secure and not by_operator:
            raise Forbidden(
                "http is not encrypted: use https, or name the receiver's network (AQUASMART_WEBHOOK_ALLOW)"
            )
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        line = _connection(host, port, address, self.timeout_s, secure=secure)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "AquaSmart-Cloud",
            "X-AquaSmart-Delivery": delivery_id,
            "Idempotency-Key": delivery_id,
            "X-AquaSmart-Timestamp": str(now_ms),
            "X-AquaSmart-Signature": signature(secret, now_ms, delivery_id, body),
            "Connection": "close",
        }
        late = threading.Event()
        cut = threading.Timer(self.timeout_s, _cut, (line, late))
        cut.daemon = True
        cut.start()
        try:
            line.request("POST", target, body, headers)
            answer: HTTPResponse = line.getresponse()
            return answer.status, answer.reason[:100], answer.headers.get("Retry-After")
        except (OSError, HTTPException, ValueError) as fault:
            if late.is_set():
                raise TimeoutError from fault
            raise
        finally:
            cut.cancel()
            line.close()


def _connection(host: str, port: int, address: str, timeout_s: float, *, secure: bool) -> HTTPConnection:
    """A connection to `address` that says `host` in its header, and in TLS verifies it."""
    line = (
        HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        if secure
        else HTTPConnection(host, port, timeout=timeout_s)
    )

    def connect(_named: tuple[str, int], timeout: float | None = None, source: object = None) -> socket.socket:
        del source
        return socket.create_connection((address, port), timeout)

    # The one place where http.client looks a name up: it gets the address that was judged.
    line._create_connection = connect  # type: ignore[attr-defined]  # noqa: SLF001
    return line


def _cut(line: HTTPConnection, late: threading.Event) -> None:
    """End it from outside: what waits on the socket wakes up with an error."""
    late.set()
    found = line.sock
    if found is not None:
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)


def _words(fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {fault.verify_message}"
    return f"{type(fault).__name__}: {fault}"[:300]
