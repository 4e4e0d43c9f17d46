"""systemd's notification socket through sdnotify: READY, WATCHDOG, STATUS, STOPPING. Silent where there is none."""

from __future__ import annotations

import sdnotify


class SystemdWatchdog:
    """Tells systemd what the service does (sd_notify(3))."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self._said = ""

    def ready(self) -> None:
        self._notifier.notify("READY=1")

    def pet(self) -> None:
        self._notifier.notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows; sent only when it changed."""
        if text != self._said:
            self._said = text
            # sdnotify sends Latin-1, while systemd reads UTF-8 and drops a status that is not: so its bytes go in
            # disguise. A line break would begin another field.
            line = " ".join(f"STATUS={text}".splitlines())
            self._notifier.notify(line.encode().decode("latin-1"))

    def stopping(self) -> None:
        self._notifier.notify("STOPPING=1")
