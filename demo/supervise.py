"""Looking after the processes of one `Site`, the way systemd does in the field.

One that was killed is started again; one that ends by itself stops everything, and its last words are shown.
Counts, stores and sends nothing; shows nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from datetime import datetime
from types import FrameType

from demo.link import Relay
from demo.outage import confirmation_path, control_path
from demo.site import Site
from demo.snapshot import Snapshot, gather
from demo.view import Board

HURRY_AFTER_S = 1.0
LAST_WORDS = 20


class Refused(Exception):
    """The demonstration cannot start or go on; the message says why and what to do."""


class Stop:
    """Ctrl-C, SIGTERM or a closed terminal. A second Ctrl-C ends every process group at once: no orphans."""

    def __init__(self) -> None:
        self.asked_mono: float | None = None
        self.groups: dict[str, int] = {}

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def ask(self) -> None:
        if self.asked_mono is None:
            self.asked_mono = time.monotonic()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # make passes its own signals on, so that two can arrive for one: only a later Ctrl-C is a second one.
        again = self.asked_mono is not None and time.monotonic() - self.asked_mono > HURRY_AFTER_S
        if again and number == signal.SIGINT:
            for group in self.groups.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        self.ask()


class Demonstration:
    """One run on one state folder. The constructor stores its arguments."""

    def __init__(self, site: Site, relay: Relay, board: Board, stop: Stop) -> None:
        self.site, self.relay, self.board, self.stop = site, relay, board, stop
        self.snapshot = Snapshot()
        self._draining = False

    def begin(self) -> None:
        """Start the cloud, its worker, the meter, the reader and sync, in this order."""
        for name in self.site.names:
            if self.stop.asked_mono is not None:
                return
            self._start(name)
        self.new_link()

    def new_link(self) -> None:
        """A fresh one-time link, from the same command an administrator uses."""
        made = json.loads(self.site.cloud("sign-in-link", "--base-url", self.site.url, "--json"))
        self.board.sign_in = made["url"]

    def step(self) -> None:
        """Look after the processes and the link. Raises Refused where one ended by itself."""
        for name in self.site.names:
            if not self.site.alive(name):
                self._lost(name)
        if self.relay.state != self.board.link:
            self._link_changed(self.relay.state)

    def look(self) -> None:
        """Renew the figures."""
        self.snapshot = gather(self.site)
        if self._draining and not self.snapshot.pending and self.snapshot.balanced:
            self._draining = False
            self.tell("the backlog has drained; the books balance exactly")

    def switch_network(self) -> None:
        """Cut it, or restore it."""
        control_path(self.site.root).write_text("pass\n" if self.board.link == "cut" else "cut\n")

    def tell(self, words: str) -> None:
        self.board.told.append((time_of_day(), words))

    def end(self) -> None:
        """Stop everything, the station first: sync's last heartbeat still finds the network and the cloud."""
        for name in (
            "reader",
            "sync",
            *(name for name in reversed(self.site.names) if name.startswith("meter")),
            "worker",
            "cloud",
        ):
            self.site.stop(name)
            self.stop.groups.pop(name, None)

    def _start(self, name: str) -> None:
        self.site.start(name)
        self.stop.groups[name] = self.site.pid(name)

    def _lost(self, name: str) -> None:
        status = self.site.stop(name)
        if self.stop.asked_mono is not None:
            return
        if status is not None and status < 0:
            self.tell(f"{name} was killed ({signal.Signals(-status).name}): started again, as systemd does")
            self._start(name)
            return
        words = self.site.log_tail(name, LAST_WORDS)
        raise Refused(f"{name} ended by itself with exit status {status}. Its last words:\n{words}")

    def _link_changed(self, state: str) -> None:
        self.board.link = state
        confirmation_path(self.site.root).write_text(state + "\n")
        if state == "pass":
            self._draining = True
            self.tell(f"network restored; {self.snapshot.pending:,} events waited on the station")
        else:
            self._draining = False
            self.tell("network cut: the meter is still counted, the log grows")


def time_of_day() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
