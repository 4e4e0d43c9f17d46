"""Rows and the streams they stand in: a header is made with the first row that needs it, the same for all its rows.

A new stream begins with each run, epoch, meter boot and identity, because its header is all that a crash leaves
to judge the next reading by. Nothing is decided here: what to book is the account's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from .accounting_rules import Known
from .clock_floor import EARLIEST_PLAUSIBLE_MS
from .model import Board, Draft, Flag, Kind, MeterTraits, StreamHeader


class Streams:
    """The stream that one run writes for one meter, replaced whenever its header no longer holds."""

    def __init__(
        self, board: Board, meter_id: str, traits: MeterTraits, new_id: Callable[[], UUID], clock: str
    ) -> None:
        self.header: StreamHeader | None = None
        self.status = Flag.NONE
        """What is so of the board or the meter at present: on every row, beside the reading's own flags."""
        self._board, self._meter_id, self._traits = board, meter_id, traits
        self._new_id, self._clock = new_id, clock
        self._change_token: str | None = None
        self._standing_token: str | None = None

    def next_change_token(self, token: str | None) -> None:
        """The local change that opens the next stream."""
        self._change_token = token

    def reprice(self, traits: MeterTraits, token: str | None) -> None:
        """The next row opens a stream under another scale, with the token of the local change that made it."""
        self._traits, self._change_token, self.header = traits, token, None

    def standing_change(self, token: str | None) -> None:
        """The change whose price holds, while it is unconfirmed: for any stream. The one under way goes on."""
        self._standing_token = token

    def outlived(self, known: Known) -> bool:
        """Whether the next row will stand in another stream than the last one."""
        header = self.header
        return header is not None and (header.epoch, header.meter_boot_id, header.identity) != (
            known.epoch,
            known.meter_boot_id,
            known.identity,
        )

    def row(
        self,
        known: Known,
        kind: Kind,
        counts: int,
        *,
        at_ms: int,
        mono_ms: int,
        flags: Flag,
        data: dict[str, Any] | None = None,
        urgent: bool = False,
    ) -> Draft:
        """A row up to `counts`, in a stream that fits `known`; a new stream opens at `known.booked`."""
        header = self.header
        if header is None or self.outlived(known):
            header = self.header = self._open(known, at_ms)
        # By the row's own clock, not by what was told of the clock: that is up to a second old, and the time may jump.
        if at_ms < EARLIEST_PLAUSIBLE_MS:
            flags |= Flag.CLOCK_UNSET
        return Draft(header, kind, at_ms, mono_ms, counts, flags | self.status, data, urgent)

    def tell_clock(self, quality: str) -> None:
        """For rows and streams from now on."""
        self._clock = quality

    def _open(self, known: Known, at_ms: int) -> StreamHeader:
        token, self._change_token = self._change_token, None
        return StreamHeader(
            id=self._new_id(),
            meter_id=self._meter_id,
            identity=known.identity,
            identity_strong=known.identity is not None and self._traits.identity_strong,
            epoch=known.epoch,
            epoch_from=known.epoch_from,
            modulus=self._traits.modulus,
            opening_counts=known.booked,
            scale=self._traits.scale,
            opened_at_ms=at_ms,
            boot_id=self._board.boot_id,
            meter_boot_id=known.meter_boot_id,
            hardware_id=self._board.hardware_id,
            software=self._board.software,
            clock=self._clock,
            change_token=token or self._standing_token,
        )
