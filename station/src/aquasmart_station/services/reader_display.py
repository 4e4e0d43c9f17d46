"""What the reader says of itself: the status line and the meters' part of live.db, for a technician's glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..core.phrases import Phrase, counted, joined
from ..core.showing import MeterState, ago, litres, state_words
from ..core.watching import words_for
from .polling import MeterPoller, PollFigures


def status_text(
    pollers: Sequence[MeterPoller],
    *,
    fault: str,
    waiting_rows: int,
    committed_at_ms: int | None,
    degraded: Iterable[str],
    now_ms: int,
) -> str:
    """The one line of `systemctl status aquasmart-reader`; what is wrong comes first."""
    parts = [_meter_text(poller, now_ms) for poller in pollers]
    if fault:
        parts.insert(0, Phrase("LOG FAULT: {fault}; counting goes on, {n} rows wait", fault=fault, n=waiting_rows))
    elif committed_at_ms is not None:
        parts.append(Phrase("last commit {time} ago", time=ago((now_ms - committed_at_ms) / 1000)))
    reasons = sorted(degraded)
    if reasons:
        parts.append(Phrase("DEGRADED: {reasons}", reasons=", ".join(reasons)))
    return joined(" · ", parts)


def _meter_text(poller: MeterPoller, now_ms: int) -> str:
    """State and what is wrong, flow, the meter's own total (to compare with its dial), link, anomalies."""
    view, figures = poller.account.view, poller.figures
    said = [joined(" ", (poller.meter_id, state_words(poller.state)))]
    if figures.fault:
        said = [joined("", (said[0], " (", figures.fault, ")"))]
    reading = figures.reading
    if reading is not None and poller.state == "ok":
        said.append(f"{litres((reading.flow_ul_s or 0) * 60, 1)} L/min")
    if view.header is not None and view.header.scale is not None and view.raw_counts is not None:
        shown_ul = view.header.scale.volume_ul(0, view.raw_counts)
        said.append(Phrase("meter shows {litres} L ({counts} counts)", litres=litres(shown_ul), counts=view.raw_counts))
    if view.run_volume_ul is not None:
        said.append(Phrase("{litres} L since start", litres=litres(view.run_volume_ul)))
    if figures.good:
        said.append(_link_text(figures))
    unusual = words_for(poller.observer.conditions)
    if unusual:
        said.append(unusual)
    said.append(_anomaly_text(figures, now_ms))
    return joined(", ", said)


def _link_text(figures: PollFigures) -> str:
    # Tenths of a percent, cut: 100.0 % is said of a line that lost nothing.
    permille = figures.good * 1000 // (figures.good + figures.bad)
    percent = f"{permille // 10}.{permille % 10}"
    rtt_us = figures.reading.rtt_us if figures.reading else None
    if not rtt_us:
        return Phrase("{percent} % of polls answered", percent=percent)
    ms = max(1, round(rtt_us / 1000))
    return Phrase("{percent} % of polls answered in {ms} ms", percent=percent, ms=ms)


def _anomaly_text(figures: PollFigures, now_ms: int) -> str:
    if not figures.anomalies:
        return Phrase("no anomalies")
    count = counted("{n} anomaly", "{n} anomalies", figures.anomalies)
    time = ago((now_ms - figures.anomaly_at_ms) / 1000)
    return Phrase("{count}, the latest {metric} {time} ago", count=count, metric=figures.anomaly, time=time)


def meter_state(poller: MeterPoller) -> MeterState:
    """One meter's row of live.db."""
    view, figures = poller.account.view, poller.figures
    late = sorted(poller.lateness_ms.copy())
    return MeterState(
        meter_id=poller.meter_id,
        state=poller.state,
        epoch=str(view.epoch) if view.epoch else None,
        counts=view.counts,
        raw_counts=view.raw_counts,
        flow_ul_s=figures.reading.flow_ul_s if figures.reading else None,
        at_ms=figures.reading.wall_ms if figures.reading else None,
        text=figures.fault
        or (view.reason if view.state not in ("ok", "waiting") else "")
        or words_for(poller.observer.conditions),
        figures={
            "polls_good": figures.good,
            "polls_bad": figures.bad,
            "unbooked": figures.unbooked,
            "anomalies": figures.anomalies,
            "late_p99_ms": round(late[int(len(late) * 0.99)], 1) if late else None,
            "rtt_us": figures.reading.rtt_us if figures.reading else None,
            "reverse_debt_counts": view.reverse_debt_counts,
            "unbooked_counts": view.unbooked_counts,
            "identity": view.identity,
            "found_identity": view.found_identity,
            "found_counts": view.found_counts,
        },
    )
