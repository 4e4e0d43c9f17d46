"""The pulse bridge: a microcontroller that counts a hall sensor's pulses and answers each `?` with one line.

    F1,<boot_id>,<seq>,<uptime_ms>,<pulses_u32>,<period_us>,<flags>*<CRC16>\\r\\n

boot_id: 8 hex digits, new at every power-up. seq: one more with every line. period_us: time between the last
two pulses, 0 while nothing flows. flags, hex: 1 the totaliser survives power loss (FRAM), 2 sensor fault, 4 supply
low. CRC: CRC-16/MODBUS of the bytes before `*`, four upper-case hex digits. Bytes in, `Reading` out: nothing else.
"""

from __future__ import annotations

import re
from dataclasses import replace

from aquasmart_station.core.crc16 import crc16
from aquasmart_station.core.errors import BadFrame
from aquasmart_station.core.model import Flag, MeterTraits, Reading, Scale, Stamp

from ..core.phrases import Phrase
from .driver import SLOWEST_DEVICE_MS, DriverSettings, LineSettings, checked_scale

REQUEST = b"?\n"
MODULUS = 1 << 32
LONGEST_LINE = 96
"""Bytes a line may have; more without a line end is noise."""

FRAM, SENSOR_FAULT, SUPPLY_LOW = 1, 2, 4

_LINE = re.compile(rb"F1,([0-9A-Fa-f]{8}),([0-9]{1,10}),([0-9]{1,15}),([0-9]{1,10}),([0-9]{1,10}),([0-9A-Fa-f]{1,4})")
_CHECKED = re.compile(rb"([^*]*)\*([0-9A-F]{4})\r?")


class PulseDriver:
    """Reads a pulse bridge. Counts are pulses; the price of one comes from the K-factor."""

    def __init__(self, settings: DriverSettings) -> None:
        if settings.k_factor is None:
            raise ValueError(
                Phrase("{meter_id}: a pulse meter needs k_factor (pulses per litre)", meter_id=settings.meter_id)
            )
        if settings.profile is not None:
            raise ValueError(
                Phrase("{meter_id}: profile is for modbus meters, not for pulse", meter_id=settings.meter_id)
            )
        modulus = settings.modulus or MODULUS
        self._meter_id = settings.meter_id
        self.traits = MeterTraits(
            scale=checked_scale(Scale.from_k_factor(settings.k_factor), modulus, settings.meter_id),
            modulus=modulus,
            qmax_ul_s=settings.qmax_ul_s,
            nonvolatile=bool(settings.nonvolatile),
            identity_strong=False,
        )
        self.line = LineSettings(baud=settings.baud or 115_200)
        self.answer_deadline_ms = SLOWEST_DEVICE_MS + self.line.transfer_ms(len(REQUEST) + LONGEST_LINE)
        self._buffer = b""
        self._last: tuple[bytes, int] | None = None

    def rescale(self, scale: Scale) -> None:
        """Another price per pulse: the flow follows from it."""
        self.traits = replace(self.traits, scale=scale)

    def request(self) -> bytes:
        self._buffer = b""
        return REQUEST

    def follow_up(self) -> bytes | None:
        return None

    def reset(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes, stamp: Stamp) -> Reading | None:
        """The newest whole line as a reading; None while none is whole, or while it repeats the former seq.

        Any whole line that is not a valid answer raises BadFrame and drops all that came with it.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LONGEST_LINE or any(len(line) > LONGEST_LINE for line in lines):
            self._buffer = b""
            raise BadFrame(
                Phrase("noise on the line: no line end where one was due"), hint=Phrase("Check baud and wiring.")
            )
        reading = None
        for line in lines:
            try:
                reading = self._parse(line, stamp) or reading
            except BadFrame:
                self._buffer = b""
                raise
        return reading

    def _parse(self, line: bytes, stamp: Stamp) -> Reading | None:
        checked = _CHECKED.fullmatch(line)
        if checked is None or int(checked[2], 16) != crc16(checked[1]):
            raise BadFrame(
                Phrase("a line whose CRC does not match"), hint=Phrase("Noise, or another baud rate or parity.")
            )
        fields = _LINE.fullmatch(checked[1])
        if fields is None:
            raise BadFrame(
                Phrase("a line that is no answer of a pulse bridge (F1)"), hint=Phrase("Check the driver's name.")
            )
        boot_id, seq, pulses, period_us = fields[1], int(fields[2]), int(fields[4]), int(fields[5])
        if pulses >= MODULUS:
            raise BadFrame(Phrase("{pulses} pulses do not fit the bridge's 32-bit counter", pulses=pulses))
        if self._last == (boot_id, seq):
            return None
        self._last = (boot_id, seq)
        return self._reading(boot_id.decode(), pulses, period_us, int(fields[6], 16), stamp, line)

    def _reading(self, boot_id: str, pulses: int, period_us: int, bits: int, stamp: Stamp, line: bytes) -> Reading:
        scale = self.traits.scale
        flags = Flag.NONE
        if bits & SENSOR_FAULT:
            flags |= Flag.SENSOR_STUCK
        if bits & SUPPLY_LOW:
            flags |= Flag.RAIL_LOW
        return Reading(
            mono_ns=stamp.mono_ns,
            wall_ns=stamp.wall_ns,
            rtt_us=stamp.rtt_us,
            meter_id=self._meter_id,
            boot_id=boot_id,
            forward_counts=pulses,
            flow_ul_s=scale.ul_num * 1_000_000 // (scale.den * period_us) if period_us else 0,
            flags=flags,
            nonvolatile=bool(bits & FRAM),
            raw=line,
        )
