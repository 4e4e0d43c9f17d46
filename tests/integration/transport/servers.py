"""Servers that misbehave as a test says, over real sockets, plain or TLS; and what a courier makes of them."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aquasmart_station.adapters.http import HttpCourier, HttpSettings
from aquasmart_station.adapters.tls import TlsSettings
from aquasmart_station.core.outcome import Answer, NoAnswer

Behaviour = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Timestamp: 5\r\n\r\n{}"


@contextmanager
def server(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A thread for each connection, treated as `behaviour` says, after the TLS handshake where there is one."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def treat(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if tls is None:
                behaviour(connection)
            else:
                # As servers do: an alert is heard out before the connection goes, or a reset would overtake it.
                with connection.dup() as raw:
                    try:
                        with tls.wrap_socket(connection, server_side=True) as wrapped:
                            behaviour(wrapped)
                    except ssl.SSLError:
                        raw.shutdown(socket.SHUT_WR)
                        while raw.recv(65_536):
                            pass

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=treat, args=(connection,)))
            threads[-1].start()

    threads.append(threading.Thread(target=serve))
    threads[0].start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads), "a connection was never let go"


def whole_request(connection: socket.socket) -> bytes:
    """One request with its body; what has come where the other side has gone."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if end and len(body) >= int(found[1] if found else 0):
            return data
        piece = connection.recv(65_536)
        if not piece:
            return data
        data += piece


def answering(data: bytes, *, pause_s: float = 0.0) -> Behaviour:
    """Reads a request, answers `data`; byte by byte where there is a pause."""

    def behave(connection: socket.socket) -> None:
        whole_request(connection)
        for piece in [data] if not pause_s else [data[i : i + 1] for i in range(len(data))]:
            try:
                connection.sendall(piece)
            except OSError:
                return
            time.sleep(pause_s)

    return behave


def silent(connection: socket.socket) -> None:
    """Takes a request and says nothing until the other side has gone."""
    while connection.recv(65_536):
        pass


def reset(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def courier(url: str, *, read_timeout_s: float = 2.0, tls: TlsSettings | None = None) -> HttpCourier:
    return HttpCourier(HttpSettings(url, 1.0, read_timeout_s, tls or TlsSettings()))


def post(
    url: str, *, read_timeout_s: float = 2.0, within_s: float = 20.0, tls: TlsSettings | None = None
) -> Answer | NoAnswer:
    """One request by a courier of its own, which is let go afterwards."""
    sender = courier(url, read_timeout_s=read_timeout_s, tls=tls)
    answer = answer_of(sender, within_s)
    sender.abandon()
    return answer


def answer_of(sender: HttpCourier, within_s: float = 20.0) -> Answer | NoAnswer:
    pending = sender.post("/v1/ingest", {"X-Station-Id": "demo-1"}, b"{}")
    given_up_s = time.monotonic() + within_s
    while (answer := pending.wait(0.05)) is None:
        assert time.monotonic() < given_up_s, "the courier hangs"
    return answer


def courier_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("http-")]
