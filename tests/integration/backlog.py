"""A long log in a second: written through the station's own writer, as several runs of a reader would have."""

from __future__ import annotations

import time
from fractions import Fraction
from random import Random
from uuid import UUID, uuid4

from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader
from demo.site import Site

START = 1_000_000
SCALE = Scale(20_000, 9)


def _header(epoch: UUID, opening: int, at_ms: int) -> StreamHeader:
    return StreamHeader(
        id=uuid4(),
        meter_id="tap-1",
        identity=None,
        identity_strong=False,
        epoch=epoch,
        epoch_from=START,
        modulus=1 << 32,
        opening_counts=opening,
        scale=SCALE,
        opened_at_ms=at_ms,
        boot_id="00000000-0000-4000-8000-000000000001",
        meter_boot_id="A1B2C3D4",
        hardware_id="9f86d081884c7d65",
        software="0.1.0",
        clock="ntp",
    )


def write_backlog(site: Site, *, events: int, streams: int, dice: Random | None = None) -> int:
    """Write `events` rows of 6 counts each, or of 1 to 99 by `dice`, 100 ms apart, in `streams` runs. Returns µl."""
    (site.root / "station").mkdir(exist_ok=True)
    writer = LogWriter(site.root / "station" / "log.db")
    writer.open()
    began_ms = time.time_ns() // 1_000_000 - events * 100
    epoch, counts, done = uuid4(), START, 0
    for run in range(streams):
        header = _header(epoch, counts, began_ms + done * 100)
        until = events * (run + 1) // streams
        drafts = []
        for number in range(done, until):
            first = number == 0
            counts += 0 if first else 6 if dice is None else dice.randrange(1, 100)
            kind = Kind.BASELINE if first else Kind.VOLUME
            drafts.append(Draft(header, kind, began_ms + number * 100, 1_000 + number * 100, counts))
        for start in range(0, len(drafts), 5_000):
            writer.append(drafts[start : start + 5_000])
        done = until
    writer.close()
    price = Fraction(SCALE.ul_num, SCALE.den)
    return int(counts * price) - int(START * price)
