"""When the cable is plugged in again, the station does not sit out its backoff. Real interfaces, in a network apart."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.integration.world import World, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.needs("netns")]

LONG_S = 5.0
"""A backoff worth not sitting out."""


class Cable:
    """A namespace for the station and a virtual cable to it; the near end is ours, and `down` pulls it."""

    def __init__(self) -> None:
        self.name = f"aqlink{os.getpid()}"
        self._near, subnet = f"aqn{os.getpid()}"[:15], os.getpid() % 250
        self.near_address = f"10.97.{subnet}.1"
        self._far_address = f"10.97.{subnet}.2"

    def __enter__(self) -> Cable:
        inside = ["ip", "netns", "exec", self.name, "ip"]
        for command in (
            ["ip", "netns", "add", self.name],
            ["ip", "link", "add", self._near, "type", "veth", "peer", "name", "eth0", "netns", self.name],
            ["ip", "addr", "add", f"{self.near_address}/24", "dev", self._near],
            ["ip", "link", "set", self._near, "up"],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "addr", "add", f"{self._far_address}/24", "dev", "eth0"],
            [*inside, "link", "set", "eth0", "up"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        for command in (["ip", "link", "del", self._near], ["ip", "netns", "del", self.name]):
            subprocess.run(command, check=False, capture_output=True)

    def set(self, state: str) -> None:
        subprocess.run(["ip", "link", "set", self._near, state], check=True, capture_output=True)


@contextlib.contextmanager
def forwarded(address: str, port: int) -> Iterator[int]:
    """A port at our end of the cable that leads to `port` on this machine."""
    with contextlib.ExitStack() as lines:
        server = lines.enter_context(socket.create_server((address, 0)))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line = lines.enter_context(server.accept()[0])
                    other = lines.enter_context(socket.create_connection(("127.0.0.1", port)))
                    for ends in ((line, other), (other, line)):
                        threading.Thread(target=_pump, args=ends, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)


def test_the_first_request_follows_the_link(make_world: Callable[..., World]) -> None:
    world = make_world(overrides={"sync": {"heartbeat_s": 600}, "cloud": {"connect_timeout_s": 1}})
    with Cable() as cable:
        world.prepare()
        world.start("cloud")
        with forwarded(cable.near_address, world.site.cloud_port) as port:
            text = world.site.config_path.read_text()
            former = f"http://127.0.0.1:{world.site.station_url_port}"
            world.site.config_path.write_text(text.replace(former, f"http://{cable.near_address}:{port}"))
            world.site.wrappers["sync"] = ["ip", "netns", "exec", cable.name]
            for name in ("meter:tap-1", "reader", "sync"):
                world.site.start(name)
            eventually(world.log.acknowledged, "a first acknowledgement")
            cable.set("down")

            def waits_s() -> float:
                return float(world.site.status()["sync"]["next_attempt_s"])

            eventually(lambda: waits_s() > 2 * LONG_S, "a long backoff", timeout_s=200)
            marks = sum(world.log.acknowledged().values())
            waited_s = waits_s()
            plugged = time.monotonic()
            cable.set("up")
            eventually(lambda: sum(world.log.acknowledged().values()) > marks, "marks that move again")
            assert time.monotonic() - plugged < waited_s
            world.settle()
            world.site.stop("sync")
    assert world.cloud.marks() == world.log.last_seqs()
