"""The machine's network links, from /sys/class/net and the kernel's routing tables. Reads only; never raises.

A look costs a few small reads of memory, so that it can be taken several times a second without a netlink socket, which
the service's sandbox would have to allow.
"""

from __future__ import annotations

from pathlib import Path

from ..core.link import Links, is_up

_NO_ADDRESS = {"00000000", "0" * 32}
_GATEWAY = 0x0002


class LinkGauge:
    """Where to look; the folders are parameters for tests in namespaces of their own."""

    def __init__(self, sys_net: Path = Path("/sys/class/net"), proc_net: Path = Path("/proc/self/net")) -> None:
        self._sys_net, self._proc_net = sys_net, proc_net

    def look(self) -> Links:
        """What is up just now; nothing where that cannot be read."""
        try:
            names = [path.name for path in self._sys_net.iterdir() if path.name != "lo"]
        except OSError:
            names = []
        up = {name for name in names if is_up(self._read(name, "operstate"), self._read(name, "carrier"))}
        return Links(frozenset(up), frozenset(self._default_routes()))

    def _read(self, name: str, what: str) -> str:
        """A file of an interface; empty where it is gone, or down (the kernel then refuses to read `carrier`)."""
        try:
            return (self._sys_net / name / what).read_text().strip()
        except OSError:
            return ""

    def _default_routes(self) -> list[str]:
        found = []
        for line in self._lines("route")[1:]:
            fields = line.split()
            if len(fields) > 7 and fields[1] in _NO_ADDRESS and fields[7] in _NO_ADDRESS:
                found.append(f"{fields[0]} {fields[2]}")
        for line in self._lines("ipv6_route"):
            fields = line.split()
            if len(fields) > 9 and fields[:2] == ["0" * 32, "00"] and int(fields[8], 16) & _GATEWAY:
                found.append(f"{fields[9]} {fields[4]}")
        return found

    def _lines(self, name: str) -> list[str]:
        try:
            return (self._proc_net / name).read_text().splitlines()
        except OSError:
            return []
