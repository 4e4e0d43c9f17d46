"""A simulated meter on the host, at the end of an emulated machine's serial line.

The meter is the product's own simulator on a pseudo-terminal; socat is the cable from there to QEMU's socket. Its own
count stands in a file on the host that nothing in the machine can see.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from demo.site import program
from demo.specs import MeterCount, MeterSpec
from tests.integration.world import eventually


class HostMeter:
    """`folder` is the machine's, with QEMU's socket in it; the socket need not be there yet."""

    def __init__(self, folder: Path, socket: str) -> None:
        self._folder, self._socket = folder, socket
        self._link, self._count_file = folder / "meter", folder / "meter.count"
        self._running: list[subprocess.Popen[bytes]] = []

    def flow(self, pattern: str, flow_l_min: float) -> None:
        """Unplug it and plug it in again, its water otherwise; its register goes on."""
        self.stop()
        spec = MeterSpec(pattern=pattern, flow_l_min=flow_l_min)
        self._start([program("aquasmart"), "simulate", *spec.simulate_arguments(self._link, self._count_file)])
        eventually(self._link.exists, "the meter's port")
        # The cable ends with the machine at its other end, and is there again for the next boot.
        cable = f"socat UNIX-CONNECT:{self._socket},forever,interval=0.1 OPEN:{self._link.resolve()},rawer,noctty"
        self._start(["sh", "-c", f"while sleep 0.1; do {cable}; done"])

    def counted(self) -> MeterCount:
        return MeterCount(*map(int, self._count_file.read_text().split()))

    def stop(self) -> None:
        for process in reversed(self._running):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        self._running = []
        self._link.unlink(missing_ok=True)

    def _start(self, command: list[str]) -> None:
        with (self._folder / "meter.log").open("ab") as output:
            self._running.append(
                subprocess.Popen(
                    command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )
            )  # fmt: skip
