"""What is unusual: a rolling z-score per metric over sensible aggregates, one finding per episode.

Pure. Floats are allowed here and nowhere near the ledger: these figures judge, they are never booked.

Raw samples are not judged: a round trip has heavy tails, and at z = 3 even a perfect bell would cry wolf 2,300 times
a day at 10 Hz. A metric is judged by the median of each minute (`interval`, round trip, temperature, supply), flow
by the level of each pour. A value stands against the moments of a window of aggregates that ends `guard` aggregates
before it, so that a slow drift does not hide in its own reference. An episode begins with `confirm` aggregates in a
row beyond the threshold on one side, or with a single one beyond `SPIKE` thresholds; it is over after as many within
`CLEARED` thresholds. A deviation that would matter to nobody is none: the standard deviation has a floor per metric.

What is found, at 10 Hz with the default window, warm-up and threshold (tests/unit/station/test_thirty_days.py):
| injected | found within |
|---|---|
| spike for two minutes: round trip × 20, temperature + 15 °C | 1,800 readings (3 minutes) |
| spike: one pour at three times the usual flow | that pour |
| lasting step: round trip × 2, interval × 1.5, supply − 0.3 V | 3,000 readings (5 minutes) |
| drift: temperature 0.5 °C a minute, round trip 10 % a minute | 9,000 readings (15 minutes) |
| drift: flow, 1 % or 0.5 % of the usual from pour to pour | 60 or 120 pours |

What drifts so slowly that the window follows it (flow 0.2 % a pour) is not found here: the cloud sees months.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from .rolling import RollingMoments

CONFIRM = 3
SPIKE = 3.0
CLEARED = 2 / 3
CLIP = 2.0
"""A sample enters the reference at most so many thresholds from its mean: an outlier must not blind it for hours."""

MINUTE_MS = 60_000
LEAST_SAMPLES = 5
"""A median of fewer says little: a slow meter's aggregate lasts longer than a minute."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is judged, and the deviation below which it matters to nobody."""

    name: str
    floor: float
    """The least standard deviation that is believed, in the metric's unit."""
    floor_part: float = 0.0
    """The same as a part of the mean; the larger of the two holds."""
    guard: int = 30
    """Aggregates between the window's end and what is judged."""
    change_over: int = 0
    """Judge the change over so many aggregates instead of the value: what follows the sun is not unusual."""


FLOW = Metric("flow_ul_s", floor=500.0, floor_part=0.05, guard=60)
ROUND_TRIP = Metric("rtt_us", floor=1_000.0, floor_part=0.2)
INTERVAL = Metric("interval_ms", floor=2.0, floor_part=0.05)
TEMPERATURE = Metric("temperature_change_mc", floor=1_000.0, change_over=10)
SUPPLY = Metric("supply_mv", floor=25.0, floor_part=0.005)


@dataclass(slots=True)
class Sensitivity:
    """How detectors judge. Shared by them and read at each judgement: a change acts at once, without a restart."""

    threshold: float = 3.0
    window: int = 120
    warm_up: int = 30

    def set_threshold(self, threshold: float) -> None:
        """Standard deviations from the mean. Raises ValueError below 1: a third of all values would be unusual."""
        if threshold < 1:
            raise ValueError(f"a threshold must be 1 or more standard deviations, not {threshold}")
        self.threshold = threshold


@dataclass(frozen=True, slots=True)
class Anomaly:
    """The aggregate that began an episode, and what it was judged by."""

    metric: str
    value: int
    mean: float
    sd: float
    z: float
    threshold: float

    def row_data(self) -> dict[str, Any]:
        """The figures of an `anomaly` row, rounded to what they are good for."""
        return {
            "metric": self.metric,
            "value": self.value,
            "mean": round(self.mean, 1),
            "sd": round(self.sd, 1),
            "z": round(self.z, 2),
            "threshold": self.threshold,
        }


class Detector:
    """Judges one metric's aggregates, oldest first."""

    def __init__(self, metric: Metric, sensitivity: Sensitivity) -> None:
        self._metric, self._sensitivity = metric, sensitivity
        self._reference = RollingMoments(sensitivity.window)
        self._guarded: deque[float] = deque()
        self._former: deque[int] = deque(maxlen=metric.change_over or 1)
        self._beyond = 0
        """Aggregates in a row beyond the threshold: positive above the mean, negative below it."""
        self._within = 0
        self.active = False
        """Whether an episode is under way."""

    def judge(self, value: int) -> Anomaly | None:
        """The anomaly that begins with this aggregate, if one does."""
        over = self._metric.change_over
        if over:
            former, ready = self._former[0] if self._former else 0, len(self._former) == over
            self._former.append(value)
            if not ready:
                return None
            value -= former
        if len(self._reference) < min(self._sensitivity.warm_up, self._sensitivity.window):
            self._absorb(value, clip=None)
            return None
        threshold, mean, sd = self._sensitivity.threshold, self._reference.mean, self._sd()
        z = (value - mean) / sd
        self._absorb(value, clip=CLIP * threshold * sd)
        if not self._begins(z, threshold):
            return None
        return Anomaly(self._metric.name, value, mean, sd, z, threshold)

    def _sd(self) -> float:
        metric = self._metric
        return max(self._reference.sd, metric.floor, metric.floor_part * abs(self._reference.mean))

    def _begins(self, z: float, threshold: float) -> bool:
        if self.active:
            self._within = self._within + 1 if abs(z) < CLEARED * threshold else 0
            if self._within >= CONFIRM:
                self.active, self._beyond = False, 0
            return False
        if abs(z) < threshold:
            self._beyond = 0
            return False
        side = 1 if z > 0 else -1
        self._beyond = self._beyond + side if self._beyond * side > 0 else side
        if abs(self._beyond) < CONFIRM and abs(z) < SPIKE * threshold:
            return False
        self.active, self._within = True, 0
        return True

    def _absorb(self, value: int, clip: float | None) -> None:
        """Let what has waited behind the guard into the reference; during warm-up nothing waits."""
        kept = float(value)
        if clip is not None:
            mean = self._reference.mean
            kept = min(max(kept, mean - clip), mean + clip)
            self._guarded.append(kept)
            if len(self._guarded) <= self._metric.guard:
                return
            kept = self._guarded.popleft()
        self._reference.add(kept)


class MinuteMedian:
    """Medians of a metric's samples over a minute each, or over five samples where those take longer."""

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._since_ms = 0

    def add(self, mono_ms: int, value: int) -> int | None:
        """Take a sample in; the median of the minute that ends with it, None within a minute."""
        if not self._samples:
            self._since_ms = mono_ms
        self._samples.append(value)
        if len(self._samples) < LEAST_SAMPLES or mono_ms - self._since_ms < MINUTE_MS:
            return None
        ranked = sorted(self._samples)
        self._samples.clear()
        return ranked[len(ranked) // 2]


class Gauge:
    """One metric from samples to findings: a median each minute, judged."""

    def __init__(self, metric: Metric, sensitivity: Sensitivity) -> None:
        self._median, self._detector = MinuteMedian(), Detector(metric, sensitivity)

    @property
    def active(self) -> bool:
        """Whether an episode is under way."""
        return self._detector.active

    def sample(self, mono_ms: int, value: int) -> Anomaly | None:
        """The anomaly that this sample completes, if it does."""
        median = self._median.add(mono_ms, value)
        return None if median is None else self._detector.judge(median)
