"""A backlog drained over roads of every kind, beside the source system's scheme on the same road.

That scheme: fifty rows of JSON a request, each its own connection, half a second of pause after each; and without the
pause, which is kinder to it. Fewer rows of it are sent where it would take hours; rates are per event.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aquasmart_station.adapters.live import read_service
from demo.site import Site

from .figures import Figure, Sizes
from .machines import await_, site
from .naive_drain import drain_naive
from .network import Road, narrow_link
from .station import acknowledged, drained_in_s, fill_log

PAUSE_S = 0.5
KBIT = 64
ROUND_TRIP_S = 0.3


@dataclass(frozen=True)
class Drained:
    events_per_s: float
    sent_per_event: float
    wire_per_event: float
    """Bytes of TCP's payload both ways, headers of HTTP included."""
    requests: int


def measure(sizes: Sizes) -> Iterator[Figure]:
    with site(overrides={"sync": {"linger_s": 0}}) as place:
        place.start("cloud")
        yield from _plain(place, sizes)
        yield from _late(place, sizes)
        yield from _narrow(place, sizes)


def _plain(place: Site, sizes: Sizes) -> Iterator[Figure]:
    """Loopback through a relay that only counts: for bytes, not for speed."""
    with Road(place.cloud_port) as road:
        ours = _drain(place, road, sizes.backlog_rows)
    naive = drain_naive(sizes.naive_backlog_rows)
    paused = drain_naive(sizes.naive_slow_rows, pause_s=PAUSE_S)
    words = "50 rows of JSON a request, each its own connection"
    yield Figure(
        "sync.drain_beside_paused",
        ours.events_per_s,
        "events/s",
        at_least=True,
        reference=paused.events_per_s,
        reference_is=f"{words}, 500 ms apart (through a counting relay: ours is faster without)",
    )
    wire = ("sync.wire_draining", ours.wire_per_event, "B/event")
    yield Figure(*wire, reference=naive.wire_per_event, reference_is=f"{words}: all of TCP's payload, both ways")
    yield Figure(
        "sync.requests_draining",
        ours.requests * 100_000 / sizes.backlog_rows,
        "per 100,000",
        reference=100_000 / 50,
        reference_is="a request for fifty",
    )


def _late(place: Site, sizes: Sizes) -> Iterator[Figure]:
    with Road(place.cloud_port, one_way_s=ROUND_TRIP_S / 2) as road:
        ours = _drain(place, road, sizes.backlog_rows)
    naive = drain_naive(sizes.naive_slow_rows, one_way_s=ROUND_TRIP_S / 2)
    yield Figure(
        "sync.drain_300ms",
        ours.events_per_s,
        "events/s",
        reference=naive.events_per_s,
        reference_is="the same on the same road, no pause (delay by a relay: this kernel has no netem)",
    )


def _narrow(place: Site, sizes: Sizes) -> Iterator[Figure]:
    """64 kbit/s by the kernel's token bucket where there may be one, else by a relay that holds its pace."""
    with ExitStack() as stack:
        link = stack.enter_context(narrow_link(KBIT))
        if isinstance(link, str):
            means = f"paced by a relay ({link})"
            road = stack.enter_context(Road(place.cloud_port, bytes_per_s=KBIT * 125))
            ours = _drain(place, road, sizes.backlog_rows)
        else:
            means = "tbf in a network namespace"
            address, inside = link
            road = stack.enter_context(Road(place.cloud_port, address=address))
            ours = _drain(place, road, sizes.backlog_rows, address=address, inside=inside)
    naive = drain_naive(sizes.naive_slow_rows, bytes_per_s=KBIT * 125)
    yield Figure(
        "sync.drain_64kbit",
        ours.events_per_s,
        "events/s",
        reference=naive.events_per_s,
        reference_is=f"the same at the same rate, no pause, paced by a relay; ours: {means}",
    )


def _drain(
    place: Site, road: Road, rows: int, *, address: str = "127.0.0.1", inside: list[str] | None = None
) -> Drained:
    log = place.root / "station" / "log.db"
    _call(place.config_path, f"http://{address}:{road.port}")
    fill_log(log, rows)
    place.wrappers["sync"] = inside or []
    road.reset()
    place.start("sync")
    await_("the backlog is drained", lambda: acknowledged(log) == rows, every_s=0.1)
    # Sync shows its figures twice a second at most: what it says must be from after the last of them.
    await_("sync shows that it has delivered them", lambda: _shown(place)["events_delivered"] == rows, every_s=0.1)
    requests = int(_shown(place)["requests"])
    sent, received = road.sent_bytes, road.received_bytes
    place.stop("sync")
    return Drained(rows / drained_in_s(log), sent / rows, (sent + received) / rows, requests)


def _shown(place: Site) -> Mapping[str, Any]:
    said = read_service(place.root / "run" / "live.db", "sync_state")
    return defaultdict(int) if said is None else said.figures


def _call(config: Path, url: str) -> None:
    config.write_text(re.sub(r'(?m)^url = ".*"$', f'url = "{url}"', config.read_text(), count=1))
