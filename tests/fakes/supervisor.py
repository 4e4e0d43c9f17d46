"""What systemd is to a service: it starts it with a notification socket and listens (sd_notify(3)), nothing more."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable

from demo.site import Site, program


class Supervisor:
    """Runs one service of a site; `messages` holds every line it has sent, in order."""

    def __init__(self, site: Site, service: str) -> None:
        self._site, self._service = site, service
        self.messages: list[str] = []
        self.petted_s: list[float] = []
        """When the watchdog was petted; monotonic."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Supervisor:
        name = f"aquasmart-test-{uuid.uuid4()}"
        self._socket.bind("\0" + name)
        threading.Thread(target=self._listen, daemon=True).start()
        command = [program("aquasmart"), "--config", str(self._site.config_path), self._service]
        environment = os.environ | {"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "10000000"}
        log = (self._site.root / "logs" / f"supervised-{self._service}.log").open("ab")
        with log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def await_message(self, line: str, timeout_s: float = 20.0) -> None:
        self._await(lambda: line in self.messages, line, timeout_s)

    def await_status(self, word: str, timeout_s: float = 20.0) -> None:
        """Wait for a status line that contains `word`."""
        self._await(lambda: any(m.startswith("STATUS=") and word in m for m in self.messages), word, timeout_s)

    def _await(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._service} never said {what!r}; it said {self.messages[-5:]}")
            time.sleep(0.02)

    def _listen(self) -> None:
        while True:
            try:
                data = self._socket.recv(65_536)
            except OSError:
                return
            # systemd drops what is not UTF-8.
            with contextlib.suppress(UnicodeDecodeError):
                lines = data.decode().splitlines()
                self.messages += lines
                self.petted_s += [time.monotonic()] * ("WATCHDOG=1" in lines)
