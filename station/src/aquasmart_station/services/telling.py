"""One line in the journal for each change of a service's state, of its reasons to be degraded, and of a meter's.

Stands before the live display and sees what is shown there, at most twice a second: no batch, no reading and no retry
has a line of its own. Trace ids lead from a line to the cloud's log.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.degraded import words
from ..core.ports import Chronicle, LiveDisplay
from ..core.showing import MeterState, ServiceState

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
_PRIORITIES = {"online": INFO, "running": INFO, "stopped": INFO, "starting": INFO, "ok": INFO, "offline": NOTICE}
_ERRORS = frozenset({"log-fault", "log-damaged"})


class TellingDisplay:
    """A live display that also tells `chronicle` what changed. `service` is reader or sync."""

    def __init__(self, display: LiveDisplay, chronicle: Chronicle, service: str) -> None:
        self._display, self._chronicle, self._service = display, chronicle, service
        self._state = ""
        self._degraded: frozenset[str] = frozenset()
        self._difference = ""
        self._meters: dict[str, str] = {}
        self._shows = True

    @property
    def fault(self) -> str:
        """The display's own."""
        return self._display.fault

    def show(self, table: str, state: ServiceState, meters: list[MeterState] | None = None) -> bool:
        """As the display's own; what has changed since the last call is told first."""
        self._tell_state(state)
        self._tell_reasons(state.figures)
        self._tell_difference(state.figures)
        for meter in meters or ():
            self._tell_meter(meter)
        shows = self._display.show(table, state, meters)
        self._tell_display(shows)
        return shows

    def _tell_display(self, shows: bool) -> None:
        """A display that stays dark has only the journal to say so; the work itself goes on."""
        if shows == self._shows:
            return
        self._shows = shows
        if shows:
            self._say(INFO, "what this service does is shown again", {"display": "ok"})
        else:
            fault = self._display.fault
            message = f"what this service does cannot be shown (aquasmart status, panel): {fault}"
            self._say(WARNING, message, {"display": "dark", "reason": fault})

    def _tell_state(self, shown: ServiceState) -> None:
        if shown.state == self._state:
            return
        former, self._state = self._state, shown.state
        # The line for people says how long and how much; of a change only the reason is news.
        reason = str(shown.figures.get("reason", shown.text))
        message = f"{self._service} {shown.state}" + (f": {reason}" if reason else "")
        fields = {
            "state": shown.state,
            "former_state": former,
            "reason": reason,
            "pending": shown.figures.get("pending"),
            "trace_id": shown.figures.get("trace_id"),
        }
        self._say(ERROR if shown.state in _ERRORS else _PRIORITIES.get(shown.state, WARNING), message, fields)

    def _tell_reasons(self, figures: Mapping[str, object]) -> None:
        shown = figures.get("degraded", ())
        active = frozenset(map(str, shown)) if isinstance(shown, list | tuple) else frozenset()
        former, self._degraded = self._degraded, active
        for reason in sorted(active - former):
            self._say(WARNING, f"degraded: {words(reason)}", {"degraded": reason})
        for reason in sorted(former - active):
            self._say(INFO, f"no longer degraded: {reason}", {"degraded_over": reason})

    def _tell_difference(self, figures: Mapping[str, object]) -> None:
        difference = str(figures.get("difference", ""))
        if difference and difference != self._difference:
            fields = {"difference": difference, "trace_id": figures.get("trace_id")}
            self._say(ERROR, f"BOOKS DIFFER: {difference}", fields)
        self._difference = difference

    def _tell_meter(self, meter: MeterState) -> None:
        former = self._meters.get(meter.meter_id, "")
        if meter.state == former:
            return
        self._meters[meter.meter_id] = meter.state
        message = f"meter {meter.meter_id} {meter.state}" + (f": {meter.text}" if meter.text else "")
        fields = {"meter_id": meter.meter_id, "state": meter.state, "former_state": former, "reason": meter.text}
        self._say(_PRIORITIES.get(meter.state, WARNING), message, fields)

    def _say(self, priority: int, message: str, fields: Mapping[str, object]) -> None:
        self._chronicle.say(priority, message, {"service": self._service, **fields})
