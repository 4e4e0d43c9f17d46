"""The real panel under a socket of the test's own, handed over as systemd does, and a caller that is no browser."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from demo.site import REPOSITORY, program
from tests.integration.world import eventually

PIN = "246810"


class Door:
    """A socket unit and its service: `start` is what systemd does when somebody knocks."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config, self._log = config, log
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.cookie = ""

    def start(self) -> None:
        # LISTEN_PID is the service's own: only its shell can say it.
        command = f"exec {program('aquasmart')} --config {self._config} panel 3<&{self._socket.fileno()}"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", f"LISTEN_PID=$$ LISTEN_FDS=1 {command}"],
                pass_fds=[self._socket.fileno()], stdout=output, stderr=output, cwd=REPOSITORY,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ended(self, timeout_s: float = 20) -> int:
        """Its exit status, waited for."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
            self._process.wait(10)
        self._socket.close()

    def ask(
        self, path: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer; keeps the session as a browser does."""
        sent = dict(headers or {})
        if self.cookie:
            sent["Cookie"] = self.cookie
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            if form is None:
                connection.request("GET", path, headers=sent)
            else:
                sent["Content-Type"] = "application/x-www-form-urlencoded"
                connection.request("POST", path, urlencode(form), sent)
            answer = connection.getresponse()
            text, said = answer.read().decode(), dict(answer.getheaders())
        if "Set-Cookie" in said:
            self.cookie = said["Set-Cookie"].partition(";")[0]
        return answer.status, text, said

    def enter(self, pin: str) -> str:
        """Send the PIN; the page that follows."""
        status, _, said = self.ask("/pin", form={"pin": pin})
        assert status == 303
        return self.ask(said["Location"].partition("#")[0])[1]

    def form_token(self) -> str:
        found = re.search(r'name="form" value="([^"]+)"', self.ask("/")[1])
        assert found is not None
        return found[1]


def answers(door: Door) -> bool:
    try:
        return door.ask("/")[0] == 200
    except OSError:
        return False


def opened(door: Door) -> Door:
    """Started, and waited for."""
    door.start()
    eventually(lambda: answers(door), "the panel to answer")
    return door
