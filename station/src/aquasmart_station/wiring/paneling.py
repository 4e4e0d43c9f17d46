"""The panel: systemd's sockets or an address of one's own, and an end when nobody has looked for a while."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from waitress.server import create_server  # type: ignore[import-untyped]

from ..adapters.panel_state import PanelState
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config
from ..core.errors import StationError
from ..core.phrases import Phrase
from ..panel.access import Access
from ..panel.app import make_panel

FIRST_FD = 3
"""Where systemd puts the sockets that it hands over (sd_listen_fds(3))."""
THREADS = 2
LOOK_EVERY_S = 0.5


def run_panel(config: Config, listen: str | None) -> None:
    """Serve until SIGTERM, or until nobody has asked for `panel.idle_stop_s`. Raises StationError.

    Under a socket unit an end loses nobody: the socket stays systemd's, and the next one to knock starts it anew.
    """
    sockets = _handed_over() or [_own(listen or "127.0.0.1:8080")]
    watchdog = SystemdWatchdog()
    asked = _LastAsked()
    state = PanelState(config.runtime_dir / "panel" / "state.json")
    try:
        key = state.session_key()
    except OSError as fault:
        raise StationError(
            Phrase("the panel's state cannot be kept: {fault}", fault=fault), hint=Phrase("Is the runtime folder ours?")
        ) from fault
    access = Access(config.panel.networks, config.station_id, config.panel.pin_file, state)
    server = create_server(
        make_panel(config, access, key, asked.now),
        sockets=sockets,
        threads=THREADS,
        connection_limit=50,
        channel_timeout=20,
        max_request_body_size=64 << 10,
        max_request_header_size=16 << 10,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )
    end = _End()
    watchdog.ready()
    where = ", ".join(_names(sockets))
    watchdog.status(f"ready at {where}; ends when nobody has asked for {config.panel.idle_stop_s:g} s")
    threading.Thread(target=asked.watch, args=(config.panel.idle_stop_s, end), daemon=True).start()
    threading.Thread(target=_serve, args=(server, end), daemon=True).start()
    broken = end.wait() == _End.BROKEN
    watchdog.stopping()
    if broken:
        raise StationError(Phrase("the panel's server ended by itself"), hint=Phrase("It is started again by itself."))


class _End:
    """SIGTERM, SIGINT, nobody there for long, or the server gone: whichever is told first.

    A pipe, and nothing raised: waitress takes an exception that a signal's handler raises inside its loop for the fault
    of the connection in hand, logs it and goes on, and the signal is lost.
    """

    ASKED, BROKEN = b".", b"!"

    def __init__(self) -> None:
        self._waits, self._tells = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self.tell(self.ASKED))

    def tell(self, why: bytes) -> None:
        os.write(self._tells, why)

    def wait(self) -> bytes:
        return os.read(self._waits, 1)


def _serve(server: Any, end: _End) -> None:
    try:
        server.run()
    finally:
        end.tell(_End.BROKEN)


class _LastAsked:
    """When somebody last asked. `watch` tells when that is long ago."""

    def __init__(self) -> None:
        self._at_s = time.monotonic()

    def now(self) -> None:
        self._at_s = time.monotonic()

    def watch(self, idle_stop_s: float, end: _End) -> None:
        while time.monotonic() - self._at_s < idle_stop_s:
            time.sleep(LOOK_EVERY_S)
        end.tell(_End.ASKED)


def _handed_over() -> list[socket.socket]:
    """The sockets of the socket unit; none where we were not started by one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    number = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=FIRST_FD + index) for index in range(number)]
    for each in sockets:
        os.set_inheritable(each.fileno(), False)  # noqa: FBT003 - the standard library's own words
        each.setblocking(False)  # noqa: FBT003
    return sockets


def _own(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        return socket.create_server((host.strip("[]") or "127.0.0.1", int(port)))
    except (OSError, ValueError) as fault:
        raise StationError(
            Phrase("the panel cannot listen on {listen}: {fault}", listen=listen, fault=fault),
            hint=Phrase("Say ADDRESS:PORT of this board."),
        ) from fault


def _names(sockets: Sequence[socket.socket]) -> list[str]:
    return [f"{host}:{port}" for host, port, *_ in (each.getsockname() for each in sockets)]
