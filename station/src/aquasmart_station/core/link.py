"""What the machine says of its network links, and when that is news. Pure: looking is the adapter's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Links:
    """The links at one moment."""

    up: frozenset[str] = frozenset()
    """Interfaces with a carrier, the loopback left out."""
    routes: frozenset[str] = frozenset()
    """Interfaces that a default route goes through, with the gateway: `eth0 0101A8C0`."""


def is_up(operstate: str, carrier: str) -> bool:
    """Whether an interface can carry anything, from its two files in /sys/class/net.

    Some drivers (PPP, tunnels) do not know their state and say "unknown": there the carrier decides.
    """
    return operstate == "up" or (operstate == "unknown" and carrier == "1")


def came_up(before: Links, now: Links) -> bool:
    """Whether something is there that was not: an interface with a carrier, or a default route.

    What goes away is no news: requests notice that by themselves.
    """
    return bool(now.up - before.up) or bool(now.routes - before.routes)
