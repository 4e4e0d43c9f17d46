"""Events as a station books them at 10 Hz while people fill bottles: positions, times, drafts.

The water is the simulated meter's, the jitter that of a real run on a pseudo-terminal: 80 % of the readings 100 ms
apart, 9 % each a millisecond more or less, 2 % five.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader
from aquasmart_station.meters.hydraulics import Chance, Hydraulics, pours

POLL_MS = 100
FLOW_UL_S = 8_000_000 // 60
SCALE = Scale(20_000, 9)
OPENING_COUNTS = 1_000_000
STARTED_AT_MS = 1_763_676_000_000
MONO_MS = 91_230_456


def stream_header(meter_id: str = "tap-1") -> StreamHeader:
    """A stream of a pulse meter with K = 450, fresh each time."""
    return StreamHeader(
        id=uuid4(), meter_id=meter_id, identity=None, identity_strong=False, epoch=uuid4(),
        epoch_from=OPENING_COUNTS, modulus=1 << 32, opening_counts=OPENING_COUNTS, scale=SCALE,
        opened_at_ms=STARTED_AT_MS, boot_id=str(UUID(int=7)), meter_boot_id="0000a1b2", hardware_id="0" * 32,
        software="0.1.0", clock="ntp",
    )  # fmt: skip


def readings(seed: int = 1) -> Iterator[tuple[int, int]]:
    """(ms since the start, position in counts) of every reading that moved the count, without end."""
    chance, water = Chance(seed), Hydraulics(pours(FLOW_UL_S, seed))
    elapsed_ms, counts, rest = 0, OPENING_COUNTS, 0
    while True:
        step_ms = POLL_MS + _jitter_ms(chance.below(100))
        elapsed_ms += step_ms
        new, rest = divmod(rest + water.advance_ms(step_ms) * SCALE.den, SCALE.ul_num * 1000)
        if new:
            counts += new
            yield elapsed_ms, counts


def drafts(header: StreamHeader, seed: int = 1, started_at_ms: int = STARTED_AT_MS) -> Iterator[Draft]:
    """The same as drafts of plain volume rows, without end."""
    for elapsed_ms, counts in readings(seed):
        yield Draft(header, Kind.VOLUME, started_at_ms + elapsed_ms, MONO_MS + elapsed_ms, counts)


def _jitter_ms(percent: int) -> int:
    for limit, jitter in ((80, 0), (89, 1), (98, -1), (99, 5)):
        if percent < limit:
            return jitter
    return -5
