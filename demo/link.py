"""The network between one station and the cloud: a TCP relay that can be cut, stalled, recorded, made to lie.

It knows just enough HTTP to tell one request from the next and changes nothing of its own accord: `make
outage` uses the states, the end-to-end tests also use the faults (demo/faults.py). A control file holding
`pass`, `cut` or `black-hole` is obeyed whenever its content changes: another process can pull the plug.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from demo.faults import Exchange, Fault

STATES = ("pass", "cut", "black-hole")
POLL_S = 0.05
CONNECT_TIMEOUT_S = 5.0
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d+)[ \t]*\r?$")


class _Torn(Exception):
    """The line was cut, or either side closed it."""


class Relay:
    """Listens on `port` (0: any free one), relays to `upstream_port`. The constructor stores its arguments.

    `pass` relays; `cut` refuses connections and resets those that are open; `black-hole` accepts, reads, and
    never answers. The last `record` exchanges are kept in `exchanges`.
    """

    def __init__(self, port: int, upstream_port: int, *, control: Path | None = None, record: int = 0) -> None:
        self.port = port
        self.exchanges: deque[Exchange] = deque(maxlen=record)
        self.policy: Callable[[Exchange], Fault | None] | None = None
        self._upstream_port = upstream_port
        self._control = control
        self._ordered = ""
        self._wanted = "pass"
        self._state = "pass"
        self._planned: deque[tuple[str, Fault]] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._cuts = 0
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    # Owner's side

    def start(self) -> None:
        """Begin to listen; `port` then says where. OSError when the port is taken."""
        self._obey_control()
        self._listen()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        self._stopping.set()
        self._cuts += 1
        if self._thread is not None:
            self._thread.join()
        self._close_listener()

    @property
    def state(self) -> str:
        return self._state

    def set_state(self, state: str) -> None:
        """Change to `pass`, `cut` or `black-hole`; returns when it holds for every new byte."""
        if state not in STATES:
            raise ValueError(f"a link can be {', '.join(STATES)}, not {state!r}")
        with self._changed:
            self._wanted = state
            self._changed.wait_for(lambda: self._state == state or self._stopping.is_set(), timeout=10)

    def lead_to(self, upstream_port: int) -> None:
        """Relay to somebody else from now on; connections that are open are reset."""
        self._upstream_port = upstream_port
        self._cuts += 1

    def inject(self, *faults: Fault, path: str = "/v1/ingest") -> None:
        """Queue faults for the next requests whose target begins with `path`, one request each, in order."""
        with self._lock:
            self._planned.extend((path, fault) for fault in faults)

    def pending_faults(self) -> int:
        """How many injected faults have not met their request yet."""
        with self._lock:
            return len(self._planned)

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The listener's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._obey_control()
            self._apply()
            if self._listener is None:
                self._stopping.wait(POLL_S)
                continue
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(client, self._cuts), daemon=True).start()

    def _obey_control(self) -> None:
        if self._control is None:
            return
        with contextlib.suppress(OSError):
            order = self._control.read_text().strip()
            if order != self._ordered and order in STATES:
                self._ordered = self._wanted = order

    def _apply(self) -> None:
        if self._wanted == self._state:
            return
        if self._wanted == "cut":
            self._close_listener()
        elif self._listener is None:
            self._listen()
        with self._changed:
            self._cuts += 1
            self._state = self._wanted
            self._changed.notify_all()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        listener.settimeout(POLL_S)
        self.port = listener.getsockname()[1]
        self._listener = listener

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # One connection's thread

    def _serve(self, client: socket.socket, cuts: int) -> None:
        client.settimeout(POLL_S)
        upstream: socket.socket | None = None
        try:
            while request := self._message(client, cuts):
                if self._state == "black-hole":
                    self._wait(3600, cuts)
                if upstream is None or _closed(upstream):
                    upstream = self._call(upstream)
                if self._relay(client, upstream, request, cuts).close:
                    break
        except (_Torn, OSError):
            _reset(client)
        finally:
            for end in (client, upstream):
                if end is not None:
                    end.close()

    def _call(self, former: socket.socket | None) -> socket.socket:
        if former is not None:
            former.close()
        upstream = socket.create_connection(("127.0.0.1", self._upstream_port), CONNECT_TIMEOUT_S)
        upstream.settimeout(POLL_S)
        return upstream

    def _relay(self, client: socket.socket, upstream: socket.socket, request: bytes, cuts: int) -> Fault:
        exchange = Exchange(request)
        fault = self._fault_for(exchange)
        exchange.fault = fault.name
        self.exchanges.append(exchange)
        self._wait(fault.delay_request_s, cuts)
        if fault.forward:
            sent = request if fault.request_bytes is None else request[: fault.request_bytes]
            for _ in range(fault.times):
                upstream.sendall(sent)
                if len(sent) < len(request):
                    raise _Torn
                exchange.answer = self._message(upstream, cuts)
        answer = fault.answer_to(exchange.answer)
        self._wait(fault.delay_answer_s, cuts)
        exchange.delivered = answer
        if answer:
            client.sendall(answer)
        if fault.reset or not answer:
            raise _Torn
        return fault

    def _fault_for(self, exchange: Exchange) -> Fault:
        with self._lock:
            for index, (path, fault) in enumerate(self._planned):
                if exchange.target.startswith(path):
                    del self._planned[index]
                    return fault
        fault = self.policy(exchange) if self.policy else None
        return fault or Fault()

    def _message(self, end: socket.socket, cuts: int) -> bytes:
        """One whole HTTP message; empty when the other side has closed between messages."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._piece(end, cuts)
            if not piece and data:
                raise _Torn
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head + b"\r\n")
        missing = (int(found[1]) if found else 0) - len(body)
        parts = [data]
        while missing > 0:
            parts.append(self._piece(end, cuts))
            missing -= len(parts[-1])
            if not parts[-1]:
                raise _Torn
        return b"".join(parts)

    def _piece(self, end: socket.socket, cuts: int) -> bytes:
        while cuts == self._cuts:
            with contextlib.suppress(TimeoutError):
                return end.recv(1 << 16)
        raise _Torn

    def _wait(self, seconds: float, cuts: int) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if cuts != self._cuts:
                raise _Torn
            self._stopping.wait(min(POLL_S, left))


def _closed(upstream: socket.socket) -> bool:
    """Whether the cloud has ended an idle connection: nothing else can be readable between two requests."""
    return bool(select.select([upstream], [], [], 0)[0])


def _reset(end: socket.socket) -> None:
    """Close with a reset, not with a polite end: what a router does when its power goes."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
