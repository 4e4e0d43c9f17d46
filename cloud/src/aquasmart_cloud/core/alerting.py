"""Which alerts open and which are over: decided from what is so now and what was so before. Pure.

A finding is something that is so. It becomes an alert when it has been so for `after_ms`, and the alert is over when
the finding has been absent for `clear_ms`: in between nothing changes, so what comes and goes does not flap. Each
finding is told once when it opens and once when it is over; `tracks`, the memory that makes it so, is stored in the
same transaction as what was decided from it, so a crash repeats the whole decision or none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .alert_kinds import KINDS, AlertError

NOTED_EVERY_MS = 300_000
"""How often an alert that stays open is looked at again and noted as still seen."""
_LARGEST_S = 90 * 86_400

Key = tuple[str, str]
"""Kind and subject."""


class Threshold(NamedTuple):
    """How long a kind must last, and be over, for one station."""

    after_ms: int
    clear_ms: int
    enabled: bool = True


class Finding(NamedTuple):
    """Something that is so. `since_ms` None: nobody knows since when, so since it was first found.

    `instant`: it happened, and is not known to last. `fading`: it holds up an open alert, but opens none.
    """

    kind: str
    subject: str
    since_ms: int | None
    figures: Mapping[str, Any]
    instant: bool = False
    fading: bool = False

    @property
    def key(self) -> Key:
        return self.kind, self.subject


class Track(NamedTuple):
    """What is remembered of a finding: since when, whether it was told, since when it is gone."""

    since_ms: int
    told: bool
    gone_ms: int | None
    noted_ms: int
    figures: Mapping[str, Any]


class Decision(NamedTuple):
    """What changes; `due_ms` is when time alone may change more."""

    opened: list[tuple[Key, Track]]
    noted: list[tuple[Key, Track]]
    closed: list[Key]
    tracks: dict[Key, Track]
    due_ms: int | None


def decide(
    tracks: Mapping[Key, Track], findings: Iterable[Finding], thresholds: Mapping[str, Threshold], now_ms: int
) -> Decision:
    """What opens, what is still so, and what is over. Deterministic; of two findings with one key the last counts."""
    decision = Decision([], [], [], {}, None)
    dues: list[int] = []
    present = {each.key: each for each in findings if thresholds[each.kind].enabled}
    for key in sorted(tracks.keys() | present.keys()):
        if key[0] not in thresholds:
            decision.closed.append(key)  # a kind that this software no longer knows
            continue
        finding, track = present.get(key), tracks.get(key)
        if finding is None or (finding.fading and not (track and track.told)):
            _absent(key, track, thresholds[key[0]], now_ms, decision, dues)
        else:
            _present(key, finding, track, thresholds[key[0]], now_ms, decision, dues)
    return decision._replace(due_ms=min(dues, default=None))


def _present(
    key: Key,
    finding: Finding,
    track: Track | None,
    threshold: Threshold,
    now_ms: int,
    decision: Decision,
    dues: list[int],
) -> None:
    known_ms = track.since_ms if track else now_ms
    told = track is not None and track.told
    since_ms = known_ms if told or finding.since_ms is None else min(finding.since_ms, now_ms)
    gone_ms = now_ms if finding.instant else None
    figures = track.figures if finding.fading and track else finding.figures
    now = Track(since_ms, told, gone_ms, track.noted_ms if track else now_ms, figures)
    if not told and now_ms - since_ms >= threshold.after_ms:
        now = now._replace(told=True, noted_ms=now_ms)
        decision.opened.append((key, now))
    elif told and track and (track.figures != figures or now_ms - track.noted_ms >= NOTED_EVERY_MS):
        now = now._replace(noted_ms=now_ms)
        decision.noted.append((key, now))
    if finding.instant and not now.told:
        return  # it did not last long enough to be told, and will not
    decision.tracks[key] = now
    if not now.told:
        dues.append(since_ms + threshold.after_ms)
    else:
        dues.append(now_ms + (threshold.clear_ms if finding.instant else NOTED_EVERY_MS))


def _absent(
    key: Key, track: Track | None, threshold: Threshold, now_ms: int, decision: Decision, dues: list[int]
) -> None:
    if track is None or not track.told:
        return
    gone_ms = now_ms if track.gone_ms is None else min(track.gone_ms, now_ms)
    if now_ms - gone_ms >= threshold.clear_ms or not threshold.enabled:
        decision.closed.append(key)
        return
    decision.tracks[key] = track._replace(gone_ms=gone_ms)
    dues.append(gone_ms + threshold.clear_ms)


def thresholds_of(layers: Iterable[Mapping[str, int]]) -> dict[str, Threshold]:
    """Each kind's threshold: that of its row, changed by the settings of fleet, group and station; the later wins."""
    settings: dict[str, int] = {}
    for layer in layers:
        settings |= layer
    return {
        name: Threshold(
            settings.get(f"{name}.after_s", kind.after_s) * 1_000,
            settings.get(f"{name}.clear_s", kind.clear_s) * 1_000,
            settings.get(f"{name}.enabled", 1) != 0,
        )
        for name, kind in KINDS.items()
    }


def read_setting(text: str) -> tuple[str, int]:
    """`offline.after_s=1800`, `leak.enabled=0` as name and value. Errors: AlertError naming what is allowed."""
    name, equals, value = text.partition("=")
    kind, _, field = name.strip().rpartition(".")
    if kind not in KINDS or field not in {"after_s", "clear_s", "enabled"}:
        raise AlertError(
            f"{name!r} is no setting of alerts",
            f"a kind ({', '.join(KINDS)}) with .after_s, .clear_s or .enabled, such as offline.after_s=1800",
        )
    most = 1 if field == "enabled" else _LARGEST_S
    if not (equals and value.strip().isascii() and value.strip().isdigit() and int(value) <= most):
        raise AlertError(f"{name} must be a whole number from 0 to {most}, not {value!r}")
    return name.strip(), int(value)
