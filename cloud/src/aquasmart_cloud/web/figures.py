"""How figures are written for people: litres, ages, counts, sparklines.

Pure: values in, text out; no clock, no database, no Flask. `static/js/format.js` writes the same figures in the
browser, so that what the server renders and what a live update puts in its place never differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import pass_context
from markupsafe import Markup, escape

UL_PER_LITRE = 1_000_000
MINUTE_MS = 60_000
NORMAL_WAIT_S = 10
"""A station that is connected gathers events for some seconds before it sends them: no backlog yet."""
SPARK_MINUTES = 60
SPARK_HEIGHT = 24


_BARS = [
    [f"M{slot * 2} {SPARK_HEIGHT}h1.4v-{max(2, height)}h-1.4z" for height in range(SPARK_HEIGHT)]
    for slot in range(SPARK_MINUTES)
]
"""Every bar there can be, by its minute and height: a page of five hundred stations draws thirty thousand."""


def split_litres(volume_ul: int) -> tuple[str, str, str]:
    """Sign and whole litres with separators, then the two groups of three decimals: exact, by integers."""
    whole, rest = divmod(abs(volume_ul), UL_PER_LITRE)
    sign = "−" if volume_ul < 0 else ""
    return f"{sign}{whole:,}", f"{rest // 1000:03d}", f"{rest % 1000:03d}"


def litres(volume_ul: int | None) -> Markup:
    """`1,234.567890 L`: every decimal shown, the small ones quietly. Copies as one plain number."""
    if volume_ul is None:
        return Markup("–")
    whole, millis, micros = split_litres(volume_ul)
    # Digits and marks of our own only. Markup.format costs ten times as much, a thousand times on a page.
    return Markup(f'{whole}<span class="frac">.{millis}<i>{micros}</i></span><span class="unit"> L</span>')  # noqa: S704


def plain_litres(volume_ul: int) -> str:
    """The same figure as plain text, for titles and sentences."""
    whole, millis, micros = split_litres(volume_ul)
    return f"{whole}.{millis}{micros} L"


def count(value: int | None) -> str:
    """A whole number with thousands separators."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: int | None) -> str:
    """A length of time in its largest sensible unit, rounded down: `48 s`, `12 min`, `3 h`, `5 days`."""
    if seconds is None:
        return "–"
    for size, unit in ((172_800, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds // {'days': 86_400, 'h': 3_600, 'min': 60}[unit]} {unit}"
    return f"{max(seconds, 0)} s"


def ago(at_ms: int | None, now_ms: int) -> str:
    """How long since: `just now`, `48 s ago`; `never` for None."""
    if at_ms is None:
        return "never"
    seconds = max(0, now_ms - at_ms) // 1000
    return "just now" if seconds < 5 else f"{duration(seconds)} ago"


def clock_time(at_ms: int | None) -> Markup:
    """A moment in UTC; the browser puts the reader's own time zone in its place."""
    if at_ms is None:
        return Markup("–")
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%d %b %Y, %H:%M:%S")
    )


def backlog(pending: int | None, oldest_pending_s: int | None) -> str:
    """What the station still has to send, as its last heartbeat said."""
    if pending is None:
        return "not known"
    if not pending:
        return "none"
    oldest = f", oldest {duration(oldest_pending_s)}" if (oldest_pending_s or 0) >= NORMAL_WAIT_S else ""
    return f"{pending:,} {'event' if pending == 1 else 'events'}{oldest}"


def spark_path(minutes: Sequence[Sequence[int]], now_ms: int) -> str:
    """An SVG path of one bar a minute for the last hour, scaled to its own peak; a minute without flow has none."""
    first_ms = (now_ms // MINUTE_MS - SPARK_MINUTES + 1) * MINUTE_MS
    end_ms = first_ms + SPARK_MINUTES * MINUTE_MS
    bars = [(at, volume) for at, volume in minutes if volume > 0 and first_ms <= at < end_ms]
    peak = max([volume for _, volume in bars], default=1)
    most = SPARK_HEIGHT - 1
    return "".join([_BARS[(at - first_ms) // MINUTE_MS][(volume * most + peak - 1) // peak] for at, volume in bars])


@pass_context
def figure(context: Mapping[str, Any], item: Mapping[str, Any], field: str, kind: str = "text") -> Markup:
    """One figure of an item, in the mark that static/js/bind.js fills at each live update; empty for an empty item.

    For templates, which have `now_ms`. A function, not a macro: a fleet of five hundred has three thousand of them.
    """
    text = shape(item.get(field), kind, context["now_ms"], item) if item else ""
    # Field and kind are words of our own templates.
    return Markup(f'<span data-f="{field}" data-as="{kind}">{escape(text)}</span>')  # noqa: S704


def sum_minutes(stations: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The minutes of several stations added up."""
    totals: dict[int, int] = {}
    for station in stations:
        for at, volume, *_ in station["minutes"]:
            totals[at] = totals.get(at, 0) + volume
    return [[at, totals[at]] for at in sorted(totals)]


def shape(value: Any, kind: str, now_ms: int, item: Mapping[str, Any]) -> str | Markup:
    """The text of one figure; `kind` is one of the names that bind.js knows, too, and else plain text."""
    if kind in PLAIN:
        return PLAIN[kind](value)
    if kind == "ago":
        return ago(value, now_ms)
    if kind == "backlog":
        return backlog(value, item.get("oldest_pending_s"))
    return "–" if value in (None, "") else escape(value)


PLAIN: Mapping[str, Callable[[Any], str | Markup]] = {
    "litres": litres,
    "time": clock_time,
    "duration": duration,
    "count": count,
    "short": lambda identity: str(identity)[:8],
    "maybe": lambda words: words or "",
}
