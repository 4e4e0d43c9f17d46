"""A hostile TCP proxy: bytes in, bytes out, and one trouble per connection. It knows nothing of HTTP.

demo/link.py is the other one: it knows requests from answers, and so can double or replace them. This one breaks what
lies below: a reset after any byte of either direction, a flipped bit, silence, drips, a host that never answers SYN.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

TICK_S = 0.02
PIECE = 1 << 16


@dataclass(frozen=True)
class Trouble:
    """What happens to one connection; offsets count from its first byte in that direction. The default is nothing."""

    name: str = ""
    request_bytes: int | None = None
    """The cloud gets so many bytes and no more; then both sides are reset."""
    answer_bytes: int | None = None
    """The station gets so many bytes and no more; then it is reset (`then_silence`: it hears no more instead)."""
    then_silence: bool = False
    flip_answer: int | None = None
    """The byte of the answer whose lowest bit is flipped."""
    answer_delay_s: float = 0.0
    drip_s: float = 0.0
    """Answer bytes go out one at a time, so far apart."""
    mute: bool = False
    """The request is read and nothing is said, ever."""
    canned: bytes | None = None
    """Said to whoever has sent something, instead of asking the cloud; then the connection ends."""
    idle_close_s: float | None = None
    """The connection ends once nothing has moved for so long after an answer."""


HONEST = Trouble("honest", idle_close_s=0.05)
"""An honest connection for one exchange: the next request needs a connection of its own, and meets the next trouble."""


class TcpProxy:
    """Listens on a port of its own while it is entered; `plan` is asked once per connection that says something.

    `wanted` decides by a connection's first bytes whether it takes part; the others are relayed as they are.
    """

    def __init__(self, upstream_port: int, *, wanted: bytes = b"") -> None:
        self.upstream_port = upstream_port
        self.plan: Callable[[], Trouble | None] = lambda: None
        self.met: list[str] = []
        """The names of the troubles met, in order."""
        self._wanted = wanted
        self._ends: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = int(self._listener.getsockname()[1])

    def script(self, *troubles: Trouble, then: Trouble | None = None) -> None:
        """One trouble per connection, in order; `then` for every later one."""
        left = deque(troubles)
        self.plan = lambda: left.popleft() if left else then

    def __enter__(self) -> TcpProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every open connection."""
        for end in list(self._ends):
            _reset(end)

    def _accept(self) -> None:
        self._listener.settimeout(0.2)
        while not self._stopping.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._ends.add(client)
        upstream: socket.socket | None = None
        with contextlib.suppress(OSError):
            first = client.recv(PIECE)
            trouble = (self.plan() if first.startswith(self._wanted) else None) or Trouble()
            if trouble.name:
                self.met.append(trouble.name)
            if trouble.canned is not None:
                client.sendall(trouble.canned)
            elif first:
                upstream = socket.create_connection(("127.0.0.1", self.upstream_port), 5)
                self._ends.add(upstream)
                _Pair(client, upstream, trouble, self._stopping).relay(first)
        for end in (client, upstream):
            if end is not None:
                self._ends.discard(end)
                end.close()


class _Pair:
    """One connection and its trouble: a thread for what the cloud says, ours for what the station says."""

    def __init__(
        self, client: socket.socket, upstream: socket.socket, trouble: Trouble, stopping: threading.Event
    ) -> None:
        self._client, self._upstream, self._trouble, self._stopping = client, upstream, trouble, stopping
        self._said = self._heard = 0
        self._moved_s = time.monotonic()
        self._over = threading.Event()

    def relay(self, first: bytes) -> None:
        answers = threading.Thread(target=self._answers, daemon=True)
        answers.start()
        with contextlib.suppress(OSError):
            data = first
            while data and self._request(data):
                data = self._read(self._client)
        self._over.set()
        answers.join()

    def _request(self, data: bytes) -> bool:
        limit, self._moved_s = self._trouble.request_bytes, time.monotonic()
        if limit is not None and self._said + len(data) >= limit:
            self._upstream.sendall(data[: limit - self._said])
            _reset(self._client)
            _reset(self._upstream)
            return False
        self._said += len(data)
        self._upstream.sendall(data)
        return True

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._read(self._upstream):
                self._moved_s = time.monotonic()
                if not self._trouble.mute and not self._answer(data):
                    break
        self._over.set()
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _answer(self, data: bytes) -> bool:
        trouble = self._trouble
        self._stopping.wait(trouble.answer_delay_s)
        at = trouble.flip_answer
        if at is not None and self._heard <= at < self._heard + len(data):
            here = at - self._heard
            data = data[:here] + bytes([data[here] ^ 1]) + data[here + 1 :]
        limit = trouble.answer_bytes
        cut = limit is not None and self._heard + len(data) >= limit
        data = data[: limit - self._heard] if cut and limit is not None else data
        self._heard += len(data)
        for piece in [data[i : i + 1] for i in range(len(data))] if trouble.drip_s else [data]:
            self._client.sendall(piece)
            self._stopping.wait(trouble.drip_s)
        if cut and trouble.then_silence:
            while not self._over.is_set() and not self._stopping.is_set():
                self._over.wait(TICK_S)
        elif cut:
            _reset(self._client)
        return not cut

    def _read(self, end: socket.socket) -> bytes:
        end.settimeout(TICK_S)
        while not self._stopping.is_set() and not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                return end.recv(PIECE)
            idle_s = self._trouble.idle_close_s
            if idle_s is not None and self._heard and time.monotonic() - self._moved_s > idle_s:
                return b""
        return b""


class DeafHost:
    """A port whose SYNs are dropped: a listener that never accepts, its queue full. What is called sees a timeout."""

    def __enter__(self) -> DeafHost:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._filling = []
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", self.port))
            self._filling.append(caller)
        return self

    def __exit__(self, *_: object) -> None:
        for end in (*self._filling, self._listener):
            end.close()


def _reset(end: socket.socket) -> None:
    """End with RST, as a router does whose power goes; whoever reads from it is woken."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RD)
    end.close()
