"""A configuration on trial: watched, and taken back by itself where it breaks polling or the link.

What counts is decided in core/probation.py; here are the figures for it. Time is judged only between signs of the link,
requests with the settings of before; what has been judged is kept in ops.db, so a restart does not begin anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from ..adapters import config_rows
from ..adapters.config_rows import ConfigRow, InForce
from ..adapters.ops import OpsFile
from ..core.ports import Clock
from ..core.probation import BASELINE_MS, TRIAL_MS, Polls, Trial, verdict

SAMPLE_MS = 10_000
KEEP_EVERY_MS = 30_000
"""How much of a trial a restart may cost."""
SIGNS = 30
"""So many signs of the link are wanted over a trial."""


class Probation:
    """Watches the trial in force, if there is one. Used by the configuration lane."""

    def __init__(
        self,
        *,
        ops: OpsFile,
        clock: Clock,
        polls: Callable[[], Polls],
        lanes_heard_s: Callable[[], float],
        ended: Callable[[Any, ConfigRow, str, list[str], int], None],
        trial_ms: int = TRIAL_MS,
    ) -> None:
        """`polls`: all meters' polls since the reader started. `lanes_heard_s`: when a lane with the settings in force
        last got a verified answer, monotonic seconds. `ended` tells the cloud, within the transaction."""
        self._ops, self._clock, self._polls, self._lanes_heard_s = ops, clock, polls, lanes_heard_s
        self._ended, self._trial_ms = ended, trial_ms
        self._samples: deque[tuple[int, Polls]] = deque(maxlen=BASELINE_MS // SAMPLE_MS + 1)
        self._row: ConfigRow | None = None
        self._silent_ms = 0
        self._judged_ms = self._kept_ms = 0
        self._seen = Polls()
        self._last_polls = Polls()
        self._sign_ms: int | None = None
        self._asked_ms = 0
        self.ready = False
        """Whether the settings in force have been seen once."""

    def asks_for_a_sign(self) -> bool:
        """Whether a request with the former settings is due; it is taken as made."""
        if self._row is None:
            return False
        due = self._now_ms() - self._asked_ms >= self._sign_every_ms
        if due:
            self._asked_ms = self._now_ms()
        return due

    def begin(self, force: InForce) -> None:
        """The settings in force have changed: begin, go on with or leave a trial. Raises OpsError."""
        self.ready = True
        if not force.trial:
            self._row = None
            return
        with self._ops.reading() as connection:
            row = config_rows.current_document(connection)
        if row is None or (self._row is not None and self._row.id == row.id):
            return
        self._row, self._silent_ms = row, 0
        self._judged_ms = self._kept_ms = row.trial_ms
        self._seen, self._last_polls, self._sign_ms, self._asked_ms = Polls(), self._polls(), None, 0

    def baseline(self) -> dict[str, Any]:
        """The polls of the ten minutes before now."""
        return self._last_ten_minutes().document()

    def link_is_up(self) -> None:
        """A request with the former settings came through: the time since the last one is judged."""
        now_ms, polls = self._now_ms(), self._polls()
        if self._row is not None and self._sign_ms is not None:
            # An answer to a request from before the change counts too: silence begins anew with it, and then lasts.
            heard = self._lanes_heard_s() * 1000 > self._sign_ms
            self._silent_ms = 0 if heard else self._silent_ms + now_ms - self._sign_ms
            self._judged_ms += now_ms - self._sign_ms
            self._seen = self._seen.plus(polls.since(self._last_polls))
        self._sign_ms, self._last_polls = now_ms, polls

    def no_sign(self) -> None:
        """None came through: the time around it is not judged."""
        self._sign_ms = None

    def step(self, force: InForce) -> bool:
        """Take samples, judge; True where the trial has just ended. Raises OpsError."""
        self._sample()
        row = self._row
        if row is None or not force.trial:
            return False
        said = verdict(
            Polls.read(row.baseline), Trial(self._judged_ms, self._seen, self._silent_ms), trial_ms=self._trial_ms
        )
        if said is None:
            self._keep(row)
            return False
        now_ms = self._clock.wall_ns() // 1_000_000
        with self._ops.writing() as connection:
            if said:
                config_rows.set_state(connection, row.id, "rolled-back", [said])
                self._ended(connection, row, "rolled-back", [said], now_ms)
            else:
                config_rows.set_state(connection, row.id, "applied")
                config_rows.absorb_local(connection, row.version or 0)
                self._ended(connection, row, "applied", [], now_ms)
        self._row = None
        return True

    @property
    def _sign_every_ms(self) -> int:
        return max(200, self._trial_ms // SIGNS)

    def _keep(self, row: ConfigRow) -> None:
        if self._judged_ms - self._kept_ms >= min(KEEP_EVERY_MS, self._trial_ms // 4):
            self._kept_ms = self._judged_ms
            with self._ops.writing() as connection:
                config_rows.add_trial_time(connection, row.id, self._judged_ms)

    def _sample(self) -> None:
        now_ms = self._now_ms()
        if self._row is None and (not self._samples or now_ms - self._samples[-1][0] >= SAMPLE_MS):
            self._samples.append((now_ms, self._polls()))

    def _last_ten_minutes(self) -> Polls:
        """Summed over the samples, so that a reader which restarted meanwhile is counted right."""
        points = [polls for _, polls in self._samples] + [self._polls()]
        total = Polls()
        for before, after in pairwise(points):
            total = total.plus(after.since(before))
        return total

    def _now_ms(self) -> int:
        return self._clock.mono_ns() // 1_000_000
