"""Everything a station notices about one meter: its readings in, their rows and what was noticed out.

Pure. The account books; here its rows are joined by pours, anomalies and alarms, which cover no counts. They stand
where the account says that the meter was last confirmed, so that a crash after any of them resumes as after any row.
A pour is closed in the stream in which it flowed, before the row that ends that stream.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from .accounting import Account
from .anomaly import FLOW, INTERVAL, ROUND_TRIP, TEMPERATURE, Anomaly, Detector, Gauge, Sensitivity
from .leaks import LONG, TRICKLE_UL, LeakWatch
from .model import Draft, Flag, Kind, MeterTraits, Reading, Scale
from .pours import BRIDGE_MS, Pour, Pours
from .watching import LEAK, NO_FLOW, STUCK, Alarm, MeterWatch, Sight, WatchSettings

FLOWING = frozenset({Kind.VOLUME, Kind.LEAK, Kind.ROLLOVER, Kind.REVERSE})
"""Rows within which a pour goes on: the same water in the same stream. Any other ends it."""

MOST_WAITING = 32
"""Notices kept while the account cannot place them; the oldest go first. Nothing that is counted is among them."""


class MeterObserver:
    """One meter's account with its eyes open. Not for several threads at once, except where said."""

    def __init__(
        self,
        account: Account,
        traits: MeterTraits,
        *,
        settings: WatchSettings,
        sensitivity: Sensitivity,
        period_ms: int,
    ) -> None:
        self.account = account
        self.board_flags = Flag.NONE
        """Status bits of the board for every row. Set by another thread."""
        self.conditions: frozenset[str] = frozenset()
        """stuck, leak, no-flow: what is so at present. Replaced whole, read by another thread."""
        # A slow meter's readings are farther apart than another's longest silence.
        self._bridge_ms = max(BRIDGE_MS, 3 * period_ms)
        settings = replace(settings, unseen_ms=self._bridge_ms)
        self._settings, self._traits = settings, traits
        self._pours = Pours(traits.scale, bridge_ms=self._bridge_ms)
        self._watch = MeterWatch(traits, settings)
        self._leaks = LeakWatch(traits.scale, settings)
        self._flow = Detector(FLOW, sensitivity)
        self._round_trip = Gauge(ROUND_TRIP, sensitivity)
        self._interval = Gauge(INTERVAL, sensitivity)
        self._temperature = Gauge(TEMPERATURE, sensitivity)
        self._polled_ms: int | None = None
        self._closing: Draft | None = None
        """The row of the pour under way, should the next reading end its stream: made while it could be placed."""
        self._waiting: deque[tuple[Kind, dict[str, Any]]] = deque(maxlen=MOST_WAITING)

    def take(self, reading: Reading) -> list[Draft]:
        """The rows of this reading, in the order in which they are to be committed."""
        account = self.account
        account.book_as(Kind.LEAK if self._leaks.booked else Kind.VOLUME, self._status())
        drafts, closing = account.take(reading), self._closing
        if any(draft.kind not in FLOWING for draft in drafts):
            self._watch.forget()
            self._leaks.forget()
            self._pours.forget()
        elif closing and (account.stream_ended or any(draft.stream is not closing.stream for draft in drafts)):
            self._pours.close()
        if closing and not self._pours.flowing:
            drafts, self._closing = [closing, *drafts], None
        self._time(reading)
        if account.position is not None:
            self.notice(reading, account.position)
            pour = self._pours.pending()
            self._closing = account.note(Kind.POUR, pour.row_data()) if pour else None
        return drafts + self._placed()

    def notice(self, reading: Reading, position: int) -> list[tuple[Kind, dict[str, Any]]]:
        """What this reading shows at `position`: notices that wait for their rows, and are given for a look."""
        now_ms, before = reading.mono_ms, len(self._waiting)
        if self._leaks.pattern != LONG:
            self._pour(self._pours.observe(now_ms, position, valve_open=reading.valve_open))
        sight = Sight(
            mono_ms=now_ms,
            position=position,
            flow_ul_s=reading.flow_ul_s,
            valve_open=reading.valve_open,
            sensor_fault=Flag.SENSOR_STUCK in reading.flags,
            pour_since_ms=self._pours.begun_ms,
            pour_ul=self._pours.volume_ul,
        )
        self._say(self._watch.look(sight))
        self._say(self._leaks.look(sight))
        if self._leaks.pattern == LONG:
            self._pours.forget()
        self.conditions = self._conditions()
        return list(self._waiting)[before:]

    def adopt(self, settings: WatchSettings) -> None:
        """Other settings for what is wrong with the meter; an episode under way is judged anew."""
        settings = replace(settings, unseen_ms=self._bridge_ms)
        if settings != self._settings:
            self._settings = settings
            self._watch, self._leaks = MeterWatch(self._traits, settings), LeakWatch(self._traits.scale, settings)

    def reprice(self, scale: Scale, opening_token: str | None, standing_token: str | None) -> list[Draft]:
        """Another price per count: the rows that end what is under way at the present one. Those that follow stand in
        a stream of their own."""
        if scale == self._traits.scale:
            self.account.reprice(scale, opening_token, standing_token)
            return []
        drafts = self.close()
        self._traits = replace(self._traits, scale=scale)
        self._pours = Pours(scale, bridge_ms=self._bridge_ms)
        self._watch, self._leaks = MeterWatch(self._traits, self._settings), LeakWatch(scale, self._settings)
        self.account.reprice(scale, opening_token, standing_token)
        return drafts

    def idle(self, mono_ms: int) -> list[Draft]:
        """Call where no reading came: ends a pour that none has confirmed for longer than may be bridged."""
        if self.account.position is not None and (pour := self._pours.expire(mono_ms)):
            self._pour(pour)
            self._closing = None
        return self._placed()

    def close(self) -> list[Draft]:
        """The last rows of a run: what a leak held back, and the pour under way."""
        closing, self._closing = self._closing, None
        if self.account.position is None:
            return [closing] if closing else []
        drafts = self.account.settle()
        self._pour(self._pours.close())
        return drafts + self._placed()

    def _status(self) -> Flag:
        flags = self.board_flags
        if STUCK in self.conditions:
            flags |= Flag.SENSOR_STUCK
        if LEAK in self.conditions or self._flow.active:
            flags |= Flag.SUSPECT
        return flags

    def _conditions(self) -> frozenset[str]:
        shown = {STUCK: self._watch.stuck, NO_FLOW: self._watch.no_flow, LEAK: self._leaks.pattern is not None}
        return frozenset(name for name, so in shown.items() if so)

    def _time(self, reading: Reading) -> None:
        """Judge what does not depend on the count: the line's times and the water's temperature."""
        now_ms, polled_ms, self._polled_ms = reading.mono_ms, self._polled_ms, reading.mono_ms
        self._say(self._round_trip.sample(now_ms, reading.rtt_us))
        # A longer silence is a line that was down, and said as such; it is no interval between polls.
        if polled_ms is not None and now_ms - polled_ms <= self._bridge_ms:
            self._say(self._interval.sample(now_ms, now_ms - polled_ms))
        if reading.temperature_mc is not None:
            self._say(self._temperature.sample(now_ms, reading.temperature_mc))

    def _pour(self, pour: Pour | None) -> None:
        """A finished pour's row, and its flow to be judged. Under a leak what is no more than a drip is none."""
        if pour is None or (self._leaks.pattern is not None and pour.volume_ul <= TRICKLE_UL):
            return
        self._waiting.append((Kind.POUR, pour.row_data()))
        if pour.level_ul_s is not None:
            self._say(self._flow.judge(pour.level_ul_s))

    def _say(self, finding: Alarm | Anomaly | None) -> None:
        if finding is not None:
            self._waiting.append((Kind.ANOMALY, finding.row_data()))

    def _placed(self) -> list[Draft]:
        """What waits, as rows; all of it, or nothing while the account is in doubt."""
        drafts: list[Draft] = []
        while self._waiting:
            draft = self.account.note(*self._waiting[0])
            if draft is None:
                break
            self._waiting.popleft()
            drafts.append(draft)
        return drafts
