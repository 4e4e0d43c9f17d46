"""A receiver of webhooks for tests: keeps what it gets, and behaves as it is told: answers, hangs, drips, resets."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(status: int, **headers: str) -> str:
    """A whole answer with that status."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}Content-Length: 0\r\n\r\n"


HANG, RESET, DRIP = "hang", "reset", "drip"


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def delivery_id(self) -> str:
        return self.headers["x-aquasmart-delivery"]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        receiver: WebhookReceiver = self.server.receiver  # type: ignore[attr-defined]
        path = self.rfile.readline().decode().split(" ")[1]
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", "0")))
        got = Got(path, headers, body)
        receiver.got.append(got)
        how = receiver.behave(got)
        if how == HANG:
            receiver.over.wait(60)
        elif how == RESET:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
        elif how == DRIP:
            for character in "HTTP/1.1 200 OK" * 100:
                self.wfile.write(character.encode())
                self.wfile.flush()
                if receiver.over.wait(0.2):
                    return
        else:
            self.wfile.write(how.encode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that gives up is no fault of the receiver's."""


class WebhookReceiver:
    """`with WebhookReceiver() as receiver`; `behave` says for each request what it gets."""

    def __init__(self, behave: Callable[[Got], str] = lambda _: OK) -> None:
        self.got: list[Got] = []
        self.behave = behave
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self  # type: ignore[attr-defined]
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?from=aquasmart"

    def await_got(self, number: int, timeout_s: float = 60.0) -> list[Got]:
        """What came, once there are so many."""
        deadline = time.monotonic() + timeout_s
        while len(self.got) < number:
            assert time.monotonic() < deadline, f"{len(self.got)} of {number} came: {self.got}"
            time.sleep(0.02)
        return list(self.got)

    def __enter__(self) -> WebhookReceiver:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
