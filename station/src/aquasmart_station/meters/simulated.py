"""A simulated flow meter: a counter behind the real serial protocol of a pulse bridge or a TUF-2000.

Pure: bytes of requests in, bytes of answers out, time as an argument. The pseudo-terminal it answers on and the
file that keeps its count belong to `aquasmart simulate`. The reader must not be able to tell it from a meter.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from aquasmart_station.core.crc16 import crc16
from aquasmart_station.core.model import Scale

from ..core.phrases import Phrase
from .hydraulics import Hydraulics
from .modbus import EXCEPTION_BIT, REQUEST_OCTETS, with_crc
from .pulse import FRAM, REQUEST
from .pulse import MODULUS as PULSE_MODULUS
from .registers import real4_floor

LONGEST_REQUEST = 256
ML_PER_M3 = 1_000_000
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
IDENTITY_REGISTER = 1528


@dataclass(frozen=True, slots=True)
class Totals:
    """What the count file keeps: the register now, every count since the first start, power-ups."""

    counts: int
    lifetime: int
    boots: int

    def line(self) -> str:
        """The count file's one line: fixed width, so that it is replaced whole."""
        return f"{self.counts:020d} {self.lifetime:020d} {self.boots:010d}\n"

    @classmethod
    def parse(cls, text: str) -> Totals:
        """Read a count file's line. Raises ValueError where it is not one."""
        counts, lifetime, boots = (int(word) for word in text.split())
        return cls(counts, lifetime, boots)


class Counter:
    """The meter's totaliser: advances with the water, wraps at `modulus`. `stuck`: only its flow figure moves."""

    def __init__(
        self, totals: Totals, scale: Scale, modulus: int, hydraulics: Hydraulics, *, stuck: bool = False
    ) -> None:
        self.totals = totals
        self.uptime_ms = 0
        self._stuck = stuck
        self._scale = scale
        self._modulus = modulus
        self._hydraulics = hydraulics
        self._rest = 0

    @property
    def flow_ul_s(self) -> int:
        return self._hydraulics.flow_ul_s

    @property
    def period_us(self) -> int:
        """Time between two counts at the present flow, in either direction, µs; 0 while nothing flows."""
        flow = abs(self.flow_ul_s)
        return self._scale.ul_num * 1_000_000 // (self._scale.den * flow) if flow else 0

    def advance_ms(self, duration_ms: int) -> None:
        """Let `duration_ms` of water through."""
        self.uptime_ms += duration_ms
        volume = self._hydraulics.advance_ms(duration_ms)
        self._rest += 0 if self._stuck else volume * self._scale.den
        new, self._rest = divmod(self._rest, self._scale.ul_num * 1000)
        old = self.totals
        self.totals = Totals((old.counts + new) % self._modulus, old.lifetime + new, old.boots)


class MeterSide(Protocol):
    """A meter's side of a serial protocol: request bytes in, answers out, any cut of the bytes."""

    def feed(self, data: bytes) -> list[bytes]: ...


class PulseBridge:
    """Answers each `?` line with one F1 line (see `pulse.py`)."""

    def __init__(self, counter: Counter, boot_id: str, *, nonvolatile: bool) -> None:
        self._counter = counter
        self._boot_id = boot_id
        self._flags = FRAM if nonvolatile else 0
        self._seq = 0
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest[-LONGEST_REQUEST:]
        return [self._line() for line in lines if line.strip() == REQUEST.strip()]

    def _line(self) -> bytes:
        counter = self._counter
        self._seq = (self._seq + 1) % PULSE_MODULUS
        body = (
            f"F1,{self._boot_id},{self._seq},{counter.uptime_ms},{counter.totals.counts},"
            f"{counter.period_us},{self._flags:X}"
        ).encode()
        return body + b"*%04X\r\n" % crc16(body)


class TufSlave:
    """Answers Modbus reads like a TUF-2000: flow, positive accumulator in m³, and its serial number if it has one."""

    def __init__(self, counter: Counter, slave: int = 1, identity: str | None = None) -> None:
        if identity is not None and not (identity.isdecimal() and len(identity) <= 8 and int(identity)):
            raise ValueError(
                Phrase("a TUF-2000's serial number is 1 to 8 decimal digits, not {identity!r}", identity=identity)
            )
        self._counter = counter
        self._slave = slave
        self._identity = identity
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer = (self._buffer + data)[-LONGEST_REQUEST:]
        answers = []
        while len(self._buffer) >= REQUEST_OCTETS:
            frame = self._buffer[:REQUEST_OCTETS]
            whole = crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")
            self._buffer = self._buffer[REQUEST_OCTETS if whole else 1 :]
            if whole and frame[0] == self._slave:
                answers.append(self._answer(frame))
        return answers

    def _answer(self, frame: bytes) -> bytes:
        function, address, words = (
            frame[1],
            int.from_bytes(frame[2:4], "big"),
            int.from_bytes(frame[4:6], "big"),
        )
        registers = self._registers()
        if function != 3:
            return self._refuse(function, ILLEGAL_FUNCTION)
        if not 1 <= words <= 125:
            return self._refuse(function, ILLEGAL_VALUE)
        try:
            data = b"".join(registers[at].to_bytes(2, "big") for at in range(address, address + words))
        except KeyError:
            return self._refuse(function, ILLEGAL_ADDRESS)
        return with_crc(bytes((self._slave, function, 2 * words)) + data)

    def _refuse(self, function: int, code: int) -> bytes:
        return with_crc(bytes((self._slave, (function | EXCEPTION_BIT) & 0xFF, code)))

    def _registers(self) -> dict[int, int]:
        cubic_metres, millilitres = divmod(self._counter.totals.counts, ML_PER_M3)
        registers = dict.fromkeys(range(16), 0)
        values = {
            0: _real4(self._counter.flow_ul_s * 9 / 2_500_000),
            8: cubic_metres,
            10: _fraction(millilitres),
        }
        for at, value in values.items():
            registers[at], registers[at + 1] = value & 0xFFFF, value >> 16
        if self._identity is not None:
            digits = self._identity.zfill(8)
            registers[IDENTITY_REGISTER] = int(digits[:4], 16)
            registers[IDENTITY_REGISTER + 1] = int(digits[4:], 16)
        return registers


def _real4(value: float) -> int:
    """The bits of `value` as an IEEE 754 single."""
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return bits


def _fraction(millilitres: int) -> int:
    """Bits of the smallest single that is not below `millilitres` / 10⁶, so that its floor is the count again."""
    bits = _real4(millilitres / ML_PER_M3)
    return bits if real4_floor(bits, ML_PER_M3, 1) >= millilitres else bits + 1
