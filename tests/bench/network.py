"""A slow road between two sides: a TCP relay with delay, pace and a count of bytes; and a namespace with a real queue.

The kernel's own means are better where they are there: `narrow_link` puts a token bucket (tbf) on a veth pair. Delay
needs netem, which small kernels lack; then the relay delays, after TCP's own handshake: it leaves out that one trip.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

CHUNK = 16_384


class Road:
    """Relays to `upstream_port` on loopback; each direction is late by `one_way_s` and no faster than `bytes_per_s`."""

    def __init__(
        self,
        upstream_port: int,
        *,
        one_way_s: float = 0.0,
        bytes_per_s: float | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._upstream_port, self._one_way_s, self._bytes_per_s = upstream_port, one_way_s, bytes_per_s
        self._listener = socket.create_server((address, 0))
        self.port = int(self._listener.getsockname()[1])
        self.sent_bytes = self.received_bytes = self.connections = 0

    def __enter__(self) -> Road:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def reset(self) -> None:
        self.sent_bytes = self.received_bytes = self.connections = 0

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._upstream_port))
                except OSError:
                    near.close()
                    continue
                self.connections += 1
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._lane(near, far, up=True)
                self._lane(far, near, up=False)

    def _lane(self, source: socket.socket, sink: socket.socket, *, up: bool) -> None:
        """One direction: what comes in is stamped with the time at which it may leave."""
        on_the_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def take_in() -> None:
            free_s = 0.0
            while True:
                try:
                    data = source.recv(CHUNK)
                except OSError:
                    data = b""
                now_s = time.monotonic()
                if up:
                    self.sent_bytes += len(data)
                else:
                    self.received_bytes += len(data)
                if self._bytes_per_s is not None:
                    free_s = max(free_s, now_s) + len(data) / self._bytes_per_s
                on_the_way.put((max(free_s, now_s) + self._one_way_s, data))
                if not data:
                    return

        def let_out() -> None:
            while True:
                at_s, data = on_the_way.get()
                time.sleep(max(0.0, at_s - time.monotonic()))
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                except OSError:
                    source.close()
                    return

        for work in (take_in, let_out):
            threading.Thread(target=work, daemon=True).start()


@contextlib.contextmanager
def narrow_link(kbit: int) -> Iterator[tuple[str, list[str]] | str]:
    """A namespace at the end of a link of so many kbit/s, both ways, with a real queue of the kernel's.

    Gives our own address on it and the command that starts a program inside; or, in words, why there is none.
    """
    name, near, far = f"aqb{os.getpid()}", f"aqn{os.getpid()}", f"aqf{os.getpid()}"
    net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
    rate = ["tbf", "rate", f"{kbit}kbit", "burst", "3000", "latency", "800ms"]
    inside = ["ip", "netns", "exec", name]
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name],
        ["ip", "address", "add", f"{net}.1/30", "dev", near],
        ["ip", "link", "set", near, "up"],
        [*inside, "ip", "address", "add", f"{net}.2/30", "dev", far],
        [*inside, "ip", "link", "set", far, "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
        ["tc", "qdisc", "add", "dev", near, "root", *rate],
        [*inside, "tc", "qdisc", "add", "dev", far, "root", *rate],
    ]
    try:
        yield _first_fault(steps) or (f"{net}.1", inside)
    finally:
        if shutil.which("ip"):
            for command in (["ip", "link", "del", near], ["ip", "netns", "del", name]):
                subprocess.run(command, capture_output=True)


def _first_fault(steps: list[list[str]]) -> str | None:
    """Why the steps cannot be taken here; None once they are."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        return "needs root, ip and tc"
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            return f"{' '.join(step[:3])}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}"
    return None
