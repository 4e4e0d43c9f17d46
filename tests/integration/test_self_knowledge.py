"""What the station knows of itself, end to end: a simulated meter on a real terminal, the real reader, the real cloud.

The meter's water is in the test's hand; its protocol, its port and everything behind it are what a station has.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from aquasmart_station.adapters.pty_host import PtyHost
from aquasmart_station.core.model import Scale
from aquasmart_station.meters.hydraulics import Hydraulics, Segment
from aquasmart_station.meters.pulse import MODULUS
from aquasmart_station.meters.simulated import Counter, PulseBridge, Totals
from demo.site import MeterSpec
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]
FLOW_UL_S = 133_333
START = 1_000_000


class Faucet(Hydraulics):
    """Water that runs as the test says, until it says otherwise."""

    def __init__(self) -> None:
        super().__init__([])

    def run(self, flow_ul_s: int) -> None:
        self._segments, self._left_ms = iter([Segment(1 << 62, flow_ul_s)]), 0


class StickyCounter(Counter):
    """A register that may stick while the water goes on."""

    stuck = False

    def advance_ms(self, duration_ms: int) -> None:
        before = self.totals
        super().advance_ms(duration_ms)
        if self.stuck:
            self.totals = before


class Meter:
    """A pulse bridge on a pseudo-terminal, answered by a thread of the test."""

    def __init__(self, link: Path) -> None:
        self.faucet = Faucet()
        scale = Scale.from_k_factor(Fraction(450))
        self.counter = StickyCounter(Totals(START, START, 1), scale, MODULUS, self.faucet)
        self._bridge = PulseBridge(self.counter, "0badcafe", nonvolatile=True)
        self._host, self._over = PtyHost(link), threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def counts(self) -> int:
        return self.counter.totals.counts

    def plug_in(self) -> None:
        self._host.open()
        self._thread.start()

    def unplug(self) -> None:
        self._over.set()
        self._thread.join()
        self._host.close()

    def pour(self, seconds: float) -> tuple[int, int]:
        """Let water run; the positions before and after."""
        before = self.counts
        self.faucet.run(FLOW_UL_S)
        time.sleep(seconds)
        self.faucet.run(0)
        time.sleep(0.3)  # the thread's last step
        return before, self.counts

    def _serve(self) -> None:
        then_ns = time.monotonic_ns()
        while not self._over.is_set():
            data = self._host.read(0.05)
            step_ms = (time.monotonic_ns() - then_ns) // 1_000_000
            then_ns += step_ms * 1_000_000
            self.counter.advance_ms(step_ms)
            for answer in self._bridge.feed(data) if data else []:
                self._host.write(answer)


@contextmanager
def tapped(make_world: MakeWorld, *, commit_interval_s: float = 0.1, **detect: Any) -> Iterator[tuple[World, Meter]]:
    """A site whose meter is in the test's hand, its baseline taken."""
    reader = {"poll_hz": 10, "commit_interval_s": commit_interval_s}
    world = make_world(meters=(MeterSpec(pattern="idle"),), overrides={"detect": detect, "reader": reader})
    world.prepare()
    meter = Meter(world.site.port_path("tap-1"))
    meter.plug_in()
    try:
        world.site.start("reader")
        world.log.await_kind("baseline", "tap-1")
        yield world, meter
    finally:
        meter.unplug()


def data_of(world: World, kind: str, meter_id: str | None = "tap-1") -> list[dict[str, Any]]:
    """The data of every row of a kind."""
    return [json.loads(row.data or "{}") for row in world.log.rows() if (row.kind, row.meter_id) == (kind, meter_id)]


def assert_books(world: World, meter: Meter) -> None:
    """Meter = log = cloud, by fractions; nothing refused, nothing named."""
    world.site.start("cloud")
    world.site.start("sync")
    world.settle()
    truth_ul = int(meter.counts * Fraction(1_000_000, 450)) - int(START * Fraction(1_000_000, 450))
    assert world.site.status()["log_ul"] == truth_ul
    assert world.cloud.volume_ul() == truth_ul
    assert world.cloud.differences() == {}
    assert world.cloud.marks() == world.log.last_seqs()


def test_a_pour_gives_exactly_one_row_with_its_volume_at_once(make_world: MakeWorld) -> None:
    # Only urgent rows bring a commit so soon.
    with tapped(make_world, commit_interval_s=60) as (world, meter):
        before, after = meter.pour(2.0)
        assert after > before == START
        row = world.log.await_kind("pour", "tap-1")
        (pour,) = data_of(world, "pour")
        scale = Scale.from_k_factor(Fraction(450))
        assert (pour["from_counts"], pour["to_counts"]) == (before, after)
        assert pour["volume_ul"] == scale.volume_ul(before, after)
        assert 1_500 <= pour["duration_ms"] <= 4_000
        assert FLOW_UL_S * 0.8 < pour["peak_ul_s"] < FLOW_UL_S * 1.3
        assert pour["mean_ul_s"] <= pour["peak_ul_s"]
        assert row.counts == after
        meter.faucet.run(FLOW_UL_S)
        eventually(lambda: meter.counts > after + 60, "the next pour under way")
        assert world.site.stop("reader") == 0
        rows = world.log.rows()
        assert [row.kind for row in rows[-2:]] == ["pour", "shutdown"], "a stop ends the pour"
        assert len(data_of(world, "pour")) == 2
        assert rows[-2].counts == data_of(world, "pour")[1]["to_counts"]
        meter.faucet.run(0)
        time.sleep(0.3)
        world.site.start("reader")
        eventually(lambda: world.site.status()["meters"][0]["state"] == "ok", "the meter read again")
        assert_books(world, meter)


def test_a_leak_is_told_booked_as_leak_and_shown(make_world: MakeWorld) -> None:
    with tapped(make_world, leak_after_s=3) as (world, meter):
        meter.faucet.run(FLOW_UL_S // 4)
        world.log.await_kind("anomaly", "tap-1")
        world.log.await_kind("leak", "tap-1")
        (alarm,) = data_of(world, "anomaly")
        assert (alarm["metric"], alarm["pattern"]) == ("leak", "long")
        assert alarm["lasted_ms"] >= 3_000
        block = eventually(
            lambda: [block for block in data_of(world, "diagnostic", None) if block["conditions"]],
            "a diagnostics block",
        )[0]
        assert block["conditions"] == ["leak:tap-1"]
        assert data_of(world, "pour") == [], "a leak is no pour"
        assert "leak" in world.site.status()["meters"][0]["text"]
        assert world.site.status()["reader"]["conditions"] == ["leak:tap-1"]
        meter.faucet.run(0)
        time.sleep(0.3)
        assert_books(world, meter)
        kinds = [row.kind for row in world.log.rows() if row.meter_id == "tap-1"]
        assert "volume" in kinds[: kinds.index("anomaly")]
        assert set(kinds[kinds.index("anomaly") + 1 :]) <= {"leak"}
        told = {kind for (kind,) in world.cloud.query("SELECT DISTINCT kind FROM notable")}
        assert {"leak", "anomaly", "diagnostic"} <= told


def test_a_stuck_sensor_is_told_flagged_and_over_with_the_next_count(make_world: MakeWorld) -> None:
    with tapped(make_world, stuck_after_s=1, diagnostics_interval_s=2) as (world, meter):
        meter.counter.stuck = True
        meter.faucet.run(FLOW_UL_S)
        row = world.log.await_kind("anomaly", "tap-1")
        (alarm,) = data_of(world, "anomaly")
        assert alarm["metric"] == "stuck"
        assert alarm["flow_ul_s"] == pytest.approx(FLOW_UL_S, rel=0.01)
        assert row.counts == START
        block = eventually(
            lambda: [block for block in data_of(world, "diagnostic", None) if block["conditions"]],
            "a diagnostics block",
        )[0]
        assert block["conditions"] == ["sensor-stuck:tap-1"]
        assert block["board"]["clock"] in {"ntp", "rtc", "restored"}
        assert block["board"]["disk_free_bytes"] > 0
        assert block["meters"][0]["meter_id"] == "tap-1"
        assert [row for row in world.log.rows() if row.kind == "volume"] == [], "nothing is booked"
        blocks = len(data_of(world, "diagnostic", None))
        eventually(lambda: len(data_of(world, "diagnostic", None)) >= blocks + 2, "blocks at their interval")
        meter.counter.stuck = False
        eventually(lambda: sum(values[4] == 0 for values in world.log.raw()) > 1, "the next count, and one more")
        assert len(data_of(world, "anomaly")) == 1
        flags = [values[5] for values in world.log.raw() if values[4] == 0]
        assert flags[0] & 8
        assert not flags[-1] & 8
        meter.faucet.run(0)
        time.sleep(0.3)
        assert_books(world, meter)
