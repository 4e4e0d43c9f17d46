"""What is written: the position reached, the rows that reach it, and the epoch and stream they stand in.

Every row of a meter is made here, so that rows tile their epoch by construction: each begins where the one before
ended. Which rows to make is the account's decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from .accounting_rules import Known, Moment, epoch_of_boot, has_rebooted, is_nonvolatile
from .accounting_streams import Streams
from .accounting_view import OK, WAITING
from .model import Board, Draft, Flag, Kind, MeterTraits, Reading
from .phrases import Phrase


class Books:
    """The position of one meter and the way to move it. `known` is None until an epoch is open."""

    def __init__(
        self,
        *,
        board: Board,
        meter_id: str,
        traits: MeterTraits,
        known: Known | None,
        new_id: Callable[[], UUID],
        clock: str,
    ) -> None:
        self.known = known
        self.streams = Streams(board, meter_id, traits, new_id, clock)
        self.accepted = False
        """Whether this run has accepted a reading: until then counts are caught up, not measured."""
        self.state = WAITING
        self.reason: str = Phrase("no answer from the meter yet")
        self.run_ul = 0
        self._board, self._meter_id, self._traits, self._new_id = board, meter_id, traits, new_id

    def reprice(self, traits: MeterTraits, token: str | None) -> None:
        """Another price per count from the position reached on, in a stream of its own."""
        self._traits = traits
        self.streams.reprice(traits, token)

    def say(self, state: str, reason: str) -> None:
        self.state, self.reason = state, reason

    def confirm(self, known: Known, reading: Reading, now: Moment) -> Known:
        """The meter was read at `now` and its answer fits: later gaps are measured from here."""
        self.known = known = known.confirmed(reading, now)
        self.accepted = True
        self.say(OK, "")
        return known

    def backdate(self, since: Moment) -> None:
        """The position was already true at `since`: what follows is judged by the time from there."""
        if self.known is not None:
            self.known = replace(self.known, since=since)

    def row(
        self,
        known: Known,
        kind: Kind,
        position: int,
        reading: Reading,
        data: dict[str, Any] | None = None,
        *,
        urgent: bool = True,
    ) -> Draft:
        """A row from `known.booked` up to `position`, made at `reading`'s time."""
        draft = self.streams.row(
            known,
            kind,
            position,
            at_ms=reading.wall_ms,
            mono_ms=reading.mono_ms,
            flags=reading.flags,
            data=data,
            urgent=urgent,
        )
        self.run_ul += self._traits.scale.volume_ul(known.booked, position)
        self.known = replace(known, booked=position)
        return draft

    def note(self, known: Known, kind: Kind, data: dict[str, Any] | None = None, *, urgent: bool = False) -> Draft:
        """A row that covers nothing, at the position and the time at which the meter last confirmed it."""
        since = known.since
        return self.streams.row(
            known, kind, known.booked,
            at_ms=since.at_ms, mono_ms=since.mono_ms, flags=Flag.NONE, data=data, urgent=urgent,
        )  # fmt: skip

    def open_epoch(
        self,
        kind: Kind,
        position: int,
        reading: Reading,
        now: Moment,
        data: dict[str, Any] | None = None,
        *,
        epoch_from: int | None = None,
    ) -> Draft:
        """A new epoch from `epoch_from` (None: from `position`, nothing booked) and its first row up to `position`."""
        start = position if epoch_from is None else epoch_from
        identity = reading.identity or (self.known.identity if self.known else None)
        opened = Known(start, reading.boot_id, identity, self._epoch_id(reading), start, now)
        return self.row(self.confirm(opened, reading, now), kind, position, reading, data)

    def _epoch_id(self, reading: Reading) -> UUID:
        """Derived from the meter's boot id for a volatile totaliser's new life, else random (docs/protocol.md §3).

        A second epoch within one power-up must not take the first one's id.
        """
        boot_id, known = reading.boot_id, self.known
        new_life = known is None or has_rebooted(known, reading)
        if boot_id is None or not new_life or is_nonvolatile(reading, self._traits):
            return self._new_id()
        return epoch_of_boot(self._board.station_id, self._meter_id, boot_id)
