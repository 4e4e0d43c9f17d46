"""The reader's look at its board: real files of a board in, blocks, reasons and flags out. Time is given."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from aquasmart_station.adapters.board_sensors import BoardSensors
from aquasmart_station.adapters.meter_line import DrivenLine
from aquasmart_station.adapters.serial_port import SerialLine
from aquasmart_station.core.accounting import Account
from aquasmart_station.core.anomaly import Sensitivity
from aquasmart_station.core.model import Board, Flag, Kind
from aquasmart_station.core.observing import MeterObserver
from aquasmart_station.core.watching import WatchSettings
from aquasmart_station.meters.driver import DriverSettings, make_driver
from aquasmart_station.services.diagnosing import Block, Diagnoser, meter_conditions
from aquasmart_station.services.polling import MeterPoller, Shelf
from tests.unit.station.meter_world import ids

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
VOLTAGE = "sys/class/hwmon/hwmon0/in1_input"


class GivenClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def mono_ns(self) -> int:
        return self.ms * 1_000_000

    def wall_ns(self) -> int:
        return self.ms * 1_000_000

    def quality(self) -> str:
        return "ntp"


class Told(list[str]):
    """Reasons in the order in which they were set and cleared; `active`: what the rest of the reader has set."""

    active: frozenset[str] = frozenset()

    def set(self, reason: str) -> None:
        self.append(f"+{reason}")

    def clear(self, reason: str) -> None:  # type: ignore[override]
        self.append(f"-{reason}")


class Station:
    """A board's files under `root`, one meter whose line is never opened, and the diagnoser."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock, self.told = root, GivenClock(), Told()
        driver = make_driver(DriverSettings("tap-1", "pulse", None, Fraction(450), 1_000_000, None, None, 1))
        account = Account(
            board=Board("station-1", "boot-1", "hw", "0"),
            meter_id="tap-1",
            traits=driver.traits,
            resume=None,
            new_id=ids(),
            clock="ntp",
        )
        sensitivity = Sensitivity()
        self.poller = MeterPoller(
            meter_id="tap-1",
            line=DrivenLine(SerialLine(root / "tap-1", driver.line), driver),
            observer=MeterObserver(
                account, driver.traits, settings=WatchSettings(), sensitivity=sensitivity, period_ms=100
            ),
            shelf=Shelf(100),
            clock=self.clock,
            period_s=0.1,
            idle_heartbeat_s=300,
            draw=lambda: 0.5,
        )
        self.diagnoser = Diagnoser(
            board=BoardSensors(self.clock, root, root),
            clock=self.clock,
            sensitivity=sensitivity,
            reasons=self.told,
            interval_s=3_600,
            supply_low_mv=4_750,
        )

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, seconds: float) -> list[Block]:
        """Let time pass in cycles of a second; the blocks of that time."""
        blocks: list[Block] = []
        for _ in range(round(seconds)):
            self.clock.ms += 1_000
            blocks += self.diagnoser.step([self.poller])
        return blocks


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def conditions(blocks: list[Block]) -> list[list[str]]:
    return [block.data["conditions"] for block in blocks if block.kind is Kind.DIAGNOSTIC]


def test_a_block_at_the_start_and_every_hour(station: Station) -> None:
    (block,) = station.run(3_600)
    assert block.kind is Kind.DIAGNOSTIC
    assert block.data["conditions"] == []
    assert block.data["board"]["disk_bytes"] > 0
    meter: dict[str, Any] = block.data["meters"][0]
    assert (meter["meter_id"], meter["state"], meter["polls_good"], meter["counts"]) == ("tap-1", "link-down", 0, None)
    assert len(station.run(3_600)) == 1


def test_low_voltage_is_told_at_once_flags_rows_and_is_over_a_minute_after_it_went(station: Station) -> None:
    station.write(THROTTLED, "0\n")
    station.run(60)
    station.write(THROTTLED, "50005\n")
    blocks = station.run(11)
    assert conditions(blocks) == [["rail-low", "throttled"]]
    assert blocks[0].data["board"]["throttled"] == 0x50005
    assert station.told == ["+rail-low", "+throttled"]
    assert station.poller.observer.board_flags == Flag.RAIL_LOW
    assert station.diagnoser.conditions == {"rail-low", "throttled"}
    station.write(THROTTLED, "50000\n")
    assert conditions(station.run(55)) == []
    assert conditions(station.run(20)) == [[]]
    assert station.told[2:] == ["-rail-low", "-throttled"]
    assert station.poller.observer.board_flags == Flag.NONE


def test_a_meters_conditions_have_the_meters_name_and_are_told_at_once(station: Station) -> None:
    station.run(30)
    station.poller.observer.conditions = frozenset({"stuck", "leak"})
    assert conditions(station.run(1)) == [["leak:tap-1", "sensor-stuck:tap-1"]]
    assert meter_conditions(station.poller) == {"leak:tap-1", "sensor-stuck:tap-1"}
    station.poller.figures.fault = "cannot open the port"
    assert conditions(station.run(1)) == [["leak:tap-1", "link-down:tap-1", "sensor-stuck:tap-1"]]


def test_an_unusual_supply_is_an_anomaly_of_the_station(station: Station) -> None:
    station.write("sys/class/hwmon/hwmon0/name", "ina219\n")
    for minute in range(70):
        station.write(VOLTAGE, f"{5_100 + minute % 3}\n")
        assert [block for block in station.run(60) if block.kind is Kind.ANOMALY] == []
    station.write(VOLTAGE, "4790\n")
    (block,) = [block for block in station.run(300) if block.kind is Kind.ANOMALY]
    assert block.data["metric"] == "supply_mv"
    assert block.data["value"] == 4_790
    assert station.diagnoser.conditions == frozenset(), "unusual, and not yet low"
    station.diagnoser.close()
