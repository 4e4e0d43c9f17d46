"""What every meter driver is: settings in, request bytes out, answer bytes in, a `Reading` out.

Only shapes, settings and their checks live here. A driver never opens a port, sleeps, or asks the time: the
serial adapter does, and hands over bytes with the moment they came. No driver can reset a totaliser.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from aquasmart_station.core.model import PRICE_LIMIT, MeterTraits, Reading, Scale, Stamp

from ..core.phrases import Phrase, joined

SLOWEST_DEVICE_MS = 200
"""How long a meter may think, with a USB adapter's 16 ms latency timer and a loaded board's scheduling in it."""


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How the serial line is set: bits per second, data bits, parity (N, E or O), stop bits."""

    baud: int
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1

    def transfer_ms(self, octets: int) -> int:
        """Time that `octets` bytes take on the wire, ms, rounded up."""
        bits = octets * (1 + self.bytesize + (self.parity != "N") + self.stopbits)
        return -(-bits * 1000 // self.baud)


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """One `[[meters]]` table of the configuration, as a driver needs it.

    `k_factor` is in pulses per litre; `baud`, `nonvolatile`, `modulus` None mean what the driver or its profile
    says. `modulus` (counts) is for pulse bridges whose counter is narrower than 32 bits.
    """

    meter_id: str
    driver: str
    baud: int | None
    k_factor: Fraction | None
    qmax_ul_s: int
    nonvolatile: bool | None
    profile: str | None
    slave: int
    modulus: int | None = None


class Driver(Protocol):
    """One meter's protocol. `feed` gives a reading, None for "need more", or raises `BadFrame`."""

    @property
    def traits(self) -> MeterTraits:
        """What is known of the totaliser before the first answer."""
        ...

    @property
    def line(self) -> LineSettings: ...

    @property
    def answer_deadline_ms(self) -> int:
        """How long an answer may take from the request's first byte, transfer included."""
        ...

    def request(self) -> bytes:
        """What to send for the next poll. Forgets any partial answer to the former one."""
        ...

    def feed(self, data: bytes, stamp: Stamp) -> Reading | None:
        """Take bytes that arrived at `stamp`. Raises BadFrame where the poll must be dropped."""
        ...

    def follow_up(self) -> bytes | None:
        """What else to send before this poll can be answered; None where nothing is due (asked after `feed`)."""
        ...

    def reset(self) -> None:
        """Forget partial bytes and what may have changed while the line was lost."""
        ...


def checked_scale(scale: Scale, modulus: int | None, meter_id: str) -> Scale:
    """`scale`, or ValueError where two lives of the counter could not be priced below 2^63 (protocol §3)."""
    if modulus is not None and modulus * 2 * scale.ul_num >= PRICE_LIMIT:
        raise ValueError(
            Phrase(
                "{meter_id}: the scale {ul_num}/{den} µl per count leaves no room for the totaliser's range"
                " of {modulus}; give the K-factor with fewer decimals",
                meter_id=meter_id,
                ul_num=scale.ul_num,
                den=scale.den,
                modulus=modulus,
            )
        )
    return scale


def check_settings(settings: DriverSettings) -> None:
    """Raise ValueError, with all faults in one text, where the settings cannot be any meter's."""
    faults = []
    if settings.baud is not None and settings.baud < 1:
        faults.append(Phrase("baud must be above 0, not {baud}", baud=settings.baud))
    if settings.qmax_ul_s < 1:
        faults.append(Phrase("qmax must be above 0, not {qmax_ul_s} µl/s", qmax_ul_s=settings.qmax_ul_s))
    if settings.k_factor is not None and settings.k_factor <= 0:
        faults.append(Phrase("k_factor must be above 0 pulses per litre, not {k_factor}", k_factor=settings.k_factor))
    if settings.modulus is not None and settings.modulus < 2:
        faults.append(Phrase("modulus must be 2 or more counts, not {modulus}", modulus=settings.modulus))
    if faults:
        raise ValueError(joined(": ", (settings.meter_id, joined("; ", faults))))


def make_driver(settings: DriverSettings) -> Driver:
    """The driver that `settings.driver` names. Raises ValueError with a text for the technician."""
    from . import DRIVERS

    check_settings(settings)
    factory = DRIVERS.get(settings.driver)
    if factory is None:
        raise ValueError(
            Phrase(
                "{meter_id}: no driver is called '{driver}'; there are {drivers}",
                meter_id=settings.meter_id,
                driver=settings.driver,
                drivers=", ".join(sorted(DRIVERS)),
            )
        )
    return factory(settings)
