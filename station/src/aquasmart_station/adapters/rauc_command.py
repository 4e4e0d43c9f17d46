"""Bundles by the program `rauc`: what one says of itself, verified, and installing it.

The program asks the `rauc` service over the system bus; that service alone writes to the slots. Whoever calls may be
killed at any time: what it had begun, the service ends or not, and installing again begins anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..core.errors import NotNow, StationError
from ..core.maintenance import Image
from ..core.phrases import Phrase

INFO_S = 60.0
INSTALL_S = 3_600.0
"""An image is written in minutes; a card that takes an hour is at its end."""
LOOK_S = 1.0


_NOT_NOW = ("already processing", "on trial")
"""What passes: another installation is under way, or the present image has not proved itself yet."""
_PROGRESS = re.compile(r"\s*(\d{1,3})%\s+(.*\S)")


class InstallFault(StationError):
    """`rauc` refuses a bundle, or could not install it. The running image is as it was."""


class RaucCommand:
    """`program` is `rauc`, by its name or path."""

    def __init__(self, program: str = "rauc") -> None:
        self._program = program

    def info(self, path: Path) -> Image:
        """What the signed manifest says. Raises InstallFault where the signature does not hold."""
        command = [self._program, "info", "--output-format=json", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=INFO_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise InstallFault(
                Phrase("{program} cannot be asked: {fault}", program=self._program, fault=fault),
                hint=Phrase("Is rauc installed?"),
            ) from fault
        if done.returncode:
            said = _last(done.stderr.decode(errors="replace"))
            raise InstallFault(Phrase("the bundle is not accepted: {said}", said=said))
        try:
            document = json.loads(done.stdout)
            return Image(str(document["version"]), int(document["build"]), str(document["compatible"]))
        except (ValueError, TypeError, KeyError) as fault:
            raise InstallFault(Phrase("the bundle's manifest lacks version, build or compatible")) from fault

    def install(self, path: Path, on_progress: Callable[[int, str], None]) -> None:
        """Install it. `on_progress` is told how far it is, in per cent and words, about once a second; it may raise to
        give up waiting. Raises InstallFault, and NotNow where it was not begun and may be later.
        """
        try:
            process = subprocess.Popen(
                [self._program, "install", str(path)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            )  # fmt: skip
        except OSError as fault:
            raise InstallFault(
                Phrase("{program} cannot be started: {fault}", program=self._program, fault=fault),
                hint=Phrase("Is rauc installed?"),
            ) from fault
        lines: deque[str] = deque(maxlen=20)
        assert process.stdout is not None
        # A thread, since a pipe that nobody empties would stop the program. It ends when the program does; the loop
        # below is what shows life.
        reading = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
        reading.start()
        ends_s = time.monotonic() + INSTALL_S
        try:
            while reading.is_alive() and time.monotonic() < ends_s:
                reading.join(LOOK_S)
                on_progress(*_progress(list(lines)))
        finally:
            in_time = not reading.is_alive()
            if not in_time:
                process.kill()
            status = process.wait()
            reading.join(5)
            process.stdout.close()
        if not in_time:
            raise InstallFault(Phrase("the installation did not come to an end within an hour"))
        if status:
            said = _last("\n".join(lines))
            if any(each in said.lower() for each in _NOT_NOW):
                raise NotNow(said)
            raise InstallFault(Phrase("rauc could not install it: {said}", said=said))


def _progress(lines: list[str]) -> tuple[int, str]:
    """The last line that says how far it is."""
    found = next((match for line in reversed(lines) if (match := _PROGRESS.match(line))), None)
    return (0, "") if found is None else (int(found[1]), found[2])


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else Phrase("it says nothing")
