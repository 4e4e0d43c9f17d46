"""What the cloud warns of: one row per kind, with its words, what to do next, and how long it must last.

Pure tables and the sentences made from them. When an alert opens and closes is `core.alerting`; what is so is
`core.alert_facts`. A new kind is one row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import CloudError

OFFLINE, LEAK, ANOMALY, METER_FAULT = "offline", "leak", "anomaly", "meter-fault"
CLOCK, DISK, DEAD_LETTERS, BOOKS = "clock", "disk", "dead-letters", "books"
FAILED_EVENTS, JOB_FAILED, ROLLOUT_STOPPED = "failed-events", "job-failed", "rollout-stopped"

URGENT, WARNING = "urgent", "warning"
CLOUD = "_cloud"
"""Whose alerts concern no station and no client; the underscore keeps it apart from every station's id."""


class AlertError(CloudError):
    """A command about alerts, their settings or their receivers cannot be done."""


class Kind(NamedTuple):
    """One row: `after_s` is how long it must be so before it opens, `clear_s` how long it must be over to close."""

    name: str
    title: str
    severity: str
    after_s: int
    clear_s: int
    meaning: str
    advice: str


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            OFFLINE,
            "Station offline",
            WARNING,
            900,
            120,
            "No signed request of it has arrived. It counts on and keeps everything.",
            "Ask whether others nearby report. If they do, check this one's power and network.",
        ),
        Kind(
            LEAK,
            "Leak",
            URGENT,
            0,
            300,
            "Water runs that is nobody's pour. It is counted, as leak.",
            "Send somebody to the valve and the hose of this tap; close the tap until then.",
        ),
        Kind(
            ANOMALY,
            "Something unusual",
            WARNING,
            0,
            3_600,
            "A figure of the station was far from what it usually is.",
            "Look at the station's notable events; if it comes again, send a technician.",
        ),
        Kind(
            METER_FAULT,
            "Meter fault",
            URGENT,
            120,
            120,
            "The meter cannot be read, or is not believed.",
            "Send a technician to the meter; 'aquasmart doctor' at the station says what it sees.",
        ),
        Kind(
            CLOCK,
            "Clock not set",
            WARNING,
            900,
            120,
            "The station does not know the time. Order and volume are exact, the times of its events are guesses.",
            "Let it reach a time server, or set its clock; a board without a battery clock needs the network at start.",
        ),
        Kind(
            DISK,
            "Disk trouble",
            WARNING,
            300,
            600,
            "The station's data partition is short of room, or slow.",
            "See what else fills the card; a worn card is replaced, and its log is taken along.",
        ),
        Kind(
            DEAD_LETTERS,
            "Events refused for good",
            WARNING,
            0,
            60,
            "The station keeps events that this cloud refused. Their volume is counted, their content is not here.",
            "'aquasmart dead-letters' at the station shows them; after an update of the cloud, send them again.",
        ),
        Kind(
            BOOKS,
            "Books do not balance",
            WARNING,
            900,
            60,
            "A named difference between the meter's counts and the books is open.",
            "The station's page says what each difference means; explain it there once you know.",
        ),
        Kind(
            FAILED_EVENTS,
            "Foreign events failed",
            WARNING,
            0,
            60,
            "Events of another system could not be read. They are kept as they came.",
            "'aquasmart-cloud failed list' says why; correct them, or teach the cloud the client's fields.",
        ),
        Kind(
            JOB_FAILED,
            "A job of the worker fails",
            URGENT,
            300,
            0,
            "What this cloud does by the clock does not get done.",
            "The log of 'aquasmart-cloud worker' says why; it is tried again by itself.",
        ),
        Kind(
            ROLLOUT_STOPPED,
            "A roll-out stopped by itself",
            URGENT,
            0,
            0,
            "A canary did not come out well; no other station is offered this bundle.",
            "'aquasmart-cloud rollout show' and the station's page say why. Stop it by hand once you have seen to it, "
            "or resume it.",
        ),
    )
}

_SUBJECTS: Mapping[tuple[str, str], tuple[str, str]] = {
    (METER_FAULT, "frozen"): (
        "another meter answers; nothing of it is counted until the swap is acknowledged",
        "If the meter was replaced, acknowledge the swap at the station; if not, look who answers there.",
    ),
    (METER_FAULT, "silent"): (
        "the meter does not answer",
        "Look at its supply, its wiring, baud rate and parity. Counting goes on in the meter itself.",
    ),
    (METER_FAULT, "link-down"): (
        "the meter's port is gone",
        "Look at the adapter, its plug and its cable; it is tried again by itself.",
    ),
    (METER_FAULT, "suspect"): (
        "the meter's counts are not plausible",
        "Compare the meter's display with the station's status.",
    ),
    (METER_FAULT, "sensor-stuck"): (
        "water was expected and the count does not move",
        "Look at valve and sensor; pour a litre and watch the count.",
    ),
    (METER_FAULT, "no-flow"): ("not a count for long", "Is the tap open, is there water?"),
    (DISK, "disk-full"): ("the data partition is full; counting goes on in its reserve", "Free space on it now."),
    (DISK, "disk-low"): ("the data partition is getting full", "See what else fills it. Nothing is short yet."),
    (DISK, "disk-slow"): ("a commit took longer than a second", "The card may be worn: plan to replace it."),
    (DISK, "log-over-budget"): (
        "the log is near its budget with events that this cloud has not taken",
        "Give it a network, or collect its log; the oldest events are being merged, their volume is exact.",
    ),
    (BOOKS, "hole"): (
        "counts that no event covers",
        "Wait while there is a backlog. If it stays: drain the station's former card, or import its exported log.",
    ),
    (BOOKS, "overlap"): (
        "counts that were reported twice and booked once",
        "Nothing for a restored or replaced card; otherwise look for a copied card.",
    ),
    (BOOKS, "claim-difference"): (
        "station and cloud disagree on where a stream stands",
        "Compare with the meter's display; look for a restored card or database.",
    ),
    (BOOKS, "row-difference"): (
        "an event came again with other content; the first one stands",
        "Look for a copied or restored card.",
    ),
    (BOOKS, "clone-suspected"): (
        "two boards report as this station",
        "Find the second board, and revoke the key of the one that should not report.",
    ),
    (BOOKS, "disputed"): ("counted, but implausible", "Have the meter and its cable checked."),
    (BOOKS, "abandoned"): (
        "given up by a factory reset",
        "Ask who reset it; if its card or an export still exists, import it.",
    ),
    (BOOKS, "scale-refused"): (
        "priced by a calibration that was refused",
        "Agree the K-factor with the technician and send it as configuration.",
    ),
}
BALANCE = frozenset(subject for kind, subject in _SUBJECTS if kind == BOOKS)
"""Which named differences make an alert. Those that a used meter or one power cut brings do not: nothing is to do."""
METER_STATES = frozenset({"frozen", "silent", "link-down", "suspect"})
"""States of a meter in a heartbeat that are faults."""
METER_CONDITIONS = frozenset({"sensor-stuck", "no-flow"})
DISK_CONDITIONS = frozenset(subject for kind, subject in _SUBJECTS if kind == DISK)


class Told(NamedTuple):
    """An alert in words."""

    title: str
    text: str
    advice: str


def told(kind: str, subject: str, figures: Mapping[str, Any]) -> Told:
    """What a person is told. A kind or subject without a row is shown by its own name, never hidden."""
    row = KINDS.get(kind)
    if row is None:
        return Told(kind, subject, "See its figures.")
    what, advice = _SUBJECTS.get((kind, str(figures.get("what", subject))), ("", row.advice))
    about, said, amounts = _about(kind, subject, figures), what or row.meaning, _amounts(figures)
    if amounts:
        said = f"{said.removesuffix('.')} ({amounts}){'.' if said.endswith('.') else ''}"
    return Told(row.title, f"{about}: {said}" if about else said, advice)


def _about(kind: str, subject: str, figures: Mapping[str, Any]) -> str:
    """What it concerns beyond its owner: a meter, a metric, a job. Differences and disks say it themselves."""
    if kind in {OFFLINE, CLOCK, DISK, BOOKS, DEAD_LETTERS, FAILED_EVENTS}:
        return ""
    return subject.removesuffix(f":{figures.get('what')}")


def _amounts(figures: Mapping[str, Any]) -> str:
    said = []
    number = figures.get("number")
    if isinstance(number, int) and number != 1:
        more = " or more" if figures.get("more") else ""
        said.append(f"{number:,}{more} of them")
    volume_ul = figures.get("volume_ul")
    if isinstance(volume_ul, int):
        sign, rest = ("-", -volume_ul) if volume_ul < 0 else ("", volume_ul)
        said.append(f"{sign}{rest // 1_000_000:,}.{rest % 1_000_000:06d} L")
    reason = figures.get("reason")
    if isinstance(reason, str) and reason:
        said.append(reason)
    return ", ".join(said)
