"""Ports for servers that tests start, which nobody takes between the choice and the bind.

A port that the system chooses (`bind` to 0) lies where it also takes the ports of outgoing connections from: once let
go of for the server to bind, it is anybody's, and beside other tests it was taken now and then. These lie below that
range, in slices, and a process has its slice to itself: it holds the slice's first port for as long as it lives.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading

FIRST, LAST, SLICE = 10_000, 31_999, 200


class Slice:
    """Ports from `base`, one after the other and from the start again; `base` itself is the claim to them."""

    def __init__(self) -> None:
        many = (LAST + 1 - FIRST) // SLICE
        for number in range(many):
            base = FIRST + (os.getpid() + number) % many * SLICE
            if (claim := _bound(base)) is not None:
                self._claim = claim
                break
        else:
            raise OSError(errno.EADDRINUSE, f"every slice of the ports {FIRST} to {LAST} is taken")
        self._next = itertools.cycle(range(base + 1, base + SLICE))

    def close(self) -> None:
        """Give the slice to others."""
        self._claim.close()

    def take(self) -> int:
        """Raises OSError."""
        for port in itertools.islice(self._next, SLICE - 1):
            # One that is still being closed, or is a stranger's, is passed over.
            if (probe := _bound(port)) is not None:
                probe.close()
                return port
        raise OSError(errno.EADDRINUSE, "every port of this process's slice is taken")


def _bound(port: int) -> socket.socket | None:
    probe = socket.socket()
    try:
        probe.bind(("0.0.0.0", port))
    except OSError:
        probe.close()
        return None
    return probe


_slices: dict[int, Slice] = {}
"""By process id: a forked child has its parent's slice in memory, but not to itself."""
_lock = threading.Lock()


def free_port() -> int:
    """A port nobody listens on, and nobody else is given before this process has gone round its slice."""
    with _lock:
        if os.getpid() not in _slices:
            _slices[os.getpid()] = Slice()
        return _slices[os.getpid()].take()
