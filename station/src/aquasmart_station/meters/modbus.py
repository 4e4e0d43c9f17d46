"""Modbus RTU meters: a small codec of our own, and the driver that asks by a profile's register map.

Exact length, slave address, function and CRC are checked before a word is believed (Modbus over serial line
V1.02, 2.5). Alternate polls ask for different lengths, because an RTU answer does not say which request it
belongs to. Bytes in, `Reading` out; silence and flushing after a fault are the serial adapter's.
"""

from __future__ import annotations

from importlib.resources import files

from aquasmart_station.core.crc16 import crc16
from aquasmart_station.core.errors import BadFrame
from aquasmart_station.core.model import MeterTraits, Reading, Stamp

from ..core.phrases import Phrase
from .driver import SLOWEST_DEVICE_MS, DriverSettings, LineSettings, checked_scale
from .registers import Block, Profile, bcd, parse_profile

EXCEPTION_BIT = 0x80
REQUEST_OCTETS = 8
OVERHEAD_OCTETS = 5
"""Slave, function, byte count and two of CRC around an answer's registers; an exception is as long."""

IDENTITY_TRIES = 2
"""How often a meter that answers for its totaliser may ignore the question who it is."""


class Refused(BadFrame):
    """The meter answered with an exception code: it understood the frame and will not do it."""


def with_crc(body: bytes) -> bytes:
    """`body` as an RTU frame: its CRC appended, low byte first."""
    return body + crc16(body).to_bytes(2, "little")


def read_request(slave: int, function: int, block: Block) -> bytes:
    """The frame that asks `slave` for the registers of `block`."""
    body = bytes((slave, function)) + block.address.to_bytes(2, "big") + block.words.to_bytes(2, "big")
    return with_crc(body)


def parse_answer(frame: bytes, slave: int, function: int, words: int) -> tuple[int, ...] | None:
    """The registers in `frame`, which must be the whole answer and nothing else; None while bytes are missing.

    Raises BadFrame on anything that can no longer become that answer, Refused on a valid exception.
    """
    refused = frame[1:2] == bytes((function | EXCEPTION_BIT,))
    length = OVERHEAD_OCTETS + (0 if refused else 2 * words)
    head = bytes((slave, function, 2 * words))
    if not refused and frame[:3] != head[: len(frame)]:
        raise BadFrame(
            Phrase("an answer of another slave, function or length"), hint=Phrase("Check the slave address.")
        )
    if frame[0:1] not in (b"", bytes((slave,))):
        raise BadFrame(Phrase("an exception of another slave"), hint=Phrase("Check the slave address."))
    if len(frame) < length:
        return None
    if len(frame) > length:
        raise BadFrame(Phrase("bytes beyond the answer's end"), hint=Phrase("Two masters or two meters on one line?"))
    if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        raise BadFrame(
            Phrase("an answer whose CRC does not match"), hint=Phrase("Noise, or another baud rate or parity.")
        )
    if refused:
        raise Refused(
            Phrase("the meter refuses: Modbus exception {number}", number=frame[2]),
            hint=Phrase("Is it the right profile?"),
        )
    return tuple(int.from_bytes(frame[at : at + 2], "big") for at in range(3, length - 2, 2))


class ModbusDriver:
    """Reads one Modbus meter by its profile. The identity is asked for first, and again after every fault.

    A meter that answers for its totaliser but twice stays silent about its identity has a weak one; until then
    its totals are dropped, because another meter may have been put in its place.
    """

    def __init__(self, settings: DriverSettings, profile: Profile) -> None:
        self._meter_id = settings.meter_id
        self._slave = settings.slave
        self._profile = profile
        modulus = settings.modulus or profile.modulus
        self.traits = MeterTraits(
            scale=checked_scale(profile.scale, modulus, settings.meter_id),
            modulus=modulus,
            qmax_ul_s=settings.qmax_ul_s,
            nonvolatile=profile.nonvolatile if settings.nonvolatile is None else settings.nonvolatile,
            identity_strong=profile.identity is not None,
        )
        line = profile.line
        self.line = LineSettings(settings.baud or line.baud, line.bytesize, line.parity, line.stopbits)
        exchanges = 2 if profile.identity else 1
        octets = REQUEST_OCTETS + OVERHEAD_OCTETS + 2 * profile.whole.words
        self.answer_deadline_ms = SLOWEST_DEVICE_MS + exchanges * self.line.transfer_ms(octets)
        self._buffer = b""
        self._asked = profile.brief
        self._totals = profile.brief
        self._identity: str | None = None
        self._flow_ul_s: int | None = None
        self._identity_due = profile.identity is not None
        self._identity_silences = 0
        self._answered = True
        self._next: bytes | None = None

    def request(self) -> bytes:
        if self._identity_due and self._profile.identity is not None:
            return self._ask(self._profile.identity)
        return self._ask_totals()

    def follow_up(self) -> bytes | None:
        due, self._next = self._next, None
        return due

    def reset(self) -> None:
        """Also forgets the identity where there was no answer: another meter may be on the line when it returns."""
        self._buffer, self._next = b"", None
        if self._answered or self._profile.identity is None:
            return
        self._identity = self._flow_ul_s = None
        self._identity_due = self._asked is not self._profile.identity
        if self._identity_due:
            self._identity_silences = 0

    def feed(self, data: bytes, stamp: Stamp) -> Reading | None:
        self._buffer += data
        frame = self._buffer
        try:
            words = parse_answer(frame, self._slave, self._profile.function, self._asked.words)
        except Refused:
            self._buffer = b""
            if self._asked is not self._profile.identity:
                raise
            words = ()
        except BadFrame:
            self._buffer = b""
            raise
        if words is None:
            return None
        self._buffer, self._answered = b"", True
        if self._asked is self._profile.identity:
            self._identity = bcd(words) if words else None
            self._identity_due, self._identity_silences = False, IDENTITY_TRIES
            self._next = self._ask_totals()
            return None
        self._want_identity()
        return self._reading(words, stamp, frame)

    def _want_identity(self) -> None:
        """Raise BadFrame where totals came from a meter that has not yet been asked often enough who it is."""
        if self._profile.identity is None or self._identity_silences >= IDENTITY_TRIES:
            return
        self._identity_silences += 1
        if self._identity_silences < IDENTITY_TRIES:
            self._identity_due = True
            raise BadFrame(Phrase("the meter has not said who it is yet"), hint=Phrase("It is asked again."))

    def _ask(self, block: Block) -> bytes:
        self._buffer, self._asked, self._answered = b"", block, False
        return read_request(self._slave, self._profile.function, block)

    def _ask_totals(self) -> bytes:
        profile = self._profile
        self._totals = profile.brief if self._totals is profile.whole else profile.whole
        return self._ask(self._totals)

    def _reading(self, words: tuple[int, ...], stamp: Stamp, frame: bytes) -> Reading:
        """A brief poll repeats the flow of the whole one before it, a tenth of a second old."""
        counts = self._profile.counts(self._asked, words)
        if self._asked is self._profile.whole:
            self._flow_ul_s = self._profile.flow(words)
        return Reading(
            mono_ns=stamp.mono_ns,
            wall_ns=stamp.wall_ns,
            rtt_us=stamp.rtt_us,
            meter_id=self._meter_id,
            boot_id=None,
            forward_counts=counts,
            flow_ul_s=self._flow_ul_s,
            identity=self._identity,
            raw=frame,
        )


def modbus_driver(settings: DriverSettings) -> ModbusDriver:
    """A driver for the profile that the settings name. Raises ValueError where there is none such."""
    folder = files("aquasmart_station.meters") / "profiles"
    names = sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    where = settings.meter_id
    if settings.profile not in names:
        raise ValueError(
            Phrase(
                "{where}: a modbus meter needs one of the profiles {names}, not {profile!r}",
                where=where,
                names=", ".join(names),
                profile=settings.profile,
            )
        )
    if settings.k_factor is not None:
        raise ValueError(
            Phrase(
                "{where}: the profile '{profile}' brings its own scale; remove k_factor",
                where=where,
                profile=settings.profile,
            )
        )
    if settings.modulus is not None:
        raise ValueError(
            Phrase(
                "{where}: the profile '{profile}' brings its own range; remove modulus",
                where=where,
                profile=settings.profile,
            )
        )
    if not 1 <= settings.slave <= 247:
        raise ValueError(
            Phrase(
                "{where}: a Modbus slave has an address from 1 to 247, not {slave}", where=where, slave=settings.slave
            )
        )
    text = (folder / f"{settings.profile}.toml").read_text(encoding="utf-8")
    return ModbusDriver(settings, parse_profile(text, settings.profile))
