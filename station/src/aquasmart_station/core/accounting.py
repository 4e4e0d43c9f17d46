"""The books of one meter: readings in, rows out, exact in counts.

Pure: the clock's quality, ids and the board are given. The state that matters stands in the rows themselves, so an
account may be thrown away at any instant and built again from the log's last row. Which rule a reading falls under
is decided in `accounting_rules`; here is what each rule books. Not for several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from .accounting_books import Books
from .accounting_memory import Doubt, Held, Newcomer, known_from, reduced
from .accounting_rules import (
    Case,
    Known,
    Moment,
    Verdict,
    bound_ul,
    classify,
    is_nonvolatile,
    is_replaced,
    raw_counts,
)
from .accounting_view import FROZEN, OK, SUSPECT, AccountView
from .model import PRICE_LIMIT, Board, Draft, Flag, Kind, MeterTraits, Reading, Resume, Scale
from .phrases import Phrase

__all__ = ["Account", "AccountView"]

REVERSE_MAX_UL = 1_000_000
AGREEING_POLLS = 3
FRESH_MS = 5_000
"""A heartbeat repeats a position only while the meter has confirmed it so lately."""

LEAK_ROW_MS = 10_000
"""How long a leak's counts may stand on a totaliser that survives power loss before a row takes them."""


class Account:
    """Books one meter.

    `resume` is the meter's last row, None on a new card; `last_data` that row's JSON data, if it has any.
    """

    def __init__(
        self,
        *,
        board: Board,
        meter_id: str,
        traits: MeterTraits,
        resume: Resume | None,
        new_id: Callable[[], UUID],
        clock: str,
        last_data: str | None = None,
        reverse_max_ul: int = REVERSE_MAX_UL,
    ) -> None:
        known = known_from(resume) if resume else None
        self._books = Books(board=board, meter_id=meter_id, traits=traits, known=known, new_id=new_id, clock=clock)
        self._board, self._traits, self._clock = board, traits, clock
        self._reverse_max_ul = reverse_max_ul
        self._newcomer = Newcomer.from_row(last_data, known.since) if known else None
        self._swap_acknowledged = False
        self._swap_token: str | None = None
        self.swap_refused: str | None = None
        """The token of the last acknowledgement that no other meter was there for."""
        self._doubt: Doubt | None = None
        self._debt = self._reported_debt = 0
        self._raw: int | None = None
        self._plain = Kind.VOLUME
        self._held: Held | None = None

    @property
    def position(self) -> int | None:
        """The highest count that the last reading confirmed, booked or held back; None unless the account is ok."""
        known = self._books.known
        if known is None or self._books.state != OK:
            return None
        return self._held.position if self._held else known.booked

    def tell_clock(self, quality: str) -> None:
        """How far the wall clock is to be believed from now on: the time may come after the water."""
        self._clock = quality
        self._books.streams.tell_clock(quality)

    @property
    def stream_ended(self) -> bool:
        """Whether the last reading ended the stream, though no row of the next one is due yet."""
        known = self._books.known
        return known is not None and self._books.streams.outlived(known)

    @property
    def view(self) -> AccountView:
        """The account as it stands after the last reading."""
        books, known, doubt = self._books, self._books.known, self._doubt
        unbooked = doubt.position - known.booked if doubt and known and doubt.case is Case.JUMP else 0
        return AccountView(
            state=books.state,
            reason=books.reason,
            epoch=known.epoch if known else None,
            epoch_from=known.epoch_from if known else None,
            counts=known.booked if known else None,
            raw_counts=self._raw,
            reverse_debt_counts=self._debt,
            unbooked_counts=unbooked,
            run_volume_ul=books.run_ul if books.accepted else None,
            header=books.streams.header,
            identity=known.identity if known else None,
            found_identity=self._newcomer.identity if self._newcomer else None,
            found_counts=self._newcomer.counts if self._newcomer else None,
        )

    def take(self, reading: Reading) -> list[Draft]:
        """The rows that `reading` books: often none or one. Readings come in the order in which they were made."""
        now = Moment(self._board.boot_id, reading.mono_ms, reading.wall_ms, self._clock)
        self._raw = raw_counts(reading, self._traits)
        drafts = [] if self._goes_on(reading, now) else self.settle()
        drafts += self._change_meter(reading, now)
        verdict = self._classify(reading, now)
        if not self._priceable(verdict):
            drafts += self._renew_epoch(reading, now)
            verdict = self._classify(reading, now)
        if not self._priceable(verdict):
            self._books.say(
                SUSPECT, Phrase("the count {position} is beyond what the books can carry", position=verdict.position)
            )
            return drafts
        return drafts + self._book(verdict, reading, now)

    def heartbeat(self, mono_ms: int) -> Draft | None:
        """A `heartbeat` row at the booked position; None where no reading confirmed it shortly before `mono_ms`.

        It bears the time of the reading that confirmed it: a later one would make the next gap look shorter than
        it was, and its water too much.
        """
        known = self._books.known
        if known is None or self._books.state != OK or not 0 <= mono_ms - known.since.mono_ms <= FRESH_MS:
            return None
        return self._books.note(known, Kind.HEARTBEAT)

    def note(self, kind: Kind, data: dict[str, Any], *, urgent: bool = True) -> Draft | None:
        """A row that covers no counts: what was noticed, at the booked position and the time that confirmed it.

        None while the account is not ok: on a frozen port the last row must stay the newcomer's, and at a doubtful
        count there is nothing to say.
        """
        known = self._books.known
        if known is None or self._books.state != OK:
            return None
        return self._books.note(known, kind, data, urgent=urgent)

    def book_as(self, kind: Kind, status: Flag) -> None:
        """From the next reading on: what plain counts are booked as, VOLUME or LEAK, and flags for every row."""
        self._plain, self._books.streams.status = kind, status

    def settle(self) -> list[Draft]:
        """Book what a leak has held back: before the end, and before anything but more of it."""
        held, known = self._held, self._books.known
        self._held = None
        if held is None or known is None:
            return []
        known = self._books.confirm(known, held.reading, held.at)
        return [self._books.row(known, Kind.LEAK, held.position, held.reading, urgent=False)]

    def acknowledge_swap(self, *, change_token: str | None = None) -> None:
        """A technician says that the meter was replaced: the next reading opens the new one's epoch.

        It opens at the count first seen on the frozen port; where the port is not frozen (a meter without a serial
        number) at the next reading's count. `change_token` goes into the new stream's header.
        """
        self._swap_acknowledged, self._swap_token = True, change_token

    def reprice(self, scale: Scale, opening_token: str | None, standing_token: str | None) -> None:
        """Another price per count from here on: the next row opens a stream under it. Counts are what they are.

        `opening_token`: of the local change that made it, for that stream. `standing_token`: the same for every stream
        while nobody has confirmed the change; all that the same scale again can say.
        """
        if scale != self._traits.scale:
            self._traits = replace(self._traits, scale=scale)
            self._books.reprice(self._traits, opening_token)
        self._books.streams.standing_change(standing_token)

    def _classify(self, reading: Reading, now: Moment) -> Verdict:
        known = self._books.known
        elapsed_ms = known.since.elapsed_ms(now) if known else None
        return classify(known, reading, self._traits, elapsed_ms, self._reverse_max_ul)

    def _priceable(self, verdict: Verdict) -> bool:
        """Whether the positions that `verdict` would write can be carried (docs/protocol.md §3)."""
        known, top = self._books.known, verdict.position
        if known is not None and verdict.case in (Case.REVERSE, Case.REPLACED):
            top = known.booked
        return top * self._traits.scale.ul_num < PRICE_LIMIT

    def _book(self, verdict: Verdict, reading: Reading, now: Moment) -> list[Draft]:
        case, known, position = verdict.case, self._books.known, verdict.position
        doubted = case in (Case.JUMP, Case.DECREASE)
        if not doubted and case is not Case.REPLACED:
            self._doubt, self._newcomer = None, None
        if known is None:
            return [self._books.open_epoch(Kind.BASELINE, position, reading, now)]
        if case is Case.REPLACED:
            return self._freeze(known, reading, now)
        if doubted:
            return self._suspect(known, verdict, reading, now)
        if case is Case.REVERSE:
            return self._owe(known, known.booked - position, reading, now)
        self._debt = self._reported_debt = 0
        if case is Case.RESET:
            return [self._reset(known, position, reading, now)]
        return self._advance(known, verdict, reading, now)

    def _advance(self, known: Known, verdict: Verdict, reading: Reading, now: Moment) -> list[Draft]:
        """Rules 3 and 4: the counts since the last row, as `volume`, `catch_up` or `rollover`."""
        kind, urgent = self._plain, not is_nonvolatile(reading, self._traits)
        if not self._books.accepted:
            kind = Kind.CATCH_UP
        if verdict.case is Case.ROLLOVER:
            kind, urgent = Kind.ROLLOVER, True
        if kind is Kind.LEAK and not urgent and self._may_wait(known, verdict, now):
            self._held = Held(verdict.position, reading, now)
            return []
        self._held = None
        known = self._books.confirm(known, reading, now)
        if verdict.position == known.booked:
            return []
        return [self._books.row(known, kind, verdict.position, reading, urgent=urgent)]

    def _goes_on(self, reading: Reading, now: Moment) -> bool:
        """Whether this reading only adds to what a leak has held back."""
        if self._held is None or self._plain is not Kind.LEAK or self._swap_acknowledged:
            return False
        verdict = self._classify(reading, now)
        return verdict.case is Case.NORMAL and verdict.position >= self._held.position and self._priceable(verdict)

    def _may_wait(self, known: Known, verdict: Verdict, now: Moment) -> bool:
        """A leak's counts are booked every ten seconds, not ten times a second: it may last for days."""
        waited_ms = known.since.elapsed_ms(now)
        moved = verdict.position > known.booked and self._books.state == OK
        return moved and waited_ms is not None and waited_ms < LEAK_ROW_MS

    def _owe(self, known: Known, debt: int, reading: Reading, now: Moment) -> list[Draft]:
        """Rule 5: nothing is booked until forward flow has repaid; reported when it begins and as it doubles."""
        known = self._books.confirm(known, reading, now)
        self._debt = debt
        if debt < max(1, 2 * self._reported_debt):
            return []
        self._reported_debt = debt
        return [self._books.row(known, Kind.REVERSE, known.booked, reading, {"debt_counts": debt})]

    def _reset(self, known: Known, position: int, reading: Reading, now: Moment) -> Draft:
        """Rule 6: a new epoch from 0 whose counts are volume; what flowed unmeasured is bounded, not guessed."""
        elapsed_ms = known.since.elapsed_ms(now)
        bound = bound_ul(elapsed_ms, self._traits)
        if bound is not None:
            bound = max(0, bound - self._traits.scale.price_ul(position))
        data = {"unmeasured_ms": elapsed_ms, "unmeasured_bound_ul": bound, "before": known.booked}
        return self._books.open_epoch(Kind.RESET, position, reading, now, data, epoch_from=0)

    def _suspect(self, known: Known, verdict: Verdict, reading: Reading, now: Moment) -> list[Draft]:
        """Rule 7: believed when three polls agree. A jump is disputed volume, a decrease begins a new epoch."""
        doubt = self._doubt = Doubt.after(self._doubt, verdict, reading, now, self._traits)
        if doubt.polls < AGREEING_POLLS:
            values = {"register": doubt.last_raw, "n": AGREEING_POLLS}
            text = Phrase("the count fell to {register}; believed when {n} polls agree", **values)
            if doubt.case is Case.JUMP:
                text = Phrase("the count jumped to {register}; believed when {n} polls agree", **values)
            self._books.say(SUSPECT, text)
            return []
        self._doubt, self._debt, self._reported_debt = None, 0, 0
        if doubt.case is Case.JUMP:
            data: dict[str, Any] = {"reason": "jump", "elapsed_ms": known.since.elapsed_ms(now)}
            known = self._books.confirm(known, reading, now)
            return [self._books.row(known, Kind.DISPUTED, verdict.position, reading, data)]
        data = {"reason": "decrease", "before": known.booked}
        opened = self._books.open_epoch(Kind.BASELINE, doubt.first_raw, reading, now, data)
        return [opened, *self._book(self._classify(reading, now), reading, now)]

    def _freeze(self, known: Known, reading: Reading, now: Moment) -> list[Draft]:
        """Rule 1: nothing is booked until the swap is acknowledged; a row keeps the count first seen."""
        found = reading.identity or ""
        self._books.say(
            FROZEN,
            Phrase(
                "meter {found} answers where {identity} was; acknowledge the swap to count it",
                found=found,
                identity=known.identity,
            ),
        )
        if self._newcomer is not None and self._newcomer.identity == found:
            return []
        self._newcomer = Newcomer(found, raw_counts(reading, self._traits), reading.boot_id, now)
        data = self._newcomer.row_data(known.identity)
        return [self._books.row(known, Kind.ANOMALY, known.booked, reading, data)]

    def _change_meter(self, reading: Reading, now: Moment) -> list[Draft]:
        """The acknowledged swap: a new epoch at the count first seen. Nothing where the old meter answers again."""
        known, first, acknowledged = self._books.known, self._newcomer, self._swap_acknowledged
        self._swap_acknowledged = False
        if not acknowledged:
            return []
        if known is None or (known.identity and not is_replaced(known, reading)):
            self.swap_refused = self._swap_token
            return []
        self._books.streams.next_change_token(self._swap_token)
        if first is None or first.identity != reading.identity:
            first = Newcomer(reading.identity or "", raw_counts(reading, self._traits), reading.boot_id, now)
        data = {"before": known.booked, "former_identity": known.identity, "identity": reading.identity}
        as_seen = replace(reading, boot_id=first.meter_boot_id)
        draft = self._books.open_epoch(Kind.METER_CHANGE, first.counts, as_seen, now, data)
        self._books.backdate(first.since)
        self._newcomer, self._doubt = None, None
        return [draft]

    def _renew_epoch(self, reading: Reading, now: Moment) -> list[Draft]:
        """A position the wire cannot carry any longer: a new epoch at the same water, as the register shows it."""
        known = self._books.known
        position = reduced(known, self._traits) if known else None
        if known is None or position is None:
            return []
        data = {"reason": "position-limit", "before": known.booked}
        same = replace(reading, boot_id=known.meter_boot_id, identity=known.identity)
        draft = self._books.open_epoch(Kind.BASELINE, position, same, now, data)
        self._books.backdate(known.since)
        return [draft]
