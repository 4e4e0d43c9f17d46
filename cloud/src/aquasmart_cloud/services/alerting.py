"""The worker's look for alerts: at stations that changed or are due, at senders of foreign events, at the worker.

One `cycle` looks at everything that is due, a portion of stations at a time: some statements for each portion however
many events there are (store.alert_watch), one transaction for its outcome. What is so is core.alert_facts, what
opens and closes core.alerting. Repeating a look, or two at once, tells nothing twice (store.alert_watch says why).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aquasmart_cloud.config_telling import Telling
from aquasmart_cloud.core import alert_facts
from aquasmart_cloud.core.alert_facts import Entry, Memory, Row, Station
from aquasmart_cloud.core.alert_kinds import CLOUD, FAILED_EVENTS, JOB_FAILED, OFFLINE, ROLLOUT_STOPPED
from aquasmart_cloud.core.alerting import Decision, Finding, Key, Track, decide
from aquasmart_cloud.store import alert_settings, alert_watch, failures, job_runs, outbox, rollout_view
from aquasmart_cloud.store.alert_settings import Settings
from aquasmart_cloud.store.alert_watch import NEVER, Watch, Watched
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.outbox import News

from . import alert_changes

MOST_FAILURES = 100
"""Failed events told in one look at a sender; the alert counts them all."""
FAILED_NOW = "failed-events.new"
_COUNTED = 1_000


class _Remembered(msgspec.Struct, array_like=True):
    """An owner's memory as it is stored."""

    memory: Memory = Memory()
    tracks: list[tuple[str, str, int, bool, int | None, int, dict[str, Any]]] = []


_DECODER = msgspec.json.Decoder(_Remembered)


@dataclass(slots=True)
class Done:
    """What a cycle came to."""

    stations: int = 0
    opened: int = 0
    closed: int = 0
    failures: int = 0

    def line(self) -> str:
        """In words; '' where nothing changed: that something was looked at is no news."""
        parts = [("opened", self.opened), ("closed", self.closed), ("failed events told", self.failures)]
        said = ", ".join(f"{number} {what}" for what, number in parts if number)
        return f"{said} ({self.stations} stations looked at)" if said else ""


@dataclass(frozen=True, slots=True)
class Alerting:
    """The job `alerts`."""

    database: Database
    telling: Telling = field(default_factory=Telling)
    name: str = "alerts"
    every_s: int = 15
    longest_s: int = 20
    """A look at stations is broken off after so long, between portions: other jobs wait for it."""
    mono_s: Callable[[], float] = time.monotonic

    def cycle(self, now_ms: int) -> str:
        """Look at everything that is due. Errors: DatabaseError; what was looked at before it is kept."""
        return self.look(now_ms).line()

    def look(self, now_ms: int) -> Done:
        """The same, with its figures."""
        settings, done = alert_settings.read(self.database), Done()
        ids = alert_watch.changed(self.database, now_ms)
        began_mono = self.mono_s()
        for begin in range(0, len(ids), alert_watch.PORTION):
            if self.mono_s() - began_mono > self.longest_s:
                break  # the others come first at the next cycle
            self._portion(ids[begin : begin + alert_watch.PORTION], settings, now_ms, done)
        for client_id, last_failed in alert_watch.senders(self.database, now_ms):
            self._sender(client_id, last_failed, settings, now_ms, done)
        self._worker(settings, now_ms, done)
        return done

    def _portion(self, ids: Sequence[str], settings: Settings, now_ms: int, done: Done) -> None:
        with self.database.reading() as connection:
            watched = alert_watch.stations(connection, ids)
            ranges, last = alert_watch.requests(connection, watched)
            rows = alert_watch.events(connection, ranges)
            entries = alert_watch.entries(connection, ids)
        looked = [
            _look(each, last, rows.get(each.station_id, []), entries.get(each.station_id, []), settings, now_ms)
            for each in watched
        ]
        done.stations += len(looked)
        self._write(looked, now_ms, done)

    def _sender(self, client_id: str, last_failed: int, settings: Settings, now_ms: int, done: Done) -> None:
        with self.database.reading() as connection:
            told, turn, text = alert_watch.one(connection, client_id, alert_watch.SENDER) or (0, 0, "")
            number, since_ms = alert_watch.open_failures(connection, client_id)
            after = max(told, last_failed - MOST_FAILURES)
            new = alert_watch.new_failures(connection, client_id, after, last_failed, MOST_FAILURES)
        figures = {"number": min(number, _COUNTED)} | ({"more": True} if number > _COUNTED else {})
        found = [Finding(FAILED_EVENTS, "", since_ms, figures)] if number else []
        thresholds = settings.thresholds()
        decision = decide(_tracks(text), found, thresholds, now_ms)
        watch = Watch(
            client_id,
            alert_watch.SENDER,
            "",
            0,
            0,
            last_failed,
            NEVER if decision.due_ms is None else decision.due_ms,
            turn,
            _text(Memory(), decision),
        )
        news = []
        if new and thresholds[FAILED_EVENTS].enabled:
            listed = [
                {
                    "event_id": failures.failed_id(client_id, each.failed_seq),
                    "code": each.code,
                    "errors": each.errors,
                    "received_at": each.received_at,
                }
                for each in new
            ]
            news.append(News(FAILED_NOW, FAILED_EVENTS, {"client_id": client_id, "failures": listed}, for_people=False))
            done.failures += len(new)
        self._write([(watch, decision)], now_ms, done, news)

    def _worker(self, settings: Settings, now_ms: int, done: Done) -> None:
        """The worker's own jobs, and roll-outs. Written only where something changes: it is looked at every time."""
        records = job_runs.every(self.database)
        with self.database.reading() as connection:
            _, turn, text = alert_watch.one(connection, CLOUD, alert_watch.CLOUD) or (0, 0, "")
            stopped = rollout_view.stopped_by_themselves(connection)
        found = [
            Finding(JOB_FAILED, run.job, None, {"reason": run.error[:200]}) for run in records.values() if run.failures
        ]
        found += [
            Finding(ROLLOUT_STOPPED, f"roll-out {rollout_id}", at_ms, {"reason": reason[:200]})
            for rollout_id, at_ms, reason in stopped
        ]
        tracks = _tracks(text)
        decision = decide(tracks, found, settings.thresholds(), now_ms)
        if decision.tracks == tracks and not (decision.opened or decision.noted or decision.closed):
            return
        watch = Watch(CLOUD, alert_watch.CLOUD, "", 0, 0, 0, NEVER, turn, _text(Memory(), decision))
        self._write([(watch, decision)], now_ms, done)

    def _write(
        self, looked: Sequence[tuple[Watch, Decision]], now_ms: int, done: Done, news: Sequence[News] = ()
    ) -> None:
        """The outcome of a portion, in one transaction that disturbs no ingest: it locks no station."""
        by_mail = alert_changes.people(self.telling)
        opened = closed = 0
        with self.database.writing("") as connection:
            kept = alert_watch.put(connection, [watch for watch, _ in looked])
            changing = [each for each in looked if each[1].opened or each[1].noted or each[1].closed]
            told = alert_changes.receivers(connection, by_mail) if changing or news else []
            for watch, decision in changing:
                counts = alert_changes.apply(connection, watch.owner, decision, told, now_ms)
                opened, closed = opened + counts[0], closed + counts[1]
            # News have no row that would refuse them a second time: they go with the memory that they were told.
            for each in news if kept else ():
                outbox.put(connection, told, each, now_ms)
        done.opened, done.closed = done.opened + opened, done.closed + closed


def _look(
    watched: Watched,
    last: dict[str, int],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    settings: Settings,
    now_ms: int,
) -> tuple[Watch, Decision]:
    """One station: what is remembered, what is so now, and what follows. No database."""
    remembered = _DECODER.decode(watched.memory) if watched.memory else _Remembered()
    tracks = _of(remembered)
    thresholds = settings.thresholds(watched.station_id, watched.group)
    memory, news = alert_facts.learn(remembered.memory, rows, now_ms)
    memory = alert_facts.hear(memory, watched.last_seen_ms, thresholds[OFFLINE].after_ms, now_ms)
    station = Station(watched.state, watched.last_seen_ms, _heartbeat(watched.heartbeat), entries)
    found, silent_ms = alert_facts.findings(station, memory, tracks, thresholds, now_ms)
    decision = decide(tracks, [*found, *(news if watched.state != "retired" else [])], thresholds, now_ms)
    dues = [each for each in (decision.due_ms, silent_ms) if each is not None]
    watch = Watch(
        watched.station_id,
        alert_watch.STATION,
        watched.state,
        watched.last_seen_ms or 0,
        watched.events,
        last.get(watched.station_id, watched.log_id),
        min(dues, default=NEVER),
        watched.turn,
        _text(memory, decision),
    )
    return watch, decision


def _heartbeat(text: str | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _tracks(text: str) -> dict[Key, Track]:
    return _of(_DECODER.decode(text)) if text else {}


def _of(remembered: _Remembered) -> dict[Key, Track]:
    return {(each[0], each[1]): Track._make(each[2:]) for each in remembered.tracks}


def _text(memory: Memory, decision: Decision) -> str:
    tracks = [(*key, *track) for key, track in sorted(decision.tracks.items(), key=lambda each: each[0])]
    return msgspec.json.encode(_Remembered(memory, tracks)).decode()  # type: ignore[arg-type]
