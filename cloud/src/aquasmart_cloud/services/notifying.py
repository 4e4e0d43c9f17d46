"""Telling systemd how the worker is (sd_notify(3)): ready, alive, its state in words. Silent without NOTIFY_SOCKET.

Twenty lines instead of a package: one datagram to one socket is all of it (docs/decisions/0036).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends to one notification socket, or nowhere for ''."""

    def __init__(self, address: str) -> None:
        # A leading @ stands for the zero byte of the abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Notifier:
        """The socket that systemd names."""
        return cls((os.environ if environment is None else environment).get("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """The process is up. Not: it leads; a second one is ready as well, and waits."""
        self._send("READY=1")

    def life(self) -> None:
        """The loop goes on."""
        self._send("WATCHDOG=1")

    def status(self, state: str) -> None:
        """What `systemctl status` shows."""
        self._send(f"STATUS={state}".replace("\n", " "))

    def stopping(self) -> None:
        """It ends by itself."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # systemd restarts with a new socket: a message that nobody takes is no fault of the work.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
            sending.settimeout(0)
            sending.sendto(text.encode(), self._address)
